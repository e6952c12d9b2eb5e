"""Spectrograms against a direct computation, and mel filters against those of transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orature.train.voice.spectrograms import SpectrogramShape, linear_spectrogram, log_mel, mel_filters

SHAPE = SpectrogramShape(rate_hz=16_000, fft=256, hop=64, mels=20)


def direct(samples: np.ndarray, shape: SpectrogramShape) -> np.ndarray:
    """Magnitudes by a sum over cosines and sines, frame by frame."""
    padding = (shape.fft - shape.hop) // 2
    padded = np.pad(samples, padding, mode="reflect")
    places = np.arange(shape.fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * places / shape.fft)
    angles = 2 * np.pi * np.arange(shape.bins)[:, None] * places[None] / shape.fft
    columns = []
    for first in range(0, len(padded) - shape.fft + 1, shape.hop):
        frame = window * padded[first : first + shape.fft]
        power = (np.cos(angles) @ frame) ** 2 + (np.sin(angles) @ frame) ** 2
        columns.append(np.sqrt(power + 1e-6))
    return np.stack(columns, axis=1)


def test_the_linear_spectrogram_is_the_fourier_transform() -> None:
    samples = np.random.default_rng(1).standard_normal(64 * 9 + 17).astype("f4") * 0.2
    found = linear_spectrogram(torch.from_numpy(samples)[None], SHAPE)
    wanted = direct(samples[: 64 * 9], SHAPE)
    assert found.shape == (1, SHAPE.bins, 9) == (1, *wanted.shape)
    assert np.allclose(found[0].numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rate_hz", "fft", "mels"), [(16_000, 1024, 80), (22_050, 1024, 80), (8_000, 256, 20)])
def test_mel_filters_are_those_of_slaney(rate_hz: int, fft: int, mels: int) -> None:
    from transformers.audio_utils import mel_filter_bank

    bins = fft // 2 + 1
    theirs = mel_filter_bank(bins, mels, 0.0, rate_hz / 2, rate_hz, norm="slaney", mel_scale="slaney")
    assert np.allclose(mel_filters(rate_hz, fft, mels), theirs.T, atol=1e-6)


def test_log_mel_is_the_logarithm_with_a_floor_and_has_a_gradient() -> None:
    samples = torch.zeros(1, 64 * 8, requires_grad=True)
    silent = log_mel(samples, SHAPE)
    loud = log_mel(torch.sin(torch.arange(64.0 * 8) * 0.5)[None], SHAPE)
    wanted = np.log(np.maximum(mel_filters(16_000, 256, 20) @ direct(np.zeros(512, "f4"), SHAPE), 1e-5))
    assert np.allclose(silent[0].detach().numpy(), wanted, atol=1e-4)
    assert float(loud.max()) > float(silent.detach().max()) + 3
    silent.sum().backward()
    assert torch.isfinite(samples.grad).all()
