"""A voice that speaks tones, for tests: each letter is a tone of its own, deterministic, quick, and with all traits.

Example::

    with open_voice("fake") as voice:
        tones = voice.speak([SpeechRequest("abc", speaker="low", rate=1.5)])[0]

A text that holds the word `refuse` is refused; one that holds `short` gives a hundredth of a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from orature.core.errors import ConfigError
from orature.core.types import Card, Refusal
from orature.engines.voice import Speech, SpeechRequest, Traits

ABOUT = "tones instead of speech, for tests"
SPEAKERS = {"low": 0.8, "middle": 1.0, "high": 1.3}
LETTER_S = 0.06


class FakeVoice:
    """See the module."""

    rate_hz = 16_000
    card = Card("fake", "tones (no speech)", (), "CC0-1.0", "1", deterministic=True)
    traits = Traits(rate=True, pitch=True, expression=True, prompts=True, random=True, batch=4, most_characters=500)

    def speakers(self, language: str) -> list[str]:
        if language == "xx":
            raise ConfigError("the fake voice cannot read 'xx'", next_step="take any other language")
        return list(SPEAKERS)

    def speak(self, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
        return [_one(request) for request in requests]

    def close(self) -> None:
        """It holds nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _one(request: SpeechRequest) -> Speech | Refusal:
    if not request.text.strip():
        return Refusal("empty-text", "there is nothing to say")
    if len(request.text) > FakeVoice.traits.most_characters:
        return Refusal("too-long", f"{len(request.text)} characters; at most {FakeVoice.traits.most_characters}")
    if request.speaker not in ("", *SPEAKERS):
        return Refusal("unknown-speaker", f"{request.speaker!r} is none of {', '.join(SPEAKERS)}")
    words = request.text.split()
    if "refuse" in words:
        return Refusal("voice-failed", "it was asked to refuse")
    if "short" in words:
        return np.full(FakeVoice.rate_hz // 100, 0.1, np.float32)
    factor = SPEAKERS.get(request.speaker, 1.0) * 2 ** (request.pitch / 12)
    length = round(LETTER_S / request.rate * FakeVoice.rate_hz)
    time = np.arange(length) / FakeVoice.rate_hz
    shape = np.hanning(length)
    if request.expression != 1.0:
        shape = shape**request.expression
    tones = [0.3 * shape * np.sin(2 * np.pi * factor * hertz * time) for hertz in map(_hertz, request.text)]
    seed = hashlib.sha256(f"{request.seed}|{request.text}|{request.prompt}".encode()).digest()
    noise = np.random.default_rng(int.from_bytes(seed[:8], "little")).standard_normal(length * len(tones))
    return np.asarray(np.concatenate(tones) + 0.002 * noise, np.float32)


def _hertz(letter: str) -> float:
    return 0.0 if letter.isspace() else 150.0 * 2 ** ((ord(letter.lower()) * 7 % 48) / 16)


def begin(model: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> FakeVoice:
    """The voice; it takes no model."""
    return FakeVoice()


def files(model: str) -> list[Path]:
    """None."""
    return []
