"""The settings of a calibration: qualities, ratio, seeds, and how its small recognisers are trained.

Example::

    settings = settings_from({"ladder": "clean,noise:5,bands:4", "updates": 800}, scale="dev")
    rung_of("bands:2+shuffle:250")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from orature.core.errors import ConfigError
from orature.recipes.settings import nearest, override
from orature.recipes.training import UpOptions
from orature.stages.distort import Distortion
from orature.text.normalise import NORMALISER, get
from orature.train.config import Scale, TrainConfig

CLEAN = "clean"
LADDER = (CLEAN, "bands:8", "bands:7", "bands:6", "bands:5", "bands:2+shuffle:250")
"""From the voice as it is to speech that nobody understands; of one kind, so that no rung helps merely by its noise.

To a judge with 4 % WER on the sample corpus: Norm_I 1, 0.48 (8 bands), 0.018 (6), 0.004 (5) and 0. A judge that errs
more sees them closer together.
"""
NEVER = 1_000_000
"""Evaluations without gain before a training stops: all shall have the same compute."""
BY_SCALE: dict[str, dict[str, Any]] = {
    "smoke": {
        "size": "micro",
        "updates": 12,
        "evaluate_every": 6,
        "batch_seconds": 10.0,
        "overfit_clips": 0,
        "average": 2,
    },
    "dev": {"size": "micro", "overfit_clips": 0},
    "full": {"overfit_clips": 0},
}
"""Training options over those of scale dev; smoke only shows that all works."""
SEEDS: dict[str, int] = {"smoke": 1, "dev": 2, "full": 3}


class CalibrateConfig(BaseModel, frozen=True, extra="forbid"):
    """The recipe's own settings; `split` holds fields of `MakeSplits`, `train` those of `TrainConfig`."""

    judge: str | None = None
    synthetic: str | None = None
    """Corpus folder with synthetic speech in train (and, to be judged on the sentences of dev, in dev)."""
    text: str | None = None
    """Instead: a text corpus or a file of sentences, which `voice` reads."""
    voice: str = "espeak"
    ladder: tuple[str, ...] = LADDER
    ratio: float = Field(default=1.0, gt=0)
    seeds: int | None = Field(default=None, ge=1)
    most_hours: float | None = Field(default=None, gt=0)
    probes: int = Field(default=400, ge=1)
    metric: Literal["auto", "wer", "cer"] = "auto"
    normaliser: str = NORMALISER
    language: str = ""
    format: str = "auto"
    split: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)


def rung_of(text: str) -> tuple[Distortion, ...]:
    """The distortions that a rung such as `bands:2+shuffle:250` names; () for `clean`. ConfigError for others."""
    if text.strip() == CLEAN:
        return ()
    steps = []
    for part in text.split("+"):
        kind, _, amount = part.strip().partition(":")
        try:
            steps.append(Distortion.model_validate({"kind": kind, "amount": amount}))
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise ConfigError(
                f"{part!r} is no quality of synthetic speech: {why}",
                where="ladder",
                next_step="write clean, or KIND:AMOUNT such as noise:5, bands:4, smear:3, shuffle:100, shift:4",
            ) from error
    return tuple(steps)


def training_options(settings: CalibrateConfig, scale: str) -> dict[str, Any]:
    """Options of `TrainConfig` for a scale, under those that were given; without early stop."""
    return {**BY_SCALE.get(scale, {}), "patience": NEVER, **settings.train}


def settings_from(given: Mapping[str, Any], scale: Scale = "dev") -> CalibrateConfig:
    """Settings of the recipe and of training from one table; ConfigError names the nearest known one."""
    own = {name: value for name, value in given.items() if name in CalibrateConfig.model_fields}
    training = {name: value for name, value in given.items() if name not in own}
    for name in training:
        if name not in TrainConfig.model_fields:
            known = {*CalibrateConfig.model_fields, *TrainConfig.model_fields}
            raise ConfigError(f"there is no option {name!r}", next_step=nearest(name, known))
    if isinstance(own.get("ladder"), str):
        own["ladder"] = [part.strip() for part in str(own["ladder"]).split(",")]
    settings = override(CalibrateConfig(seeds=SEEDS.get(scale, 1)), own)
    settings = settings.model_copy(update={"train": {**settings.train, **training}})
    if len(set(settings.ladder)) != len(settings.ladder) or len(settings.ladder) < 2:
        raise ConfigError("the ladder needs two different qualities or more", next_step=f"such as {','.join(LADDER)}")
    for rung in settings.ladder:
        rung_of(rung)
    get(settings.normaliser)
    UpOptions(scale=scale, split=settings.split, train=training_options(settings, scale))
    return settings
