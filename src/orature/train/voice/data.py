"""From the utterances of a corpus to the batches of a voice: text, silence, loudness, a reason for each row left out.

Example::

    prepared = prepare(utterances, made, config)
    loader = VoiceLoader(prepared.examples, made.shape, config, several=len(made.speakers) > 1)
    for batch in loader.epoch(0, skip=0): ...
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import median
from unicodedata import category

import numpy as np
import numpy.typing as npt
import torch

from orature.core.errors import AudioError
from orature.core.progress import Progress
from orature.core.types import RATE_HZ, Reject, Utterance
from orature.data import audio
from orature.text.alphabet import TextPolicy
from orature.text.alphabet import prepare as prepare_text
from orature.text.normalise import TURKIC, normaliser_for
from orature.train.batches import plan_epoch
from orature.train.voice.config import VoiceConfig
from orature.train.voice.generator import VoiceBatch
from orature.train.voice.spectrograms import SpectrogramShape, linear_spectrogram
from orature.train.voice.text import VoiceText

Samples = npt.NDArray[np.float32]
CACHE_MB = 1000.0
OTHER_SPEAKER = "other-speaker"
_FRAME = 160
_PEAK = 0.95
_MOST_GAIN = 30.0
_LEAST_OF_WINDOW = 4
_RATED = 8
"""Speaking rates are judged where a sentence has so many letters."""


@dataclass(frozen=True, slots=True)
class VoiceExample:
    """An utterance with its tokens; `start_s` and `duration_s` without its silences, `gain` brings it to one level."""

    id: str
    path: str
    start_s: float
    duration_s: float
    gain: float
    text: str
    tokens: tuple[int, ...]
    speaker: int
    licence: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Examples in the order of their ids, and why the other rows are left out."""

    examples: list[VoiceExample]
    rejects: list[Reject]


def policy_for(config: VoiceConfig, language: str) -> TextPolicy:
    """How transcripts are prepared for a voice in `language` (BCP-47)."""
    return TextPolicy(case=config.case, punctuation=config.punctuation, turkic=normaliser_for(language) == TURKIC)


def texts_of(rows: Sequence[Utterance], config: VoiceConfig) -> list[str]:
    """Prepared transcripts of rows, in their order, without the empty ones and those with digits (`config.digits`)."""
    found = [prepare_text(row.text or "", policy_for(config, row.language)) for row in rows]
    return [text for text in found if text and not _unspelled(text, config)]


def _unspelled(text: str, config: VoiceConfig) -> bool:
    return config.digits == "reject" and any(letter.isdecimal() for letter in text)


def prepare(
    rows: Sequence[Utterance],
    text: VoiceText,
    speakers: Sequence[str],
    shape: SpectrogramShape,
    config: VoiceConfig,
    progress: Progress | None = None,
    allowed: Sequence[str] | None = None,
) -> Prepared:
    """Reads every recording once; rows that cannot be learned from are rejected with their reason.

    `speakers` are those of the voice in the order of their numbers, `allowed` those of them that rows may be of (a
    checkpoint can have others); [""] takes the rows of anybody.

    Reasons: text-empty, digits, characters-unknown, other-speaker, audio-*, silent, too-short (under a quarter of a
    window), too-long, fewer-frames-than-tokens (no alignment), speaking-rate (far from the median).
    """
    known = speakers if allowed is None else allowed
    numbers = {name: number for number, name in enumerate(speakers) if name in known}
    examples: list[VoiceExample] = []
    rejects: list[Reject] = []
    for row in sorted(rows, key=lambda one: one.id):
        found = _example(row, text, numbers, shape, config)
        if isinstance(found, Reject):
            rejects.append(found)
        else:
            examples.append(found)
        if progress is not None:
            progress.advance(1)
    odd = _odd_rates(examples, config.rate_factor)
    return Prepared([one for one in examples if one.id not in odd], [*rejects, *odd.values()])


