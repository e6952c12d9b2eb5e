"""The two kinds of discriminators of HiFi-GAN: by periods and by scales.

Kong, Kim, Bae 2020, "HiFi-GAN: generative adversarial networks for efficient and high fidelity speech synthesis",
section 2.3 and appendix B. VITS takes the five periods and one discriminator of the raw scale with other widths (its
released code); `scales="hifigan"` takes the three scales of HiFi-GAN. At full width the periods have 41,092,165
parameters, VITS's scale 5,637,953 and HiFi-GAN's three scales 29,610,627 (weight normalisation not counted).

Example::

    judges = Discriminators(DiscriminatorConfig())
    scores, features = judges(samples_BS)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

_SLOPE = 0.1
_PERIOD_CHANNELS = (32, 128, 512, 1024, 1024)
_PERIOD_KERNEL, _PERIOD_STRIDE = 5, 3

_Layer = tuple[int, int, int, int]
"""Output channels, kernel, stride, groups."""
_SCALES: dict[str, tuple[_Layer, ...]] = {
    "vits": (
        (16, 15, 1, 1),
        (64, 41, 4, 4),
        (256, 41, 4, 16),
        (1024, 41, 4, 64),
        (1024, 41, 4, 256),
        (1024, 5, 1, 1),
    ),
    "hifigan": (
        (128, 15, 1, 1),
        (128, 41, 2, 4),
        (256, 41, 2, 16),
        (512, 41, 4, 16),
        (1024, 41, 4, 16),
        (1024, 41, 1, 16),
        (1024, 5, 1, 1),
    ),
}
_HIFIGAN_SCALES = 3

Judged = tuple[list[Tensor], list[list[Tensor]]]
"""Scores of each discriminator, shape (B, steps), and its feature maps."""


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """`shrink` divides all channels (1: as published); `scales` "vits", "hifigan" or "none"."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    scales: Literal["vits", "hifigan", "none"] = "vits"
    shrink: int = 1


class PeriodDiscriminator(nn.Module):
    """Sees every p-th sample beside the next ones: sound folded into rows of `period` samples.

    The published convolutions have kernels of width 1 across the rows, so that the rows are folded into the batch and
    one-dimensional convolutions give the same (and are quicker on a CPU).
    """

    def __init__(self, period: int, shrink: int = 1) -> None:
        super().__init__()
        self.period = period
        layers, before = [], 1
        for number, full in enumerate(_PERIOD_CHANNELS):
            channels = max(1, full // shrink)
            stride = _PERIOD_STRIDE if number < len(_PERIOD_CHANNELS) - 1 else 1
            layers.append(weight_norm(nn.Conv1d(before, channels, _PERIOD_KERNEL, stride, _PERIOD_KERNEL // 2)))
            before = channels
        self.layers = nn.ModuleList(layers)
        self.last = weight_norm(nn.Conv1d(before, 1, 3, 1, 1))

    def forward(self, samples_BS: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (B, steps) and the feature maps of all layers."""
        batch, length = samples_BS.shape
        missing = -length % self.period
        if missing:
            samples_BS = functional.pad(samples_BS[:, None], (0, missing), mode="reflect")[:, 0]
        folded = samples_BS.reshape(batch, -1, self.period).transpose(1, 2).reshape(batch * self.period, 1, -1)
        return _through(self.layers, self.last, folded, batch)


class ScaleDiscriminator(nn.Module):
    """Sees the sound as it is, or averaged by 2 or 4 before."""

    def __init__(self, layers: tuple[_Layer, ...], shrink: int = 1, *, spectral: bool = False) -> None:
        super().__init__()
        norm = spectral_norm if spectral else weight_norm
        made, before = [], 1
        for full, kernel, stride, groups in layers:
            channels = max(1, full // shrink)
            parts = max(1, groups // shrink)
            made.append(norm(nn.Conv1d(before, channels, kernel, stride, kernel // 2, groups=parts)))
            before = channels
        self.layers = nn.ModuleList(made)
        self.last = norm(nn.Conv1d(before, 1, 3, 1, 1))

    def forward(self, samples_BS: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (B, steps) and the feature maps of all layers."""
        return _through(self.layers, self.last, samples_BS[:, None], len(samples_BS))


def _through(layers: nn.ModuleList, last: nn.Module, hidden: Tensor, batch: int) -> tuple[Tensor, list[Tensor]]:
    features = []
    for layer in layers:
        hidden = functional.leaky_relu(layer(hidden), _SLOPE)
        features.append(hidden)
    scores = last(hidden)
    features.append(scores)
    return scores.reshape(batch, -1), features


class Discriminators(nn.Module):
    """All discriminators together."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.by_period = nn.ModuleList(PeriodDiscriminator(period, config.shrink) for period in config.periods)
        layers = _SCALES.get(config.scales, ())
        count = {"vits": 1, "hifigan": _HIFIGAN_SCALES, "none": 0}[config.scales]
        several = count > 1
        self.by_scale = nn.ModuleList(
            ScaleDiscriminator(layers, config.shrink, spectral=several and number == 0) for number in range(count)
        )

    def forward(self, samples_BS: Tensor) -> Judged:
        """Scores and feature maps of each, of samples of shape (B, S)."""
        scores: list[Tensor] = []
        features: list[list[Tensor]] = []
        scaled_BS = samples_BS
        for number, judge in enumerate(self.by_scale):
            if number:
                scaled_BS = functional.avg_pool1d(scaled_BS[:, None], 4, 2, padding=2)[:, 0]
            score, maps = judge(scaled_BS)
            scores.append(score)
            features.append(maps)
        for judge in self.by_period:
            score, maps = judge(samples_BS)
            scores.append(score)
            features.append(maps)
        return scores, features


def both(judges: nn.Module, real_BS: Tensor, made_BS: Tensor) -> tuple[Judged, Judged]:
    """What the discriminators say of real and of made sound, computed as one batch."""
    count = len(real_BS)
    scores, features = judges(torch.cat([real_BS, made_BS]))
    real: Judged = [score[:count] for score in scores], []
    made: Judged = [score[count:] for score in scores], []
    for maps in features:
        halves = [one.chunk(2) for one in maps]
        real[1].append([first for first, _ in halves])
        made[1].append([second for _, second in halves])
    return real, made
