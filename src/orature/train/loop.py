"""The training loop: one file for one CPU, one GPU or many processes (accelerate), resumed exactly where it was cut.

Example::

    outcome = fit(learner, train, dev, config, freezing, state=Path("state"), watcher=Watcher())
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from orature.core.errors import TrainingFailed
from orature.core.progress import say
from orature.train import checkpoint, memory, sharding
from orature.train.batches import grouped
from orature.train.checkpoint import Progressed
from orature.train.config import TrainConfig
from orature.train.dev import DevReport
from orature.train.freezing import Freezing
from orature.train.learner import Learner
from orature.train.loader import Batch, Loader, Planned
from orature.train.parallel import Parallel, whole_number
from orature.train.schedule import learning_rate
from orature.train.watch import Watcher, check_collapse

_BAD_STEPS = 10
_SAVE_EVERY_S = float(os.environ.get("ORATURE_SAVE_EVERY_S", "60"))
"""Seconds of wall time between checkpoints, apart from those at each evaluation; results do not depend on it."""
_DEV_BATCH_S = 200.0
_DEV_SHARE = 4.0
"""Where memory is tight: dev keeps no activations, so that so many times more is computed at once."""
_DRAWS = 1_000_003


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run ended with; `chosen` names the weights that the model now holds."""

    updates: int
    epochs: int
    audio_h: float
    dev: DevReport
    chosen: str
    log: list[dict[str, object]]


