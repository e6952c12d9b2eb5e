"""What a training run costs on this machine: a few updates on noise tell its speed and its memory.

Example::

    measured = measure(Job(config=TrainConfig(), texts=LETTERS, languages=()))
    print(f"{measured.audio_s_per_s:.0f} audio seconds a second, {measured.memory(80.0) / 1e9:.1f} GB")
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from orature.core.errors import TrainingFailed
from orature.core.types import RATE_HZ
from orature.train.batches import Item
from orature.train.config import TrainConfig
from orature.train.freezing import Freezing
from orature.train.job import Job, Made
from orature.train.loader import Batch
from orature.train.loop import optimiser_for
from orature.train.memory import Footprint, footprint
from orature.train.parallel import Parallel

CLIP_S = 4.0
_CHARACTERS = 20
_UPDATES = 3
_STEP_S = 6.0
"""Wall time that one measured step may take: a large model is measured with fewer clips."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Cost of a training run: parameters, speed with all that an update does, and memory."""

    family: str
    parameters: int
    trained: int
    audio_s_per_s: float
    footprint: Footprint | None
    """None where memory cannot be measured."""

    def memory(self, at_once_s: float) -> float:
        """Bytes when so many seconds are computed at once: weights, gradients, AdamW's moments, activations."""
        return 4.0 * self.parameters + (0.0 if self.footprint is None else self.footprint.of(at_once_s))

    def disk(self, config: TrainConfig) -> float:
        """Bytes of checkpoints while it runs (two with the optimiser, the best ones) and of the finished model."""
        checkpoints, kept = 2 * 3, config.average + 1
        return 4.0 * (checkpoints + kept) * self.trained + 2 * 4.0 * self.parameters


def measure(job: Job, device: str = "cpu", clip_s: float = CLIP_S) -> Measured:
    """A few updates on noise in clips of `clip_s` seconds (reading and evaluation are left out).

    `job` needs no examples. TrainingFailed when not even two clips fit into a GPU's memory.
    """
    with torch.random.fork_rng(devices=[]):
        made = job.make()
        parallel = Parallel(device=device, precision=job.config.precision)
        try:
            return _measured(job, made, job.freezing(made), parallel, clip_s)
        except torch.OutOfMemoryError as error:
            raise TrainingFailed(
                f"two clips of {clip_s:.0f} s do not fit into the GPU's memory",
                next_step="take a smaller model, or train less of it (--set train_only=lora)",
            ) from error


def _measured(job: Job, made: Made, freezing: Freezing, parallel: Parallel, clip_s: float) -> Measured:
    config, tokens = job.config, made.vocabulary.encode("a ")[:1] or [1]
    parallel.wrap(made.learner.module)
    one, two = _noise(1, clip_s, tokens, job), _noise(2, clip_s, tokens, job)
    found = footprint(made.learner, freezing, (one, two), parallel)
    optimiser = optimiser_for(freezing.trained, config)
    one_s = _passed(made, parallel, one)
    clips = max(1, min(round(config.batch_seconds / clip_s), int(_STEP_S / one_s)))
    batch, update_s = _noise(clips, clip_s, tokens, job), config.batch_seconds * config.accumulate
    passed, stepped = [], []
    for _ in range(_UPDATES):
        passed.append(_passed(made, parallel, batch))
        began = time.perf_counter()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        stepped.append(_until(parallel) - began)
        if sum(passed) > _STEP_S:
            break
    wall_s = min(passed) * update_s / (clips * clip_s) + min(stepped)
    trained = sum(p.numel() for p in freezing.trained)
    return Measured(made.family.name, made.parameters, trained, update_s / wall_s, found)


def _passed(made: Made, parallel: Parallel, batch: Batch) -> float:
    """Seconds of a forward and a backward pass."""
    made.learner.module.train()
    began = time.perf_counter()
    with parallel.autocast():
        losses = made.learner.loss(batch)
    (losses.total / losses.weight).backward()  # type: ignore[no-untyped-call]
    return _until(parallel) - began


def _until(parallel: Parallel) -> float:
    """The time when a GPU has done what it was given."""
    if parallel.device.type == "cuda":
        torch.cuda.synchronize(parallel.device)
    return time.perf_counter()


def _noise(clips: int, clip_s: float, tokens: list[int], job: Job) -> Batch:
    size, labels = int(clip_s * RATE_HZ), tokens * _CHARACTERS
    return Batch(
        items=[Item(0, 1.0, None, clip_s) for _ in range(clips)],
        samples_BS=0.1 * torch.randn(clips, size),
        lengths_B=torch.full((clips,), size),
        targets=torch.tensor(labels * clips, dtype=torch.long),
        target_lengths_B=torch.full((clips,), len(labels)),
        languages=[job.language or "und"] * clips,
    )
