"""What a training run will take on this machine: time, memory and disk, measured by a few updates on noise.

Example::

    found = estimate("xls-r-300m/", hours=2.0, scale="full")
    print("\\n".join(found.lines()))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orature.core.errors import ConfigError
from orature.core.progress import clock
from orature.engines.conformer import ConformerConfig
from orature.engines.transformer_ctc import TransformerConfig
from orature.flow import Resources
from orature.recipes.training import SCALES, UpOptions, config_for, recipe_of
from orature.stages.train import Train
from orature.train.config import Scale
from orature.train.devices import is_busy, prepare_device
from orature.train.job import Job
from orature.train.memory import MARGIN, free_on
from orature.train.probe import CLIP_S, Measured, measure

LETTERS = ("abcdefghijklmnopqrstuvwxyz '",)
_NETWORKS = {"conformer": ConformerConfig.sizes, "transformer": TransformerConfig.sizes}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A training run in figures; bytes in GB (1e9), None where this machine does not tell."""

    model: str
    recipe: str
    device: str
    hours: float
    parameters: int
    trained: int
    updates: int
    update_s: float
    audio_hours: float
    audio_s_per_s: float
    seconds: float
    at_once_s: float
    memory_gb: float | None
    free_gb: float | None
    disk_gb: float
    busy: bool
    """Whether other programs kept the processor busy while this was measured."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For a person."""
        memory = "cannot be measured here"
        if self.memory_gb is not None and self.free_gb is not None:
            memory = (
                f"about {self.memory_gb:.1f} GB with {self.at_once_s:.0f} s at once; {self.free_gb:.1f} GB are free"
            )
        return [
            f"model:   {self.model}, {self.parameters / 1e6:.1f} M parameters ({self.trained / 1e6:.1f} M trained)",
            f"recipe:  {self.recipe}",
            f"work:    {self.updates} updates of {self.update_s:.0f} s, {self.audio_hours:.1f} h of audio "
            f"({self.audio_hours / max(self.hours, 1e-9):.0f} times the {self.hours:.2g} h)",
            f"time:    about {clock(self.seconds)} at {self.audio_s_per_s:.0f} audio-s/s on {self.device}, "
            f"evaluations not counted (early stop may come before){self._note()}",
            f"memory:  {memory}",
            f"disk:    about {self.disk_gb:.1f} GB while it runs",
        ]

    def _note(self) -> str:
        return "; other work slows this machine down right now" if self.busy else ""

    def sentence(self) -> str:
        """In one line."""
        memory = "" if self.memory_gb is None else f", about {self.memory_gb:.1f} GB of memory"
        return (
            f"train: will pass {self.audio_hours:.1f} h of audio, about {clock(self.seconds)} at "
            f"{self.audio_s_per_s:.0f} audio-s/s on this machine{memory} and {self.disk_gb:.1f} GB of disk "
            f"(early stop may come before){self._note()}"
        )


def estimate(
    model: str,
    *,
    hours: float,
    scale: Scale = "dev",
    train: Mapping[str, Any] | None = None,
    on: Resources | None = None,
) -> Estimate:
    """What training `model` on `hours` of speech takes.

    `model` is a size ("tiny", "transformer-base": from nothing), a model folder or an allowed hub id (fine-tuned by the
    recipe for its family and so many hours); `train` overrides fields of `TrainConfig`.
    """
    if scale not in SCALES:
        raise ConfigError(f"there is no scale {scale!r}", next_step="choose smoke, dev or full")
    own = _sized(model)
    options = UpOptions(scale=scale, train={**own, **(train or {})}, start=None if own else model)
    config = config_for(options, hours=hours)
    job = Job(config=config, texts=LETTERS, languages=(), start=options.start)
    return estimate_job(job, hours=hours, recipe=recipe_of(options, hours), name=model, on=on)


def _sized(model: str) -> dict[str, Any]:
    """Fields of `TrainConfig` that a size means; {} for what is no size."""
    network, _, size = model.rpartition("-")
    if size in _NETWORKS.get(network or "conformer", tuple)():
        return {"network": network or "conformer", "size": size}
    return {}


def estimate_job(
    job: Job, *, hours: float, recipe: str = "", name: str = "", on: Resources | None = None, clip_s: float = CLIP_S
) -> Estimate:
    """What a job takes (it needs no examples)."""
    on = on or Resources()
    device = prepare_device(on.device, on.threads)
    free, busy = free_on(device), is_busy()
    measured = measure(job, device, clip_s)
    config = job.config
    audio_s = config.updates * config.batch_seconds * config.accumulate
    speed = measured.audio_s_per_s * (on.processes if device.startswith("cuda") else 1)
    at_once = config.batch_seconds
    if free is not None and measured.footprint is not None:
        at_once = min(at_once, max(clip_s, measured.footprint.fits(MARGIN * free)))
    return Estimate(
        model=name or measured.family,
        recipe=recipe,
        device=device,
        hours=hours,
        parameters=measured.parameters,
        trained=measured.trained,
        updates=config.updates,
        update_s=config.batch_seconds * config.accumulate,
        audio_hours=audio_s / 3600,
        audio_s_per_s=round(speed, 2),
        seconds=audio_s / speed,
        at_once_s=at_once,
        memory_gb=_memory_gb(measured, at_once),
        free_gb=None if free is None else free / 1e9,
        disk_gb=measured.disk(config) / 1e9,
        busy=busy,
    )


def _memory_gb(measured: Measured, at_once_s: float) -> float | None:
    return None if measured.footprint is None else measured.memory(at_once_s) / 1e9


def cost(stage: Train, on: Resources | None = None, hours: float = 0.0) -> str:
    """What a training stage will take, in one line."""
    start = None if stage.start is None else stage.start.path
    job = Job(config=stage.config, texts=LETTERS, languages=(), start=start, language=stage.language or None)
    return estimate_job(job, hours=hours, on=on).sentence()
