"""Which translator is meant: `ENGINE:MODEL` or a model folder alone, and the module that opens it.

An engine of translators is a module with::

    ABOUT: str                                                     # one line
    begin(model, *, device, threads, backend) -> Translator        # `model`: what follows the colon, "" for nothing
    files(model) -> list[Path]                                     # local files that its translations depend on

A package of one's own adds one by an entry point of the group `orature.translators` (name: the engine, value: the
module). Translations depend on the engine, these files and the request; not on the device, threads or backend, but for
the backends of `APPROXIMATE`, which say so in the revision of their card.

Example::

    with open_translator("marian:models/opus-mt-es-qu", threads=4) as translator:
        print(translator.card.licence, translator.card.languages)
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from orature.core.errors import ConfigError
from orature.engines.families import read_config
from orature.engines.translator import Translator

_ENGINES = "orature.engines."
_TABLE: dict[str, str] = {
    "marian": _ENGINES + "marian_translator",
    "m2m_100": _ENGINES + "m2m_translator",
    "nllb": _ENGINES + "m2m_translator",
    "t5": _ENGINES + "t5_translator",
    "madlad": _ENGINES + "t5_translator",
    "dictionary": _ENGINES + "dictionary_translator",
    "fake": _ENGINES + "fake_translator",
}
BACKENDS = ("auto", "torch", "ctranslate2", "ctranslate2-int8")
"""What computes: "auto" is CTranslate2 in full precision where it is installed and takes the model, else torch."""
APPROXIMATE = frozenset({"ctranslate2-int8"})
"""Backends whose numbers are rounded: their texts can differ a little from those of float32."""


@dataclass(frozen=True, slots=True)
class TranslatorName:
    """A translator as a person names it: the engine, and its model (a folder or a file; "" for none)."""

    engine: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.engine}:{self.model}" if self.model else self.engine


@cache
def translator_engines() -> dict[str, str]:
    """Modules of all engines by name, those of installed plug-ins too."""
    return dict(_TABLE) | {point.name: point.value for point in entry_points(group="orature.translators")}


def parse_translator(spec: str) -> TranslatorName:
    """`spec` taken apart; a folder may be named alone (its config.json tells). ConfigError for an unknown engine."""
    engine, _, model = spec.partition(":")
    if engine in translator_engines():
        return TranslatorName(engine, model)
    folder = Path(spec)
    known = f"translators are: {', '.join(sorted(translator_engines()))}, or a model folder"
    if (folder / "config.json").is_file():
        kind = str(read_config(folder).get("model_type"))
        if kind in translator_engines():
            return TranslatorName(kind, spec)
        raise ConfigError(f"a model of type {kind!r} does not translate", where=spec, next_step=known)
    if spec and folder.is_dir():
        raise ConfigError("the folder holds no config.json, so it is no translator", where=spec, next_step=known)
    if "/" in engine:
        raise ConfigError("there is no such folder", where=spec, next_step=known)
    near = difflib.get_close_matches(engine, translator_engines(), n=1, cutoff=0.0)
    raise ConfigError(f"there is no translator {spec!r}", next_step=f"did you mean {near[0]!r}? {known.capitalize()}")


def open_translator(spec: str, *, device: str = "cpu", threads: int | None = None, backend: str = "auto") -> Translator:
    """The translator that `spec` names; the caller closes it. ConfigError, ModelError or MissingExtra: what is missing.

    `device`, `threads` (None: as many as torch was given) and `backend` (of `BACKENDS`) say how it computes.
    """
    if backend not in BACKENDS:
        near = difflib.get_close_matches(backend, BACKENDS, n=1, cutoff=0.0)
        raise ConfigError(
            f"there is no backend {backend!r}",
            where="backend",
            next_step=f"did you mean {near[0]!r}? Backends are: {', '.join(BACKENDS)}",
        )
    name = parse_translator(spec)
    translator: Translator = import_module(translator_engines()[name.engine]).begin(
        name.model, device=device, threads=threads, backend=backend
    )
    return translator


def translator_files(spec: str) -> list[Path]:
    """The local files that the translations depend on, sorted; [] for an engine that brings all with it."""
    name = parse_translator(spec)
    return sorted(import_module(translator_engines()[name.engine]).files(name.model))
