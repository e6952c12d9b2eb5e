"""`espeak`: espeak-ng as a voice; over a hundred languages and, by the nearest voice, many more.

`espeak:TAG` reads everything with the voice of one language. Speakers are the variants that sound like different
people (`espeak_speakers.json` says which are left out and why), "" is the plain voice; where espeak-ng knows several
varieties of a language, each variant also speaks with their accents (`f2@en-us`). The samples do not depend on the
seed: espeak-ng draws nothing that we do not fix.

Example::

    with open_voice("espeak", workers=2) as voice:
        request = SpeechRequest("ọmọ náà ń sùn", language="yo", speaker="f2", rate=1.2, pitch=-1.5)
        speech = voice.speak([request])[0]
        print(voice.reading("yo").told, voice.phonemes(["habari"], "sw"))
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.core.progress import say
from orature.core.types import Refusal
from orature.engines.espeak_languages import Reading, Readings
from orature.engines.espeak_pipe import SILENT, EspeakPipe
from orature.engines.voice import SpeechRequest

ABOUT = "espeak-ng: over 100 languages, and neighbours of many more; GPL, in a process of its own"
_SPEAKERS = Path(__file__).with_name("espeak_speakers.json")
_ACCENT = "@"
_SAID = "ORATURE_ESPEAK_SAID"
"""Languages whose neighbour was named already; in the environment, so that child processes do not say it again."""


class EspeakSpeech(EspeakPipe):
    """See the module; `forced` is the language or espeak identifier that reads everything."""

    def __init__(
        self, workers: int = 1, *, forced: str = "", timeout_s: float = 30.0, python: str = sys.executable
    ) -> None:
        super().__init__(workers, timeout_s=timeout_s, python=python)
        try:
            self._readings = Readings(self.rows(), silent=SILENT, forced=forced)
        except ConfigError:
            self.close()
            raise
        self._names = [name for name in self.variants() if name not in excluded_speakers()]
        self._speakers: dict[str, dict[str, str]] = {}

    def reading(self, language: str) -> Reading:
        """Which voice reads a language, and why; ConfigError names the nearest where none does."""
        found = self._readings.of(language)
        if found.told and language not in os.environ.get(_SAID, "").split():
            os.environ[_SAID] = f"{os.environ.get(_SAID, '')} {language}".strip()
            say(found.told)
        return found

    def speakers(self, language: str) -> list[str]:
        """Names of the variants, in each accent that espeak-ng knows; ConfigError for a language that nothing reads."""
        return list(self._accents(language))

    def _accents(self, language: str) -> dict[str, str]:
        """The identifier of the voice that each speaker of a language speaks with."""
        own = self.reading(language).voice
        if language not in self._speakers:
            found = dict.fromkeys(self._names, own)
            for tag, voice in self._readings.varieties(language).items():
                found |= {f"{name}{_ACCENT}{tag}": voice for name in self._names}
            self._speakers[language] = found
        return self._speakers[language]

    def phonemes(self, texts: Sequence[str], language: str) -> list[str]:
        """IPA of each text, as the voice for `language` reads it; "" for one that its neighbour would misread."""
        reading = self.reading(language)
        shown = []
        for text in texts:
            try:
                shown.append(reading.shown(text))
            except ValueError:
                shown.append("")
        return self.phonemes_of(shown, reading.voice)

    def message(self, request: SpeechRequest) -> dict[str, Any]:
        """The request in espeak's identifiers and, for a neighbour, in its spelling."""
        reading = self.reading(request.language)
        variant, _, accent = request.speaker.partition(_ACCENT)
        voice = self._accents(request.language)[request.speaker] if accent else reading.voice
        return super().message(replace(request, text=reading.shown(request.text), language=voice, speaker=variant))

    def refusal(self, request: SpeechRequest) -> Refusal | None:
        """What any voice refuses, and a text that a neighbour would misread (`unreadable`)."""
        if refused := super().refusal(request):
            return refused
        try:
            self.reading(request.language).shown(request.text)
        except ValueError as error:
            return Refusal("unreadable", str(error))
        return None


@cache
def excluded_speakers() -> dict[str, str]:
    """Voice variants that are no speakers of their own, with the reason."""
    table = json.loads(_SPEAKERS.read_text(encoding="utf-8"))
    return {str(name): str(reason) for name, reason in table["excluded"].items()}


def begin(model: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> EspeakSpeech:
    """The voice; `model` is "" or the tag that reads everything. It computes on the CPU, one thread a worker."""
    return EspeakSpeech(workers, forced=model)


def files(model: str) -> list[Path]:
    """None: the library and its data come with the wheel, and its version is the revision."""
    return []
