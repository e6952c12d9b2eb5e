"""Checkpoints that bring a run back exactly: weights, optimiser, counters and the log so far.

Everything is safetensors and JSON. A checkpoint is written beside and renamed, and the one before it is removed only
then, so that a crash at any instant leaves one whole checkpoint. No random state is stored: every draw follows from
(seed, update) or (seed, epoch, utterance).

Example::

    save(state_dir, weights_of(model), optimiser_tensors(optimiser), Progressed(update=100))
    found = restore(state_dir)   # None when there is nothing to resume
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orature.core.errors import StoreError
from orature.core.files import fsync_tree
from orature.train.sharding import full, shared_like

_CURRENT = "checkpoint"


class Best(BaseModel):
    """A checkpoint that did well on dev; `figure` is what checkpoints are chosen by (lower is better)."""

    update: int
    figure: float


class Progressed(BaseModel, ser_json_inf_nan="constants"):
    """Where a run stands."""

    update: int = 0
    epoch: int = 0
    batch_in_epoch: int = 0
    epoch_began: int = 0
    """The update before which the epoch began."""
    audio_s: float = 0.0
    tokens: int = 0
    """Seen by a translator."""
    loss_count: int = 0
    figures: dict[str, float] = Field(default_factory=dict)
    """Sums since the last evaluation: loss, weight, and what the learner counts."""
    grad_sum: float = 0.0
    best: list[Best] = Field(default_factory=list)
    evaluations_without_gain: int = 0
    log: list[dict[str, Any]] = Field(default_factory=list)
    finished: bool = False

    def next_epoch(self) -> None:
        """The epoch is over."""
        self.epoch, self.batch_in_epoch, self.epoch_began = self.epoch + 1, 0, self.update


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors (`number.name`), whole (sharded: all processes call this together)."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}.{name}": full(torch.as_tensor(value)).cpu().contiguous().clone()
        for number, slots in state.items()
        for name, value in slots.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimiser_tensors` gave."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, slot = name.split(".", 1)
        state.setdefault(int(number), {})[slot] = shared_like(value, parameters[int(number)])
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def save(
    state: Path,
    weights: dict[str, Tensor],
    optimiser: dict[str, Tensor],
    progressed: Progressed,
    *,
    files: Mapping[str, bytes] | None = None,
    slot: int = 0,
) -> None:
    """Writes the checkpoint of this update (unless it is there already) and drops older ones.

    `files` are what else belongs to it, by name; `slot` counts steps that may pass between two updates.
    """
    steps = f"-{slot:08d}" if slot else ""
    place = state / f"{_CURRENT}-{progressed.update:08d}-{progressed.batch_in_epoch:06d}{steps}"
    if place.exists():
        return
    beside = state / f"{_CURRENT}.writing"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file(weights, beside / "model.safetensors")
    save_file(optimiser, beside / "optimiser.safetensors")
    (beside / "progress.json").write_text(progressed.model_dump_json(), encoding="utf-8")
    for name, content in (files or {}).items():
        (beside / name).write_bytes(content)
    fsync_tree(beside)
    beside.rename(place)
    for old in _whole(state)[:-1]:
        shutil.rmtree(old)


def _whole(state: Path) -> list[Path]:
    """Finished checkpoints, oldest first (a later one of the same update counts as newer by its batch)."""
    return sorted(path for path in state.glob(f"{_CURRENT}-*") if path.is_dir())


def restore(state: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], Progressed] | None:
    """Weights, optimiser tensors and counters of the newest whole checkpoint; None when there is nothing to resume."""
    found = _whole(state)
    if not found:
        return None
    folder = found[-1]
    progressed = Progressed.model_validate_json((folder / "progress.json").read_text(encoding="utf-8"))
    return load_file(folder / "model.safetensors"), load_file(folder / "optimiser.safetensors"), progressed


def read_file(state: Path, name: str) -> bytes | None:
    """A file that the newest whole checkpoint holds beside weights and counters; None where it has none."""
    found = _whole(state)
    path = found[-1] / name if found else None
    return path.read_bytes() if path is not None and path.is_file() else None


def weights_of(model: nn.Module, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Contiguous CPU copies of a model's weights, or of those in `names` (sharded: all processes call together)."""
    return {
        name: full(value.detach()).cpu().contiguous().clone()
        for name, value in model.state_dict().items()
        if names is None or name in names
    }


def load_weights(model: nn.Module, weights: dict[str, Tensor], names: Collection[str] | None = None) -> None:
    """Puts back what `weights_of` gave; every name must be there."""
    wanted = set(model.state_dict()) if names is None else set(names)
    if set(weights) != wanted:
        raise StoreError(
            f"the checkpoint holds other weights than the model: {sorted(set(weights) ^ wanted)[:3]}",
            next_step="remove the unfinished work with `orature store gc` and train again",
        )
    now = model.state_dict()
    model.load_state_dict({name: shared_like(value, now[name]) for name, value in weights.items()}, strict=False)


def candidate_path(state: Path, update: int) -> Path:
    """Where the weights of a good update are kept until the end of the run."""
    return state / f"candidate-{update:08d}.safetensors"


def keep_candidate(
    state: Path, weights: Callable[[], dict[str, Tensor]], progressed: Progressed, figure: float, most: int
) -> bool:
    """Keeps the weights if they are among the `most` best on dev; says whether they are the best so far."""
    best_so_far, dropped = rank_candidate(progressed, figure, most)
    if any(b.update == progressed.update for b in progressed.best):
        path = candidate_path(state, progressed.update)
        beside = path.with_suffix(".writing")
        save_file(weights(), beside)
        beside.rename(path)
    progressed_dropped = [candidate_path(state, b.update) for b in dropped]
    for path in progressed_dropped:
        path.unlink(missing_ok=True)
    return best_so_far


def rank_candidate(progressed: Progressed, figure: float, most: int) -> tuple[bool, list[Best]]:
    """Enters this update among the best; whether it leads, and what fell off the list."""
    best_so_far = not progressed.best or figure < min(b.figure for b in progressed.best)
    ranked = sorted([*progressed.best, Best(update=progressed.update, figure=figure)], key=_rank)
    progressed.best, dropped = ranked[:most], ranked[most:]
    return best_so_far, dropped


def _rank(best: Best) -> tuple[float, int]:
    return best.figure, -best.update


def average(state: Path, updates: Sequence[int]) -> dict[str, Tensor]:
    """The mean of the kept weights of `updates` (Polyak averaging over checkpoints)."""
    total: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for update in sorted(updates):
        for name, value in load_file(candidate_path(state, update)).items():
            kinds[name] = value.dtype
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / len(updates)).to(kinds[name]) for name, value in total.items()}
