"""The learning rate at each update.

Example::

    learning_rate(0, config)     # the first step of the warm-up
"""

from __future__ import annotations

import math
from typing import Protocol


class Scheduled(Protocol):
    """What the learning rate follows from; see `orature.train.config.TrainConfig`."""

    @property
    def updates(self) -> int: ...
    @property
    def peak_lr(self) -> float: ...
    @property
    def schedule(self) -> str: ...
    @property
    def warmup_share(self) -> float: ...
    @property
    def hold_share(self) -> float: ...
    @property
    def final_lr_share(self) -> float: ...


def learning_rate(update: int, config: Scheduled) -> float:
    """Linear warm-up to `peak_lr`, then by `schedule` down to `final_lr_share` of the peak at the last update.

    "tri-stage" holds the peak for `hold_share` of the updates and then falls exponentially (fairseq's tri-stage
    schedule, as wav2vec 2.0 is fine-tuned); "inverse-sqrt" falls with the root of the update (Vaswani et al. 2017,
    section 5.3) and takes no end.
    """
    warm = max(1, round(config.warmup_share * config.updates))
    if update < warm:
        return config.peak_lr * (update + 1) / warm
    end = config.final_lr_share
    done = min(1.0, (update - warm) / max(1, config.updates - warm))
    if config.schedule == "cosine":
        return config.peak_lr * (end + (1 - end) * 0.5 * (1.0 + math.cos(math.pi * done)))
    if config.schedule == "linear":
        return config.peak_lr * (1 - (1 - end) * done)
    if config.schedule == "inverse-sqrt":
        return config.peak_lr * math.sqrt(warm / (update + 1))
    if config.schedule == "tri-stage":
        held = warm + round(config.hold_share * config.updates)
        if update < held:
            return config.peak_lr
        fallen = min(1.0, (update - held) / max(1, config.updates - held))
        return float(config.peak_lr * max(end, 1e-6) ** fallen)
    return config.peak_lr
