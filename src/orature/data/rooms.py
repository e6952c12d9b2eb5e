"""Simulated rooms: impulse responses by the image-source method, and speech heard through them.

Early reflections of a shoebox are mirrored sources (Allen and Berkley 1979, "Image method for efficiently simulating
small-room acoustics"); what comes later, when reflections are too dense to tell apart, is noise that falls off at the
same rate (the hybrid of Lehmann and Johansson 2010, "Diffuse reverberation model"). A response takes a millisecond.

Example::

    rng = np.random.default_rng(1)
    samples = reverberate(samples, Room.draw(rng, (0.2, 0.5)).response(rng))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orature.core.types import RATE_HZ
from orature.data.codecs import fast_size

Samples = npt.NDArray[np.float32]
Metres = tuple[float, float, float]

_SOUND_M_S = 343.0
_EARLY_S = 0.08
_SMALLEST_M, _LARGEST_M = (2.5, 2.5, 2.2), (9.0, 7.0, 3.8)
_OFF_WALL_M = 0.4
_DISTANCE_M = (0.3, 3.0)
_HIGH_PASS_HZ = 60.0


@dataclass(frozen=True, slots=True)
class Room:
    """A shoebox: size, where the mouth and the microphone are (metres from one corner), and how long it rings.

    `wall_shares` weighs the absorption of the six walls (x low, x high, y low, ...), about 1 on average.
    """

    size_m: Metres
    source_m: Metres
    microphone_m: Metres
    rt60_s: float
    wall_shares: tuple[float, ...] = (1.0,) * 6

    @classmethod
    def draw(cls, rng: np.random.Generator, rt60_s: tuple[float, float]) -> Room:
        """A living room, office or classroom with the microphone 0.3 to 3 m from the mouth."""
        size = rng.uniform(_SMALLEST_M, _LARGEST_M)
        microphone = rng.uniform(_OFF_WALL_M, size - _OFF_WALL_M)
        away = rng.standard_normal(3) * (1.0, 1.0, 0.3)
        away *= np.exp(rng.uniform(*np.log(_DISTANCE_M))) / max(float(np.linalg.norm(away)), 1e-6)
        source = np.clip(microphone + away, _OFF_WALL_M, size - _OFF_WALL_M)
        if np.linalg.norm(source - microphone) < _DISTANCE_M[0] / 2:
            source = np.clip(microphone - away, _OFF_WALL_M, size - _OFF_WALL_M)
        shares = rng.uniform(0.5, 1.5, 6)
        shares /= shares.mean()
        rings_s = float(rng.uniform(*rt60_s))
        return cls(_metres(size), _metres(source), _metres(microphone), rings_s, tuple(float(s) for s in shares))

    def response(self, rng: np.random.Generator) -> Samples:
        """The impulse response at 16 kHz, the direct sound first and of height 1, cut where it has fallen by 60 dB."""
        direct = float(np.linalg.norm(np.subtract(self.source_m, self.microphone_m)))
        direct = max(direct, _SOUND_M_S / RATE_HZ)
        length = int((self.rt60_s + _EARLY_S) * RATE_HZ)
        early = self._mirrored(direct, min(length, int(_EARLY_S * RATE_HZ)))
        heard = np.zeros(length)
        heard[: early.size] = early
        seam = early.size
        if seam < length:
            tail = rng.standard_normal(length - seam // 2)
            time_s = (np.arange(tail.size) + seam // 2) / RATE_HZ
            tail *= 10 ** (-3 * time_s / self.rt60_s)
            half = heard[seam // 2 : seam]
            level = np.sqrt(np.sum(half**2) / max(float(np.sum(tail[: half.size] ** 2)), 1e-30))
            fade = np.sqrt(np.linspace(0.0, 1.0, half.size))
            heard[seam // 2 : seam] = half * fade[::-1] + level * tail[: half.size] * fade
            heard[seam:] = level * tail[half.size :]
        return _without_rumble(heard)

    def _mirrored(self, direct_m: float, length: int) -> npt.NDArray[np.float64]:
        """Direct sound (height 1) and mirror images of the first `length` samples (Allen and Berkley, equation 10)."""
        reach_m = direct_m + length / RATE_HZ * _SOUND_M_S
        axes = []
        for axis, kept in enumerate(self._reflections()):
            size, source, microphone = self.size_m[axis], self.source_m[axis], self.microphone_m[axis]
            most = int(np.ceil(reach_m / (2 * size))) + 1
            number = np.arange(-most, most + 1)
            offsets = np.concatenate([source + 2 * number * size, -source + 2 * number * size]) - microphone
            low = np.concatenate([np.abs(number), np.abs(number - 1)])
            high = np.concatenate([np.abs(number), np.abs(number)])
            axes.append((offsets**2, kept[0] ** low * kept[1] ** high))
        squared = axes[0][0][:, None, None] + axes[1][0][None, :, None] + axes[2][0][None, None, :]
        near = squared < reach_m**2
        distance_m = np.sqrt(squared[near])
        strength = (axes[0][1][:, None, None] * axes[1][1][None, :, None] * axes[2][1][None, None, :])[near]
        place = np.rint((distance_m - direct_m) / _SOUND_M_S * RATE_HZ).astype(np.int64)
        inside = place < length
        strength = strength[inside] * direct_m / np.maximum(distance_m[inside], direct_m)
        heard: npt.NDArray[np.float64] = np.zeros(length)
        np.add.at(heard, np.maximum(place[inside], 0), strength)
        return heard

    def _reflections(self) -> list[tuple[float, float]]:
        """How much pressure each wall sends back, by axis (low, high), from Eyring's formula for the RT60."""
        x, y, z = self.size_m
        volume, surface = x * y * z, 2 * (x * y + y * z + x * z)
        absorbed = 0.161 * volume / (surface * self.rt60_s)
        kept = [float(np.exp(-absorbed * share / 2)) for share in self.wall_shares]
        return [(kept[0], kept[1]), (kept[2], kept[3]), (kept[4], kept[5])]


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Speech as the room sounds, in time with the direct sound, as loud and as long as before (the tail is cut)."""
    if not samples.size:
        return samples
    response = response[: samples.size]
    size = fast_size(samples.size + response.size - 1)
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: samples.size]
    before, after = float(np.mean(np.square(samples))), float(np.mean(np.square(heard)))
    return (heard * np.float32(np.sqrt(before / max(after, 1e-20)))).astype(np.float32)


def _metres(point: npt.NDArray[np.float64]) -> Metres:
    return float(point[0]), float(point[1]), float(point[2])


def _without_rumble(heard: npt.NDArray[np.float64]) -> Samples:
    """A causal high-pass (mirror images never change sign and pile up below hearing), then direct sound of height 1."""
    size = fast_size(2 * heard.size)
    turn = 1j * np.fft.rfftfreq(size, 1 / RATE_HZ) / _HIGH_PASS_HZ
    passed = np.fft.irfft(np.fft.rfft(heard, size) * (turn / (1 + turn)) ** 2, size)[: heard.size]
    return (passed / max(abs(float(passed[0])), 1e-9)).astype(np.float32)
