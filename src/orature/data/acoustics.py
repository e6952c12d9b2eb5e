"""What recordings sound like, measured: level, noise and its colour, bandwidth, reverberation, codec traces, pauses.

A profile holds what was measured in each of some recordings together (not means of each property alone: a loud room is
a loud room in all of them), so that `data/acoustics_match.py` can make other speech sound like one of them.

Example::

    profile = profile_of(corpus.split("train"))
    distance(measure_all(speech), profile)       # {"snr_db": 3.1, ...}: how far apart two sets of recordings are
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from orature.core.errors import AudioError, CorpusError
from orature.core.types import RATE_HZ
from orature.data.audio import Samples, load
from orature.data.audio_quality import bandwidth_hz
from orature.data.corpus import Corpus

SAMPLE = 200
"""Recordings that are measured, spread evenly over the corpus."""
BANDS = 24
"""Bands of equal width in mel in which the colour of the noise is kept."""
FRAME, HOP = 512, 160
_QUIET_SHARE = 0.1
_EDGE_DB, _ABOVE_DB, _LEAST_DB = 25.0, 6.0, 10.0
"""Speech is what lies less than the first below the loud frames and more than the second above the noise, but in any
case what lies less than the third below the loud frames."""
_HOLE_DB, _HOLE_FROM_HZ = 75.0, 1000.0
FLOOR_DBFS = -96.0
"""The noise of 16 bits: nothing below it is kept."""
_LEAST_S = 0.2


@dataclass(frozen=True, slots=True)
class Traits:
    """What was measured in one recording; levels in dBFS."""

    level_db: float
    """Mean power of the frames that hold speech."""
    noise_db: float
    """Mean power of the quietest tenth of all frames."""
    snr_db: float
    bandwidth_hz: float
    decay_s: float
    """Seconds in which sound would fall by 60 dB at the rate at which it falls after loud frames."""
    holes: float
    """Share of time and frequency that holds nothing at all, as lossy codecs leave it."""
    lead_s: float
    trail_s: float
    noise_bands_db: tuple[float, ...]
    """Colour of the quietest frames: power of each band relative to all, in dB."""


PROPERTIES = tuple(field.name for field in fields(Traits) if field.name != "noise_bands_db")


@dataclass(frozen=True, slots=True)
class Profile:
    """The traits of some recordings of one corpus."""

    clips: tuple[Traits, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the medians for a reader."""
        return {"format": 1, "medians": self.medians(), "clips": [asdict(clip) for clip in self.clips]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """What `to_json` gave."""
        clips = [{**clip, "noise_bands_db": tuple(clip["noise_bands_db"])} for clip in data["clips"]]
        return cls(tuple(Traits(**clip) for clip in clips))

    def values(self, name: str) -> npt.NDArray[np.float64]:
        """One property of all clips, shape (clips,)."""
        return np.array([getattr(clip, name) for clip in self.clips], np.float64)

    def medians(self) -> dict[str, float]:
        """The middle value of each property."""
        return {name: round(float(np.median(self.values(name))), 4) for name in PROPERTIES}


def profile_of(rows: Corpus, sample: int = SAMPLE) -> Profile:
    """The profile of recordings spread evenly over `rows`; CorpusError where none of them can be measured."""
    step = max(1, len(rows) // sample)
    clips = []
    for row in islice(rows, 0, step * sample, step):
        try:
            samples = load(row.audio.path, row.audio.start_s, row.audio.duration_s)
        except AudioError:
            continue
        if len(samples) >= _LEAST_S * RATE_HZ and np.abs(samples).max() > 0:
            clips.append(measure(samples))
    if not clips:
        raise CorpusError(
            "no train recording could be measured", next_step="name a corpus with train recordings, or realism none"
        )
    return Profile(tuple(clips))


def measure_all(recordings: Iterable[Samples]) -> Profile:
    """The profile of recordings at hand, each of shape (samples,)."""
    return Profile(tuple(measure(samples) for samples in recordings))


def distance(one: Profile, other: Profile) -> dict[str, float]:
    """How far apart two profiles are in each property, in its own unit: the earth mover's distance of their values."""
    shares = np.linspace(0.01, 0.99, 99)
    return {
        name: round(
            float(np.mean(np.abs(np.quantile(one.values(name), shares) - np.quantile(other.values(name), shares)))), 4
        )
        for name in PROPERTIES
    }


@dataclass(frozen=True, slots=True)
class Outline:
    """What the levels of the frames alone say; as in `Traits`."""

    level_db: float
    noise_db: float
    decay_s: float
    lead_s: float
    trail_s: float
    spoken: npt.NDArray[np.bool_]
    """Frames that hold speech, shape (frames,)."""
    quiet: npt.NDArray[np.int64]
    """Places of the quietest tenth."""


def outline(samples: Samples) -> Outline:
    """Level, noise floor, decay and pauses of one recording, shape (samples,), without a look at frequencies."""
    window = _window() ** 2
    power = np.asarray((_frames(samples).astype(np.float64) ** 2) @ window / window.sum())
    frame_db = _decibel(power)
    count = max(1, round(_QUIET_SHARE * len(frame_db)))
    quiet = np.sort(np.argsort(frame_db, kind="stable")[:count])
    noise_db = float(_decibel(power[quiet].mean()))
    loud_db = float(np.quantile(frame_db, 0.95))
    spoken = frame_db > max(loud_db - _EDGE_DB, min(noise_db + _ABOVE_DB, loud_db - _LEAST_DB))
    edges = np.flatnonzero(spoken)
    return Outline(
        level_db=float(_decibel(power[spoken].mean())),
        noise_db=max(noise_db, FLOOR_DBFS),
        decay_s=decay_s(frame_db),
        lead_s=int(edges[0]) * HOP / RATE_HZ,
        trail_s=(len(frame_db) - 1 - int(edges[-1])) * HOP / RATE_HZ,
        spoken=spoken,
        quiet=quiet,
    )


def measure(samples: Samples) -> Traits:
    """The traits of one recording, float32 mono at 16 kHz, shape (samples,)."""
    drawn = outline(samples)
    power_TF = _spectrogram(samples)
    edge_hz = bandwidth_hz(samples)
    return Traits(
        level_db=round(drawn.level_db, 2),
        noise_db=round(drawn.noise_db, 2),
        snr_db=round(drawn.level_db - drawn.noise_db, 2),
        bandwidth_hz=round(edge_hz, 1),
        decay_s=round(drawn.decay_s, 4),
        holes=round(_holes(power_TF[drawn.spoken], edge_hz), 5),
        lead_s=round(drawn.lead_s, 3),
        trail_s=round(drawn.trail_s, 3),
        noise_bands_db=tuple(round(float(value), 1) for value in _band_levels_db(power_TF[drawn.quiet].mean(axis=0))),
    )


def _window() -> npt.NDArray[np.float64]:
    return np.hanning(FRAME + 1)[:-1]


def _frames(samples: Samples) -> Samples:
    padded = np.pad(samples, (0, max(0, FRAME - len(samples))))
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]


def _spectrogram(samples: Samples) -> npt.NDArray[np.float64]:
    """Power of each frame and frequency, shape (frames, bins); the bins of a frame add up to its mean square."""
    window = _window().astype(np.float32)
    power = np.abs(np.fft.rfft(_frames(samples) * window, axis=1)) ** 2
    power[:, 1:-1] *= 2
    return np.asarray(power / (FRAME * float(np.sum(window**2))), np.float64)


def _decibel(power: Any) -> Any:
    return 10 * np.log10(np.maximum(power, 1e-13))


def decay_s(frame_db: npt.NDArray[np.float64]) -> float:
    """Seconds for 60 dB at the typical rate of free decays, from levels every 10 ms, shape (frames,).

    The distribution of decay rates after Wen, Habets, Naylor 2008 ("Blind estimation of reverberation time based on the
    distribution of signal decay rates"): stretches of at least five frames in which the level only falls, by 10 dB or
    more, from within 20 dB of the loudest; of their rates the middle one.
    """
    top = float(np.quantile(frame_db, 0.98))
    rates = []
    start = 0
    for at in range(1, len(frame_db) + 1):
        if at < len(frame_db) and frame_db[at] < frame_db[at - 1]:
            continue
        fallen = float(frame_db[start] - frame_db[at - 1])
        if at - start >= 6 and fallen >= 10 and frame_db[start] > top - 20:
            rates.append(fallen / (at - 1 - start) * RATE_HZ / HOP)
        start = at
    return 60.0 / float(np.median(rates)) if rates else 0.0


def _holes(power_TF: npt.NDArray[np.float64], edge_hz: float) -> float:
    first, last = int(_HOLE_FROM_HZ * FRAME / RATE_HZ), int(edge_hz * FRAME / RATE_HZ)
    if last <= first or not len(power_TF):
        return 0.0
    strongest = power_TF.max(axis=1, keepdims=True)
    return float(np.mean(power_TF[:, first:last] < strongest * 10 ** (-_HOLE_DB / 10)))


def band_edges() -> npt.NDArray[np.int64]:
    """Bins at which the bands of `noise_bands_db` begin and end, shape (bands + 1,)."""
    mel = np.linspace(0, 1127 * np.log1p(RATE_HZ / 2 / 700), BANDS + 1)
    edges = np.rint(700 * np.expm1(mel / 1127) * FRAME / RATE_HZ).astype(np.int64)
    return np.maximum.accumulate(np.maximum(edges, np.arange(BANDS + 1)))


def _band_levels_db(power_F: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean power a bin in each band, relative to the sum, in dB, shape (bands,)."""
    edges = band_edges()
    means = np.array([power_F[low : max(high, low + 1)].mean() for low, high in pairwise(edges.tolist())])
    return np.asarray(_decibel(means / max(float(power_F.sum()), 1e-20)))
