"""The family `orature-encoder-decoder`: model folders of our encoder-decoder, and what one is begun from.

Begun from a folder of its own kind, all of it is taken up, or the encoder with or without the body of the decoder;
begun from a Conformer of ours (a CTC recogniser, or the model of phones that comes with the package), its encoder. What
is not taken up is drawn anew.

Example::

    network, tokens = begin(Path("recogniser"), texts, Start(parts="encoder"))
    network, tokens = load(Path("model"), language="que-EC")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ
from orature.engines.conformer import ConformerConfig, ConformerCtc, Size
from orature.engines.decoder_tokens import DecoderTokens
from orature.engines.encoder_decoder import EncoderDecoder, EncoderDecoderConfig, part_of
from orature.engines.families import Kind, Parts, Start, read_config
from orature.engines.native_folder import check_head, checked, config_in, load_weights, write_json, write_weights
from orature.engines.vocabulary import Files

KIND: Kind = "seq2seq"
CONFORMER = "orature-conformer-ctc"
TAKEN: dict[Parts, frozenset[str]] = {
    "all": frozenset({"features", "encoder", "decoder", "head"}),
    "encoder": frozenset({"features", "encoder"}),
    "encoder+decoder": frozenset({"features", "encoder", "decoder"}),
}
_OVERRIDES = frozenset({"dropout", "decoder_layers"})
_ROWS = ("decoder.embed.weight", "decoder.bias", "encoder.head.weight", "encoder.head.bias")


def load(folder: Path, *, language: str | None = None) -> tuple[EncoderDecoder, DecoderTokens]:
    """The network and its tokens; `language` chooses the language token where there are several."""
    config = config_in(folder, EncoderDecoderConfig)
    network = EncoderDecoder(config).eval()
    load_weights(network, folder)
    tokens = DecoderTokens.load(folder, language)
    check_head(len(tokens), config.vocabulary, folder)
    network.languages = tuple(tokens.language_tokens().values())
    return network, tokens


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[EncoderDecoder, DecoderTokens]:
    """The network for training on `texts`, with the parts of `folder` that `start.parts` names, bit for bit.

    All of it: the tokens are kept ("keep"), kept with a row for each new character and language ("extend", "auto"), or
    made anew ("new"). Parts of it, and the encoder of a Conformer: they are made anew.
    """
    if start.adapters:
        raise ModelError(
            "this family has no adapters for languages",
            where=str(folder),
            next_step="leave train_only=adapters out",
        )
    if read_config(folder).get("model_type") == CONFORMER:
        return _on_encoder(folder, texts, start)
    old, tokens = load(folder)
    fields = _overridden(old.config, start, folder)
    whole = start.parts == "all" and start.head != "new"
    if whole and start.head == "keep":
        _check_languages(tokens, start, folder)
        grown = tokens
    else:
        grown = (tokens if whole else DecoderTokens.of((), ())).extended([" ", *texts], languages_of(start))
    taken = TAKEN[start.parts] if whole else TAKEN[start.parts] - {"head"}
    return _made(fields, grown, old, taken), grown


def _on_encoder(folder: Path, texts: Sequence[str], start: Start) -> tuple[EncoderDecoder, DecoderTokens]:
    if start.parts == "encoder+decoder" or start.head in ("keep", "extend"):
        raise ModelError(
            "a CTC model has no decoder to take up, only an encoder",
            where=str(folder),
            next_step="set start_parts=encoder, and leave head out: the tokens are those of your texts",
        )
    encoder = config_in(folder, ConformerConfig)
    old = ConformerCtc(encoder)
    load_weights(old, folder)
    config = _overridden(EncoderDecoderConfig.around(encoder), start, folder)
    tokens = DecoderTokens.of([" ", *texts], languages_of(start))
    network = _made(config, tokens, None, frozenset())
    weights = {name: value for name, value in old.state_dict().items() if not name.startswith("head.")}
    network.encoder.load_state_dict({**network.encoder.state_dict(), **weights})
    return network, tokens


def fresh(
    texts: Sequence[str],
    size: Size = "tiny",
    *,
    languages: Sequence[str] = (),
    dropout: float = 0.1,
    **encoder: Any,
) -> tuple[EncoderDecoder, DecoderTokens]:
    """A network from nothing for `texts`; `encoder` holds fields of `ConformerConfig`."""
    tokens = DecoderTokens.of([" ", *texts], languages)
    config = EncoderDecoderConfig.of_size(size, vocabulary=len(tokens), dropout=dropout, **encoder)
    return _made(config, tokens, None, frozenset()), tokens


def files(network: EncoderDecoder, vocabulary: DecoderTokens) -> Files:
    """The files of the model folder, each with what writes it (nothing in them varies by the hour)."""
    encoder = network.config.encoder
    extractor = {
        "feature_size": encoder.mels,
        "sampling_rate": RATE_HZ,
        "hop_length": 160,
        "win_length": 400,
        "normalisation": f"{encoder.normalisation} of each utterance and mel bin",
    }
    config = {**network.config.model_dump(), "architectures": ["EncoderDecoder"]}
    return {
        "model.safetensors": write_weights(network),
        "config.json": write_json(config),
        "preprocessor_config.json": write_json(extractor),
        **vocabulary.files(),
    }


def languages_of(start: Start) -> list[str]:
    """The languages of the training texts, which come joined by commas."""
    return [tag for tag in (start.language or "").split(",") if tag]


def _overridden(config: EncoderDecoderConfig, start: Start, folder: Path) -> EncoderDecoderConfig:
    """`config` with `start.overrides` put in; ModelError for unknown ones and for another decoder than is taken up."""
    given = dict(start.overrides)
    if unknown := set(given) - _OVERRIDES:
        raise ModelError(
            f"this family has no {', '.join(sorted(unknown))} to override",
            where=str(folder),
            next_step="model_overrides may hold: " + ", ".join(sorted(_OVERRIDES)),
        )
    if "decoder" in TAKEN[start.parts] and given.get("decoder_layers", config.decoder_layers) != config.decoder_layers:
        raise ModelError(
            f"the decoder that is taken up has {config.decoder_layers} layers",
            where=str(folder),
            next_step="leave decoder_layers out, or set start_parts=encoder",
        )
    dropout = given.get("dropout", config.dropout)
    encoder = config.encoder.model_copy(update={"dropout": dropout})
    return checked(EncoderDecoderConfig, {**config.model_dump(), **given, "encoder": encoder.model_dump()}, folder)


def _check_languages(tokens: DecoderTokens, start: Start, folder: Path) -> None:
    """ModelError where the tokens are kept and one of the languages has none."""
    wanted = [tag for tag in languages_of(start) if tag != "und"]
    if len(wanted) > 1 and not tokens.language_tokens():
        raise ModelError(
            "this model writes one language, and the training texts are in several",
            where=str(folder),
            next_step="leave --set head=keep out: it then gets a token for each language",
        )
    for tag in wanted:
        tokens.prompt(tag)


@torch.no_grad()
def _made(
    config: EncoderDecoderConfig, tokens: DecoderTokens, old: EncoderDecoder | None, taken: frozenset[str]
) -> EncoderDecoder:
    """A network for `tokens`, drawn anew but for the parts `taken` from `old`; of the head the first rows."""
    encoder = config.encoder.model_copy(update={"vocabulary": len(tokens)})
    network = EncoderDecoder(config.model_copy(update={"vocabulary": len(tokens), "encoder": encoder})).eval()
    network.languages = tuple(tokens.language_tokens().values())
    if old is None:
        return network
    new = dict(network.named_parameters())
    for name, value in old.named_parameters():
        if part_of(name) not in taken:
            continue
        if name in _ROWS:
            _grown(new[name], value)
        else:
            new[name].copy_(value)
    return network


def _grown(row_of: nn.Parameter, old: nn.Parameter) -> None:
    """The old rows bit for bit; added ones stay small, and their biases are the lowest of the old ones."""
    if row_of.dim() == 1:
        row_of.fill_(float(old.min()))
    elif len(row_of) > len(old):
        row_of[len(old) :].normal_(std=0.02)
    row_of[: len(old)].copy_(old)
