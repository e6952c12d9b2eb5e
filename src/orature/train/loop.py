"""The training loop: one file, one process, one device (accelerate), resumed exactly where it was cut off.

Example::

    outcome = fit(model, train, dev, characters, config, state=Path("state"), watcher=Watcher())
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from orature.core.errors import TrainingFailed
from orature.engines.characters import BLANK, Characters
from orature.engines.conformer import ConformerCtc
from orature.train import checkpoint
from orature.train.checkpoint import Progressed
from orature.train.config import TrainConfig
from orature.train.dev import DevReport, assess, ctc_loss
from orature.train.loader import Batch, Loader
from orature.train.watch import Watcher, check_collapse

_BAD_STEPS = 10
_SAVE_EVERY_S = float(os.environ.get("ORATURE_SAVE_EVERY_S", "60"))
"""Seconds of wall time between checkpoints, apart from those at each evaluation; results do not depend on it."""
_DEV_BATCH_S = 200.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run ended with; `chosen` names the weights that the model now holds."""

    updates: int
    epochs: int
    audio_h: float
    dev: DevReport
    chosen: str
    log: list[dict[str, object]]


def learning_rate(update: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to 2 % of the peak at the last update."""
    warm = max(1, round(config.warmup_share * config.updates))
    if update < warm:
        return config.peak_lr * (update + 1) / warm
    done = (update - warm) / max(1, config.updates - warm)
    return config.peak_lr * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))


def optimiser_for(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.peak_lr, betas=(0.9, 0.98))


class Trainer:
    """Holds what a run needs; `fit` below is the way in."""

    def __init__(
        self,
        model: ConformerCtc,
        train: Loader,
        dev: Loader,
        characters: Characters,
        config: TrainConfig,
        state: Path,
        watcher: Watcher,
        device: str,
    ) -> None:
        mixed = "bf16" if config.precision == "bf16" else "no"
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed)
        self.model = model.to(self.accelerator.device)
        self.optimiser = optimiser_for(self.model, config)
        self.train, self.dev, self.characters = train, dev, characters
        self.config, self.state, self.watcher = config, state, watcher
        self.progressed = checkpoint.restore(state, self.model, self.optimiser) or Progressed()
        self._bad_steps = 0
        self._saved_at = time.monotonic()

    def run(self) -> Outcome:
        """Trains until the last update or an early stop, then picks the weights."""
        progressed, config = self.progressed, self.config
        self.watcher.begin(progressed.update, config.updates)
        while not progressed.finished and progressed.update < config.updates:
            for batches in _groups(self._batches(), config.accumulate):
                self._update(batches)
                if progressed.update % config.evaluate_every == 0 or progressed.update == config.updates:
                    self._evaluate()
                if progressed.finished or progressed.update >= config.updates:
                    break
                self._maybe_save()
            else:
                progressed.epoch += 1
                progressed.batch_in_epoch = 0
        return self._choose()

    def _batches(self) -> Iterator[Batch]:
        """The rest of this epoch; whether it is masked was settled where it began, also for a resumed run."""
        progressed = self.progressed
        began = progressed.update - progressed.batch_in_epoch // self.config.accumulate
        masks = began >= self.config.augment.masks_from_update
        return self.train.epoch(progressed.epoch, skip=progressed.batch_in_epoch, masks=masks)

    def _update(self, batches: list[Batch]) -> None:
        """One optimiser step over `accumulate` batches, all random draws seeded by the update's number."""
        progressed, config = self.progressed, self.config
        torch.manual_seed(config.seed * 1_000_003 + progressed.update)
        rate = learning_rate(progressed.update, config)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        self.model.train()
        for batch in batches:
            loss, blank_share = self._loss(batch)
            self.accelerator.backward(loss / len(batches))
            progressed.loss_sum += float(loss.detach())
            progressed.blank_sum += blank_share
            progressed.loss_count += 1
            progressed.audio_s += batch.seconds
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        if torch.isfinite(norm):
            self.optimiser.step()
            self._bad_steps = 0
            progressed.grad_sum += float(norm)
        else:
            self._bad_step()
        progressed.update += 1
        progressed.batch_in_epoch += len(batches)
        self.watcher.step(progressed, seconds=sum(batch.seconds for batch in batches))

    def _loss(self, batch: Batch) -> tuple[torch.Tensor, float]:
        device = self.accelerator.device
        warps = None if batch.warps_B is None else batch.warps_B.to(device)
        spans = None if batch.spans is None else (batch.spans[0].to(device), batch.spans[1].to(device))
        with self.accelerator.autocast():
            logits_BTV, frames_B = self.model(batch.samples_BS.to(device), batch.lengths_B.to(device), warps, spans)
        blank_share = float((logits_BTV.detach().argmax(dim=-1) == BLANK).float().mean())
        return ctc_loss(logits_BTV, frames_B, batch), blank_share

    def _bad_step(self) -> None:
        self._bad_steps += 1
        if self._bad_steps >= _BAD_STEPS:
            raise TrainingFailed(
                f"the gradient was not a number {_BAD_STEPS} times in a row at update {self.progressed.update}",
                next_step=f"lower the learning rate (now {self.config.peak_lr:g}) with --set peak_lr=...",
            )

    def _evaluate(self) -> None:
        progressed, config = self.progressed, self.config
        report = assess(self.model, self.dev, self.characters, batch_seconds=_DEV_BATCH_S)
        count = max(1, progressed.loss_count)
        row: dict[str, object] = {
            "update": progressed.update,
            "epoch": progressed.epoch,
            "loss": round(progressed.loss_sum / count, 5),
            "lr": learning_rate(progressed.update, config),
            "grad_norm": round(progressed.grad_sum / max(1, count), 5),
            "blank_share": round(progressed.blank_sum / count, 5),
            "audio_h": round(progressed.audio_s / 3600, 5),
            "dev_cer": round(report.cer, 6),
            "dev_wer": round(report.wer, 6),
            "dev_loss": round(report.loss, 6),
            "dev_blank_share": round(report.blank_share, 6),
        }
        progressed.log.append(row)
        progressed.loss_sum = progressed.blank_sum = progressed.grad_sum = 0.0
        progressed.loss_count = 0
        best = checkpoint.keep_candidate(self.state, self.model, progressed, report.cer, config.average)
        progressed.evaluations_without_gain = 0 if best else progressed.evaluations_without_gain + 1
        progressed.finished = progressed.evaluations_without_gain >= config.patience
        self.watcher.evaluated(row)
        check_collapse(report, progressed, config)
        self._save()

    def _maybe_save(self) -> None:
        if time.monotonic() - self._saved_at > _SAVE_EVERY_S:
            self._save()

    def _save(self) -> None:
        checkpoint.save(self.state, self.model, self.optimiser, self.progressed)
        self._saved_at = time.monotonic()

    def _choose(self) -> Outcome:
        """The best single checkpoint or the mean of the best ones, whichever has the lower dev CER."""
        progressed = self.progressed
        updates = [b.update for b in progressed.best]
        self.model.load_state_dict(load_file(checkpoint.candidate_path(self.state, updates[0])))
        single = assess(self.model, self.dev, self.characters, batch_seconds=_DEV_BATCH_S)
        chosen, report = f"update {updates[0]}", single
        if len(updates) > 1:
            self.model.load_state_dict(checkpoint.average(self.state, updates))
            mean = assess(self.model, self.dev, self.characters, batch_seconds=_DEV_BATCH_S)
            if (mean.cer, mean.loss) <= (single.cer, single.loss):
                chosen, report = "mean of updates " + ", ".join(str(u) for u in sorted(updates)), mean
            else:
                self.model.load_state_dict(load_file(checkpoint.candidate_path(self.state, updates[0])))
        return Outcome(
            updates=progressed.update,
            epochs=progressed.epoch,
            audio_h=progressed.audio_s / 3600,
            dev=report,
            chosen=chosen,
            log=progressed.log,
        )


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Groups of `size` batches; a shorter last one still makes an update."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def fit(
    model: ConformerCtc,
    train: Loader,
    dev: Loader,
    characters: Characters,
    config: TrainConfig,
    *,
    state: Path,
    watcher: Watcher,
    device: str = "cpu",
) -> Outcome:
    """Trains `model` in place; call it again after a crash with the same `state` and it goes on."""
    return Trainer(model, train, dev, characters, config, state, watcher, device).run()
