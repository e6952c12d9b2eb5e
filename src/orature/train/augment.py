"""Noise, loudness and SpecAugment spans for training audio, each drawn from a generator of its own.

Example::

    rng = np.random.default_rng([seed, epoch, index])
    samples = perturb(samples, rng, config)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orature.train.augment_config import AugmentConfig

Samples = npt.NDArray[np.float32]
Spans = npt.NDArray[np.int64]


def coloured_noise(count: int, slope: float, rng: np.random.Generator) -> Samples:
    """Noise of unit power whose power falls with frequency as f**-slope (0 white, 1 pink, 2 brown)."""
    size = 1 << (count - 1).bit_length()  # other lengths, primes above all, are many times slower to transform
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    hertz = np.arange(1, spectrum.size + 1, dtype=np.float32)
    noise = np.fft.irfft(spectrum * hertz ** (-slope / 2), n=size)[:count].astype(np.float32)
    power = float(np.sqrt(np.mean(noise**2)))
    return noise / max(power, 1e-9)


def perturb(samples: Samples, rng: np.random.Generator, config: AugmentConfig) -> Samples:
    """Adds coloured noise at a random signal-to-noise ratio and changes the loudness; the length stays."""
    gain_db = rng.uniform(-config.gain_db, config.gain_db)
    if rng.random() < config.noise_probability and samples.size > 1:
        slope = rng.uniform(0.0, 2.0)
        snr_db = rng.uniform(*config.snr_db)
        level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-snr_db / 20)
        samples = samples + level * coloured_noise(samples.size, slope, rng)
    return (samples * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def spans(count: int, widest: int, length: int, rng: np.random.Generator) -> Spans:
    """`count` random spans of 0 to `widest` inside `length`, shape (count, 2)."""
    widths = rng.integers(0, max(widest, 0) + 1, size=count)
    widths = np.minimum(widths, length)
    starts = np.floor(rng.random(count) * (length - widths + 1)).astype(np.int64)
    return np.stack([starts, starts + widths], axis=1).astype(np.int64)


def mask_spans_of(frames: int, mels: int, rng: np.random.Generator, config: AugmentConfig) -> tuple[Spans, Spans]:
    """Time spans (count, 2) and mel spans (count, 2) for one utterance of `frames` frames."""
    widest = min(config.time_mask_frames, int(config.time_mask_share * frames))
    return (
        spans(config.time_masks, widest, frames, rng),
        spans(config.mel_masks, config.mel_mask_bins, mels, rng),
    )
