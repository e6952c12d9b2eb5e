"""Speech made less intelligible by known amounts: for finding out how bad synthetic speech may be and still help.

Every distortion keeps length, and roughly the level; random draws come from a generator that is given, so that the same
generator state gives the same samples.

Example::

    distorted = distort(samples, "bands", 4, np.random.default_rng(1))     # a vocoder with four bands
    distorted = distort(samples, "noise", 0, np.random.default_rng(1))     # speech-shaped noise as loud as the speech
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from orature.core.types import RATE_HZ
from orature.data.audio import Samples
from orature.data.codecs import fast_size

Kind = Literal["noise", "bands", "smear", "shuffle", "shift"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNITS = {
    "noise": "dB of speech above speech-shaped noise",
    "bands": "bands of a noise vocoder",
    "smear": "times the bandwidth of normal hearing",
    "shuffle": "milliseconds of segments that change places",
    "shift": "semitones by which pitch and formants move",
}
"""What the amount of each kind means. `noise` and `bands` distort the more the lower it is, the others the higher."""

_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7_600.0
_ENVELOPE_HZ = 160.0
"""Cut-off of the envelopes of the vocoder (Shannon et al. 1995 found little change from 50 to 500 Hz)."""
_FRAME, _HOP = 512, 128
_SHUFFLED = 4
"""Segments change places among so many neighbours."""
_FADE_S = 0.004

Floats = npt.NDArray[np.float64]
Spectra = npt.NDArray[np.complex128]


def distort(samples: Samples, kind: Kind, amount: float, rng: np.random.Generator) -> Samples:
    """Distorted samples (float32, 16 kHz mono, shape (samples,)), as long and about as loud as given.

    `noise`: additive noise with the long-term spectrum of the utterance itself. `bands`: noise vocoder (Shannon et al.
    1995, "Speech recognition with primarily temporal cues"): envelopes of `amount` bands, equal in octaves, on noise of
    these bands. `smear`: short-time power spectra blurred over frequency (after Baer and Moore 1993). `shuffle`:
    segments of `amount` ms in random order among four neighbours, so that the spectrum stays and the order goes.
    `shift`: all frequencies moved, at the same tempo.
    """
    check_amount(kind, amount)
    if not samples.size or not np.any(samples):
        return samples
    wave = np.asarray(samples, np.float64)
    if kind == "noise":
        done = wave + _speech_shaped(wave, rng) * _rms(wave) * 10 ** (-amount / 20)
    elif kind == "bands":
        done = _vocoded(wave, round(amount), rng)
    elif kind == "smear":
        done = _smeared(wave, amount)
    elif kind == "shuffle":
        done = _shuffled(wave, max(1, round(amount / 1000 * RATE_HZ)), rng)
    else:
        done = _shifted(wave, amount)
    done *= _rms(wave) / max(_rms(done), 1e-9)
    peak = float(np.abs(done).max())
    return np.asarray(done / max(1.0, peak / 0.999), np.float32)


def check_amount(kind: Kind, amount: float) -> None:
    """ValueError for an amount that the kind cannot have."""
    limits = {"noise": (-60.0, 100.0), "bands": (1, 64), "smear": (1, 64), "shuffle": (5, 500), "shift": (-24, 24)}
    low, high = limits[kind]
    whole = kind != "bands" or amount == round(amount)
    if not low <= amount <= high or not whole:
        raise ValueError(f"{kind} takes {low:g} to {high:g} {UNITS[kind]}, not {amount:g}")


def _rms(wave: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(wave))))


def _speech_shaped(wave: Floats, rng: np.random.Generator) -> Floats:
    """Noise of power 1 with the mean spectrum of `wave`."""
    power = np.square(np.abs(_frames_spectra(wave))).mean(axis=0)
    size = fast_size(len(wave))
    shape = np.interp(np.fft.rfftfreq(size), np.fft.rfftfreq(_FRAME), np.sqrt(power))
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape, size)[: len(wave)]
    return np.asarray(noise / max(_rms(noise), 1e-12), np.float64)


def _vocoded(wave: Floats, bands: int, rng: np.random.Generator) -> Floats:
    """Each band's envelope (rectified, low-passed) on noise of that band, as loud as the band was."""
    size = fast_size(len(wave) + RATE_HZ // 10)
    hertz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    spectrum, noise = np.fft.rfft(wave, size), np.fft.rfft(rng.standard_normal(size))
    smooth = 1 / np.sqrt(1 + (hertz / _ENVELOPE_HZ) ** 8)
    edges = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, bands + 1)
    done = np.zeros(len(wave))
    for low, high in pairwise(edges):
        band = 1 / np.sqrt(1 + (hertz / high) ** 16) / np.sqrt(1 + (low / np.maximum(hertz, 1.0)) ** 16)
        own = np.fft.irfft(spectrum * band, size)
        envelope = np.maximum(np.fft.irfft(np.fft.rfft(np.maximum(own, 0.0)) * smooth, size), 0.0)
        carried = np.fft.irfft(np.fft.rfft(envelope * np.fft.irfft(noise * band, size)) * band, size)[: len(wave)]
        done += carried * (_rms(own[: len(wave)]) / max(_rms(carried), 1e-12))
    return done


