"""Moonshine (Jeffries et al. 2024): raw samples, a short encoder, a byte-fallback tokenizer; one language a checkpoint.

The convolutions and the group norm of the front end see no padding here: the norm's mean and variance are taken over a
recording's own frames. In transformers they are taken over the padded row, so that a batch there gives other numbers
than each recording alone; recordings of one length give the same.

Shapes: B recordings, S samples, T encoder steps (384 samples each), C channels.

Example::

    network, vocabulary = begin(Path("moonshine-tiny"), texts, Start())
    best = network.generate(samples_BS, lengths_B, vocabulary.prompt())[0][0]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ
from orature.engines.families import Kind, Start
from orature.engines.hf_folder import config_of, extractor_of, load_model
from orature.engines.network import Spans
from orature.engines.seq2seq_extend import add_characters, grow
from orature.engines.seq2seq_folder import fast_tokenizer, model_files, need_files
from orature.engines.seq2seq_network import TransformersSeq2Seq, finish
from orature.engines.seq2seq_vocabulary import TokenizerVocabulary
from orature.engines.vocabulary import Files

KIND: Kind = "seq2seq"
MAX_SECONDS = 30.0
"""The longest recordings that Moonshine was trained on (the paper, section 3.2)."""
MIN_SAMPLES = 127 + 64 * (7 - 1 + 3 * (3 - 1))
"""Shorter recordings are padded with silence to one encoder step."""
_CONVS = ((127, 64), (7, 3), (3, 2))


def steps_of(samples_B: Tensor) -> Tensor:
    """Encoder steps (B,) of recordings of `samples_B` samples."""
    for kernel, stride in _CONVS:
        samples_B = torch.div(samples_B - kernel, stride, rounding_mode="floor") + 1
    return samples_B


class MoonshineNet(TransformersSeq2Seq):
    """`MoonshineForConditionalGeneration` on raw samples."""

    max_seconds = MAX_SECONDS

    def __init__(self, model: Any) -> None:
        config = model.config
        end = config.eos_token_id
        super().__init__(
            model, max_tokens=config.max_position_embeddings - 1, end=end[0] if isinstance(end, list) else end
        )
        self.mask_bins = config.hidden_size

    def encode(self, samples_BS: Tensor, lengths_B: Tensor, spans: Spans | None = None) -> tuple[Tensor, Tensor | None]:
        """Encoder output (B, T, D) and which of its steps are a recording's own."""
        from transformers.masking_utils import create_bidirectional_mask

        encoder = self.model.model.encoder
        lengths_B = lengths_B.clamp(min=MIN_SAMPLES)
        samples_BS = F.pad(samples_BS, (0, max(0, MIN_SAMPLES - samples_BS.shape[1])))
        hidden_BCT = torch.tanh(encoder.conv1(samples_BS[:, None].to(encoder.conv1.weight.dtype)))
        hidden_BCT = _own_norm(encoder.groupnorm, hidden_BCT, torch.div(lengths_B - 127, 64, rounding_mode="floor") + 1)
        hidden_BCT = F.gelu(encoder.conv3(F.gelu(encoder.conv2(hidden_BCT))))
        hidden_BTD = hidden_BCT.transpose(1, 2)
        own_BT = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device) < steps_of(lengths_B)[:, None]
        if spans is not None:
            hidden_BTD = _masked(hidden_BTD, spans)
        mask_BT = own_BT.long()
        mask = create_bidirectional_mask(config=encoder.config, inputs_embeds=hidden_BTD, attention_mask=mask_BT)
        places_1T = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)[None]
        rotary = encoder.rotary_emb(hidden_BTD, position_ids=places_1T)
        for layer in encoder.layers:
            hidden_BTD = layer(hidden_BTD, attention_mask=mask, position_ids=places_1T, position_embeddings=rotary)
        return cast(Tensor, encoder.layer_norm(hidden_BTD)), mask_BT


