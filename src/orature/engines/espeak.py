"""espeak-ng by its own numbers (words a minute, pitch 0 to 99): the same request gives the same samples, always.

Example::

    with EspeakVoice(workers=2) as voice:
        for speech in voice.speak([SpeakRequest("habari za asubuhi", "sw+f2", rate_wpm=160)]):
            print(len(speech) if not isinstance(speech, Refusal) else speech.detail)

The voice that reads `SpeechRequest`s, with languages that espeak-ng lacks, is `espeak_voice`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from orature.core.errors import ConfigError
from orature.core.types import Card, Refusal
from orature.engines.espeak_pipe import EspeakPipe
from orature.engines.voice import Speech
from orature.engines.voice_pipe import outcome_of

_MAX_CHARACTERS = 5_000
_BATCH = 16


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """A text and how to read it: `voice` is a language tag or espeak identifier, with an optional `+variant`."""

    text: str
    voice: str
    rate_wpm: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 100


class EspeakVoice:
    """Reads texts aloud with espeak-ng. The library runs in `workers` processes; none of it is loaded here.

    `python` is the interpreter of the workers (they need only the wheel `espeakng-loader`).
    """

    rate_hz = 22_050

    def __init__(self, workers: int = 1, *, timeout_s: float = 30.0, python: str = sys.executable) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers}")
        self._settings: dict[str, Any] = {"workers": workers, "timeout_s": timeout_s, "python": python}
        self._pipe: EspeakPipe | None = None

    @property
    def card(self) -> Card:
        """Engine, languages, licence and version."""
        return self._opened().card

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers of the workers that run now."""
        return self._pipe.pids if self._pipe is not None else ()

    def voices(self) -> list[dict[str, str]]:
        """Rows of `id` (to be used as `voice`), `language` (tag) and `name`, sorted by id."""
        return [{name: row[name] for name in ("id", "language", "name")} for row in self._opened().rows()]

    def variants(self) -> list[str]:
        """Names that may follow a `+` in a voice: other speakers of the same language."""
        return self._opened().variants()

    def resolve(self, voice: str) -> str:
        """The espeak identifier of a tag or identifier; ConfigError names the nearest known one."""
        base, plus, variant = voice.partition("+")
        known = {row["language"]: row["id"] for row in reversed(self.voices())}
        known.update({row["id"]: row["id"] for row in self.voices()})
        folded = {name.lower(): identifier for name, identifier in known.items()}
        if base.lower() not in folded:
            raise _unknown("voice", base, list(known))
        if plus and variant not in self.variants():
            raise _unknown("variant", variant, self.variants())
        return folded[base.lower()] + plus + variant

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Speech | Refusal]:
        """One outcome a request, in order: samples at `rate_hz`, float32 in [-1, 1], shape (samples,); or a Refusal.

        The samples depend on the request alone, not on its neighbours, its place or the number of workers.
        """
        pipe = self._opened()
        outcomes: list[Speech | Refusal] = []
        places, messages = [], []
        for place, request in enumerate(requests):
            made = self._message(request, pipe)
            outcomes.append(made if isinstance(made, Refusal) else Refusal("not-done", "stopped before this row"))
            if not isinstance(made, Refusal):
                places.append(place)
                messages.append(made)
        for place, reply in zip(places, pipe.pool.exchange(messages, batch=_BATCH), strict=True):
            outcomes[place] = reply if isinstance(reply, Refusal) else outcome_of(reply)
        return outcomes

    def close(self) -> None:
        """Ends the workers."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def __enter__(self) -> EspeakVoice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> EspeakPipe:
        if self._pipe is None:
            self._pipe = EspeakPipe(**self._settings)
        return self._pipe

    def _message(self, request: SpeakRequest, pipe: EspeakPipe) -> dict[str, Any] | Refusal:
        if not request.text.strip():
            return Refusal("empty-text", "there is nothing to say")
        if len(request.text) > _MAX_CHARACTERS:
            return Refusal("too-long", f"{len(request.text)} characters; at most {_MAX_CHARACTERS} at a time")
        try:
            voice = self.resolve(request.voice)
        except ConfigError as error:
            return Refusal("unknown-voice", f"{error.what}; {error.next_step}")
        options = asdict(request) | {"voice": voice}
        text = options.pop("text").replace("\0", " ")
        return {"text": text, "options": options, "timeout_s": 0.9 * pipe.pool.timeout_s}


def _unknown(what: str, name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    return ConfigError(f"espeak-ng has no {what} {name!r}", next_step=f"nearest known: {', '.join(near)}")
