"""The family `orature-transformer-ctc`: model folders of the Transformer of multilingual pseudo-labelling.

A model folder holds `config.json`, `model.safetensors`, `vocab.json`, `tokenizer_config.json`,
`preprocessor_config.json` and a card.

Example::

    network, vocabulary = load(Path("model"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ
from orature.engines.characters import Characters
from orature.engines.families import Start
from orature.engines.features import FRAME, HOP
from orature.engines.native_folder import (
    check_head,
    checked,
    config_in,
    load_weights,
    taken_up,
    write_json,
    write_weights,
)
from orature.engines.transformer_ctc import TransformerConfig, TransformerCtc
from orature.engines.vocabulary import CtcVocabulary, Files

KIND = "ctc"
OVERRIDES = ("dropout", "layer_drop")


def load(folder: Path, *, language: str | None = None) -> tuple[TransformerCtc, Characters]:
    """The network and its characters; ModelError names the file at fault. One vocabulary serves every `language`."""
    config = config_in(folder, TransformerConfig)
    network = TransformerCtc(config)
    load_weights(network, folder)
    characters = Characters.load(folder / "vocab.json")
    check_head(len(characters), config.vocabulary, folder)
    return network, characters


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[TransformerCtc, Characters]:
    """The network with an output layer for `texts`: a new one ("auto", "new"), a longer one, or as it is."""
    unknown = sorted(set(start.overrides) - set(OVERRIDES))
    if unknown:
        raise ModelError(
            f"this family has no {', '.join(unknown)} to override",
            where=str(folder),
            next_step=f"model_overrides may hold: {', '.join(OVERRIDES)}",
        )
    old_network, old = load(folder)
    network = TransformerCtc(
        checked(TransformerConfig, old_network.config.model_dump() | dict(start.overrides), folder)
    )
    network.load_state_dict(old_network.state_dict())
    return network, taken_up(network, old, texts, start)


def files(network: TransformerCtc, vocabulary: CtcVocabulary) -> Files:
    """The files of the model folder, each with what writes it (nothing in them varies by the hour)."""
    extractor = {
        "feature_size": network.config.mels,
        "sampling_rate": RATE_HZ,
        "hop_length": HOP,
        "win_length": FRAME,
        "window": network.config.window,
        "normalisation": network.config.normalisation,
    }
    config = {**network.config.model_dump(), "vocabulary": len(vocabulary), "architectures": ["TransformerCtc"]}
    return {
        "model.safetensors": write_weights(network),
        "config.json": write_json(config),
        "preprocessor_config.json": write_json(extractor),
        **vocabulary.files(),
    }
