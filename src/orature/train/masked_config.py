"""Settings of masked prediction (BEST-RQ): the codes, the masks, what is kept of the start, what is heard and measured.

Example::

    config = MaskedConfig(keep_weight=3.0).applied(TrainConfig(updates=2000))
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator

from orature.train.config import TrainConfig


class MaskedConfig(BaseModel, frozen=True, extra="forbid"):
    """How untranscribed speech is learnt from; numbers of Chiu et al. 2022, section 4, unless said otherwise."""

    codes: int = Field(default=1024, ge=2)
    """Size of the codebook. The paper has 8192 for 600 M parameters and 960 h; a small encoder gets fewer classes."""
    code_width: int = Field(default=16, ge=1)
    """Width of the random projection and of each code."""
    mask_start: float = Field(default=0.01, gt=0.0, le=1.0)
    """Masks that begin a frame of 10 ms, on average; with 40 frames each they cover about a third."""
    mask_frames: int = Field(default=40, ge=4)
    """Frames of 10 ms that a mask covers."""
    noise: float = Field(default=0.1, gt=0.0)
    """Standard deviation of what stands in place of the masked features (which have about 1)."""
    keep_weight: float = Field(default=1.0, ge=0.0)
    """Weight of the divergence (nats a step) of the output layer from that of the start, on the audio without masks.

    1 counts a nat of it as a nat of masked prediction. 0 switches it off, which more than halves the time an update
    takes; the output layer then stays as it was while the encoder moves away beneath it."""
    longest_s: float = Field(default=20.0, ge=2.0)
    """Longer recordings are heard in equal parts of at most so many seconds (ours)."""
    dev_s: float = Field(default=600.0, gt=0.0)
    """Most seconds of dev that each evaluation hears (ours)."""
    held_out: float = Field(default=0.05, gt=0.0, le=0.5)
    """Share of the rows that is measured and not learnt from where no corpus has a dev split (ours)."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.mask_start * self.mask_frames > 1.0:
            raise ValueError(
                f"{self.mask_start:g} masks a frame of {self.mask_frames} frames each would cover all; "
                "their product must be at most 1"
            )
        return self

    @property
    def shortest_s(self) -> float:
        """Seconds that an utterance needs at least: two masks, so that half of it is heard."""
        return 2 * self.mask_frames / 100 + 0.015

    def applied(self, config: TrainConfig) -> TrainConfig:
        """`config` with these masks in place of its SpecAugment, and with the start's own output layer."""
        augment = config.augment.model_copy(
            update={
                "time_mask_p": self.mask_start * self.mask_frames,
                "time_mask_length": self.mask_frames,
                "time_mask_least": 1,
                "channel_mask_p": 0.0,
                "mel_masks": 0,
                "masks_from_update": 0,
            }
        )
        return config.model_copy(update={"augment": augment, "head": "keep"})
