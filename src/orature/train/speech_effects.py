"""What befalls clean synthetic speech beside rooms, noise and codecs: clipping, and music under it.

Example::

    samples = clipped(samples, rng)
    samples = with_bed(samples, (5.0, 25.0), rng)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orature.core.types import RATE_HZ

Samples = npt.NDArray[np.float32]
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 5, 9), (0, 4, 7, 11), (0, 3, 7, 10))
"""Semitones over the root: major, minor, fourth and sixth, two sevenths."""
_TABLE = 8192


def clipped(samples: Samples, rng: np.random.Generator) -> Samples:
    """Speech recorded 3 to 12 dB too loud: everything above is cut off, the level stays as it was; length the same."""
    peak = float(np.abs(samples).max(initial=0.0))
    limit = np.float32(peak * 10 ** (-rng.uniform(3.0, 12.0) / 20))
    return np.clip(samples, -limit, limit)


def music_bed(count: int, rng: np.random.Generator) -> Samples:
    """Chords of harmonic tones with decaying notes, shape (count,), RMS 1: cheap, but tonal where noise is not."""
    bed = np.zeros(count, np.float32)
    harmonics = 1.0 / np.arange(1, 7) ** rng.uniform(0.8, 2.0)
    phase = np.arange(_TABLE, dtype=np.float32) * np.float32(2 * np.pi / _TABLE)
    wave = sum((np.float32(h) * np.sin(k * phase) for k, h in enumerate(harmonics, 1)), np.zeros(_TABLE, np.float32))
    beat = round(float(rng.uniform(0.25, 0.8)) * RATE_HZ)
    root = float(rng.uniform(80.0, 260.0))
    falls = np.exp(-np.arange(beat, dtype=np.float32) / np.float32(rng.uniform(0.2, 1.5) * RATE_HZ))
    for start in range(0, count, beat):
        chord = _CHORDS[int(rng.integers(len(_CHORDS)))]
        base = root * 2 ** (int(rng.integers(-5, 6)) / 12)
        size = min(beat, count - start)
        steps = np.arange(size, dtype=np.float64)
        for semitones in chord:
            places = (steps * (base * 2 ** (semitones / 12) * _TABLE / RATE_HZ)).astype(np.int64) % _TABLE
            bed[start : start + size] += wave[places] * falls[:size]
    return bed / np.float32(max(float(np.sqrt(np.mean(bed**2))) if count else 0.0, 1e-6))


def with_bed(samples: Samples, snr_db: tuple[float, float], rng: np.random.Generator) -> Samples:
    """Speech over music at a level drawn from `snr_db`; length the same."""
    level = float(np.sqrt(np.mean(samples**2))) * 10 ** (-rng.uniform(*snr_db) / 20)
    return samples + np.float32(level) * music_bed(samples.size, rng)
