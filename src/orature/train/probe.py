"""How fast this machine trains: a few updates on noise, before a long run says what it will cost.

Example::

    print(f"{training_speed(Job(config=TrainConfig(), texts=LETTERS, languages=())):.0f} audio seconds a second")
"""

from __future__ import annotations

import time

import torch

from orature.core.types import RATE_HZ
from orature.train.batches import Item
from orature.train.job import Job
from orature.train.loader import Batch
from orature.train.loop import optimiser_for

_LABELS = 20
_UPDATES = 3
_CLIP_S = 4.0


def training_speed(job: Job, device: str = "cpu") -> float:
    """Audio seconds that pass through training a second of wall time (reading and evaluation left out).

    `job` needs no examples: noise of the length that its batches have is enough.
    """
    states = torch.random.get_rng_state()
    made, config = job.make(), job.config
    freezing = job.freezing(made)
    made.learner.module.to(device)
    optimiser = optimiser_for(freezing.trained, config)
    clips = max(1, round(config.batch_seconds / _CLIP_S))
    batch = _noise(clips, made.vocabulary.encode(" ")[:1] or [0])
    best_s = float("inf")
    for _ in range(_UPDATES):
        began = time.perf_counter()
        made.learner.module.train()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.precision == "bf16"):
            losses = made.learner.loss(batch)
        (losses.total / losses.weight).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        best_s = min(best_s, time.perf_counter() - began)
    torch.random.set_rng_state(states)
    return clips * _CLIP_S / best_s


def _noise(clips: int, tokens: list[int]) -> Batch:
    size = int(_CLIP_S * RATE_HZ)
    labels = tokens * _LABELS
    return Batch(
        items=[Item(0, 1.0, None, _CLIP_S) for _ in range(clips)],
        samples_BS=0.1 * torch.randn(clips, size),
        lengths_B=torch.full((clips,), size),
        targets=torch.tensor(labels * clips, dtype=torch.long),
        target_lengths_B=torch.full((clips,), len(labels)),
        languages=["und"] * clips,
    )
