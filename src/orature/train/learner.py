"""What the loop needs of a task: a loss for a batch and a score on dev. CTC and attention models are learners alike.

Example::

    learner = CtcLearner(network, vocabulary, config)
    losses = learner.loss(batch)
    losses.total.backward()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from orature.train.dev import Tally
from orature.train.loader import Batch, Loader


@dataclass(frozen=True, slots=True)
class Losses:
    """The loss of a batch as a sum, what it is to be divided by, and figures for the log.

    Summed over the micro-batches of an update (on all processes), `total / weight` is what the optimiser minimises; so
    the split into micro-batches and processes does not change the gradient.
    """

    total: torch.Tensor
    weight: float
    figures: dict[str, float] = field(default_factory=dict)
    """Sums over utterances or steps for the log, each with its count under the same name + "_of"."""


class Learner(Protocol):
    """A model with its task."""

    module: nn.Module
    """All that is trained and saved (the network and, in training, auxiliary heads)."""

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """The training loss under autocast in training mode; `module` is the module wrapped for several processes."""
        ...

    def assess(self, loader: Loader, *, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Tally:
        """Adds up errors over `loader` in evaluation mode; `part` (i, n) takes every n-th batch from the i-th on."""
        ...
