"""Which voices there are: what is installed, what they read, whose licence they carry, and the next step where not.

Example::

    for entry in catalogue("sw"):
        print(entry.engine, entry.state, entry.reads, entry.licence, entry.next_step)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

from orature.core.errors import ConfigError, MissingExtra, OratureError
from orature.engines.language_codes import codes_of
from orature.engines.voice import Voice
from orature.engines.voices import open_voice, voice_engines
from orature.engines.worker_environments import environment_python, recipes

XTTS_LANGUAGES = tuple("ar cs de en es fr hi hu it ja ko nl pl pt ru tr zh".split())
"""Of the released XTTS-v2; more can be trained onto it."""
State = Literal["ready", "needs a model", "missing", "broken"]
_NOT_SHOWN = frozenset({"fake"})
_FREE = re.compile(r"\b(apache|mit|bsd|mpl|gpl|lgpl|cc0|cc[- ]by(?![- ]nc)|public domain|isc)\b", re.IGNORECASE)
_NOT_FREE = re.compile(r"non-?commercial|\bnc\b|-nc\b|cpml|research only", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """An engine as a person meets it. `reads` None: it depends on the model. `commercial` None: not known."""

    engine: str
    about: str
    state: State
    licence: str
    commercial: bool | None
    reads: bool | None = None
    languages: tuple[str, ...] = ()
    speakers: tuple[str, ...] = field(default=())
    next_step: str = ""
    reads_with: str = ""
    """The tag of the neighbour that reads the language asked for, where the engine has none of its own."""


def allows_commercial(licence: str) -> bool | None:
    """Whether a licence allows commercial use, None where its words do not tell."""
    if _NOT_FREE.search(licence):
        return False
    return True if _FREE.search(licence) else None


def catalogue(language: str = "") -> Iterator[Entry]:
    """An entry for each engine, by name; `language` asks which of them read it and with which speakers."""
    for engine in sorted(set(voice_engines()) - _NOT_SHOWN):
        try:
            about = str(import_module(voice_engines()[engine]).ABOUT)
        except ImportError as error:
            yield Entry(engine, "", "broken", "not stated", None, next_step=f"its module cannot be loaded: {error}")
            continue
        if engine == "vits":
            yield _vits(about, language)
        elif engine in recipes():
            yield _in_environment(engine, about, language)
        elif engine == "worker":
            step = "docs/voice_worker.md says what a command must do"
            yield Entry(engine, about, "needs a model", "that of the command", None, next_step=step)
        else:
            yield _opened(engine, about, language)


def entry_of(spec: str, language: str = "") -> Entry:
    """The entry of one voice, opened to be asked; OratureError where it cannot be opened."""
    with open_voice(spec) as voice:
        card = voice.card
        reads, speakers, step, neighbour = None, [], "", ""
        if language or not card.languages:
            try:
                speakers, reads = voice.speakers(language or "und"), True if language else None
                neighbour = _neighbour(voice, language)
            except ConfigError as error:
                reads, step = False, error.next_step
        elif card.languages:
            speakers = voice.speakers(card.languages[0])
        commercial = allows_commercial(card.licence)
        about = f"{card.family}, {card.revision}"
        named = tuple(speakers)
        languages = tuple(card.languages)
        return Entry(spec, about, "ready", card.licence, commercial, reads, languages, named, step, neighbour)


def _neighbour(voice: Voice, language: str) -> str:
    """The tag that a voice reads `language` with, "" where that is its own."""
    reading = getattr(voice, "reading", None)
    found = reading(language) if language and callable(reading) else None
    return str(found.tag) if found is not None and found.told else ""


def _opened(engine: str, about: str, language: str) -> Entry:
    """An engine that can be opened without a model, or says what it lacks."""
    try:
        found = entry_of(engine, language)
    except MissingExtra as error:
        return Entry(engine, about, "missing", "not stated", None, next_step=error.next_step)
    except ConfigError as error:
        return Entry(engine, about, "needs a model", "that of the model", None, next_step=error.next_step)
    except OratureError as error:
        return Entry(engine, about, "broken", "not stated", None, next_step=f"{error.what}: {error.next_step}")
    return replace(found, engine=engine, about=about)


def _vits(about: str, language: str) -> Entry:
    code = next((one for one in codes_of(language) if len(one) == 3), "") if language else ""
    named = f"facebook/mms-tts-{code}" if code else "facebook/mms-tts-<ISO 639-3>"
    step = f"name a folder: vits:FOLDER, made by orature train-voice or a copy of {named}"
    if find_spec("uroman") is None:
        step += "; for checkpoints of romanised text: pip install uroman"
    return Entry("vits", about, "needs a model", "that of the checkpoint; MMS-TTS: CC-BY-NC-4.0", None, next_step=step)


def _in_environment(engine: str, about: str, language: str) -> Entry:
    """An engine with an environment of its own: is it made, and where not, the command that makes it."""
    recipe = recipes()[engine]
    languages = XTTS_LANGUAGES if engine == "xtts" else ()
    reads = None
    if language and languages:
        reads = bool(set(codes_of(language)) & set(languages)) or None  # others can be trained onto it
    try:
        made = environment_python(engine) is not None
    except ConfigError as error:
        return Entry(engine, about, "broken", recipe.licence, recipe.commercial, next_step=error.what)
    accept = " --accept-licence" if recipe.must_accept else ""
    step = f"name a local model folder: {engine}:FOLDER" if made else f"orature voices add {engine}{accept}"
    state: State = "needs a model" if made else "missing"
    return Entry(engine, about, state, recipe.licence, recipe.commercial, reads, languages, next_step=step)
