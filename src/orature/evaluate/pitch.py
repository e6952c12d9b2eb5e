"""The fundamental frequency of speech over time: how high a voice is, and how far it moves.

The YIN estimator (de Cheveigne and Kawahara 2002, "YIN, a fundamental frequency estimator for speech and music",
steps 1 to 5): the cumulative mean normalised difference function, its first dip below a threshold, and a parabola
through that dip. All frames of a recording are worked on at once.

Example::

    track = pitch_track(samples)
    track.hz[track.voiced].mean(), pitch_of(samples).median_hz
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orature.core.types import RATE_HZ

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LOW_HZ, HIGH_HZ = 60.0, 500.0
"""Voices are looked for between these frequencies."""
HOP_S = 0.01
_WINDOW_S = 0.025
_THRESHOLD = 0.15
"""A dip below it is a period (the paper's 0.1 is for clean speech)."""
_VOICED = 0.3
"""Where there is no such dip, the deepest one still counts as voiced below this."""
_QUIET_DB = 35.0
"""A frame so far below the loudest one is no voice."""
_SHORTEST_RUN = 3
_SMOOTHED = 5
_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Track:
    """One value a frame of 10 ms: frequency (NaN where unvoiced) and aperiodicity (0 periodic, 1 not), shape (F,)."""

    hz: Floats
    aperiodicity: Floats

    @property
    def voiced(self) -> Mask:
        """Which frames have a pitch."""
        found: Mask = np.isfinite(self.hz)
        return found


@dataclass(frozen=True, slots=True)
class Pitch:
    """Pitch of one utterance: its median, its range (5th to 95th percentile), and the share of frames with a voice."""

    median_hz: float
    range_semitones: float
    voiced_share: float


def pitch_of(samples: npt.NDArray[Any], rate_hz: int = RATE_HZ) -> Pitch | None:
    """Median, range and voiced share of an utterance, shape (samples,); None where hardly any frame is voiced."""
    track = pitch_track(samples, rate_hz)
    hz = track.hz[track.voiced]
    if len(hz) < _SHORTEST_RUN:
        return None
    low, median, high = np.percentile(hz, [5, 50, 95])
    return Pitch(float(median), float(12 * np.log2(high / low)), float(track.voiced.mean()))


def pitch_track(
    samples: npt.NDArray[Any],
    rate_hz: int = RATE_HZ,
    *,
    low_hz: float = LOW_HZ,
    high_hz: float = HIGH_HZ,
    hop_s: float = HOP_S,
) -> Track:
    """The fundamental frequency of mono samples, shape (samples,), every `hop_s` seconds.

    A recording shorter than one frame (about 42 ms) gives a track without frames. ValueError for a range that is none.
    """
    if not 0 < low_hz < high_hz < rate_hz / 4:
        raise ValueError(f"no range of pitch: {low_hz:g} to {high_hz:g} Hz at {rate_hz} Hz")
    window, lags = round(_WINDOW_S * rate_hz), int(rate_hz / low_hz) + 1
    width, hop = window + lags, round(hop_s * rate_hz)
    wave = np.asarray(samples, np.float64)
    if len(wave) < width:
        return Track(np.zeros(0), np.zeros(0))
    frames = np.lib.stride_tricks.sliding_window_view(wave, width)[::hop]
    parts = [
        _block(frames[begin : begin + _BLOCK], window, int(rate_hz / high_hz))
        for begin in range(0, len(frames), _BLOCK)
    ]
    period, depth, power = (np.concatenate(values) for values in zip(*parts, strict=True))
    loud = power > power.max() * 10 ** (-_QUIET_DB / 10)
    hz = np.where(loud & (depth < _VOICED), rate_hz / period, np.nan)
    return Track(_smoothed(_long_runs(hz)), depth)


def _block(frames: Floats, window: int, shortest: int) -> tuple[Floats, Floats, Floats]:
    """Period in samples, depth of its dip, and mean power, of frames with shape (F, window + lags)."""
    lags = frames.shape[1] - window
    normalised = _normalised(_difference(frames, window))
    inner = normalised[:, shortest:lags]
    dips = (inner <= normalised[:, shortest - 1 : lags - 1]) & (inner < normalised[:, shortest + 1 : lags + 1])
    deep = dips & (inner < _THRESHOLD)
    lowest = np.where(dips, inner, np.inf).argmin(axis=1)
    place = np.where(deep.any(axis=1), deep.argmax(axis=1), lowest) + shortest
    rows = np.arange(len(frames))
    before, here, after = (normalised[rows, place + step] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    safe = np.where(bend > 1e-12, bend, 1.0)
    shift = np.where(bend > 1e-12, np.clip(0.5 * (before - after) / safe, -0.5, 0.5), 0.0)
    depth = np.where(dips.any(axis=1), here, 1.0)
    return place + shift, depth, np.square(frames[:, :window]).mean(axis=1)


def _difference(frames: Floats, window: int) -> Floats:
    """Squared difference between a window and itself later, for each lag (equation 6), shape (F, lags + 1)."""
    lags = frames.shape[1] - window
    size = 1 << (frames.shape[1] - 1).bit_length()
    products = np.conj(np.fft.rfft(frames[:, :window], size)) * np.fft.rfft(frames, size)
    shared = np.fft.irfft(products, size)[:, : lags + 1]
    sums = np.zeros((len(frames), frames.shape[1] + 1))
    np.cumsum(np.square(frames), axis=1, out=sums[:, 1:])
    energy = sums[:, window : window + lags + 1] - sums[:, : lags + 1]
    difference: Floats = np.maximum(energy[:, :1] + energy - 2 * shared, 0.0)
    return difference


def _normalised(difference: Floats) -> Floats:
    """Divided by its mean over all shorter lags (equation 8); 1 where there is nothing to divide by."""
    lags = np.arange(1, difference.shape[1])
    sums = np.cumsum(difference[:, 1:], axis=1)
    found = np.ones_like(difference)
    np.divide(difference[:, 1:] * lags, sums, out=found[:, 1:], where=sums > 1e-12)
    return found


def _long_runs(hz: Floats) -> Floats:
    """`hz` without voiced runs of fewer than three frames."""
    voiced = np.concatenate([[False], np.isfinite(hz), [False]])
    edges = np.flatnonzero(voiced[1:] != voiced[:-1])
    kept = hz.copy()
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < _SHORTEST_RUN:
            kept[begin:end] = np.nan
    return kept


def _smoothed(hz: Floats) -> Floats:
    """A running median over five frames: single frames an octave off go."""
    if not len(hz):
        return hz
    reach = _SMOOTHED // 2
    padded = np.concatenate([np.full(reach, np.nan), hz, np.full(reach, np.nan)])
    around = np.sort(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED), axis=1)  # NaN goes to the end
    count = np.isfinite(around).sum(axis=1)
    rows = np.arange(len(hz))
    middle = around[rows, np.maximum(count - 1, 0) // 2]
    found: Floats = np.where(np.isfinite(hz), middle, np.nan)
    return found
