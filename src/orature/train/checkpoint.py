"""Checkpoints that bring a run back exactly: weights, optimiser, counters and the log so far.

Everything is safetensors and JSON. A checkpoint is written beside and renamed, and the one before it is removed only
then, so that a crash at any instant leaves one whole checkpoint. No random state is stored: every draw follows from
(seed, update) or (seed, epoch, utterance).

Example::

    save(state_dir, model, optimiser, Progressed(update=100))
    progressed = restore(state_dir, model, optimiser)   # None when there is nothing to resume
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orature.core.files import fsync_tree

_CURRENT = "checkpoint"


class Best(BaseModel):
    """A checkpoint that did well on dev."""

    update: int
    dev_cer: float


class Progressed(BaseModel):
    """Where a run stands."""

    update: int = 0
    epoch: int = 0
    batch_in_epoch: int = 0
    audio_s: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    blank_sum: float = 0.0
    grad_sum: float = 0.0
    best: list[Best] = Field(default_factory=list)
    evaluations_without_gain: int = 0
    log: list[dict[str, Any]] = Field(default_factory=list)
    finished: bool = False


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors (`number.name`)."""
    state = optimiser.state_dict()["state"]
    return {f"{n}.{name}": torch.as_tensor(v).clone() for n, slots in state.items() for name, v in slots.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimiser_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, slot = name.split(".", 1)
        state.setdefault(int(number), {})[slot] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def save(state: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progressed: Progressed) -> None:
    """Writes the checkpoint of this update (unless it is there already) and drops older ones."""
    place = state / f"{_CURRENT}-{progressed.update:08d}-{progressed.batch_in_epoch:06d}"
    if place.exists():
        return
    beside = state / f"{_CURRENT}.writing"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file(weights_of(model), beside / "model.safetensors")
    save_file(optimiser_tensors(optimiser), beside / "optimiser.safetensors")
    (beside / "progress.json").write_text(progressed.model_dump_json(), encoding="utf-8")
    fsync_tree(beside)
    beside.rename(place)
    for old in _whole(state)[:-1]:
        shutil.rmtree(old)


def _whole(state: Path) -> list[Path]:
    """Finished checkpoints, oldest first (a later one of the same update counts as newer by its batch)."""
    return sorted(path for path in state.glob(f"{_CURRENT}-*") if path.is_dir())


def restore(state: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progressed | None:
    """Loads the newest whole checkpoint into `model` and `optimiser`."""
    found = _whole(state)
    if not found:
        return None
    folder = found[-1]
    model.load_state_dict(load_file(folder / "model.safetensors"))
    load_optimiser(optimiser, load_file(folder / "optimiser.safetensors"))
    return Progressed.model_validate_json((folder / "progress.json").read_text(encoding="utf-8"))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Contiguous CPU copies of a model's weights."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}


def candidate_path(state: Path, update: int) -> Path:
    """Where the weights of a good update are kept until the end of the run."""
    return state / f"candidate-{update:08d}.safetensors"


def keep_candidate(state: Path, model: nn.Module, progressed: Progressed, dev_cer: float, most: int) -> bool:
    """Keeps the weights if they are among the `most` best on dev; says whether they are the best so far."""
    best_so_far = not progressed.best or dev_cer < min(b.dev_cer for b in progressed.best)
    ranked = sorted([*progressed.best, Best(update=progressed.update, dev_cer=dev_cer)], key=_rank)
    progressed.best, dropped = ranked[:most], ranked[most:]
    if any(b.update == progressed.update for b in progressed.best):
        path = candidate_path(state, progressed.update)
        beside = path.with_suffix(".writing")
        save_file(weights_of(model), beside)
        beside.rename(path)
    progressed_dropped = [candidate_path(state, b.update) for b in dropped]
    for path in progressed_dropped:
        path.unlink(missing_ok=True)
    return best_so_far


def _rank(best: Best) -> tuple[float, int]:
    return best.dev_cer, -best.update


def average(state: Path, updates: Sequence[int]) -> dict[str, Tensor]:
    """The mean of the kept weights of `updates` (Polyak averaging over checkpoints)."""
    total: dict[str, Tensor] = {}
    for update in sorted(updates):
        for name, value in load_file(candidate_path(state, update)).items():
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / len(updates)).float() for name, value in total.items()}
