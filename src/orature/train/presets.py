"""Fine-tuning recipes as data: which hyper-parameters for which model family and how many hours of speech.

The rows are in `presets.json`. Each says what was published and where (`published`, `source`), what is set here
(`settings`, over those of a group that it is `like`), and which part of that is our own judgement (`judgement`).

Freezing: the convolutional front end (CNN) of the wav2vec 2.0 family stays frozen at any number of hours, as fairseq
does from 10 minutes to 960 hours. A widely read tutorial thaws it at one hour; no published result supports that, so it
is a switch (`freeze`) and not the default.

Example::

    preset = preset_for("wav2vec2", hours=1.5)
    config = TrainConfig.model_validate(TrainConfig().model_dump() | preset.overrides("full"))
    print(preset.name, preset.source)
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, Field

from orature.core.errors import ConfigError

Scale = Literal["smoke", "dev", "full"]

_ALIASES = {
    "xls-r": "wav2vec2",
    "w2v-bert": "wav2vec2-bert",
    "parakeet_ctc": "parakeet-ctc",
    "parakeet": "parakeet-ctc",
    "speech_to_text": "speech2text",
    "orature-conformer-ctc": "conformer",
    "orature-transformer-ctc": "transformer",
}
_BATCH_S = 80.0
"""Seconds computed at once: an update adds up as many of these as it needs (fairseq: 80 s, 20 times)."""
_MOST_DEV = (2000, 80.0)
"""Updates and seconds an update that two cores can do in ten to twenty minutes."""
_EVALUATIONS = 25
"""Fewer than `TrainConfig.patience`: a learning rate that goes down must be let down to its end."""


class Preset(BaseModel, frozen=True, extra="forbid"):
    """One row of the table; what a `TrainConfig` field of the same name says is said there."""

    name: str
    families: tuple[str, ...]
    hours: float = Field(gt=0)
    """Of labelled speech that the row is meant for."""
    default: bool
    """Whether `preset_for` may choose it; the others are asked for by name."""
    source: str
    judgement: str
    published: dict[str, Any]

    updates: int = Field(default=0, ge=0)
    epochs: float = Field(default=0.0, ge=0.0)
    """Instead of `updates`: passes over the speech at hand, but at least `least_updates`."""
    least_updates: int = Field(default=1, ge=1)
    update_seconds: float = Field(gt=0)
    """Audio an update, in seconds."""
    peak_lr: float = Field(gt=0)
    schedule: Literal["cosine", "tri-stage", "linear", "inverse-sqrt", "constant"]
    warmup_share: float = 0.1
    hold_share: float = 0.4
    final_lr_share: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    head: Literal["auto", "new", "extend", "keep"] = "auto"
    freeze: tuple[Literal["features", "encoder", "decoder"], ...] = ()
    freeze_encoder_updates: int = 0
    train_only: Literal["all", "adapters", "lora", "head"] = "all"
    lora_rank: int = 16
    model_overrides: dict[str, float | int | bool | str] = Field(default_factory=dict)
    loss_scale: Literal["labels", "sqrt-length"] = "labels"
    lid_weight: float = 0.0
    label_smoothing: float = 0.0
    smoke: tuple[int, float] = (200, 40.0)
    """At scale smoke: the most updates and seconds an update, a few minutes on two cores."""
    augment: dict[str, Any] = Field(default_factory=dict)
    """Fields of `AugmentConfig`."""

    def updates_for(self, hours: float) -> int:
        """Updates at full scale for so many hours of speech."""
        if not self.epochs:
            return self.updates
        return max(self.least_updates, round(self.epochs * hours * 3600 / self.update_seconds))

    def overrides(self, scale: Scale = "full", *, hours: float | None = None) -> dict[str, Any]:
        """Fields of `TrainConfig` as plain values, for `hours` of speech (those of the row if None).

        full: as published. dev: at most 2,000 updates of at most 80 seconds; smoke: what `smoke` of the row says. For
        1,600 seconds an update are out of reach of a laptop; phases and the frozen beginning shrink in proportion, bf16
        becomes fp32. The learning rate stays: Adam's step does not grow with the batch, and although a noisier gradient
        would ask for up to the root of the ratio less (Malladi et al. 2022, arXiv 2205.10287), so few updates would
        then not arrive.
        """
        wanted = self.updates_for(self.hours if hours is None else hours)
        most, most_s = {"smoke": self.smoke, "dev": _MOST_DEV}.get(scale, (wanted, self.update_seconds))
        updates, seconds = min(wanted, most), min(self.update_seconds, most_s)
        accumulate = max(1, round(seconds / _BATCH_S))
        as_they_are = (
            *("peak_lr", "schedule", "warmup_share", "hold_share", "final_lr_share", "betas", "weight_decay"),
            *("clip_norm", "head", "freeze", "train_only", "lora_rank", "model_overrides", "loss_scale"),
            *("lid_weight", "label_smoothing"),
        )
        augment = dict(self.augment)
        if augment.get("masks_from_update"):
            augment["masks_from_update"] = round(augment["masks_from_update"] * updates / wanted)
        return {name: getattr(self, name) for name in as_they_are} | {
            "updates": updates,
            "batch_seconds": seconds / accumulate,
            "accumulate": accumulate,
            "freeze_encoder_updates": round(self.freeze_encoder_updates * updates / wanted),
            "evaluate_every": max(1, math.ceil(updates / _EVALUATIONS)),
            "precision": "bf16" if scale == "full" else "fp32",
            "augment": augment,
        }

    def about(self) -> str:
        """One line for a plan: which row, from where, and what of it is ours."""
        return f"{self.name} (for about {self.hours:.2g} h). Source: {self.source}. {self.judgement}"


@cache
def presets() -> tuple[Preset, ...]:
    """All rows, in the order of the table."""
    table = json.loads(files("orature.train").joinpath("presets.json").read_text(encoding="utf-8"))
    rows = []
    for row in table["rows"]:
        shared, own = table["shared"][row.pop("like")], row.pop("settings")
        both = {
            name: shared[name] | own[name] for name in ("augment", "model_overrides") if {name} <= shared.keys() & own
        }
        rows.append(Preset.model_validate(row | shared | own | both))
    return tuple(rows)


def preset_for(family: str, hours: float) -> Preset:
    """The row of `family` (a name of the table of families, "mms", or a model_type) nearest to `hours` on a log scale.

    Nothing is interpolated: published numbers are taken whole. ConfigError when the family has no rows.
    """
    known = _ALIASES.get(family, family)
    rows = [row for row in presets() if row.default and known in row.families]
    if not rows:
        raise ConfigError(
            f"there is no fine-tuning recipe for the family {family!r}",
            next_step="known: "
            + ", ".join(sorted({name for row in presets() if row.default for name in row.families})),
        )
    logarithm = math.log(max(hours, 1e-3))
    return min(rows, key=lambda row: (abs(math.log(row.hours) - logarithm), row.hours))


def preset_named(name: str) -> Preset:
    """The row of this name; ConfigError lists the names where there is none."""
    found = next((row for row in presets() if row.name == name), None)
    if found is None:
        raise ConfigError(
            f"there is no fine-tuning recipe {name!r}", next_step="known: " + ", ".join(row.name for row in presets())
        )
    return found
