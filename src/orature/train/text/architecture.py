"""The network of a translator: transformers' MarianMT, drawn from nothing in three sizes.

Marian is the Transformer of Vaswani et al. 2017 as it stands (layer norm after each block, sinusoidal positions), which
transformers, CTranslate2 and Marian itself read. Weights are drawn as there: Glorot for matrices, embeddings with a
deviation of one over the root of the width.

Example::

    model = from_nothing(config, text)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from orature.core.errors import ConfigError
from orature.engines.hf_folder import quiet
from orature.train.text.config import Size, TranslatorConfig
from orature.train.text.vocabulary import TranslatorText

POSITIONS = 512


@dataclass(frozen=True, slots=True)
class Shape:
    """Layers of encoder and of decoder, width, attention heads, width inside the feed-forward blocks."""

    layers: int
    width: int
    heads: int
    inner: int


SHAPES: dict[Size, Shape] = {
    "tiny": Shape(3, 160, 2, 640),
    "small": Shape(4, 256, 4, 1024),
    "base": Shape(6, 512, 8, 2048),
}
"""About 2 M, 7 M and 44 M parameters, embeddings apart."""


def shape_of(config: TranslatorConfig) -> Shape:
    """The shape by size, and what of it is overruled; ConfigError where heads do not divide the width."""
    given = {name: value for name in ("layers", "width", "heads", "inner") if (value := getattr(config, name))}
    shape = replace(SHAPES[config.size], **given)
    if shape.width % (2 * shape.heads):
        raise ConfigError(
            f"a width of {shape.width} cannot be shared out over {shape.heads} heads",
            next_step="take a width that is a multiple of twice the heads",
        )
    return shape


def from_nothing(config: TranslatorConfig, text: TranslatorText) -> Any:
    """A MarianMTModel in float32, the same for the same settings and vocabulary."""
    from transformers import MarianConfig, MarianMTModel

    shape = shape_of(config)
    pad, end = text.target.pad, text.target.end
    described = MarianConfig(
        vocab_size=len(text.source.numbers),
        decoder_vocab_size=len(text.target.numbers),
        share_encoder_decoder_embeddings=text.shared,
        tie_word_embeddings=True,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        d_model=shape.width,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.inner,
        decoder_ffn_dim=shape.inner,
        activation_function="relu",
        scale_embedding=True,
        static_position_embeddings=True,
        max_position_embeddings=POSITIONS,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        pad_token_id=pad,
        eos_token_id=end,
        decoder_start_token_id=pad,
        forced_eos_token_id=end,
    )
    torch.manual_seed(config.seed)
    with quiet():
        model = MarianMTModel(described)
    _draw(model, shape.width)
    model.generation_config.update(
        bad_words_ids=[[pad]], pad_token_id=pad, eos_token_id=end, decoder_start_token_id=pad, max_length=POSITIONS
    )
    return model


@torch.no_grad()
def _draw(model: nn.Module, width: int) -> None:
    """Glorot for matrices, zeros for biases, embeddings of deviation width ** -0.5 (after Vaswani et al. 2017)."""
    tables = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, nn.Linear) and id(module.weight) not in tables:
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    drawn: set[int] = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.weight.requires_grad and id(module.weight) not in drawn:
            drawn.add(id(module.weight))
            nn.init.normal_(module.weight, std=width**-0.5)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
