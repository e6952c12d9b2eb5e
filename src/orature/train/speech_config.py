"""How sentences are spoken on the fly: ranges of tempo, pitch and voice, and what is laid over clean speech.

Example::

    SpeechConfig(rate=(0.75, 1.4), bed_probability=0.1)
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator

from orature.train.augment_config import Range


class SpeechConfig(BaseModel, frozen=True, extra="forbid"):
    """What is drawn anew for each utterance in each epoch, by (seed, epoch, utterance).

    `rate` and `expression` are factors, `pitch` semitones. `formants` is a factor of all frequencies: the voice speaks
    slower by it and is played faster by it, so that the tempo stays and the mouth becomes smaller. Room, noise, babble
    and codec are those of `AugmentConfig`.
    """

    rate: Range = (0.75, 1.35)
    pitch: Range = (-4.0, 4.0)
    expression: Range = (0.7, 1.4)
    formants: Range = (0.85, 1.18)
    clip_probability: float = Field(default=0.05, ge=0.0, le=1.0)
    """Chance of a recording that was too loud: its peaks are cut off."""
    bed_probability: float = Field(default=0.1, ge=0.0, le=1.0)
    """Chance of music under the speech."""
    bed_snr_db: Range = (5.0, 25.0)
    babble_pool: int = Field(default=48, ge=1)
    """Sentences spoken once that babble is made of."""
    off_factor: float = Field(default=3.0, gt=1.0)
    """Speech this many times longer or shorter than predicted is not trained on."""
    longest_s: float = Field(default=20.0, gt=0)
    dev_speakers: int = Field(default=6, ge=1)
    """Speakers (variants of espeak-ng) that only dev hears."""
    seed: int = 1

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("rate", "pitch", "expression", "formants", "bed_snr_db"):
            low, high = getattr(self, name)
            if low > high or (name in ("rate", "expression", "formants") and low <= 0):
                raise ValueError(f"{name} must be two numbers, the smaller one first, factors above 0")
        low, high = self.rate[0] / self.formants[1], self.rate[1] / self.formants[0]
        if low < 0.5 or high > 2.0:
            raise ValueError(
                f"rate and formants together ask for tempos of {low:.2f} to {high:.2f}; 0.5 to 2 can be had"
            )
        if max(abs(end) for end in self.pitch) > 8 or self.expression[1] > 1.6:
            raise ValueError("pitch goes from -8 to 8 semitones, expression to 1.6")
        return self
