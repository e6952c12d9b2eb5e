"""The training loop of a translator, resumed exactly where it was cut.

Example::

    outcome = fit_translator(model, text, train, dev, config, state=Path("state"), watcher=TextWatcher())

The gradient of an update is the sum of the losses of its batches over the number of their target tokens. Every random
draw follows from (seed, update) or (seed, epoch), so that a checkpoint holds weights, optimiser and counters alone.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from orature.core.errors import TrainingFailed
from orature.train import checkpoint
from orature.train.batches import grouped
from orature.train.checkpoint import Progressed
from orature.train.schedule import learning_rate
from orature.train.text.config import TranslatorConfig
from orature.train.text.data import IGNORED, TextBatch, TextLoader
from orature.train.text.dev import TextReport, assess, cross_entropy, logits_of
from orature.train.text.vocabulary import TranslatorText
from orature.train.text.watch import TextWatcher

_BAD_STEPS = 10
_DRAWS = 1_000_003
_SAVE_EVERY_S = float(os.environ.get("ORATURE_SAVE_EVERY_S", "60"))
"""Seconds of wall time between checkpoints, apart from those at each evaluation; results do not depend on it."""


@dataclass(frozen=True, slots=True)
class TextOutcome:
    """What a run ended with; `chosen` names the weights that the model now holds."""

    updates: int
    epochs: int
    tokens: int
    chosen: str
    dev: TextReport
    log: list[dict[str, Any]]


class TextTrainer:
    """Holds what a run needs; `fit_translator` below is the way in."""

    def __init__(
        self,
        model: Any,
        text: TranslatorText,
        train: TextLoader,
        dev: TextLoader,
        config: TranslatorConfig,
        state: Path,
        watcher: TextWatcher,
        device: str,
    ) -> None:
        self.device = torch.device(device)
        self.model, self.text = model.to(self.device), text
        self.train, self.dev, self.config = train, dev, config
        self.state, self.watcher = state, watcher
        state.mkdir(parents=True, exist_ok=True)
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [p for p in self.trained if p.ndim > 1]
        vectors = [p for p in self.trained if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=config.peak_lr, betas=config.betas)
        tied = set(model._tied_weights_keys or {}) if model.config.tie_word_embeddings else set()
        self.names = {name for name in model.state_dict() if name not in tied}
        self.progressed = self._restored() or Progressed()
        self._bad_steps = 0
        self._saved_at = time.monotonic()

    def run(self) -> TextOutcome:
        """Trains until the last update or an early stop, then takes the best weights."""
        progressed, config = self.progressed, self.config
        self.watcher.begin(progressed.update, config.updates)
        if progressed.update == 0 and not progressed.log:
            row = {"update": 0, "epoch": 0, **self._assess().row()}
            progressed.log.append(row)
            self.watcher.evaluated(row)
        while not progressed.finished and progressed.update < config.updates:
            batches = self.train.epoch(progressed.epoch, skip=progressed.batch_in_epoch)
            for group in grouped(batches, config.accumulate):
                self.update(group)
                if progressed.update % config.evaluate_every == 0 or progressed.update == config.updates:
                    self._evaluate()
                elif time.monotonic() - self._saved_at > _SAVE_EVERY_S:
                    self._save()
                if progressed.finished or progressed.update >= config.updates:
                    break
            else:
                progressed.next_epoch()
        return self._chosen()

    def update(self, batches: list[TextBatch]) -> None:
        """One optimiser step over `accumulate` batches."""
        progressed, config = self.progressed, self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(progressed.update, config)
        self.optimiser.zero_grad(set_to_none=True)
        self.model.train()
        loss, labels = self._backward(batches)
        for parameter in self.trained:
            if parameter.grad is not None:
                parameter.grad.div_(max(1, labels))
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained, config.clip_norm))
        if math.isfinite(norm):
            self.optimiser.step()
            self._bad_steps = 0
            progressed.grad_sum += norm
        else:
            self._bad_step()
        figures, tokens = progressed.figures, sum(batch.tokens for batch in batches)
        figures["loss"] = figures.get("loss", 0.0) + loss
        figures["weight"] = figures.get("weight", 0.0) + labels
        progressed.loss_count += 1
        progressed.tokens += tokens
        progressed.update += 1
        progressed.batch_in_epoch += len(batches)
        self.watcher.step(figures["loss"] / max(1.0, figures["weight"]), tokens=tokens)

    def _backward(self, batches: list[TextBatch]) -> tuple[float, int]:
        """Gradients of the summed loss; that sum and the number of target tokens."""
        loss, labels = 0.0, 0
        for place, plain in enumerate(batches):
            torch.manual_seed((self.config.seed * _DRAWS + self.progressed.update) * 64 + place)
            batch = plain.to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                logits_BTV = logits_of(self.model, batch)
            total = cross_entropy(logits_BTV, batch.labels_BT, self.config.label_smoothing)
            total.backward()  # type: ignore[no-untyped-call]
            loss += float(total.detach())
            labels += int((batch.labels_BT != IGNORED).sum())
        return loss, labels

    def _bad_step(self) -> None:
        self._bad_steps += 1
        if self._bad_steps >= _BAD_STEPS:
            raise TrainingFailed(
                f"the gradient was not a number {_BAD_STEPS} times in a row at update {self.progressed.update}",
                next_step=f"lower the learning rate (now {self.config.peak_lr:g}) with --set train.peak_lr=...",
            )

    def _assess(self) -> TextReport:
        return assess(self.model, self.dev, self.text)

    def _evaluate(self) -> None:
        """Dev, the row of the log, and whether this checkpoint is among the best."""
        progressed, config = self.progressed, self.config
        report, figures = self._assess(), self.progressed.figures
        row: dict[str, Any] = {
            "update": progressed.update,
            "epoch": progressed.epoch,
            "loss": round(figures.get("loss", 0.0) / max(figures.get("weight", 0.0), 1.0), 6),
            "lr": learning_rate(progressed.update, config),
            "grad_norm": round(progressed.grad_sum / max(1, progressed.loss_count), 6),
            "tokens": progressed.tokens,
            **report.row(),
        }
        progressed.log.append(row)
        progressed.figures, progressed.grad_sum, progressed.loss_count = {}, 0.0, 0
        figure = report.selection(config.select)
        best = checkpoint.keep_candidate(self.state, self._weights, progressed, figure, config.average)
        progressed.evaluations_without_gain = 0 if best else progressed.evaluations_without_gain + 1
        progressed.finished = progressed.evaluations_without_gain >= config.patience
        self.watcher.evaluated(row)
        self._save()

    def _weights(self) -> dict[str, Tensor]:
        return checkpoint.weights_of(self.model, self.names)

    def _save(self) -> None:
        checkpoint.save(self.state, self._weights(), checkpoint.optimiser_tensors(self.optimiser), self.progressed)
        self._saved_at = time.monotonic()

    def _restored(self) -> Progressed | None:
        found = checkpoint.restore(self.state)
        if found is None:
            return None
        weights, slots, progressed = found
        checkpoint.load_weights(self.model, weights, self.names)
        checkpoint.load_optimiser(self.optimiser, slots)
        return progressed

    def _chosen(self) -> TextOutcome:
        """The best single checkpoint or the mean of the best ones, whichever does better on dev."""
        progressed, select = self.progressed, self.config.select
        updates = [best.update for best in progressed.best]
        single = load_file(checkpoint.candidate_path(self.state, updates[0]))
        checkpoint.load_weights(self.model, single, self.names)
        report, chosen = self._assess(), f"update {updates[0]}"
        if len(updates) > 1:
            checkpoint.load_weights(self.model, checkpoint.average(self.state, updates), self.names)
            mean = self._assess()
            if (mean.selection(select), mean.loss) <= (report.selection(select), report.loss):
                report, chosen = mean, "mean of updates " + ", ".join(map(str, sorted(updates)))
            else:
                checkpoint.load_weights(self.model, single, self.names)
        self.model.eval()
        return TextOutcome(progressed.update, progressed.epoch, progressed.tokens, chosen, report, progressed.log)


def fit_translator(
    model: Any,
    text: TranslatorText,
    train: TextLoader,
    dev: TextLoader,
    config: TranslatorConfig,
    *,
    state: Path,
    watcher: TextWatcher,
    device: str = "cpu",
) -> TextOutcome:
    """Trains `model` in place; call it again after a crash with the same `state` and it goes on.

    TrainingFailed when the gradient stays infinite.
    """
    return TextTrainer(model, text, train, dev, config, state, watcher, device).run()
