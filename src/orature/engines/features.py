"""Log-mel filterbank features, computed for a padded batch at once, on CPU or GPU, inside the model.

They follow Kaldi's definition (Povey et al. 2011, `compute-fbank-feats`): 25 ms frames every 10 ms, DC removed,
pre-emphasis 0.97, Povey window, power spectrum, 80 triangular mel filters from 20 Hz to 7,600 Hz, natural log.
Frames start at sample 0 and only whole frames count ("snip edges"). Warped filterbanks give vocal tract length
perturbation (Jaitly and Hinton 2013, "Vocal Tract Length Perturbation improves speech recognition", section 3).

Shapes: B utterances, S samples, T frames, K = 257 frequency bins, M mel bins.

Example::

    features_BTM, frames_B = LogMel()(samples_BS, lengths_B)
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

RATE_HZ = 16_000
FRAME = 400
HOP = 160
FFT = 512
FLOOR = 1.0e-10
TYPICAL_DEVIATION = 3.0
"""Standard deviation of a log-mel bin over an utterance of speech, roughly."""
Normalisation = Literal["mean-variance", "mean"]
Window = Literal["povey", "hamming"]
WARPS = tuple(round(0.76 + 0.02 * step, 2) for step in range(25))
"""Warp factors for which a filterbank is kept: 0.76 (a longer vocal tract) to 1.24, 1.0 in the middle."""
UNWARPED = WARPS.index(1.0)


def mel(hertz: float) -> float:
    """Hertz to mel (Kaldi's constants)."""
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def frames_of(samples: int) -> int:
    """How many 10 ms frames `samples` samples give (0 when shorter than one 25 ms frame)."""
    return max(0, 1 + (samples - FRAME) // HOP)


def _warped_hertz(hertz: Tensor, warp: float, high_hz: float) -> Tensor:
    """Piecewise linear warp: `hertz * warp` up to a bend, then a line that keeps the Nyquist end in place."""
    bend = 0.85 * high_hz * min(warp, 1.0) / warp
    nyquist = RATE_HZ / 2
    slope = (nyquist - warp * bend) / (nyquist - bend)
    return torch.where(hertz <= bend, hertz * warp, nyquist - slope * (nyquist - hertz))


def filterbank(mels: int = 80, *, low_hz: float = 20.0, high_hz: float = 7600.0, warp: float = 1.0) -> Tensor:
    """Triangular mel filters of shape (K, M), their centres moved by `warp`."""
    bins_hz = torch.arange(FFT // 2 + 1, dtype=torch.float64) * RATE_HZ / FFT
    bins_mel = 1127.0 * torch.log1p(_warped_hertz(bins_hz, warp, high_hz) / 700.0)
    edges = torch.linspace(mel(low_hz), mel(high_hz), mels + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins_mel[:, None] - left) / (centre - left)
    falling = (right - bins_mel[:, None]) / (right - centre)
    bank = torch.minimum(rising, falling).clamp(min=0.0)
    bank[0] = 0.0  # Kaldi ignores the DC bin
    return bank.to(torch.float32)


def window_of(kind: Window) -> Tensor:
    """The window of a frame, float32 of shape (400,): Kaldi's own (Hann to the power 0.85), or Hamming's."""
    if kind == "hamming":
        return torch.hamming_window(FRAME, periodic=False, dtype=torch.float64).to(torch.float32)
    return torch.hann_window(FRAME, periodic=False, dtype=torch.float64).pow(0.85).to(torch.float32)


class LogMel(nn.Module):
    """Samples to log-mel features; has no weights, so that a checkpoint never depends on it."""

    window_F: Tensor
    banks_WKM: Tensor

    def __init__(self, mels: int = 80, window: Window = "povey") -> None:
        super().__init__()
        with torch.device("cpu"):  # values, also where the rest of a model is only shapes (meta)
            banks, shape = torch.stack([filterbank(mels, warp=warp) for warp in WARPS]), window_of(window)
        self.register_buffer("window_F", shape, persistent=False)
        self.register_buffer("banks_WKM", banks, persistent=False)
        self.mels = mels

    @torch.no_grad()
    def forward(self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features of shape (B, T, M) and frame counts of shape (B,).

        `samples_BS` is float32 in [-1, 1], zero-padded; `lengths_B` counts samples; `warps_B` holds indices into
        `WARPS` (None: no warp). Features past a recording's end are meaningless and must be masked by the caller.
        """
        samples_BS = samples_BS.to(torch.float32)
        if samples_BS.shape[1] < FRAME:
            samples_BS = nn.functional.pad(samples_BS, (0, FRAME - samples_BS.shape[1]))
        frames_BTF = samples_BS.unfold(1, FRAME, HOP) * 32768.0
        frames_BTF = frames_BTF - frames_BTF.mean(dim=-1, keepdim=True)
        before_BTF = torch.cat([frames_BTF[..., :1], frames_BTF[..., :-1]], dim=-1)
        frames_BTF = (frames_BTF - 0.97 * before_BTF) * self.window_F
        power_BTK = torch.view_as_real(torch.fft.rfft(frames_BTF, n=FFT)).square().sum(dim=-1)
        if warps_B is None:
            energies_BTM = power_BTK @ self.banks_WKM[UNWARPED]
        else:
            energies_BTM = torch.bmm(power_BTK, self.banks_WKM[warps_B])
        counts_B = torch.div(lengths_B - FRAME, HOP, rounding_mode="floor").add(1).clamp(min=0)
        return torch.log(energies_BTM.clamp(min=FLOOR)), counts_B


def normalise(features_BTM: Tensor, frames_B: Tensor, how: Normalisation = "mean-variance") -> Tensor:
    """Each utterance to mean 0 a mel bin over its own frames; padding becomes 0.

    "mean-variance" also brings each bin to variance 1. "mean" divides by a constant instead, because the variance of a
    bin over half a second says more about the word than about the channel.
    """
    mask_BT1 = (torch.arange(features_BTM.shape[1], device=features_BTM.device) < frames_B[:, None])[..., None]
    count_B11 = frames_B.clamp(min=1)[:, None, None]
    features_BTM = features_BTM.masked_fill(~mask_BT1, 0.0)
    mean_B1M = features_BTM.sum(dim=1, keepdim=True) / count_B11
    centred_BTM = (features_BTM - mean_B1M).masked_fill(~mask_BT1, 0.0)
    if how == "mean":
        return centred_BTM / TYPICAL_DEVIATION
    deviation_B1M = (centred_BTM.square().sum(dim=1, keepdim=True) / count_B11).sqrt()
    return centred_BTM / (deviation_B1M + 0.1)


def mask_spans(features_BTM: Tensor, time_BN2: Tensor, mel_BN2: Tensor) -> Tensor:
    """SpecAugment (Park et al. 2019, section 2): sets spans of frames and of mel bins to 0, the mean.

    Spans are (first, past the last), of shape (B, N, 2); an empty span masks nothing.
    """
    frames_T = torch.arange(features_BTM.shape[1], device=features_BTM.device)
    bins_M = torch.arange(features_BTM.shape[2], device=features_BTM.device)
    in_time_BT = ((frames_T >= time_BN2[..., :1]) & (frames_T < time_BN2[..., 1:])).any(dim=1)
    in_mel_BM = ((bins_M >= mel_BN2[..., :1]) & (bins_M < mel_BN2[..., 1:])).any(dim=1)
    return features_BTM.masked_fill(in_time_BT[:, :, None] | in_mel_BM[:, None, :], 0.0)