def optimiser_for(parameters: list[torch.nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.peak_lr, betas=config.betas)


class Trainer:
    """Holds what a run needs; `fit` below is the way in."""

    def __init__(
        self,
        learner: Learner,
        train: Loader,
        dev: Loader,
        config: TrainConfig,
        freezing: Freezing,
        state: Path,
        watcher: Watcher,
        parallel: Parallel,
        score_start: bool,
        probe: bool,
    ) -> None:
        self.learner, self.train, self.dev, self.config = learner, train, dev, config
        self.freezing, self.state, self.watcher, self.parallel = freezing, state, watcher, parallel
        self.score_start = score_start
        self.rate = 1.0
        module = learner.module
        names = {id(p): name for name, p in module.named_parameters(remove_duplicate=False)}
        trained = {id(p) for p in freezing.trained}
        fixed = {name for name, p in module.named_parameters(remove_duplicate=False) if id(p) not in trained}
        self.names = set(module.state_dict()) - fixed
        self.wrapped = parallel.wrap(module)
        if parallel.sharded:
            self.freezing = freezing = freezing.moved(names, module)
            if parallel.first and sharding.skips_layers(module):
                say("train: LayerDrop is off: with shared-out weights all processes go through all layers")
            with torch.no_grad():
                learner.module.eval()
                learner.loss(self._filler([])[1], self.wrapped)
        self.optimiser = optimiser_for(freezing.trained, config)
        self.progressed = self._restore() or Progressed()
        self._bad_steps = 0
        self._saved_at = time.monotonic()
        self._due = False
        self._most_s = math.inf
        if probe:
            train.micro_seconds = memory.fitting_seconds(learner, train, self.freezing, parallel, self.wrapped)
        if config.compile:
            parallel.compile_layers(learner.module)

    def _restore(self) -> Progressed | None:
        found = checkpoint.restore(self.state)
        if found is None:
            return None
        weights, slots, progressed = found
        checkpoint.load_weights(self.learner.module, weights, self.names)
        checkpoint.load_optimiser(self.optimiser, slots)
        self._go_on()
        return progressed

    def _go_on(self) -> None:
        """What else a checkpoint brings back (`files` of `_more`)."""

    def _more(self) -> tuple[dict[str, bytes], int]:
        """What else belongs into a checkpoint, and the number of steps so far where those are not updates."""
        return {}, 0

    def run(self) -> Outcome:
        """Trains until the last update or an early stop, then picks the weights."""
        progressed, config = self.progressed, self.config
        self.watcher.begin(progressed.update, config.updates)
        if self.score_start and progressed.update == 0 and not progressed.log:
            self._score_start()
        while not progressed.finished and progressed.update < config.updates:
            for batches in grouped(self._batches(), config.accumulate):
                self._update(batches)
                if progressed.update % config.evaluate_every == 0 or progressed.update == config.updates:
                    self._evaluate()
                elif self._due:
                    self._save()
                if progressed.finished or progressed.update >= config.updates:
                    break
            else:
                progressed.next_epoch()
        return self._choose()

    def _batches(self) -> Iterator[Planned]:
        """The rest of this epoch; whether it is masked was settled where it began, also for a resumed run."""
        progressed = self.progressed
        masks = progressed.epoch_began >= self.config.augment.masks_from_update
        part = (self.parallel.rank, self.parallel.processes)
        return self.train.epoch(progressed.epoch, skip=progressed.batch_in_epoch, masks=masks, part=part)

    def _update(self, batches: list[Planned], *, labelled: bool = True) -> dict[str, float]:
        """One optimiser step over `accumulate` batches: the sum of all losses over the sum of all weights."""
        progressed, config = self.progressed, self.config
        rate = self.rate * learning_rate(progressed.update, config)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.freezing.apply(progressed.update)
        self.optimiser.zero_grad(set_to_none=True)
        self.learner.module.train()
        sums = self._backward(batches)
        self._due = sums.pop("save") > 0
        scale = self.parallel.processes / max(sums["weight"], 1e-9)
        for parameter in self.freezing.trained:
            if parameter.grad is not None:
                parameter.grad.mul_(scale)
        norm = whole_number(torch.nn.utils.clip_grad_norm_(self.freezing.trained, config.clip_norm))
        if math.isfinite(norm):
            self.optimiser.step()
            self._bad_steps = 0
            progressed.grad_sum += norm
        else:
            self._bad_step()
        for name, value in sums.items():
            progressed.figures[name] = progressed.figures.get(name, 0.0) + value
        seconds = sum(planned.seconds for planned in batches)
        progressed.loss_count += 1
        progressed.audio_s += seconds
        progressed.update += 1
        progressed.batch_in_epoch += len(batches) if labelled else 0
        self.watcher.step(progressed, seconds=seconds)
        return sums

    def _backward(self, batches: list[Planned]) -> dict[str, float]:
        """Gradients of the sum of losses of this process's pieces; the sums over all processes.

        Where a GPU's memory runs out, the update begins anew with pieces of half the seconds (one process alone: with
        several, all of them are started again, see `train/launch.py`).
        """
        while True:
            try:
                return self._tried(batches)
            except torch.OutOfMemoryError as error:
                pieces = [piece for planned in batches for _, piece in planned.pieces]
                self._most_s = memory.after_running_out(pieces, self._most_s, error, alone=self.parallel.processes == 1)
            self.optimiser.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            say(
                f"train: the GPU's memory ran out; from here on at most {self._most_s:.0f} s are computed at once "
                "(slower, the results are the same)"
            )

    def _tried(self, batches: list[Planned]) -> dict[str, float]:
        due = self.parallel.first and self._waited()
        figures: dict[str, float] = {"loss": 0.0, "weight": 0.0, "save": float(due)}
        mine = list(self._pieces(batches))
        rounds = max(len(mine), *(sum(each) for each in zip(*(p.counts for p in batches), strict=True)))
        for turn in range(rounds):
            idle = turn >= len(mine)
            draw, piece = mine[turn] if not idle else self._filler(mine)
            torch.manual_seed(draw)
            np.random.seed((draw ^ draw >> 32) % 2**32)
            with self.parallel.no_sync(self.wrapped, last=turn == rounds - 1):
                with self.parallel.autocast():
                    losses = self.learner.loss(piece, self.wrapped)
                (losses.total * 0.0 if idle else losses.total).backward()  # type: ignore[no-untyped-call]
            figures["loss"] += 0.0 if idle else float(losses.total.detach())
            figures["weight"] += 0.0 if idle else losses.weight
            for name, value in losses.figures.items():
                figures[name] = figures.get(name, 0.0) + (0.0 if idle else value)
        names = sorted(figures)
        return dict(zip(names, self.parallel.sum([figures[name] for name in names]), strict=True))

    def _waited(self) -> bool:
        """Whether the last checkpoint is old enough for another one."""
        return time.monotonic() - self._saved_at > _SAVE_EVERY_S

    def _pieces(self, batches: list[Planned]) -> Iterator[tuple[int, Batch]]:
        """The pieces to compute here, each with the seed of its random draws."""
        for place, planned in enumerate(batches):
            seed = (self.config.seed * _DRAWS + self.progressed.update) * 64 + place
            for number, piece in planned.pieces:
                for part, small in enumerate(memory.small_enough(piece, self._most_s)):
                    yield seed + (number << 48) + (part << 40), small

    def _filler(self, mine: list[tuple[int, Batch]]) -> tuple[int, Batch]:
        """A batch to take part with where others have more; its loss counts nothing."""
        if mine:
            return mine[0]
        item = min(range(len(self.train.examples)), key=lambda i: self.train.examples[i].duration_s)
        return 0, self.train.one(item)

    def _bad_step(self) -> None:
        self._bad_steps += 1
        if self._bad_steps >= _BAD_STEPS:
            raise TrainingFailed(
                f"the gradient was not a number {_BAD_STEPS} times in a row at update {self.progressed.update}",
                next_step=f"lower the learning rate (now {self.config.peak_lr:g}) with --set peak_lr=...",
            )

    def assess(self) -> DevReport:
        """Dev, each process a share of its batches."""
        parallel = self.parallel
        part = (parallel.rank, parallel.processes)
        seconds = min(_DEV_BATCH_S, _DEV_SHARE * min(self._most_s, self.train.micro_seconds or math.inf))
        with parallel.evaluating(self.learner.module):
            own = self.learner.assess(self.dev, batch_seconds=seconds, part=part)
        whole, *others = parallel.gather(own)
        for each in others:
            whole.merge(each)
        found: DevReport = whole.report()
        return found

    def _score_start(self) -> None:
        """How the start does before it has learnt anything (with a new output layer: as badly as chance)."""
        report = self.assess()
        row: dict[str, object] = {"update": 0, "epoch": 0, **report.row()}
        self.progressed.log.append(row)
        self.watcher.evaluated(row, report)

    def _evaluate(self) -> None:
        progressed, config = self.progressed, self.config
        report = self.assess()
        count = max(1, progressed.loss_count)
        figures = progressed.figures
        row: dict[str, object] = {
            "update": progressed.update,
            "epoch": progressed.epoch,
            "loss": round(figures.get("loss", 0.0) / max(figures.get("weight", 0.0), 1e-9), 5),
            "lr": learning_rate(progressed.update, config),
            "grad_norm": round(progressed.grad_sum / count, 5),
            "audio_h": round(progressed.audio_s / 3600, 5),
        }
        for name in sorted(figures):
            if f"{name}_of" in figures:
                row[name] = round(figures[name] / max(figures[f"{name}_of"], 1e-9), 5)
        row |= report.row() | self._figures()
        progressed.log.append(row)
        progressed.figures = {}
        progressed.grad_sum = 0.0
        progressed.loss_count = 0
        figure = report.selection(config.select)
        if self.parallel.sharded:
            weights = self._weights()
            best = self._keep(figure, lambda: weights)
        else:
            best = self._keep(figure, self._weights)
        progressed.evaluations_without_gain = 0 if best else progressed.evaluations_without_gain + 1
        progressed.finished = progressed.evaluations_without_gain >= config.patience
        self.watcher.evaluated(row, report)
        self._judge(report)
        self._save()
        memory.release()

    def _figures(self) -> dict[str, object]:
        """Further figures of this evaluation."""
        return {}

    def _judge(self, report: DevReport) -> None:
        """Whether the run may go on."""
        check_collapse(report, self.progressed, self.config)

    def _weights(self) -> dict[str, torch.Tensor]:
        return checkpoint.weights_of(self.learner.module, self.names)

    def _keep(self, figure: float, weights: Callable[[], dict[str, torch.Tensor]]) -> bool:
        progressed, config = self.progressed, self.config
        if self.parallel.first:
            return checkpoint.keep_candidate(self.state, weights, progressed, figure, config.average)
        return checkpoint.rank_candidate(progressed, figure, config.average)[0]

    def _save(self) -> None:
        if self.parallel.first or self.parallel.sharded:
            slots, weights = checkpoint.optimiser_tensors(self.optimiser), self._weights()
            if self.parallel.first:
                files, slot = self._more()
                checkpoint.save(self.state, weights, slots, self.progressed, files=files, slot=slot)
        self._saved_at = time.monotonic()

    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        checkpoint.load_weights(self.learner.module, weights, self.names)

    def _choose(self) -> Outcome:
        """The best single checkpoint or the mean of the best ones, whichever has the lower dev figure."""
        progressed, select = self.progressed, self.config.select
        self.parallel.wait()
        updates = [b.update for b in progressed.best]
        best = load_file(checkpoint.candidate_path(self.state, updates[0]))
        self._load(best)
        single = self.assess()
        chosen, report = f"update {updates[0]}", single
        if len(updates) > 1:
            self._load(checkpoint.average(self.state, updates))
            mean = self.assess()
            if (mean.selection(select), mean.loss) <= (single.selection(select), single.loss):
                chosen, report = "mean of updates " + ", ".join(str(u) for u in sorted(updates)), mean
            else:
                self._load(best)
        return Outcome(
            updates=progressed.update,
            epochs=progressed.epoch,
            audio_h=progressed.audio_s / 3600,
            dev=report,
            chosen=chosen,
            log=progressed.log,
        )


def fit(
    learner: Learner,
    train: Loader,
    dev: Loader,
    config: TrainConfig,
    freezing: Freezing,
    *,
    state: Path,
    watcher: Watcher,
    parallel: Parallel | None = None,
    device: str = "cpu",
    score_start: bool = False,
    probe: bool = False,
    trainer: type[Trainer] = Trainer,
    **more: Any,
) -> Outcome:
    """Trains `learner` in place; call it again after a crash with the same `state` and it goes on.

    `score_start` scores dev before the first update, for a start that can already read; `probe` measures first how much
    fits into memory at once; `trainer` is another loop, which is given `more`.
    """
    parallel = parallel or Parallel(device=device, precision=config.precision)
    held = trainer(learner, train, dev, config, freezing, state, watcher, parallel, score_start, probe, **more)
    return held.run()
