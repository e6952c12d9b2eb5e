"""What lines and file formats do to speech: telephone bands, lost highs, lossy codecs at low bit rates.

Voice notes and radio archives come through codecs; training hears them so that the recogniser does not meet them first
in use.

Example::

    samples = transmit(samples, "telephone", np.random.default_rng(1))
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from orature.core.types import RATE_HZ
from orature.data import audio
from orature.data.audio import Samples

Codec = Literal["telephone", "gsm", "band", "vorbis", "opus", "mp3"]
"""Fixed line (mu-law, 300 to 3,400 Hz at 8 kHz), mobile telephone (the same band, GSM full rate), a lower upper band
edge and nothing else, and three lossy codecs (voice notes are Opus)."""
CODECS: tuple[Codec, ...] = get_args(Codec)

TELEPHONE_HZ = (300.0, 3400.0)
_NARROW_HZ = 8_000
_BAND_EDGES_HZ = (2_500.0, 7_000.0)
_LEVELS = {"vorbis": (0.8, 1.0), "opus": (0.95, 1.0), "mp3": (0.7, 0.99)}
"""Compression levels of libsndfile: about 20 to 40 kbit/s (Vorbis), 6 to 24 (Opus), 8 to 50 (MP3)."""
_NAMES = {"vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III")}


def transmit(samples: Samples, codec: Codec, rng: np.random.Generator) -> Samples:
    """Samples after `codec` at a random bit rate or band edge; length, timing and roughly the level stay."""
    if not samples.size:
        return samples
    if codec == "band":
        return band_limited(samples, 0.0, float(np.exp(rng.uniform(*np.log(_BAND_EDGES_HZ)))))
    if codec in ("telephone", "gsm"):
        coding = "ULAW" if codec == "telephone" else "GSM610"
        return audio.through_codec(band_limited(samples, *TELEPHONE_HZ), "WAV", coding, rate_hz=_NARROW_HZ)
    rate_hz = _NARROW_HZ if rng.random() < 1 / 3 else RATE_HZ
    level = float(rng.uniform(*_LEVELS[codec]))
    kind, coding = _NAMES[codec]
    return audio.through_codec(samples, kind, coding, rate_hz=rate_hz, level=level)


def band_limited(samples: Samples, low_hz: float, high_hz: float) -> Samples:
    """Only what lies between two frequencies, with edges as steep as a Butterworth filter of order 8, no delay."""
    size = fast_size(samples.size + RATE_HZ // 20)
    hertz = np.fft.rfftfreq(size, 1 / RATE_HZ).astype(np.float32)
    kept = 1 / np.sqrt(1 + (hertz / high_hz) ** 16)
    if low_hz > 0:
        kept *= 1 / np.sqrt(1 + (low_hz / np.maximum(hertz, low_hz / 10)) ** 16)
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * kept.astype(np.float32), size)[: samples.size]
    return np.ascontiguousarray(filtered, dtype=np.float32)


def fast_size(count: int) -> int:
    """The next size of at least `count` that a Fourier transform is quick with: a power of two times 1, 5/4 or 3/2."""
    power = 1 << max(3, (count - 1).bit_length() - 1)
    return next((size for size in (power, power * 5 // 4, power * 3 // 2) if size >= count), power * 2)
