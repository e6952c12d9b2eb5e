"""Whose weights make the pseudo-labels: the model's own, their moving average, the mean of the best, or fixed ones.

Example::

    teachers = Teachers(PseudoConfig(teacher="ema"))
    teachers.begin(module, names)
    teachers.step(module, names)          # after each update
    with with_weights(module, teachers.weights): ...
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from orature.train import checkpoint
from orature.train.checkpoint import Progressed
from orature.train.pseudo_config import PseudoConfig

TEACHER = "teacher.safetensors"


class Teachers:
    """The weights to label with; None in `weights`: those of the model as they are."""

    def __init__(self, config: PseudoConfig) -> None:
        self.config = config
        self.weights: dict[str, Tensor] | None = None

    @property
    def wants_best(self) -> bool:
        """Whether the teacher is made anew of the best checkpoints at each evaluation."""
        return self.config.teacher == "top"

    def begin(self, module: nn.Module, names: Collection[str]) -> None:
        """The warm-up is over, or the model was rolled back: what is not the model itself begins as a copy of it."""
        if self.config.teacher != "current":
            state = module.state_dict()
            copies = {name: state[name].detach().clone() for name in sorted(names)}
            self.weights = {name: one.float() if one.is_floating_point() else one for name, one in copies.items()}

    @torch.no_grad()
    def step(self, module: nn.Module, names: Collection[str]) -> None:
        """After an update: the moving average, in float32 (float16 would lose steps of one in a thousand)."""
        if self.config.teacher != "ema" or self.weights is None:
            return
        state = module.state_dict()
        for name, value in self.weights.items():
            if value.is_floating_point():
                value.lerp_(state[name].to(value.dtype), 1 - self.config.ema_decay)
            else:
                value.copy_(state[name])

    def best(self, state: Path, progressed: Progressed) -> None:
        """The mean of the best checkpoints on dev."""
        updates = [one.update for one in progressed.best[: self.config.top]]
        mean = checkpoint.average(state, updates)
        if self.weights is not None:
            self.weights = {name: mean[name].to(value.device) for name, value in self.weights.items()}

    def files(self) -> dict[str, bytes]:
        """What a checkpoint holds of it."""
        if self.weights is None:
            return {}
        return {TEACHER: save({name: value.cpu().contiguous() for name, value in self.weights.items()})}

    def restore(self, read: Callable[[str], bytes | None]) -> None:
        """Puts back what `files` gave."""
        held = read(TEACHER)
        self.weights = None if held is None else load(held)
