"""Exported models: what runs them, how a folder says so, and how one is opened as a recogniser.

An exported folder holds the weights in the form of its backend, `backend.json`, and as every model folder config.json,
the vocabulary, preprocessor_config.json and orature.json; `load_recogniser` opens it as any other. Networks take raw
samples at 16 kHz: features are computed inside, in ONNX too.

Example::

    folder = Path("exported")                    # made by `orature export MODEL --as onnx --to exported`
    print(read_backend(folder).backend)          # onnx
    recogniser = load_recogniser(folder)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ValidationError

from orature.core.errors import MissingExtra, ModelError
from orature.engines.characters import Characters
from orature.engines.hf_vocabulary import HfVocabulary
from orature.engines.native_folder import WHOLE_FOLDER
from orature.engines.network import CtcNetwork
from orature.engines.vocabulary import CtcVocabulary
from orature.engines.word_pieces import WordPieces

if TYPE_CHECKING:
    from orature.engines.ctc_recogniser import CtcRecogniser, Decoder
    from orature.engines.seq2seq_recogniser import Seq2SeqRecogniser

BACKEND_FILE = "backend.json"
Backend = Literal["onnx", "onnx-int8", "ctranslate2", "ctranslate2-int8"]
Format = Literal["onnx", "onnx-int8", "ctranslate2", "ctranslate2-int8", "safetensors"]
FORMATS: tuple[Format, ...] = ("onnx", "onnx-int8", "ctranslate2", "ctranslate2-int8", "safetensors")
APPROXIMATE = frozenset({"onnx-int8", "ctranslate2-int8", "torch-bf16"})
"""Backends whose numbers are rounded: their texts can differ a little from those of float32."""
_NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "ctranslate2": ("ctranslate2",)}
_VOCABULARIES: dict[str, type] = {"characters": Characters, "hf": HfVocabulary, "word-pieces": WordPieces}


class Steps(BaseModel, frozen=True, extra="forbid"):
    """How many output steps `n` samples give: none below `first`, else (n - reach) // hop + 1.

    Every stack of strided windows and convolutions counts like this.
    """

    hop: int
    reach: int
    first: int

    def __call__(self, samples: int) -> int:
        return 0 if samples < self.first else (samples - self.reach) // self.hop + 1

    @classmethod
    def of(cls, network: CtcNetwork) -> Steps:
        """Read off `network.steps`; ModelError where it counts in another way."""
        many = 1_000_000
        last = network.steps(many)
        found = cls(
            hop=network.step_samples,
            reach=_first_with(network, last, many) - (last - 1) * network.step_samples,
            first=_first_with(network, 1, many),
        )
        for samples in (0, 1, 399, 400, 719, 720, 1_000, 1_599, 15_999, 16_000, 100_003, 480_000):
            if found(samples) != network.steps(samples):
                raise ModelError(
                    "this network's output steps are not evenly spaced, so it cannot be exported",
                    next_step="use the model folder as it is",
                )
        return found


def _first_with(network: CtcNetwork, steps: int, most: int) -> int:
    """The fewest samples that give at least `steps` steps."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if network.steps(middle) >= steps:
            high = middle
        else:
            low = middle + 1
    return low


class BackendFacts(BaseModel, frozen=True, extra="forbid"):
    """`backend.json`: what the weights are for, and what of the network is not in them."""

    format: Literal[1] = 1
    backend: Backend
    kind: Literal["ctc", "seq2seq"]
    hears: str = "mono samples at 16 kHz, float32 in [-1, 1]; features are computed inside"
    language: str | None = None
    vocabulary: str = ""
    vocabulary_language: str | None = None
    outputs: int = 0
    blank: int = 0
    steps: Steps | None = None
    normalises: bool = False
    """CTranslate2 only: recordings are brought to mean 0 and variance 1 first."""
    mels: int = 0
    max_seconds: float = 0.0
    short_windows: bool = False
    """Whisper only, see `orature.engines.windows`."""
    max_tokens: int = 0
    end: int = 0
    never: tuple[int, ...] = ()


def vocabulary_name(vocabulary: CtcVocabulary) -> str:
    """How `backend.json` names the kind of a vocabulary; ModelError for one that cannot be opened without its model."""
    for name, kind in _VOCABULARIES.items():
        if isinstance(vocabulary, kind):
            return name
    raise ModelError(
        f"a vocabulary of the kind {type(vocabulary).__name__} cannot be exported",
        next_step="use the model folder as it is",
    )


def is_exported(folder: Path) -> bool:
    """Whether a model folder holds an exported model."""
    return (folder / BACKEND_FILE).is_file()


def read_backend(folder: Path) -> BackendFacts:
    """`backend.json` of a folder; ModelError where it is broken."""
    path = folder / BACKEND_FILE
    try:
        return BackendFacts.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ModelError(
            f"backend.json cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            next_step="export the model again with `orature export`",
        ) from error


def library_of(backend: str) -> str:
    """ "onnx" of "onnx-int8" ..."""
    return backend.removesuffix("-int8")


def missing(backend: str) -> list[str]:
    """The packages that a backend or format needs and that are not installed."""
    return [name for name in _NEEDS.get(library_of(backend), ()) if importlib.util.find_spec(name) is None]


def need(backend: str) -> None:
    """MissingExtra unless what `backend` needs is installed."""
    lacking = missing(backend)
    if lacking:
        raise MissingExtra(
            f"{backend} needs {' and '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed",
            next_step="pip install 'orature[fast]'",
        )


def open_exported(
    folder: Path, facts: Mapping[str, str], *, device: str, language: str | None, decoder: Decoder | None = None
) -> CtcRecogniser | Seq2SeqRecogniser:
    """The recogniser of an exported folder; ModelError, MissingExtra."""
    backend = read_backend(folder)
    need(backend.backend)
    if backend.kind == "seq2seq":
        from orature.engines.ctranslate2_backend import open_whisper

        return open_whisper(folder, backend, facts, device=device, language=language)
    from orature.engines.ctc_recogniser import CtcRecogniser

    if language and backend.language and language != backend.language:
        raise ModelError(
            f"this export writes {backend.language}, not {language}",
            where=str(folder),
            next_step=f"export the model again with --lang {language}",
        )
    network: CtcNetwork
    if library_of(backend.backend) == "onnx":
        from orature.engines.onnx_backend import OnnxCtc

        network = OnnxCtc(folder, backend, device=device)
    else:
        from orature.engines.ctranslate2_backend import Ctranslate2Ctc

        network = Ctranslate2Ctc(folder, backend, device=device)
    return CtcRecogniser(network, _vocabulary(folder, backend), facts, "cpu", decoder)


def _vocabulary(folder: Path, backend: BackendFacts) -> CtcVocabulary:
    if backend.vocabulary == "characters":
        return Characters.load(folder / "vocab.json")
    if backend.vocabulary == "word-pieces":
        return WordPieces.read(folder, outputs=backend.outputs, blank=backend.blank)
    if backend.vocabulary == "hf":
        return HfVocabulary.read(
            folder, outputs=backend.outputs, pad=backend.blank, language=backend.vocabulary_language
        )
    raise ModelError(f"vocabularies of kind {backend.vocabulary!r} are not known", where=str(folder / BACKEND_FILE))


def threads() -> int:
    """Threads for a backend of its own: as many as torch was given."""
    return torch.get_num_threads()


def need_file(folder: Path, name: str) -> Path:
    """A file of an exported folder; ModelError where it is missing."""
    path = folder / name
    if not path.is_file():
        raise ModelError(f"{name} is missing", where=str(folder), next_step=WHOLE_FOLDER)
    return path
