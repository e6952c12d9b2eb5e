"""Everything that decides what a training run computes; the defaults by scale and by hours of speech.

Example::

    TrainConfig.for_scale("dev", hours=1.8).model_copy(update={"peak_lr": 5e-4})
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from orature.engines.conformer import Size
from orature.engines.features import Normalisation
from orature.train.augment_config import AugmentConfig

__all__ = ["AugmentConfig", "Scale", "TrainConfig"]

Scale = Literal["smoke", "dev", "full"]
_SHORT_S = 1.5
_FEW_SPEAKERS = 10


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    """A CTC training run from nothing; learning rates are for AdamW, times in seconds of audio."""

    size: Size = "tiny"
    subsampling: Literal["auto", 2, 4] = "auto"
    normalisation: Normalisation = "mean-variance"
    """Of the features, an utterance at a time; see `orature.engines.features.normalise`."""
    dropout: float = 0.1
    case: Literal["keep", "lower"] = "lower"
    punctuation: Literal["keep", "strip"] = "strip"
    updates: int = Field(default=2000, ge=1)
    batch_seconds: float = Field(default=100.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    peak_lr: float = Field(default=2e-3, gt=0)
    warmup_share: float = Field(default=0.1, ge=0.0, le=0.9)
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    evaluate_every: int = Field(default=100, ge=1)
    patience: int = Field(default=30, ge=1)
    """Early stop after this many evaluations without a better dev CER."""
    average: int = Field(default=5, ge=1)
    """So many of the best checkpoints are averaged; the average is kept if it is better on dev."""
    overfit_clips: int = Field(default=16, ge=0)
    """The guard before a long run: can the model learn this many clips by heart? 0 leaves the guard out."""
    augment: AugmentConfig = AugmentConfig()
    seed: int = 1

    @classmethod
    def for_scale(cls, scale: Scale, *, hours: float, mean_s: float = 5.0, speakers: int = 100) -> TrainConfig:
        """Defaults for `hours` of training speech by `speakers` people in utterances of `mean_s` seconds on average.

        smoke: a few minutes on two cores, to see that all works; dev: ten to twenty minutes on two cores; full: until
        it has converged, on a GPU or over night. Isolated words (under 1.5 s on average) come in smaller batches; where
        fewer than ten people say them, they are joined in pairs and perturbed more strongly, which stands in for the
        voices that are missing and slows learning down. Chosen on dev splits, see LOG.md.
        """
        config = cls()
        if mean_s < _SHORT_S:
            config = cls(batch_seconds=40.0, updates=1600, peak_lr=1e-3, normalisation="mean")
        if mean_s < _SHORT_S and speakers < _FEW_SPEAKERS:
            strong = AugmentConfig(speeds=(0.8, 0.9, 1.0, 1.1, 1.2), warp=0.2, time_masks=2, join_probability=0.5)
            config = config.model_copy(update={"augment": strong, "dropout": 0.2})
        if scale == "smoke":
            return config.model_copy(update={"updates": 400, "evaluate_every": 80})
        if scale == "dev":
            return config
        big = hours >= 20.0
        size: Size = "base" if big else "small"
        return config.model_copy(
            update={
                "size": size,
                "updates": 100_000 if big else 12_000,
                "batch_seconds": 400.0 if big else 200.0,
                "peak_lr": 5e-4 if big else 1e-3,
                "evaluate_every": 500 if big else 200,
                "precision": "bf16",
            }
        )
