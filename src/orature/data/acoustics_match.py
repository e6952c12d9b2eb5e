"""Clean speech made to sound like the recordings of a profile.

For each utterance one recording of the profile is drawn, and the utterance gets what was measured there: its pauses at
both ends, reverberation, level, noise floor (in its colour), the traces of a lossy codec and its band edge, in the
order in which sound travels from a mouth to a file.

Example::

    samples, done = match(samples, profile, np.random.default_rng(7))
    done["snr_db"], done["rt60_s"]               # what was done, for the row
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orature.core.types import RATE_HZ
from orature.data.acoustics import FLOOR_DBFS, FRAME, Outline, Profile, Traits, band_edges, outline
from orature.data.audio import Samples, through_codec
from orature.data.codecs import fast_size
from orature.data.rooms import Room, reverberate

_CODEC_HOLES = 0.05
"""From here on a recording is taken to have gone through a lossy codec."""
_CODEC_LEVEL = 0.9
_FULL_BAND_HZ = 7600.0
_EDGE_HZ = 150.0
"""Half the width of the slope of a band edge."""
_KNEE, _MOST_PEAK = 0.6, 2.0
"""Peaks above the knee are bent, as a recorder's limiter does; louder ones than the second are turned down first."""
_RT60_S = (0.08, 0.9)
_OF_DECAY = 0.7
"""Speech in a room of this share of the wanted decay is measured to have it: its own decays come on top."""
_DRIER = 1.15
"""A room is added where the target rings this much longer than the speech does by itself."""
_PAUSE_S = 1.5
"""The longest pause at an end that is copied."""
_QUIETEST_DB = 0.8
"""The quietest tenth of the frames of steady noise lies so far below its mean power."""


def match(samples: Samples, profile: Profile, rng: np.random.Generator) -> tuple[Samples, dict[str, Any]]:
    """`samples`, float32 mono at 16 kHz of shape (samples,), as they would sound in a recording of the profile.

    The length changes by the pauses at the ends. All draws come from `rng`; what was done is returned beside.
    """
    clip = profile.clips[int(rng.integers(len(profile.clips)))]
    own = outline(samples)
    done: dict[str, Any] = {"lead_s": min(clip.lead_s, _PAUSE_S), "trail_s": min(clip.trail_s, _PAUSE_S)}
    samples = _with_pauses(samples, own, done["lead_s"], done["trail_s"])
    if clip.decay_s > _DRIER * own.decay_s:
        rt60_s = float(np.clip(_OF_DECAY * clip.decay_s, *_RT60_S))
        samples = reverberate(samples, Room.draw(rng, (rt60_s, rt60_s)).response(rng))
        done["rt60_s"] = round(rt60_s, 3)
    now = outline(samples)
    gain_db = clip.level_db - now.level_db
    samples = samples * np.float32(10 ** (gain_db / 20))
    noise = 10 ** (clip.noise_db / 10) - 10 ** (min(now.noise_db + gain_db, 0.0) / 10)
    if clip.noise_db > FLOOR_DBFS and noise > 0:
        level = 10 ** ((10 * np.log10(noise) + _QUIETEST_DB) / 20)
        samples = samples + np.float32(level) * noise_like(clip, samples.size, rng)
        done["snr_db"] = clip.snr_db
    if clip.holes > _CODEC_HOLES:
        samples = through_codec(samples, "MP3", "MPEG_LAYER_III", level=_CODEC_LEVEL)
        done["codec"] = "mp3"
    if clip.bandwidth_hz < _FULL_BAND_HZ and clip.bandwidth_hz > 0:
        samples = low_passed(samples, clip.bandwidth_hz - _EDGE_HZ)
        done["bandwidth_hz"] = clip.bandwidth_hz
    peak = float(np.abs(samples).max()) if samples.size else 0.0
    if peak > _MOST_PEAK:
        samples = samples * np.float32(_MOST_PEAK / peak)
        gain_db += 20 * float(np.log10(_MOST_PEAK / peak))
    done["gain_db"] = round(gain_db, 2)
    return limited(samples), done


def _with_pauses(samples: Samples, own: Outline, lead_s: float, trail_s: float) -> Samples:
    """The speech alone, as `own` found it, between pauses of so many seconds."""
    first = round(own.lead_s * RATE_HZ)
    last = len(samples) - round(own.trail_s * RATE_HZ)
    lead, trail = (np.zeros(round(seconds * RATE_HZ), np.float32) for seconds in (lead_s, trail_s))
    fade = min(FRAME, max(1, last - first) // 2)
    kept = samples[first:last].copy()
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    before = samples[max(0, first - lead.size) : first]
    after = samples[last : last + trail.size]
    lead[lead.size - before.size :] = before
    trail[: after.size] = after
    if not before.size:
        kept[:fade] *= ramp
    if not after.size:
        kept[kept.size - fade :] *= ramp[::-1]
    return np.concatenate([lead, kept, trail])


def limited(samples: Samples) -> Samples:
    """Below full scale: what is above the knee approaches 1 smoothly; all else stays as it is."""
    size = np.abs(samples)
    if not samples.size or float(size.max()) <= _KNEE:
        return np.ascontiguousarray(samples, dtype=np.float32)
    bent = _KNEE + (1 - _KNEE) * np.tanh((size - _KNEE) / (1 - _KNEE))
    return np.where(size > _KNEE, np.sign(samples) * bent * np.float32(0.999), samples).astype(np.float32)


def noise_like(clip: Traits, count: int, rng: np.random.Generator) -> Samples:
    """Noise of unit power in the colour of the quiet frames of `clip`, shape (count,)."""
    size = fast_size(max(count, FRAME))
    white = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    edges = band_edges()
    middle_hz = (edges[:-1] + edges[1:]) / 2 * RATE_HZ / FRAME
    hertz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    shape_db = np.interp(hertz, middle_hz, clip.noise_bands_db)
    noise = np.fft.irfft(white * (10 ** (shape_db / 20)).astype(np.float32), size)[:count]
    power = float(np.sqrt(np.mean(np.square(noise)))) if count else 0.0
    return np.asarray(noise / max(power, 1e-12), np.float32)


def low_passed(samples: Samples, edge_hz: float) -> Samples:
    """Nothing at all above `edge_hz` plus 150 Hz: the steep edge of a resampler (`band_limited` has a gentle one)."""
    size = fast_size(samples.size + RATE_HZ // 20)
    hertz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    kept = 0.5 - 0.5 * np.sin(np.pi / 2 * np.clip((hertz - edge_hz) / _EDGE_HZ, -1, 1))
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * kept, size)[: samples.size]
    return np.ascontiguousarray(filtered, dtype=np.float32)
