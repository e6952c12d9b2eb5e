"""Training audio that is spoken when it is needed: by espeak-ng in processes apart, never written to disk.

Who speaks, how fast, how high and with which mouth follows from (seed, epoch, utterance) alone: every epoch hears each
sentence otherwise, and a resumed run hears what an undisturbed one would have heard.

Example::

    speech = SpeechSource(SpeechConfig(), workers=1)
    samples = speech.speak([Asked(example, epoch=0)])[0]        # None where it cannot be trained on
"""

from __future__ import annotations

import math
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from orature.core.progress import say
from orature.core.types import RATE_HZ, Refusal
from orature.data import audio
from orature.engines.espeak_pipe import EspeakPipe
from orature.engines.espeak_voice import excluded_speakers
from orature.engines.voice import Speech, SpeechRequest
from orature.train.augment_config import Range
from orature.train.speech_config import SpeechConfig

if TYPE_CHECKING:
    from orature.train.loader import Example

Samples = npt.NDArray[np.float32]
_STREAM, _POOL, _RATES = 7, 8, 9
"""Set these draws apart from the others of a run."""


def _logs(rng: np.random.Generator, span: Range, count: int) -> npt.NDArray[np.float64]:
    """Logarithms of `count` factors, drawn evenly."""
    return rng.uniform(math.log(span[0]), math.log(span[1]), size=count)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Spoken:
    """An utterance to be spoken; `voice` is an espeak-ng identifier; a fixed `speaker` (dev) never varies."""

    text: str
    voice: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An example to be spoken, as the loader asks for it; `copy` counts repetitions within the epoch."""

    example: Example
    index: int
    epoch: int
    copy: int = 0


@dataclass(slots=True)
class Heard:
    """What the source has delivered: seconds of audio, utterances, and those left out by reason."""

    seconds: float = 0.0
    utterances: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    effects_s: float = 0.0
    """Core-seconds of the batches: resampling, rooms, noise, codecs."""
    voices_s: float = 0.0
    """Core-seconds of the processes that have ended."""

    def told(self) -> str:
        """One line for a person."""
        spent = max(self.effects_s + self.voices_s, 1e-9)
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out.items())) or "none"
        return (
            f"speech: {self.utterances} utterances, {self.seconds / 3600:.2f} h, in {spent:.1f} core-seconds "
            f"(espeak-ng {self.voices_s:.1f}, effects {self.effects_s:.1f}): {self.seconds / spent:.0f} audio-s a "
            f"core-second; left out: {lost}"
        )


class SpeechSource:
    """Speaks examples; `workers` processes of espeak-ng, started at the first use."""

    def __init__(self, config: SpeechConfig, *, workers: int = 1) -> None:
        self.config, self.heard = config, Heard()
        self._workers = workers
        self._pipe: EspeakPipe | None = None
        self._speakers: tuple[list[str], list[str]] | None = None
        self._rates: tuple[int, npt.NDArray[np.float64]] = (-1, np.zeros(0))

    @property
    def pipe(self) -> EspeakPipe:
        """The processes."""
        if self._pipe is None:
            self._pipe = EspeakPipe(self._workers)
        return self._pipe

    def close(self) -> None:
        """Ends the processes; they start again when they are needed."""
        if self._pipe is not None:
            before = _children_s()
            self._pipe.close()
            self._pipe = None
            self.heard.voices_s += _children_s() - before
            if self.heard.utterances:
                say(self.heard.told())

    def speakers(self) -> tuple[list[str], list[str]]:
        """The speakers of training and those that only dev hears, by the seed."""
        if self._speakers is None:
            names = sorted(name for name in self.pipe.variants() if name not in excluded_speakers())
            order = np.random.default_rng([self.config.seed, _POOL]).permutation(len(names))
            held = [names[place] for place in order[: self.config.dev_speakers]]
            self._speakers = ([name for name in names if name not in held], sorted(held))
        return self._speakers

    def rates(self, count: int, epoch: int) -> npt.NDArray[np.float64]:
        """The tempo of each of `count` utterances in `epoch`, shape (count,): the plan needs all at once."""
        if self._rates[0] != epoch or self._rates[1].size != count:
            rng = np.random.default_rng([self.config.seed, epoch, _RATES])
            self._rates = (epoch, np.exp(_logs(rng, self.config.rate, count)))
        return self._rates[1]

    def speak(self, asked: Sequence[Asked], *, count: int, vary: bool = True) -> list[Samples | None]:
        """16 kHz samples of each, shape (samples,), or None where it is not to be trained on (counted in `heard`)."""
        made = [self._request(one, count, vary) for one in asked]
        spoken = self.pipe.speak([request for request, _ in made])
        found: list[Samples | None] = []
        for one, (request, factor), outcome in zip(asked, made, spoken, strict=True):
            reason = self._fault(one, request, factor, outcome)
            if reason or isinstance(outcome, Refusal):
                self.heard.left_out[reason] += 1
                found.append(None)
                continue
            samples = audio.played(outcome, self.pipe.rate_hz, factor)
            self.heard.utterances += 1
            self.heard.seconds += len(samples) / RATE_HZ
            found.append(samples)
        return found

    def babble(self, examples: Sequence[Example]) -> list[Samples]:
        """The sentences that babble is made of: the same for the same examples and seed."""
        spoken = [index for index, example in enumerate(examples) if example.spoken is not None]
        rng = np.random.default_rng([self.config.seed, _POOL, 1])
        chosen = rng.choice(spoken, size=min(self.config.babble_pool, len(spoken)), replace=False)
        asked = [Asked(examples[int(index)], int(index), 0) for index in chosen]
        return [one for one in self.speak(asked, count=len(examples)) if one is not None]

    def _request(self, asked: Asked, count: int, vary: bool) -> tuple[SpeechRequest, float]:
        """What the voice is asked for, and the factor by which it is played faster."""
        spoken = asked.example.spoken
        if spoken is None:
            raise ValueError(f"{asked.example.id} has a recording and need not be spoken")
        if spoken.speaker is not None or not vary:
            return SpeechRequest(spoken.text, language=spoken.voice, speaker=spoken.speaker or ""), 1.0
        config, train = self.config, self.speakers()[0]
        rng = np.random.default_rng([config.seed, asked.epoch, _STREAM, asked.index, asked.copy])
        factor = float(np.exp(_logs(rng, config.formants, 1)[0]))
        rate = float(self.rates(count, asked.epoch)[asked.index])
        expression = float(np.exp(_logs(rng, config.expression, 1)[0]))
        pitch = float(rng.uniform(*config.pitch))
        request = SpeechRequest(
            spoken.text,
            language=spoken.voice,
            speaker=train[int(rng.integers(len(train)))],
            rate=round(rate / factor, 3),
            pitch=round(pitch, 2),
            expression=round(min(expression, 1.9 / 2 ** (max(pitch, 0.0) / 12)), 3),
        )
        return request, factor

    def _fault(self, asked: Asked, request: SpeechRequest, factor: float, outcome: Speech | Refusal) -> str:
        """Why the outcome is not trained on, "" where it is."""
        if isinstance(outcome, Refusal):
            return outcome.reason
        seconds = len(outcome) / self.pipe.rate_hz / factor
        predicted = asked.example.duration_s / (request.rate * factor)
        if seconds > self.config.longest_s:
            return "too-long"
        off = abs(math.log(max(seconds, 0.01) / predicted))
        return "off-prediction" if off > math.log(self.config.off_factor) else ""
