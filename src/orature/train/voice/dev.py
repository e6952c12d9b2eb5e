"""How a voice does on dev: the recordings made again from their own latents, their durations, and texts read aloud.

Example::

    report = assess(made.model, loader, config)
    report.mel, report.duration, report.figure

The figure that chooses checkpoints is the training objective without its adversarial part (mel error, divergence and
durations with their weights), or, where a judge listens, the CER of what it hears in dev sentences read aloud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rapidfuzz.distance import Levenshtein

from orature.core.types import RATE_HZ
from orature.data import audio
from orature.text.normalise import normalise
from orature.train.voice.config import VoiceConfig
from orature.train.voice.data import VoiceExample, VoiceLoader
from orature.train.voice.generator import LONGEST_FRAMES, align, duration_loss, read_aloud, reconstruct
from orature.train.voice.spectrograms import log_mel

Samples = npt.NDArray[np.float32]
Judge = Callable[[Sequence[Samples]], Sequence[str]]
"""Recordings at 16 kHz in, what was heard out; "" where nothing was."""
_DRAWS = 1_000_003
_SLOWEST, _WORST = 4, 1e6
"""A sentence is read aloud at most so many times as long as its recording."""


@dataclass(frozen=True, slots=True)
class VoiceReport:
    """Means over dev rows: mel error (L1 of natural logarithms), divergence, duration loss; CER of the judge."""

    mel: float
    divergence: float
    duration: float
    rows: int
    weighted: float
    judge_cer: float | None = None

    @property
    def figure(self) -> float:
        """What checkpoints are chosen by; lower is better."""
        return self.weighted if self.judge_cer is None else self.judge_cer

    def to_json(self) -> dict[str, float]:
        """Rounded, under the names of the training log."""
        found = {"dev_mel": self.mel, "dev_divergence": self.divergence, "dev_duration": self.duration}
        found["dev_figure"] = self.figure
        if self.judge_cer is not None:
            found["dev_judge_cer"] = self.judge_cer
        return {name: round(value, 6) for name, value in found.items()}


@torch.no_grad()
def assess(
    model: Any, loader: VoiceLoader, config: VoiceConfig, *, device: str = "cpu", judge: Judge | None = None
) -> VoiceReport:
    """The report over all rows of `loader`, one at a time, in evaluation mode and with fixed draws."""
    model.eval()
    mel = divergence = duration = 0.0
    for number, example in enumerate(loader.examples):
        batch = loader.batch([example]).to(device)
        torch.manual_seed(config.seed * _DRAWS + number)
        aligned = align(model, batch)
        made, real = log_mel(reconstruct(model, aligned), loader.shape), log_mel(batch.samples_BS, loader.shape)
        mel += _finite((made - real).abs().mean())
        divergence += _finite(aligned.divergence)
        duration += _finite(duration_loss(model, aligned))
    rows = max(1, len(loader.examples))
    mel, divergence, duration = mel / rows, divergence / rows, duration / rows
    weighted = config.mel_weight * mel + config.kl_weight * divergence + config.duration_weight * duration
    cer = None if judge is None else _judged(model, loader, config, judge)
    return VoiceReport(mel, divergence, duration, len(loader.examples), weighted, cer)


def _finite(value: torch.Tensor) -> float:
    """A number that can be compared and stored, also where a network has run away."""
    return float(torch.nan_to_num(value, nan=_WORST, posinf=_WORST, neginf=_WORST).clamp(-_WORST, _WORST))


def speak(model: Any, loader: VoiceLoader, example: VoiceExample, config: VoiceConfig) -> Samples:
    """The text of an example read aloud at 16 kHz, shape (samples,)."""
    model.eval()
    frames = int(example.duration_s * loader.shape.rate_hz) // loader.shape.hop
    longest = min(LONGEST_FRAMES, _SLOWEST * frames + 100)
    speaker = example.speaker if loader.several else None
    sound = read_aloud(model, list(example.tokens), speaker=speaker, seed=config.seed, longest=longest)
    return at_corpus_rate(sound.cpu().numpy(), loader.shape.rate_hz)


@torch.no_grad()
def copy_of(model: Any, loader: VoiceLoader, example: VoiceExample, *, device: str = "cpu") -> Samples:
    """A recording made again from its own latents, at 16 kHz, shape (samples,)."""
    model.eval()
    sound = reconstruct(model, align(model, loader.batch([example]).to(device)))
    return at_corpus_rate(sound[0].cpu().numpy(), loader.shape.rate_hz)


def at_corpus_rate(samples: Samples, rate_hz: int) -> Samples:
    """Samples at `rate_hz` as samples at 16 kHz; what is not a number becomes silence."""
    clean = np.nan_to_num(np.clip(samples, -1.0, 1.0)).astype(np.float32)
    return clean if rate_hz == RATE_HZ else audio.resampled(clean, rate_hz)


def _judged(model: Any, loader: VoiceLoader, config: VoiceConfig, judge: Judge) -> float:
    """Edits over characters of all dev sentences, both sides under the scoring normaliser."""
    heard = judge([speak(model, loader, example, config) for example in loader.examples])
    edits = letters = 0
    for example, text in zip(loader.examples, heard, strict=True):
        said = normalise(example.text)
        edits += Levenshtein.distance(said, normalise(text))
        letters += len(said)
    return edits / max(1, letters)
