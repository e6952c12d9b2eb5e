"""The model families by the `model_type` of their config.json, each a module with the same few functions.

A trainable family is a module with::

    KIND: "ctc" or "seq2seq"
    load(folder, *, language=None) -> (network, vocabulary)
    begin(folder, texts, start) -> (network, vocabulary)     # a new, extended or kept output layer for training texts
    files(network, vocabulary) -> Files                      # the model folder, in the layout of transformers

a family that is only used for inference is a module with `KIND = "recogniser"` and
`recogniser(folder, *, device, language=None) -> Recogniser`. A package of one's own adds a family by an entry point of
the group `orature.families` (name: the model_type, value: the module).

Example::

    family = family_of(Path("wav2vec2-xls-r-300m"))
    network, vocabulary = family.module().begin(folder, texts, Start(head="new"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orature.core.errors import ModelError

if TYPE_CHECKING:
    from orature.engines.head_prior import HeadPrior

Kind = Literal["ctc", "seq2seq", "recogniser"]
Head = Literal["auto", "new", "extend", "keep"]
Parts = Literal["all", "encoder", "encoder+decoder"]
"""What of a start is taken up; the rest is drawn anew. The body of the decoder is without embeddings and output."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a checkpoint is taken up for training.

    `head`: "new" throws the old output layer away; "extend" keeps its rows and adds one for each new character; "keep"
    trains the vocabulary as it is; "auto" lets the family choose (new for CTC, extend for encoder-decoders and
    adapters). `overrides` replaces fields of the checkpoint's config (dropouts above all). `language` is the BCP-47 tag
    of the target; `lora_rank` 0 means no LoRA. `prior` makes a new output layer from that of a model of phones. `parts`
    is for encoder-decoders: other parts than all bring a vocabulary of the texts with them.
    """

    head: Head = "auto"
    language: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    adapters: bool = False
    lora_rank: int = 0
    prior: HeadPrior | None = None
    parts: Parts = "all"


@dataclass(frozen=True, slots=True)
class Family:
    """One entry of the table."""

    name: str
    kind: Kind
    where: str
    about: str

    def module(self) -> Any:
        """The module with the family's functions."""
        return import_module(self.where)


_ENGINES = "orature.engines."
_TABLE: dict[str, Family] = {
    "orature-conformer-ctc": Family("conformer", "ctc", _ENGINES + "conformer_family", "Orature's own Conformer CTC"),
    "orature-transformer-ctc": Family(
        "transformer", "ctc", _ENGINES + "transformer_family", "the Transformer CTC of multilingual pseudo-labelling"
    ),
    "orature-encoder-decoder": Family(
        "encoder-decoder",
        "seq2seq",
        _ENGINES + "encoder_decoder_family",
        "Orature's own Conformer with an attention decoder and a CTC head",
    ),
    "wav2vec2": Family("wav2vec2", "ctc", _ENGINES + "wav2vec2", "wav2vec 2.0, XLS-R, and MMS with its adapters"),
    "hubert": Family("hubert", "ctc", _ENGINES + "wav2vec2", "HuBERT, mHuBERT"),
    "wavlm": Family("wavlm", "ctc", _ENGINES + "wav2vec2", "WavLM"),
    "wav2vec2-conformer": Family(
        "wav2vec2-conformer", "ctc", _ENGINES + "wav2vec2", "wav2vec 2.0 with Conformer blocks"
    ),
    "unispeech": Family("unispeech", "ctc", _ENGINES + "wav2vec2", "UniSpeech"),
    "unispeech-sat": Family("unispeech-sat", "ctc", _ENGINES + "wav2vec2", "UniSpeech-SAT"),
    "data2vec-audio": Family("data2vec-audio", "ctc", _ENGINES + "wav2vec2", "data2vec audio"),
    "wav2vec2-bert": Family("wav2vec2-bert", "ctc", _ENGINES + "wav2vec2_bert", "w2v-BERT 2.0"),
    "parakeet_ctc": Family("parakeet-ctc", "ctc", _ENGINES + "parakeet_ctc", "Parakeet CTC (FastConformer)"),
    "whisper": Family("whisper", "seq2seq", _ENGINES + "whisper", "Whisper"),
    "moonshine": Family("moonshine", "seq2seq", _ENGINES + "moonshine", "Moonshine"),
    "speech_to_text": Family(
        "speech2text", "seq2seq", _ENGINES + "speech2text", "Speech2Text (fairseq S2T Transformer)"
    ),
    "parakeet_rnnt": Family(
        "parakeet-rnnt", "recogniser", _ENGINES + "parakeet_transducer", "Parakeet RNN-T, inference"
    ),
    "parakeet_tdt": Family("parakeet-tdt", "recogniser", _ENGINES + "parakeet_transducer", "Parakeet TDT, inference"),
    "qwen3_asr": Family("qwen3-asr", "recogniser", _ENGINES + "qwen_asr", "Qwen3-ASR, inference (a teacher)"),
}


@cache
def families() -> dict[str, Family]:
    """All families by `model_type`, those of installed plug-ins too."""
    found = dict(_TABLE)
    for point in entry_points(group="orature.families"):
        module = import_module(point.value)
        found[point.name] = Family(point.name, module.KIND, point.value, (module.__doc__ or "").split("\n")[0])
    return found


def family_of(folder: Path) -> Family:
    """The family of a model folder; ModelError when config.json is missing, unreadable or of an unknown type."""
    model_type = read_config(folder).get("model_type")
    found = families().get(str(model_type))
    if found is None:
        raise ModelError(
            f"models of type {model_type!r} are not known",
            where=str(folder / "config.json"),
            next_step="known types: " + ", ".join(sorted(families())),
        )
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder as a table."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no readable config.json: {error}",
            where=str(folder),
            next_step="name a model folder made by `orature train`, or a checkpoint in the layout of transformers",
        ) from error
    if not isinstance(raw, dict):
        raise ModelError(
            "config.json holds no names with values", where=str(path), next_step="copy the whole model folder again"
        )
    return raw
