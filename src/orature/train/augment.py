"""What training audio goes through before the model, each draw from a generator of its own.

Speech in a crowd, in a room, over noise, through a codec, louder or softer: in the order in which sound travels.
SpecAugment spans are drawn here and applied inside the network.

Example::

    rng = np.random.default_rng([seed, epoch, index])
    samples = perturb(samples, rng, config, rooms=Rooms(seed, config))
    time_spans, bin_spans = mask_spans_of(frames_of(len(samples)), network.mask_bins, rng, config)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from orature.data.codecs import transmit
from orature.train.augment_config import AugmentConfig
from orature.train.rooms import Rooms, reverberate

Samples = npt.NDArray[np.float32]
Spans = npt.NDArray[np.int64]
Voice = Callable[[np.random.Generator], Samples]
"""Draws the samples of some training utterance, for the crowd in the background."""


def coloured_noise(count: int, slope: float, rng: np.random.Generator) -> Samples:
    """Noise of unit power whose power falls with frequency as f**-slope (0 white, 1 pink, 2 brown)."""
    size = 1 << (count - 1).bit_length()  # other lengths, primes above all, are many times slower to transform
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    hertz = np.arange(1, spectrum.size + 1, dtype=np.float32)
    noise = np.fft.irfft(spectrum * hertz ** (-slope / 2), n=size)[:count].astype(np.float32)
    power = float(np.sqrt(np.mean(noise**2)))
    return noise / max(power, 1e-9)


def perturb(
    samples: Samples,
    rng: np.random.Generator,
    config: AugmentConfig,
    *,
    rooms: Rooms | None = None,
    voice: Voice | None = None,
) -> Samples:
    """Babble, reverberation, coloured noise, a codec and loudness by the probabilities of `config`; the length stays.

    Reverberation needs the `rooms` of the run, babble a `voice` to draw other training utterances from; without them
    both are left out. What has probability 0 draws nothing from `rng`.
    """
    gain_db = rng.uniform(-config.gain_db, config.gain_db)
    if samples.size < 2:
        return _louder(samples, gain_db)
    clean_rms = _rms(samples)
    if voice is not None and config.babble_probability > 0 and rng.random() < config.babble_probability:
        samples = with_babble(samples, voice, rng, config)
    if rooms is not None and config.reverb_probability > 0 and rng.random() < config.reverb_probability:
        samples = reverberate(samples, rooms.response(int(rng.integers(len(rooms)))))
    if rng.random() < config.noise_probability:
        slope = rng.uniform(0.0, 2.0)
        snr_db = rng.uniform(*config.snr_db)
        level = clean_rms * 10 ** (-snr_db / 20)
        samples = samples + level * coloured_noise(samples.size, slope, rng)
    if config.codec_probability > 0 and rng.random() < config.codec_probability:
        samples = transmit(samples, config.codecs[int(rng.integers(len(config.codecs)))], rng)
    return _louder(samples, gain_db)


def with_babble(samples: Samples, voice: Voice, rng: np.random.Generator, config: AugmentConfig) -> Samples:
    """Adds a crowd of `babble_voices` other utterances, each as loud as the next, at a random `babble_snr_db`.

    The recipe of Snyder et al. 2018 ("X-vectors", section 3.3): 3 to 7 voices, 13 to 20 dB below the speech.
    """
    crowd = np.zeros(samples.size, np.float32)
    for _ in range(int(rng.integers(config.babble_voices[0], config.babble_voices[1] + 1))):
        other = voice(rng)
        if other.size:
            turned = np.roll(other, int(rng.integers(other.size)))
            crowd += np.resize(turned, samples.size) / np.float32(max(_rms(other), 1e-6))
    snr_db = rng.uniform(*config.babble_snr_db)
    level = _rms(samples) * 10 ** (-snr_db / 20) / max(_rms(crowd), 1e-6)
    return samples + np.float32(level) * crowd


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def _louder(samples: Samples, gain_db: float) -> Samples:
    return (samples * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def spans(count: int, widest: int, length: int, rng: np.random.Generator) -> Spans:
    """`count` random spans of 0 to `widest` inside `length`, shape (count, 2)."""
    widths = rng.integers(0, max(widest, 0) + 1, size=count)
    widths = np.minimum(widths, length)
    starts = np.floor(rng.random(count) * (length - widths + 1)).astype(np.int64)
    return np.stack([starts, starts + widths], axis=1).astype(np.int64)


def spans_by_share(share: float, width: int, size: int, rng: np.random.Generator, *, least: int = 0) -> Spans:
    """Spans of `width` inside `size` at different places, shape (N, 2), N = share x size / width on average.

    They may overlap, so that they cover less than `share`. Where they do not all fit side by side there are fewer than
    `least`, and none where `size` is below `width` (as in fairseq and transformers; Baevski et al. 2020, section 3.1).
    """
    number = int(share * size / width + rng.random())
    number = min(max(number, least), size // width)
    if number <= 0:
        return np.zeros((0, 2), np.int64)
    starts = rng.choice(size - width + 1, size=number, replace=False).astype(np.int64)
    return np.stack([starts, starts + width], axis=1)


def mask_spans_of(frames: int, bins: int, rng: np.random.Generator, config: AugmentConfig) -> tuple[Spans, Spans]:
    """Time spans in 10 ms frames and spans of bins for one utterance of `frames` frames, each of shape (N, 2).

    Their number differs between utterances where masks go by share: stack them with `stack_spans`.
    """
    if config.time_mask_p > 0:
        times = spans_by_share(config.time_mask_p, config.time_mask_length, frames, rng, least=config.time_mask_least)
    else:
        widest = min(config.time_mask_frames, int(config.time_mask_share * frames))
        times = spans(config.time_masks, widest, frames, rng)
    if config.channel_mask_p > 0:
        return times, spans_by_share(config.channel_mask_p, config.channel_mask_length, bins, rng)
    return times, spans(config.mel_masks, config.mel_mask_bins, bins, rng)


def stack_spans(drawn: Sequence[Spans]) -> Spans:
    """The spans of a batch as one array (B, N, 2); utterances with fewer are filled up with empty spans (0, 0)."""
    stacked = np.zeros((len(drawn), max((len(one) for one in drawn), default=0), 2), np.int64)
    for row, one in zip(stacked, drawn, strict=True):
        row[: len(one)] = one
    return stacked
