"""Which voice is meant: `ENGINE` or `ENGINE:MODEL`, and the module that opens it.

An engine of voices is a module with::

    ABOUT: str                                                     # one line
    begin(model, *, workers, device, threads) -> Voice             # `model`: what follows the colon, "" for nothing
    files(model) -> list[Path]                                     # local files that its samples depend on

A package of one's own adds one by an entry point of the group `orature.voices` (name: the engine, value: the module).

Example::

    with open_voice("vits:models/mms-tts-swh") as voice:
        print(voice.card.licence, voice.speakers("sw"))
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
from orature.engines.voice import Voice

_ENGINES = "orature.engines."
_TABLE: dict[str, str] = {
    "espeak": _ENGINES + "espeak_voice",
    "vits": _ENGINES + "vits_voice",
    "piper": _ENGINES + "piper_voice",
    "xtts": _ENGINES + "xtts_voice",
    "omnivoice": _ENGINES + "omnivoice_voice",
    "worker": _ENGINES + "worker_voice",
    "fake": _ENGINES + "fake_voice",
}


@dataclass(frozen=True, slots=True)
class VoiceName:
    """A voice as a person names it: the engine, and its model (a folder, a file or a command; "" for none)."""

    engine: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.engine}:{self.model}" if self.model else self.engine


@cache
def voice_engines() -> dict[str, str]:
    """Modules of all engines by name, those of installed plug-ins too."""
    return dict(_TABLE) | {point.name: point.value for point in entry_points(group="orature.voices")}


def parse_voice(spec: str) -> VoiceName:
    """`spec` taken apart; a folder with a VITS checkpoint may be named alone. ConfigError for an unknown engine."""
    engine, _, model = spec.partition(":")
    if engine in voice_engines():
        return VoiceName(engine, model)
    folder = Path(spec)
    if (folder / "config.json").is_file():
        kind = str(read_config(folder).get("model_type"))
        if kind in voice_engines():
            return VoiceName(kind, spec)
    near = difflib.get_close_matches(engine, voice_engines(), n=1, cutoff=0.0)
    raise ConfigError(
        f"there is no voice {spec!r}",
        next_step=f"did you mean {near[0]!r}? Voices are: {', '.join(sorted(voice_engines()))}, or a folder of VITS",
    )


def open_voice(spec: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> Voice:
    """The voice that `spec` names; the caller closes it. ConfigError, ModelError or MissingExtra say what is missing.

    `workers`, `device` and `threads` say how it computes; the samples do not depend on them.
    """
    name = parse_voice(spec)
    voice: Voice = import_module(voice_engines()[name.engine]).begin(
        name.model, workers=workers, device=device, threads=threads
    )
    return voice


def voice_files(spec: str) -> list[Path]:
    """The local files that the voice's samples depend on, sorted; [] for an engine that brings all with it."""
    name = parse_voice(spec)
    return sorted(import_module(voice_engines()[name.engine]).files(name.model))
