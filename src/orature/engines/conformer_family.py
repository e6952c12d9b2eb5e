"""The family `orature-conformer-ctc`: model folders of the Conformer that Orature trains from nothing.

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
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.families import Start
from orature.engines.head_prior import plant
from orature.engines.native_folder import (
    check_head,
    config_in,
    load_weights,
    taken_up,
    write_json,
    write_weights,
)
from orature.engines.phone_tokens import PhoneTokens, writes_phones
from orature.engines.vocabulary import CtcVocabulary, Files

KIND = "ctc"


def load(folder: Path, *, language: str | None = None) -> tuple[ConformerCtc, Characters | PhoneTokens]:
    """The network and its characters or phones; ModelError names the file at fault. Any `language` has the same."""
    config = config_in(folder, ConformerConfig)
    network = ConformerCtc(config)
    load_weights(network, folder)
    tokens = PhoneTokens.load(folder) if writes_phones(folder) else Characters.load(folder / "vocab.json")
    check_head(len(tokens), config.vocabulary, folder)
    return network, tokens


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[ConformerCtc, Characters | PhoneTokens]:
    """The network with an output layer for `texts`: a new one ("auto", "new"), a longer one, or as it is.

    A new one on a model of phones is made from that of the phones where `start.prior` says how.
    """
    network, old = load(folder)
    config = network.config.model_copy(update=_overrides(start, folder))
    fresh = ConformerCtc(config)
    fresh.load_state_dict(network.state_dict())
    if isinstance(old, PhoneTokens):
        if start.head == "keep":
            return fresh, old
        if start.head == "extend":
            raise ModelError(
                "a model of phones has no characters to extend",
                where=str(folder),
                next_step="leave --set head=extend out: it gets an output layer for the letters of your texts",
            )
        letters = taken_up(fresh, Characters(()), texts, start)
        if start.prior is not None:
            plant(fresh.head, network.head, old, letters, start.prior)
        return fresh, letters
    return fresh, taken_up(fresh, old, texts, start)


def _overrides(start: Start, folder: Path) -> dict[str, float]:
    unknown = set(start.overrides) - {"dropout"}
    if unknown:
        raise ModelError(
            f"this family has no {', '.join(sorted(unknown))} to override",
            where=str(folder),
            next_step="model_overrides may hold: dropout",
        )
    return dict(start.overrides)


def files(network: ConformerCtc, vocabulary: CtcVocabulary) -> Files:
    """The files of the model folder, each with what writes it (nothing in them varies by the hour)."""
    extractor = {
        "feature_size": network.config.mels,
        "sampling_rate": RATE_HZ,
        "hop_length": 160,
        "win_length": 400,
        "normalisation": f"{network.config.normalisation} of each utterance and mel bin",
    }
    config = {**network.config.model_dump(), "vocabulary": len(vocabulary), "architectures": ["ConformerCtc"]}
    return {
        "model.safetensors": write_weights(network),
        "config.json": write_json(config),
        "preprocessor_config.json": write_json(extractor),
        **vocabulary.files(),
    }