def _example(
    row: Utterance, text: VoiceText, speakers: dict[str, int], shape: SpectrogramShape, config: VoiceConfig
) -> VoiceExample | Reject:
    speaker = _speaker_of(row, speakers)
    if speaker is None:
        return Reject(row.id, OTHER_SPEAKER, f"{row.speaker or 'no speaker named'} is not among those of the voice")
    prepared = prepare_text(row.text or "", policy_for(config, row.language))
    if not prepared:
        return Reject(row.id, "text-empty", "no letters are left" if row.text else "no transcript")
    if _unspelled(prepared, config):
        return Reject(row.id, "digits", "it holds numbers that are not written out (digits=keep takes them as letters)")
    unknown = text.unknown(prepared)
    if unknown:
        return Reject(row.id, "characters-unknown", f"the vocabulary lacks {' '.join(unknown)}")
    tokens = text.encode(prepared)
    try:
        samples = audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s)
    except AudioError as error:
        return Reject(row.id, error.reason, error.what, row.audio.path)
    inner = sounding(samples, trim_db=config.trim_db, keep_s=config.keep_silence_s)
    if inner is None:
        return Reject(row.id, "silent", "nothing in the recording is loud enough to be speech")
    first, past = inner
    seconds = (past - first) / RATE_HZ
    problem = _wrong_length(seconds, tokens, shape, config)
    if problem is not None:
        return Reject(row.id, *problem)
    gain = level_gain(samples[first:past], config.loudness_dbfs, config.trim_db)
    start = row.audio.start_s + first / RATE_HZ
    return VoiceExample(
        row.id, row.audio.path, start, seconds, gain, prepared, tuple(tokens), speaker, row.licence or ""
    )


def _speaker_of(row: Utterance, speakers: dict[str, int]) -> int | None:
    """Number of a row's speaker; a voice of one nameless speaker takes every row."""
    if list(speakers) == [""]:
        return speakers[""]
    return speakers.get(row.speaker or "")


