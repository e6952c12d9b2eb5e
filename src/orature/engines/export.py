"""From a model folder to one for another backend: which formats a family has, and the files of each.

Example::

    export_folder(Path("model"), Path("exported"), "onnx")
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from orature.core.errors import ModelError
from orature.engines import ctranslate2_backend, onnx_backend
from orature.engines.backends import (
    BACKEND_FILE,
    FORMATS,
    BackendFacts,
    Format,
    Steps,
    is_exported,
    library_of,
    need,
    vocabulary_name,
)
from orature.engines.facts import FACTS, facts_of
from orature.engines.families import Family, family_of
from orature.engines.native_folder import write_json
from orature.engines.network import CtcNetwork
from orature.engines.vocabulary import Files

_CARD = "README.md"


def why_not(folder: Path, network: object, wanted: Format) -> str:
    """Why a model cannot be exported in a format, in words; "" where it can."""
    library = library_of(wanted)
    if library == "ctranslate2":
        return ctranslate2_backend.why_not(network)
    if library == "onnx" and not isinstance(network, CtcNetwork):
        return "only CTC models are exported as ONNX: an attention decoder is a search, not one graph"
    return ""


def possible(folder: Path, network: object) -> list[Format]:
    """The formats in which a model can be exported."""
    return [one for one in FORMATS if not why_not(folder, network, one)]


def read_model(folder: Path, language: str | None) -> tuple[Family, Any, Any]:
    """Family, network and vocabulary of a folder that can be exported; ModelError for others."""
    family = family_of(folder)
    if is_exported(folder):
        raise ModelError(
            "this folder is an export already", where=str(folder), next_step="name the model that it was made from"
        )
    if family.kind == "recogniser":
        raise ModelError(
            f"{family.name} models cannot be exported: they are only read for inference",
            where=str(folder),
            next_step="use the model folder as it is",
        )
    network, vocabulary = family.module().load(folder, language=language)
    return family, network.eval(), vocabulary


def export_folder(source: Path, to: Path, wanted: Format, *, language: str | None = None) -> None:
    """Writes the exported folder `to`; ModelError where the family has no such format, MissingExtra."""
    need(wanted)
    family, network, vocabulary = read_model(source, language)
    refuse(source, network, wanted)
    to.mkdir(parents=True, exist_ok=True)
    files: Files = family.module().files(network, vocabulary)
    facts = facts_of(source, family)
    facts |= {"exported_as": wanted, "revision": f"{facts.get('revision', '')}+{wanted}"}
    if wanted == "safetensors":
        facts.pop("exported_as")
        facts["revision"] = facts["revision"].removesuffix("+safetensors")
    files = {**files, FACTS: write_json(facts)}
    weights = [name for name in files if name.endswith(".safetensors")]
    for name, write in files.items():
        if wanted == "safetensors" or name not in weights:
            write(to / name)
    if (source / _CARD).is_file():
        (to / _CARD).write_bytes((source / _CARD).read_bytes())
    if wanted == "safetensors":
        return
    record = _record(network, vocabulary, wanted, language)
    (to / BACKEND_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if library_of(wanted) == "onnx":
        _write_onnx(network, to, wanted)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, write in files.items():
            write(Path(folder, name))
        ctranslate2_backend.convert(Path(folder), to, int8=wanted.endswith("int8"))


def refuse(folder: Path, network: object, wanted: Format) -> None:
    """ModelError where a model cannot be exported in a format."""
    reason = why_not(folder, network, wanted)
    if reason:
        raise ModelError(
            f"this model cannot be exported as {wanted}: {reason}",
            where=str(folder),
            next_step="choose --as " + ",".join(possible(folder, network)),
        )


def _write_onnx(network: CtcNetwork, to: Path, wanted: Format) -> None:
    if wanted == "onnx":
        onnx_backend.export_onnx(network, to / onnx_backend.MODEL)
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, onnx_backend.MODEL)
        onnx_backend.export_onnx(network, whole)
        onnx_backend.round_to_int8(whole, to / onnx_backend.MODEL)


def _record(network: Any, vocabulary: Any, wanted: Format, language: str | None) -> BackendFacts:
    if isinstance(network, CtcNetwork):
        return BackendFacts.model_validate(
            {
                "backend": wanted,
                "kind": "ctc",
                "language": language,
                "vocabulary": vocabulary_name(vocabulary),
                "vocabulary_language": getattr(vocabulary, "language", None),
                "outputs": len(vocabulary),
                "blank": vocabulary.blank,
                "steps": Steps.of(network),
                "normalises": bool(getattr(network, "normalises", False)),
            }
        )
    return BackendFacts.model_validate(
        {
            "backend": wanted,
            "kind": "seq2seq",
            "language": language,
            "outputs": len(vocabulary),
            "mels": network.mask_bins,
            "max_seconds": network.max_seconds,
            "short_windows": network.windows.short,
            "max_tokens": network.max_tokens,
            "end": network.end,
            "never": network.never,
        }
    )