def _smeared(wave: Floats, times: float) -> Floats:
    """Short-time power spectra blurred by `times` the equivalent rectangular bandwidth; phases stay."""
    spectra = _frames_spectra(wave)
    hertz = np.fft.rfftfreq(_FRAME, 1 / RATE_HZ)
    width = times * 24.7 * (4.37 * hertz / 1000 + 1)  # Glasberg and Moore 1990
    away = np.abs(hertz[:, None] - hertz[None, :]) / (width[:, None] / 2)
    blur = np.exp(-0.5 * np.square(away))
    blur /= blur.sum(axis=1, keepdims=True)
    power = np.square(np.abs(spectra))
    blurred = power @ blur.T
    gain = np.sqrt(blurred / np.maximum(power, 1e-20))
    return _overlapped(spectra * np.minimum(gain, 1e6), len(wave))


def _shuffled(wave: Floats, segment: int, rng: np.random.Generator) -> Floats:
    """Segments in random order within groups of four, each faded in and out for 4 ms."""
    count = -(-len(wave) // segment)
    padded = np.zeros(count * segment)
    padded[: len(wave)] = wave
    parts = padded.reshape(count, segment).copy()
    fade = min(round(_FADE_S * RATE_HZ), segment // 2)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade)
        parts[:, :fade] *= ramp
        parts[:, -fade:] *= ramp[::-1]
    order = np.arange(count)
    for first in range(0, count, _SHUFFLED):
        ring = rng.permutation(order[first : first + _SHUFFLED])
        order[ring] = np.roll(ring, 1)  # one cycle (Sattolo 1986): none stays where it was
    return np.asarray(parts[order].reshape(-1)[: len(wave)], np.float64)


def _shifted(wave: Floats, semitones: float) -> Floats:
    """Stretched in time by a phase vocoder (Flanagan and Golden 1966), then read faster by the same factor."""
    factor = 2 ** (semitones / 12)
    if abs(semitones) < 1e-6:
        return wave.copy()
    spectra = _frames_spectra(wave)
    places = np.arange(0, len(spectra) - 1, 1 / factor)
    left = places.astype(np.int64)
    part = (places - left)[:, None]
    size = (1 - part) * np.abs(spectra[left]) + part * np.abs(spectra[left + 1])
    expected = 2 * np.pi * _HOP * np.arange(_FRAME // 2 + 1) / _FRAME
    turn = np.angle(spectra[left + 1]) - np.angle(spectra[left]) - expected
    turn = expected + turn - 2 * np.pi * np.round(turn / (2 * np.pi))
    phase = np.angle(spectra[:1]) + np.concatenate([np.zeros((1, turn.shape[1])), np.cumsum(turn[:-1], axis=0)])
    longer = _overlapped(size * np.exp(1j * phase), round(len(wave) * factor), round(_FRAME * (1 + factor) / 2))
    where = np.arange(len(wave)) * factor
    read = np.interp(where, np.arange(len(longer)), _below(longer, RATE_HZ / 2 / max(factor, 1.0)))
    return np.asarray(read, np.float64)


def _below(wave: Floats, high_hz: float) -> Floats:
    """Without what would fold back when it is read faster."""
    size = fast_size(len(wave) + 256)
    hertz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    done = np.fft.irfft(np.fft.rfft(wave, size) / np.sqrt(1 + (hertz / high_hz) ** 16), size)
    return np.asarray(done[: len(wave)], np.float64)


def _window() -> Floats:
    return np.asarray(np.sqrt(np.hanning(_FRAME + 1)[:-1]), np.float64)


def _frames_spectra(wave: Floats) -> Spectra:
    """Spectra of frames of 32 ms, every 8 ms, from half a frame before the start, shape (T, 257)."""
    padded = np.concatenate([np.zeros(_FRAME), wave, np.zeros(2 * _FRAME)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    return np.asarray(np.fft.rfft(frames * _window(), axis=1), np.complex128)


def _overlapped(spectra: Spectra, length: int, skip: int = _FRAME) -> Floats:
    """What `_frames_spectra` took apart, put together again (overlap and add): `length` samples after `skip`."""
    window = _window()
    frames = np.fft.irfft(spectra, _FRAME, axis=1) * window
    total = np.zeros((len(frames) - 1) * _HOP + _FRAME)
    weight = np.zeros_like(total)
    for step in range(_FRAME // _HOP):  # every fourth frame lies end to end with the next
        own = frames[step :: _FRAME // _HOP]
        begin = step * _HOP
        total[begin : begin + own.size] += own.reshape(-1)
        weight[begin : begin + own.size] += np.tile(np.square(window), len(own))
    whole = (total / np.maximum(weight, 1e-3))[skip:]
    done = np.zeros(length)
    done[: min(length, len(whole))] = whole[:length]
    return done