def _wrong_length(
    seconds: float, tokens: Sequence[int], shape: SpectrogramShape, config: VoiceConfig
) -> tuple[str, str] | None:
    frames = int(seconds * shape.rate_hz) // shape.hop
    least = max(config.segment // _LEAST_OF_WINDOW, shape.fft + shape.hop) / shape.rate_hz
    if seconds < least:
        return "too-short", f"{seconds:.2f} s without its silences; at least {least:.2f} s are needed"
    if seconds > config.longest_s:
        return "too-long", f"{seconds:.1f} s; longest_s is {config.longest_s:g} s"
    if frames < len(tokens):
        return "fewer-frames-than-tokens", f"{frames} frames for {len(tokens)} tokens: the text cannot be aligned"
    return None


def _odd_rates(examples: Sequence[VoiceExample], factor: float) -> dict[str, Reject]:
    """Rows far faster or slower than the median of letters a second: their text is probably not what is said."""
    rates = {}
    for example in examples:
        letters = sum(category(letter)[0] in "LN" for letter in example.text)
        if letters >= _RATED:
            rates[example.id] = letters / example.duration_s
    if not rates:
        return {}
    middle = median(rates.values())
    return {
        name: Reject(name, "speaking-rate", f"{rate:.1f} letters a second where the median is {middle:.1f}")
        for name, rate in rates.items()
        if rate > factor * middle or rate < middle / factor
    }


def sounding(samples: Samples, *, trim_db: float, keep_s: float) -> tuple[int, int] | None:
    """First and past-the-last sample of what is not silence, with `keep_s` of silence at both ends; None if all is.

    Silence is a frame of 10 ms more than `trim_db` below the 95th percentile of the frames.
    """
    power = _frame_power(samples)
    if not power.size or power.max() <= 0:
        return None
    loud = np.nonzero(power > np.percentile(power, 95) * 10 ** (-trim_db / 10))[0]
    if not loud.size:
        return None
    keep = round(keep_s * RATE_HZ)
    first = max(0, int(loud[0]) * _FRAME - keep)
    past = min(len(samples), (int(loud[-1]) + 1) * _FRAME + keep)
    return first, past


def level_gain(samples: Samples, loudness_dbfs: float, trim_db: float) -> float:
    """The factor that brings what is not silence to a level; less where the peak would clip, at most 30 dB."""
    power = _frame_power(samples)
    loud = power[power > power.max() * 10 ** (-trim_db / 10)]
    level = float(np.sqrt(loud.mean())) if loud.size else 0.0
    peak = float(np.abs(samples).max())
    if level <= 0 or peak <= 0:
        return 1.0
    return float(min(10 ** (loudness_dbfs / 20) / level, _PEAK / peak, 10 ** (_MOST_GAIN / 20)))


def _frame_power(samples: Samples) -> npt.NDArray[np.float64]:
    whole = len(samples) // _FRAME * _FRAME
    return np.asarray(np.mean(np.square(samples[:whole].reshape(-1, _FRAME), dtype=np.float64), axis=1))


class VoiceLoader:
    """Batches of a list of examples; recordings are kept in memory as long as they fit in `cache_mb`."""

    def __init__(
        self,
        examples: Sequence[VoiceExample],
        shape: SpectrogramShape,
        config: VoiceConfig,
        *,
        several: bool,
        cache_mb: float = CACHE_MB,
    ) -> None:
        self.examples, self.shape, self.config, self.several = list(examples), shape, config, several
        self._held: OrderedDict[str, Samples] = OrderedDict()
        self._free = int(cache_mb * 1e6)

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[VoiceBatch]:
        """The batches of an epoch from the `skip`-th on, read one ahead; the plan is a function of (seed, number)."""
        plan = plan_epoch(
            [example.duration_s for example in self.examples],
            seed=self.config.seed,
            epoch=number,
            batch_seconds=self.config.batch_seconds,
        )[skip:]
        with ThreadPoolExecutor(1) as reader:
            ahead = None
            for items in plan:
                waiting, ahead = ahead, reader.submit(self.batch, [self.examples[item.index] for item in items])
                if waiting is not None:
                    yield waiting.result()
            if ahead is not None:
                yield ahead.result()

    def batch(self, examples: Sequence[VoiceExample]) -> VoiceBatch:
        """These utterances, padded; each one's spectrogram is computed alone, so that its neighbours do not matter."""
        hop = self.shape.hop
        sounds = [self.samples(example) for example in examples]
        frames = [len(sound) // hop for sound in sounds]
        widest = max(len(example.tokens) for example in examples)
        tokens_BT = torch.zeros(len(examples), widest, dtype=torch.long)
        linear_BKF = torch.zeros(len(examples), self.shape.bins, max(frames))
        samples_BS = torch.zeros(len(examples), max(frames) * hop)
        for row, (example, sound) in enumerate(zip(examples, sounds, strict=True)):
            tokens_BT[row, : len(example.tokens)] = torch.tensor(example.tokens)
            whole = torch.from_numpy(sound[: frames[row] * hop])
            samples_BS[row, : len(whole)] = whole
            linear_BKF[row, :, : frames[row]] = linear_spectrogram(whole[None], self.shape)[0]
        speakers = torch.tensor([example.speaker for example in examples]) if self.several else None
        return VoiceBatch(
            ids=tuple(example.id for example in examples),
            tokens_BT=tokens_BT,
            tokens_B=torch.tensor([len(example.tokens) for example in examples]),
            linear_BKF=linear_BKF,
            frames_B=torch.tensor(frames),
            samples_BS=samples_BS,
            speakers_B=speakers,
        )

    def samples(self, example: VoiceExample) -> Samples:
        """The recording without its silences, at the level and the rate of the voice."""
        held = self._held.get(example.id)
        if held is not None:
            return held
        raw = audio.load(example.path, example.start_s, example.duration_s)
        sound = np.ascontiguousarray(audio.at_rate(raw, self.shape.rate_hz) * np.float32(example.gain))
        if sound.nbytes <= self._free:
            self._free -= sound.nbytes
            self._held[example.id] = sound
        return sound
