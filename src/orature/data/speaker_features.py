"""How a speaker sounds, as a vector, without any trained network: a STAND-IN for speaker embeddings.

Means and spreads of cepstra (Davis and Mermelstein 1980) and of the pitch over the loud frames, each scaled by how much
it differs between recordings of one person; less what all recordings share, the cosine of two such vectors says whether
they may be of one speaker. It was measured on joined clips of train speakers of two corpora (`speaker_features.json`
says how well it does): good enough to find the same person twice in like recordings, no more. A network trained for it
does better.

Example::

    vectors = [speaker_features(load(path)) for path in paths]
    towards = directions(vectors, speakers)                 # (N, D)
    alike = towards @ towards.T > threshold()
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orature.core.errors import AudioError
from orature.core.types import RATE_HZ

Vector = npt.NDArray[np.float32]
_TABLE = Path(__file__).with_name("speaker_features.json")
_FRAME, _HOP = 512, 160
_BANDS, _CEPSTRA = 32, 20
_LOW_HZ, _HIGH_HZ = 100.0, 7000.0
_PITCH_HZ = (65.0, 400.0)
_VOICED = 0.45
_LOUD_DB = 35.0
_LEAST_FRAMES = 30


def threshold() -> float:
    """The cosine of two directions (`directions`) above which two recordings are taken for one speaker."""
    return float(_table()["threshold"])


def speaker_features(samples: npt.NDArray[np.float32]) -> Vector:
    """The scaled vector of one recording (16 kHz, shape (samples,)), shape (D,).

    AudioError for less than a third of a second of sound.
    """
    table = _table()
    return np.asarray((raw_features(samples) - np.asarray(table["mean"])) / np.asarray(table["scale"]), np.float32)


def directions(vectors: Sequence[Vector], speakers: Sequence[str]) -> npt.NDArray[np.float32]:
    """Vectors of length 1, shape (N, D), after what all recordings share (room, microphone, language) is taken away.

    That is the mean over the means of the speakers; with a single speaker it cannot be told from the person and stays.
    """
    table = np.asarray(vectors, np.float64)
    groups: dict[str, list[int]] = {}
    for place, speaker in enumerate(speakers):
        groups.setdefault(speaker, []).append(place)
    if len(groups) > 1:
        table = table - np.mean([table[places].mean(axis=0) for places in groups.values()], axis=0)
    lengths = np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    return np.asarray(table / lengths, np.float32)


def raw_features(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Means and spreads of cepstra, then median and spread of the pitch in octaves, shape (D,)."""
    if len(samples) < _FRAME + _LEAST_FRAMES * _HOP:
        raise AudioError("the recording is too short to tell who speaks", reason="too-short")
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float64), _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)) ** 2
    energy = power.sum(axis=1)
    loud = energy > energy.max() * 10 ** (-_LOUD_DB / 10)
    if not energy.max() > 0 or int(loud.sum()) < _LEAST_FRAMES // 3:
        raise AudioError("the recording is too quiet to tell who speaks", reason="audio-silent")
    cepstra = np.log(power[loud] @ _filters().T + 1e-10) @ _cosines().T
    octaves = _pitch(frames[loud])
    pitch = [float(np.median(octaves)), float(np.std(octaves))] if len(octaves) else [7.0, 0.3]
    return np.concatenate([cepstra.mean(axis=0), cepstra.std(axis=0), pitch])


def _pitch(frames: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """log2 of the frequency of the frames with a voice, by the largest peak of the normalised autocorrelation."""
    spectrum = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)), 2 * _FRAME, axis=1)) ** 2
    waves = np.fft.irfft(spectrum, axis=1)[:, :_FRAME]
    fade = 1.0 - np.arange(_FRAME) / _FRAME
    waves = waves / (waves[:, :1] + 1e-12) / np.maximum(fade, 0.2)
    low, high = round(RATE_HZ / _PITCH_HZ[1]), round(RATE_HZ / _PITCH_HZ[0])
    lags = waves[:, low:high].argmax(axis=1)
    voiced = waves[np.arange(len(waves)), low + lags] > _VOICED
    found: npt.NDArray[np.float64] = np.log2(RATE_HZ / (low + lags[voiced]))
    return found


@cache
def _filters() -> npt.NDArray[np.float64]:
    """Triangular filters evenly spaced on the mel scale, shape (bands, bins)."""
    mels = np.linspace(_mel(_LOW_HZ), _mel(_HIGH_HZ), _BANDS + 2)
    edges = 700.0 * (10 ** (mels / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(_FRAME, 1 / RATE_HZ)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.clip(np.minimum(rise, fall), 0.0, None))


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """Cosine transform without its first row (the level), shape (cepstra, bands)."""
    order = np.arange(1, _CEPSTRA + 1)[:, None]
    return np.asarray(np.cos(np.pi * order * (np.arange(_BANDS) + 0.5) / _BANDS) * np.sqrt(2.0 / _BANDS))


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table
