"""Settings of training on pseudo-labels: slimIPL (Likhomanenko et al. 2020, arXiv 2010.11524) and its relatives.

Example::

    PseudoConfig.scaled("10h", updates=2000, batches=120)
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

Teacher = Literal["current", "ema", "top", "fixed"]
PUBLISHED: dict[str, dict[str, Any]] = {
    "10h": {"warmup_updates": 20_000, "cache": 1000, "ratio": 10.0, "dropout": 0.1},
    "100h": {"warmup_updates": 20_000, "cache": 100, "ratio": 4.0, "dropout": 0.1},
    "multilingual": {"warmup_updates": 10_000, "cache": 1000, "ratio": 10.0, "dropout": 0.1, "crop_updates": 10_000},
}
"""As the released trainer has it, for updates of 3,200 s of audio; all replace with probability 0.1."""
PUBLISHED_S = 3200.0
_WARM_SHARE, _CROP_SHARE, _CACHE_SHARE = 0.2, 0.2, 0.5


class WatchConfig(BaseModel, frozen=True, extra="forbid"):
    """When labels have collapsed, looked at with every evaluation after the warm-up; None: not looked at."""

    empty_share: float | None = Field(default=0.5, gt=0, le=1)
    """Most labels that may be empty, beyond the share of empty labels right after the warm-up."""
    length_ratio: tuple[float, float] | None = (0.4, 2.5)
    """Least and most characters a second of audio, against labels right after the warm-up."""
    probe_distance: float | None = Field(default=0.9, gt=0)
    """Most character errors against the labels of fixed utterances by the model that the warm-up ended with."""
    labelled_loss: float | None = Field(default=2.0, gt=1)
    """Most loss on labelled speech, against its last value before pseudo-labels."""
    dev_loss: float | None = Field(default=1.5, gt=1)
    """Most dev figure against the best so far (and at least 0.05 above it)."""
    rollbacks: int = Field(default=3, ge=0)
    """After so many the run ends with an error."""
    slower: float = Field(default=0.5, gt=0, le=1)
    """What the learning rate is multiplied by at each."""


class PseudoConfig(BaseModel, frozen=True, extra="forbid"):
    """Pseudo-labels in the training loop; counts of updates and batches are those of the run itself.

    `warmup_updates` on labelled speech alone; then slots, `ratio` unlabelled ones for each labelled one in random
    order, over a cache of `cache` batches whose labels are replaced with probability `replace` at each use.
    """

    warmup_updates: int = Field(default=400, ge=0)
    cache: int = Field(default=50, ge=0)
    """Batches; 0: every batch is labelled right before it is trained on ("naive", which collapses easily)."""
    replace: float = Field(default=0.1, ge=0, le=1)
    ratio: float = Field(default=4.0, gt=0, le=100)
    dropout: float | None = Field(default=0.1, ge=0, lt=1)
    """After the warm-up, where it was higher; None: as it was."""
    teacher: Teacher = "current"
    """Whose labels: the weights as they are; their moving average (Higuchi et al. 2021, arXiv 2106.08922); the mean of
    the best checkpoints on dev (TopIPL, arXiv 2506.07659); or the weights that the warm-up ended with."""
    ema_decay: float = Field(default=0.999, gt=0, lt=1)
    top: int = Field(default=5, ge=1)
    """Checkpoints that the teacher "top" averages (at most as many as `average` keeps)."""
    refresh_share: float = Field(default=0.0, ge=0, le=1)
    """Of the cache that is labelled anew, utterances alike, each time all of it has been used."""
    temperature: float = Field(default=0.0, ge=0)
    """Of labels that are sampled (CTC: at each step); 0: the best path."""
    crop_s: float = Field(default=10.0, gt=1)
    crop_updates: int = Field(default=0, ge=-1)
    """For so many updates after the warm-up audio is cut up for labelling (not for training); 0: never, -1: always."""
    keep_empty: bool = False
    """Whether an utterance whose label is empty is trained on, too."""
    batch_seconds: float | None = Field(default=None, gt=0)
    """Of unlabelled batches; None: as labelled ones."""
    probe_s: float = Field(default=60.0, ge=0)
    """Seconds of unlabelled speech whose labels are compared with those of the warmed-up model."""
    watch: WatchConfig = WatchConfig()

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        if self.cache == 0 and self.refresh_share:
            raise ValueError("without a cache there is nothing to refresh: leave refresh_share out, or cache above 0")
        return self

    @property
    def window(self) -> tuple[int, int]:
        """Labelled and unlabelled slots of a window."""
        ratio = Fraction(self.ratio).limit_denominator(20)
        return ratio.denominator, max(1, ratio.numerator)

    @classmethod
    def scaled(cls, name: str, *, updates: int, batches: int) -> Self:
        """Published settings for a run of `updates` over `batches` unlabelled batches.

        Ratio, replacement and dropout stay. Warm-up and cropping take at most a fifth of the updates each, the cache at
        most half of the unlabelled batches, so that there is always a fresh batch to replace one by (our judgement: the
        source has far more of both than a laptop can hold). ValueError for an unknown name.
        """
        if name not in PUBLISHED:
            raise ValueError(f"there is no setting {name!r}; choose one of {', '.join(PUBLISHED)}")
        own = dict(PUBLISHED[name])
        own["warmup_updates"] = min(own["warmup_updates"], max(1, round(_WARM_SHARE * updates)))
        own["cache"] = min(own["cache"], max(1, int(_CACHE_SHARE * batches)))
        if own.get("crop_updates"):
            own["crop_updates"] = min(own["crop_updates"], max(1, round(_CROP_SHARE * updates)))
        return cls(**own)

    def scaling_said(self, name: str) -> str:
        """What is not as the setting of that name was published, in words."""
        told = [
            f"{key.replace('_', ' ')} {getattr(self, key)} (published {value})"
            for key, value in PUBLISHED[name].items()
            if getattr(self, key) != value
        ]
        said = f"slimIPL {name}: " + (", ".join(told) or "as published")
        return f"{said}; published for updates of {PUBLISHED_S:.0f} s"