def _own_norm(norm: nn.GroupNorm, hidden_BCT: Tensor, steps_B: Tensor) -> Tensor:
    """Group norm of one group over each recording's own steps."""
    with torch.autocast(hidden_BCT.device.type, enabled=False):
        wide_BCT = hidden_BCT.float()
        own_B1T = (torch.arange(wide_BCT.shape[2], device=wide_BCT.device) < steps_B[:, None])[:, None]
        count_B11 = (steps_B * wide_BCT.shape[1])[:, None, None]
        mean_B11 = (wide_BCT * own_B1T).sum(dim=(1, 2), keepdim=True) / count_B11
        centred_BCT = (wide_BCT - mean_B11) * own_B1T
        variance_B11 = centred_BCT.square().sum(dim=(1, 2), keepdim=True) / count_B11
        normed_BCT = centred_BCT * torch.rsqrt(variance_B11 + norm.eps)
        return (normed_BCT * norm.weight[:, None] + norm.bias[:, None]).to(hidden_BCT.dtype)


def _masked(hidden_BTD: Tensor, spans: Spans) -> Tensor:
    """SpecAugment on the front end's output: spans of 10 ms frames and of channels become 0."""
    time_BN2, bins_BN2 = spans
    frames_T = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device) * 384 // 160
    bins_D = torch.arange(hidden_BTD.shape[2], device=hidden_BTD.device)
    in_time_BT = ((frames_T >= time_BN2[..., :1]) & (frames_T < time_BN2[..., 1:])).any(dim=1)
    in_bins_BD = ((bins_D >= bins_BN2[..., :1]) & (bins_D < bins_BN2[..., 1:])).any(dim=1)
    return hidden_BTD.masked_fill(in_time_BT[:, :, None] | in_bins_BD[:, None, :], 0.0)


def load(folder: Path, *, language: str | None = None) -> tuple[MoonshineNet, TokenizerVocabulary]:
    """The network and its vocabulary; a Moonshine checkpoint has one language, so `language` changes nothing."""
    return _taken_up(folder, [], Start(head="keep"))


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[MoonshineNet, TokenizerVocabulary]:
    """As `load`; head "extend" (and "auto") adds a token for each character that costs several byte tokens."""
    if start.head == "new":
        raise ModelError(
            "Moonshine's vocabulary writes every text in bytes, so it is kept",
            where=str(folder),
            next_step="choose head extend (a token for each character that costs several bytes) or keep",
        )
    return _taken_up(folder, texts, start)


def files(network: MoonshineNet, vocabulary: TokenizerVocabulary) -> Files:
    """The model folder."""
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "processor_class": "Wav2Vec2Processor",
        "feature_size": 1,
        "sampling_rate": RATE_HZ,
        "do_normalize": False,
        "padding_value": 0.0,
        "return_attention_mask": True,
    }
    return {**model_files(network.model, extractor), **vocabulary.files()}


def _taken_up(folder: Path, texts: Sequence[str], start: Start) -> tuple[MoonshineNet, TokenizerVocabulary]:
    need_files(folder, ("tokenizer.json",))
    extractor_of(folder)
    config = config_of(folder, start.overrides)
    end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
    if config.pad_token_id is None:
        config.pad_token_id = end  # published checkpoints name none, and padding needs one
    model: Any = load_model(folder, config, auto="MoonshineForConditionalGeneration", may_have=("proj_out.",))
    tokenizer = fast_tokenizer(folder)
    if len(tokenizer) > model.config.vocab_size:
        raise ModelError(
            f"the tokenizer holds {len(tokenizer)} tokens, config.json says {model.config.vocab_size}",
            where=str(folder),
            next_step="copy the tokenizer and config.json of one checkpoint",
        )
    if start.head != "keep":
        added = add_characters(tokenizer, texts)
        grow(model, len(tokenizer), added)
    vocabulary = TokenizerVocabulary(tokenizer, start=int(config.decoder_start_token_id), end=int(end))
    network = MoonshineNet(model)
    finish(folder, network, start)
    return network, vocabulary
