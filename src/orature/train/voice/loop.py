"""The adversarial training loop of a voice, resumed exactly where it was cut.

Example::

    outcome = fit_voice(made, train, dev, config, state=Path("state"), watcher=VoiceWatcher())

Each update: the pass of the network, a step of the discriminators on real and made windows, a step of the voice against
the discriminators as they then are (Kim, Kong, Son 2021, sections 2.3 and 2.4). Every random draw follows from
(seed, update), so that a checkpoint holds both networks, both optimisers and counters, and no generator's state.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from orature.core.errors import TrainingFailed
from orature.core.files import write_beside
from orature.data import audio
from orature.train import checkpoint
from orature.train.checkpoint import Progressed
from orature.train.voice.architecture import MadeVoice
from orature.train.voice.config import VoiceConfig
from orature.train.voice.data import VoiceLoader
from orature.train.voice.dev import Judge, VoiceReport, assess, copy_of, speak
from orature.train.voice.discriminators import DiscriminatorConfig, Discriminators, both
from orature.train.voice.generator import Made, VoiceBatch, training_pass
from orature.train.voice.losses import adversarial_loss, discriminator_loss, feature_loss
from orature.train.voice.spectrograms import log_mel
from orature.train.voice.watch import VoiceWatcher

SAMPLES = "samples"
_BAD_STEPS = 10
_DRAWS = 1_000_003
_EPSILON = 1e-9
_SAVE_EVERY_S = float(os.environ.get("ORATURE_SAVE_EVERY_S", "60"))
"""Seconds of wall time between checkpoints, apart from those at each evaluation; results do not depend on it."""


@dataclass(frozen=True, slots=True)
class VoiceOutcome:
    """What a run ended with; the model holds the weights of update `chosen`."""

    updates: int
    epochs: int
    audio_h: float
    chosen: int
    dev: VoiceReport
    start: VoiceReport
    log: list[dict[str, Any]]


class VoiceTrainer:
    """Holds what a run needs; `fit_voice` below is the way in."""

    def __init__(
        self,
        made: MadeVoice,
        train: VoiceLoader,
        dev: VoiceLoader,
        config: VoiceConfig,
        state: Path,
        watcher: VoiceWatcher,
        device: str,
        judge: Judge | None,
    ) -> None:
        self.made, self.train, self.dev, self.config = made, train, dev, config
        self.state, self.watcher, self.device, self.judge = state, watcher, device, judge
        self.voice = made.model.to(device)
        torch.manual_seed(config.seed)
        kinds = DiscriminatorConfig(config.periods, config.scales, config.discriminator_shrink)
        self.judges = Discriminators(kinds).to(device)
        for part in config.freeze:
            getattr(self.voice, part).requires_grad_(False)
        self.trained = [p for p in self.voice.parameters() if p.requires_grad]
        shared: dict[str, Any] = {"betas": config.betas, "eps": _EPSILON, "weight_decay": config.weight_decay}
        self.optimiser = torch.optim.AdamW(self.trained, lr=config.lr, **shared)
        self.judging = list(self.judges.parameters())
        self.judge_optimiser = (
            torch.optim.AdamW(self.judging, lr=config.discriminator_lr, **shared) if self.judging else None
        )
        self.warmup = config.posterior_warmup if made.lacks_posterior else 0
        self.heard_from = max(config.adversarial_from, self.warmup)
        self.window = max(1, config.segment // made.shape.hop)
        self.progressed = self._restored() or Progressed()
        self._bad_steps = 0
        self._saved_at = time.monotonic()

    def run(self) -> VoiceOutcome:
        """Trains until the last update or an early stop, then takes the best checkpoint."""
        progressed, config = self.progressed, self.config
        self.watcher.begin(progressed.update, config.updates)
        if progressed.update == 0 and not progressed.log:
            self._evaluate()
        while not progressed.finished and progressed.update < config.updates:
            for batch in self.train.epoch(progressed.epoch, skip=progressed.batch_in_epoch):
                self.update(batch.to(self.device))
                if progressed.update % config.evaluate_every == 0 or progressed.update == config.updates:
                    self._evaluate()
                elif time.monotonic() - self._saved_at > _SAVE_EVERY_S:
                    self._save()
                if progressed.finished or progressed.update >= config.updates:
                    break
            else:
                progressed.epoch += 1
                progressed.batch_in_epoch = 0
        return self._chosen()

    def update(self, batch: VoiceBatch) -> None:
        """One step of the discriminators and one of the voice."""
        progressed, config = self.progressed, self.config
        decay = config.lr_decay**progressed.epoch
        self._set_rates(decay)
        torch.manual_seed(config.seed * _DRAWS + progressed.update)
        alone = progressed.update < self.warmup
        for parameter in self.trained:
            parameter.requires_grad_(not alone)
        if alone:
            self.voice.posterior_encoder.requires_grad_(True)
        self.voice.train()
        self.judges.train()
        made = training_pass(self.voice, batch, self._starts(batch), window=self.window)
        figures: dict[str, float] = {}
        judging = bool(self.judging) and progressed.update >= self.heard_from
        if judging:
            figures["discriminator"] = self._judge_step(made)
        heard = judging and progressed.update >= self.heard_from + config.discriminator_warmup
        figures |= self._voice_step(made, heard)
        self._count(figures, float(batch.frames_B.sum()) * self.made.shape.hop / self.made.shape.rate_hz)

    def _set_rates(self, decay: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * decay
        if self.judge_optimiser is not None:
            for group in self.judge_optimiser.param_groups:
                group["lr"] = self.config.discriminator_lr * decay

    def _starts(self, batch: VoiceBatch) -> Tensor:
        """First frames of the windows, drawn by (seed, update)."""
        rng = np.random.default_rng([self.config.seed, self.progressed.update])
        room_B = np.maximum(1, batch.frames_B.cpu().numpy() - self.window + 1)
        return torch.from_numpy((rng.random(len(room_B)) * room_B).astype(np.int64)).to(self.device)

    def _judge_step(self, made: Made) -> float:
        self.judges.requires_grad_(True)
        real, false = both(self.judges, made.real_BS, made.sound_BS.detach())
        loss = discriminator_loss(real[0], false[0])
        optimiser = self.judge_optimiser
        if optimiser is not None and math.isfinite(float(loss.detach())):
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if math.isfinite(float(nn.utils.clip_grad_norm_(self.judging, self.config.clip_norm))):
                optimiser.step()
        return float(loss.detach())

    def _voice_step(self, made: Made, heard: bool) -> dict[str, float]:
        config, shape = self.config, self.made.shape
        mel = functional.l1_loss(log_mel(made.sound_BS, shape), log_mel(made.real_BS, shape))
        losses = {"mel": mel, "divergence": made.divergence, "duration": made.duration_loss}
        total = config.mel_weight * mel + config.kl_weight * made.divergence
        total = total + config.duration_weight * made.duration_loss
        if heard:
            self.judges.requires_grad_(False)
            real, false = both(self.judges, made.real_BS, made.sound_BS)
            losses["adversarial"] = adversarial_loss(false[0])
            losses["feature"] = feature_loss(real[1], false[1])
            total = total + losses["adversarial"] + losses["feature"]
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.trained, config.clip_norm))
        if math.isfinite(norm):
            self.optimiser.step()
            self._bad_steps = 0
            self.progressed.grad_sum += norm
        else:
            self._bad_step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _bad_step(self) -> None:
        self._bad_steps += 1
        if self._bad_steps >= _BAD_STEPS:
            raise TrainingFailed(
                f"the gradient was not a number {_BAD_STEPS} times in a row at update {self.progressed.update}",
                next_step=f"lower the learning rate (now {self.config.lr:g}) with --set lr=...",
            )

    def _count(self, figures: dict[str, float], seconds: float) -> None:
        progressed = self.progressed
        for name, value in figures.items():
            if math.isfinite(value):
                progressed.figures[name] = progressed.figures.get(name, 0.0) + value
                progressed.figures[f"{name}_of"] = progressed.figures.get(f"{name}_of", 0.0) + 1.0
        progressed.loss_count += 1
        progressed.audio_s += seconds
        progressed.update += 1
        progressed.batch_in_epoch += 1
        sums = progressed.figures
        self.watcher.step(sums.get("mel", 0.0) / max(1.0, sums.get("mel_of", 0.0)), seconds=seconds)

    def _evaluate(self) -> None:
        """Dev, the row of the log, sentences read aloud, and whether this checkpoint is among the best."""
        progressed = self.progressed
        report = self._assess()
        row: dict[str, Any] = {"update": progressed.update, "epoch": progressed.epoch}
        sums = progressed.figures
        for name in sorted(name for name in sums if f"{name}_of" in sums):
            row[name] = round(sums[name] / max(1.0, sums[f"{name}_of"]), 6)
        if progressed.update:
            row["lr"] = self.config.lr * self.config.lr_decay**progressed.epoch
            row["grad_norm"] = round(progressed.grad_sum / max(1, progressed.loss_count), 6)
            row["audio_h"] = round(progressed.audio_s / 3600, 6)
        row |= report.to_json()
        progressed.log.append(row)
        progressed.figures, progressed.grad_sum, progressed.loss_count = {}, 0.0, 0
        self._read_aloud()
        best = checkpoint.keep_candidate(
            self.state, lambda: checkpoint.weights_of(self.voice), progressed, report.figure, 1
        )
        progressed.evaluations_without_gain = 0 if best else progressed.evaluations_without_gain + 1
        progressed.finished = progressed.evaluations_without_gain >= self.config.patience
        self.watcher.evaluated(row)
        self._save()

    def _assess(self) -> VoiceReport:
        return assess(self.voice, self.dev, self.config, device=self.device, judge=self.judge)

    def _read_aloud(self) -> None:
        """Sentences of dev for the report: read aloud, and their recordings made again."""
        for number, example in enumerate(self.dev.examples[: self.config.samples]):
            read = speak(self.voice, self.dev, example, self.config)
            again = copy_of(self.voice, self.dev, example, device=self.device)
            for kind, samples in (("read", read), ("copy", again)):
                with write_beside(self.state / SAMPLES / sample_name(self.progressed.update, number, kind)) as part:
                    audio.save_flac(part, samples)

    def _save(self) -> None:
        weights = {f"voice.{name}": value for name, value in checkpoint.weights_of(self.voice).items()}
        weights |= {f"judges.{name}": value for name, value in checkpoint.weights_of(self.judges).items()}
        slots = {f"voice.{name}": value for name, value in checkpoint.optimiser_tensors(self.optimiser).items()}
        if self.judge_optimiser is not None:
            judged = checkpoint.optimiser_tensors(self.judge_optimiser)
            slots |= {f"judges.{name}": value for name, value in judged.items()}
        checkpoint.save(self.state, weights, slots, self.progressed)
        self._saved_at = time.monotonic()

    def _restored(self) -> Progressed | None:
        found = checkpoint.restore(self.state)
        if found is None:
            return None
        weights, slots, progressed = found
        checkpoint.load_weights(self.voice, _below(weights, "voice."))
        checkpoint.load_weights(self.judges, _below(weights, "judges."))
        checkpoint.load_optimiser(self.optimiser, _below(slots, "voice."))
        if self.judge_optimiser is not None:
            checkpoint.load_optimiser(self.judge_optimiser, _below(slots, "judges."))
        return progressed

    def _chosen(self) -> VoiceOutcome:
        progressed = self.progressed
        update = progressed.best[0].update
        checkpoint.load_weights(self.voice, load_file(checkpoint.candidate_path(self.state, update)))
        report, first = self._assess(), progressed.log[0]
        start = VoiceReport(
            first["dev_mel"],
            first["dev_divergence"],
            first["dev_duration"],
            report.rows,
            first["dev_figure"],
            first.get("dev_judge_cer"),
        )
        return VoiceOutcome(
            updates=progressed.update,
            epochs=progressed.epoch,
            audio_h=progressed.audio_s / 3600,
            chosen=update,
            dev=report,
            start=start,
            log=progressed.log,
        )


def sample_name(update: int, number: int, kind: str) -> str:
    """File of a sentence at an update: `kind` "read" (aloud) or "copy" (the recording made again)."""
    return f"{update:08d}-{number:02d}-{kind}.flac"


def sample_updates(state: Path) -> list[int]:
    """The updates at which sentences were read aloud, in order."""
    return sorted({int(path.name.split("-")[0]) for path in (state / SAMPLES).glob("*-read.flac")})


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def fit_voice(
    made: MadeVoice,
    train: VoiceLoader,
    dev: VoiceLoader,
    config: VoiceConfig,
    *,
    state: Path,
    watcher: VoiceWatcher,
    device: str = "cpu",
    judge: Judge | None = None,
) -> VoiceOutcome:
    """Trains `made.model` in place; call it again after a crash with the same `state` and it goes on.

    With a `judge` the CER of what it hears chooses the checkpoint. TrainingFailed when the gradient stays infinite.
    """
    return VoiceTrainer(made, train, dev, config, state, watcher, device, judge).run()
