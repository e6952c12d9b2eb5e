"""The nouns that every part of Orature shares; no machine-learning library is imported here.

Example::

    span = AudioSpan(path="audio/00000/a.flac", start_s=0.0, duration_s=1.2, digest="9f2c…")
    Utterance(id="a", audio=span, text="shuk", language="que-EC", speaker="s1", origin="real",
              source="kichwa", licence="CC BY 4.0", split="train")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Origin = Literal["real", "pseudo", "synthetic", "translated"]
Split = Literal["train", "dev", "test", "unlabelled"]

ORIGINS: tuple[str, ...] = get_args(Origin)
SPLITS: tuple[str, ...] = get_args(Split)
RATE_HZ = 16_000
"""Sample rate of all audio inside Orature."""


@dataclass(frozen=True, slots=True)
class AudioSpan:
    """A stretch of one recording: `path` (absolute once a corpus is open), start and length in seconds.

    `digest` is the SHA-256 (hex) of the 16 kHz mono int16 samples, or "" when not yet decoded.
    """

    path: str
    start_s: float
    duration_s: float
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One row of a corpus. `text` is None for untranscribed speech; `language` is a BCP-47 tag ("und" if unknown).

    `split` None means: labelled, not assigned to a split (for example Common Voice's validated clips).
    """

    id: str
    audio: AudioSpan
    text: str | None
    language: str = "und"
    speaker: str | None = None
    origin: Origin = "real"
    source: str = ""
    licence: str | None = None
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not kept: a short `reason` code to count by, a sentence of `detail`, and `where` it stood."""

    id: str
    reason: str
    detail: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An engine's answer for one row that it cannot process (law 8)."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word with its times in seconds from the start of the recording and a confidence in [0, 1]."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another text that a search considered, with its total score (natural logarithm; the higher the better)."""

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a recogniser heard in one recording; `score` is the mean log-probability a frame of the chosen path.

    `alternatives` are the n best texts, the chosen one first (empty when not asked for); `confidence` is the expected
    share of right words, calibrated on dev, None where nobody calibrated.
    """

    text: str
    words: tuple[Word, ...] = ()
    score: float = 0.0
    alternatives: tuple[Alternative, ...] = ()
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What an engine declares of itself."""

    name: str
    family: str
    languages: tuple[str, ...]
    licence: str
    revision: str
    deterministic: bool
