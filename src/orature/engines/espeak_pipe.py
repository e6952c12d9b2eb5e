"""The worker of espeak-ng behind the pipes of `voice_pipe`, and the list of its voices.

Example::

    with EspeakPipe(workers=2) as espeak:
        print(len(espeak.rows()), espeak.variants()[:3])
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from orature.core.errors import WorkFailed
from orature.core.types import Card
from orature.engines.voice import SpeechRequest
from orature.engines.voice_pipe import PipeVoice

SETUP = "pip install 'orature[voices]', then run it again"
SILENT = frozenset({"art/xex", "gmq/fo", "trk/kaa"})
"""Voices that the wheel lists without their dictionaries: they give no sound for any text."""
_HERE = Path(__file__).parent
_TEXTS = 200


class EspeakPipe(PipeVoice):
    """espeak-ng in `workers` processes run by `python`, which needs only the wheel `espeakng-loader`.

    MissingExtra without the wheel; WorkFailed when the library does not start.
    """

    def __init__(self, workers: int = 1, *, timeout_s: float = 30.0, python: str = sys.executable) -> None:
        script = [str(_HERE / "workers" / "serve.py"), str(_HERE / "espeak_worker.py")]
        super().__init__(
            [python, "-P", *script], workers=workers, family="formant synthesis", timeout_s=timeout_s, setup=SETUP
        )
        self._lists: dict[str, Any] | None = None

    @cached_property
    def card(self) -> Card:
        """Languages are the tags of the voices; the licence is that of the program, not of its audio."""
        tags = {tag for row in self.rows() if row["id"] not in SILENT for tag in row["tags"]}
        hello = self.hello
        return Card("espeak-ng", self._family, tuple(sorted(tags)), hello.licence, hello.revision, True)

    def rows(self) -> list[dict[str, Any]]:
        """Voices with `id`, `language` (the first tag), `name` and `tags`, by id."""
        return list(self._asked()["voices"])

    def variants(self) -> list[str]:
        """Names of the voice variants, by name."""
        return list(self._asked()["variants"])

    def phonemes_of(self, texts: Sequence[str], voice: str) -> list[str]:
        """IPA of each text, read by the voice of an espeak identifier; WorkFailed where it breaks down at one."""
        found = self.phonemes_or_none(texts, voice)
        for text, ipa in zip(texts, found, strict=True):
            if ipa is None:
                raise WorkFailed(
                    f"espeak-ng breaks down at this text: {text[:80]!r}",
                    where=f"voice {voice}",
                    next_step="leave this sentence out, or let another voice read it",
                )
        return [ipa for ipa in found if ipa is not None]

    def phonemes_or_none(self, texts: Sequence[str], voice: str) -> list[str | None]:
        """IPA of each text, read by the voice of an espeak identifier; None for one that espeak-ng breaks down at."""
        found: list[str | None] = []
        for first in range(0, len(texts), _TEXTS):
            part = [text.replace("\0", " ") for text in texts[first : first + _TEXTS]]
            found += self.pool.ask("phonemes", language=voice, texts=part)["phonemes"]
        return found

    def message(self, request: SpeechRequest) -> dict[str, Any]:
        """A request that its child has 90 % of our time for, so that it is refused before the worker is killed."""
        fields = super().message(request)
        return {**fields, "text": request.text.replace("\0", " "), "timeout_s": 0.9 * self.pool.timeout_s}

    def _asked(self) -> dict[str, Any]:
        if self._lists is None:
            self._lists = self.pool.ask("voices")
        return self._lists
