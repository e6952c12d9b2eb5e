"""Continued training on untranscribed speech: settings by scale, the stage, and what it will cost.

Example::

    stage = pretrain_stage([corpus_ref(radio)], PretrainOptions(start="base/model", scale="dev"))
    print(pretrain_cost(stage, on, hours=12.0))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.engines.facts import facts_of
from orature.engines.families import family_of
from orature.engines.hub import model_folder
from orature.flow import Ref, Resources
from orature.recipes.estimate import estimate_job
from orature.recipes.settings import nearest, override
from orature.recipes.training import SCALES
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.pretrain import Pretrain, require_conformer
from orature.train.config import AugmentConfig, Scale, TrainConfig
from orature.train.masked_config import MaskedConfig

AUGMENT = AugmentConfig(speeds=(1.0,), warp=0.0, noise_probability=0.0, gain_db=0.0)
"""Only masks, as published; speeds, noise, rooms and codecs can be set."""
SHARED: dict[str, Any] = {
    "peak_lr": 5e-4,
    "head": "keep",
    "patience": 100,
    "average": 3,
    "overfit_clips": 0,
    "augment": AUGMENT.model_dump(),
}
BY_SCALE: dict[Scale, dict[str, Any]] = {
    "smoke": {"updates": 40, "evaluate_every": 20, "batch_seconds": 40.0},
    "dev": {"updates": 2000, "evaluate_every": 200, "batch_seconds": 100.0},
    "full": {"updates": 40_000, "evaluate_every": 1000, "batch_seconds": 400.0, "precision": "bf16"},
}
OPTIONS = (
    "model_overrides freeze freeze_encoder_updates updates batch_seconds accumulate peak_lr schedule warmup_share "
    "hold_share final_lr_share betas weight_decay clip_norm precision compile mix evaluate_every patience average "
    "augment"
).split()
"""What of `TrainConfig` has a meaning here: the rest is about text, output layers and networks from nothing."""
_MASKS = ("time_mask", "mel_mask", "channel_mask", "masks_from")


@dataclass(frozen=True, slots=True)
class PretrainOptions:
    """What is computed, apart from the corpora; `settings` hold fields of `MaskedConfig` and those in `OPTIONS`."""

    start: str | None = None
    scale: Scale = "dev"
    seed: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    embargo: tuple[str, ...] = ()
    name: str = ""


def pretrain_stage(corpora: Sequence[Ref], options: PretrainOptions) -> Pretrain:
    """The stage with its settings by scale, then overridden; ConfigError, ModelError for what cannot be."""
    if options.start is None:
        raise ConfigError(
            "training on speech alone goes on from a model, and none is given (it does not begin from nothing)",
            next_step="name one with --start MODEL_FOLDER; `orature run base` makes one",
        )
    if options.scale not in SCALES:
        raise ConfigError(f"there is no scale {options.scale!r}", next_step="choose smoke, dev or full")
    config, masked = _configs(options)
    folder = model_folder(options.start)
    require_conformer(folder)
    facts_of(folder, family_of(folder))
    return Pretrain(
        corpora=tuple(corpora),
        start=model_ref(options.start),
        config=config,
        masked=masked,
        embargo=tuple(corpus_ref(Path(corpus)) for corpus in options.embargo),
        model_name=options.name,
    )


def _configs(options: PretrainOptions) -> tuple[TrainConfig, MaskedConfig]:
    """The settings sorted out by what they belong to."""
    own = MaskedConfig.model_fields
    for name, value in options.settings.items():
        if name not in own and name not in OPTIONS:
            raise ConfigError(f"there is no option {name!r} here", next_step=nearest(name, [*own, *OPTIONS]))
        inner = value if name == "augment" and isinstance(value, Mapping) else {}
        for part in inner:
            if part.startswith(_MASKS):
                raise ConfigError(
                    f"augment.{part} would be overwritten: masked prediction has masks of its own",
                    next_step="set mask_start and mask_frames",
                )
    masked = override(MaskedConfig(), {name: v for name, v in options.settings.items() if name in own})
    base = TrainConfig.model_validate({**SHARED, **BY_SCALE[options.scale], "seed": options.seed})
    return override(base, {name: v for name, v in options.settings.items() if name not in own}), masked


def pretrain_cost(stage: Pretrain, on: Resources | None = None, hours: float = 0.0) -> str:
    """What the stage will take, in one line, measured by a few updates on noise."""
    return estimate_job(stage.job(Path(stage.start.path)), hours=hours, on=on).sentence()
