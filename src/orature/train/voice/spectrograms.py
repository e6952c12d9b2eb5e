"""Linear and mel spectrograms in torch, as VITS takes them in and HiFi-GAN's mel loss compares them.

Example::

    shape = SpectrogramShape(rate_hz=16_000, fft=1024, hop=256, mels=80)
    linear_BKF = linear_spectrogram(samples_BS, shape)          # (B, 513, S // 256)
    mel_BMF = log_mel(samples_BS, shape)                        # (B, 80, S // 256)

Magnitudes of a Hann window, reflected by (fft - hop) / 2 at both ends so that S samples give S // hop frames; mel
filters by Slaney's scale with unit area (the default of librosa, which VITS and HiFi-GAN used), logarithm with a floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_FLOOR = 1e-5
_POWER_FLOOR = 1e-6
_LINEAR_HZ, _STEP_HZ, _LOG_STEP = 1000.0, 200.0 / 3, float(np.log(6.4) / 27)


@dataclass(frozen=True, slots=True)
class SpectrogramShape:
    """Sample rate, length of the Fourier transform and hop in samples, number of mel bands up to half the rate."""

    rate_hz: int
    fft: int
    hop: int
    mels: int = 80

    @property
    def bins(self) -> int:
        return self.fft // 2 + 1


def linear_spectrogram(samples_BS: Tensor, shape: SpectrogramShape) -> Tensor:
    """Magnitudes, shape (B, fft / 2 + 1, S // hop); needs more than (fft - hop) / 2 samples."""
    padding = (shape.fft - shape.hop) // 2
    whole = samples_BS.shape[-1] // shape.hop * shape.hop
    padded_BS = functional.pad(samples_BS[:, None, :whole], (padding, padding), mode="reflect")[:, 0]
    window = torch.hann_window(shape.fft, device=samples_BS.device, dtype=samples_BS.dtype)
    found_BKF = torch.stft(
        padded_BS, shape.fft, shape.hop, shape.fft, window, center=False, onesided=True, return_complex=True
    )
    return torch.sqrt(found_BKF.real.square() + found_BKF.imag.square() + _POWER_FLOOR)


def mel_of(linear_BKF: Tensor, shape: SpectrogramShape) -> Tensor:
    """Natural logarithms of mel bands, shape (B, mels, F), of magnitudes."""
    filters_MK = torch.from_numpy(mel_filters(shape.rate_hz, shape.fft, shape.mels)).to(linear_BKF)
    return torch.log(torch.clamp(filters_MK @ linear_BKF, min=_FLOOR))


def log_mel(samples_BS: Tensor, shape: SpectrogramShape) -> Tensor:
    """Natural logarithms of mel bands of samples, shape (B, mels, S // hop)."""
    return mel_of(linear_spectrogram(samples_BS, shape), shape)


@cache
def mel_filters(rate_hz: int, fft: int, mels: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Triangular filters of unit area over the bins of a transform, shape (mels, fft / 2 + 1), from 0 to half the rate.

    Slaney 1998, "Auditory toolbox": linear below 1000 Hz, logarithmic above (27 steps for a factor of 6.4).
    """
    edges = _to_hz(np.linspace(0.0, _to_mel(rate_hz / 2), mels + 2))
    bins = np.fft.rfftfreq(fft, 1 / rate_hz)
    widths = np.diff(edges)
    rising = (bins[None, :] - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins[None, :]) / widths[1:, None]
    triangles = np.clip(np.minimum(rising, falling), 0.0, None)
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None], dtype=np.float32)


def _to_mel(hertz: float) -> float:
    if hertz < _LINEAR_HZ:
        return hertz / _STEP_HZ
    return _LINEAR_HZ / _STEP_HZ + float(np.log(hertz / _LINEAR_HZ)) / _LOG_STEP


def _to_hz(mels: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    corner = _LINEAR_HZ / _STEP_HZ
    above = _LINEAR_HZ * np.exp(_LOG_STEP * (np.maximum(mels, corner) - corner))
    return np.where(mels < corner, mels * _STEP_HZ, above)
