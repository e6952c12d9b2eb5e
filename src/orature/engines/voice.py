"""What every voice promises: a list of requests in, an equally long list of outcomes out, in the same order.

Example::

    with open_voice("espeak") as voice:
        speech = voice.speak([SpeechRequest("habari za asubuhi", language="sw", speaker="f2", seed=7)])[0]
        print(len(speech) / voice.rate_hz if not isinstance(speech, Refusal) else speech.detail)

The samples of a request depend on the request alone (law 7): not on its neighbours in the list, its place, the number
of workers or what the voice said before. So synthesis may be cut, spread and resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from orature.core.types import Card, Refusal

Speech = npt.NDArray[np.float32]
"""Mono audio in [-1, 1] at the voice's own rate, shape (samples,)."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A text and how to read it. What a voice cannot vary (see `Traits`) must be left as it is here.

    `speaker` is one of `Voice.speakers(language)`, "" for the voice's own choice; `prompt` is the path of a recording
    whose speaker is imitated, and `prompt_text` what is said there; `rate` is a factor of tempo, `pitch` a shift in
    semitones, `expression` a factor of the range of pitch; `seed` decides whatever is drawn at random.
    """

    text: str
    language: str = "und"
    speaker: str = ""
    seed: int = 0
    rate: float = 1.0
    pitch: float = 0.0
    expression: float = 1.0
    prompt: str = ""
    prompt_text: str = ""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a voice can vary, and what it needs."""

    rate: bool = False
    pitch: bool = False
    expression: bool = False
    prompts: bool = False
    """It imitates the speaker of a prompt."""
    random: bool = False
    """The seed changes the samples."""
    batch: int = 1
    """How many requests of similar length are best given at a time."""
    most_characters: int = 1000
    """Longer texts are refused (`too-long`), never cut off."""
    most_seconds: float = 60.0
    """No utterance can be longer; one that reaches this length is refused (`truncated`)."""


@runtime_checkable
class Voice(Protocol):
    """Reads texts aloud. It knows nothing of corpora, stores or files, but for the prompts that requests name."""

    @property
    def rate_hz(self) -> int:
        """Sample rate of what `speak` returns."""
        ...

    @property
    def card(self) -> Card:
        """Licence, languages, revision (engine and weights: it enters the identity of what is made) and determinism."""
        ...

    @property
    def traits(self) -> Traits:
        """What can be varied."""
        ...

    def speakers(self, language: str) -> list[str]:
        """The speakers it has for a language (BCP-47), in a fixed order; [""] when it has one without a name.

        ConfigError, with the nearest languages that it has, when it cannot read that language.
        """
        ...

    def speak(self, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
        """One outcome a request, in order; trouble with one request is its `Refusal`, never an exception."""
        ...

    def close(self) -> None:
        """Lets go of processes and memory; it can be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
