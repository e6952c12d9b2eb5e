"""Recordings to measure decoding on, and how two ways of decoding them are compared.

Example::

    given = speech(Path("corpora"), minutes=10, folder=Path("speech"), split="test")
    ratio(seconds_of_the_peer, seconds_of_ours), equality(texts_of_the_peer, texts_of_ours)
"""

from __future__ import annotations

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rapidfuzz.distance import Levenshtein

from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, decode, save_flac
from orature.data.corpus import save_corpus
from orature.testing.sample_corpus import Sizes, make_sample_corpus

CORPORA = ("kichwa_killkan", "yoruba_ogunlao")
Texts = list[str]


@dataclass
class Speech:
    """The recordings to label: a corpus folder with its rows in order of id."""

    folder: Path
    paths: list[str]
    seconds: float


@dataclass(frozen=True)
class Clip:
    """A recording as 16 kHz FLAC."""

    path: str
    seconds: float
    digest: str


def speech(corpora: Path, minutes: float, folder: Path, *, split: Literal["test", "unlabelled"]) -> Speech:
    """Clips as rows of `split`, named again and again until there are `minutes` of them."""
    clips = clips_of(corpora, minutes, folder)
    text = None if split == "unlabelled" else "unknown"
    rows: list[Utterance] = []
    seconds = 0.0
    while seconds < 60 * minutes:
        clip = clips[len(rows) % len(clips)]
        span = AudioSpan(clip.path, 0.0, clip.seconds, clip.digest)
        rows.append(Utterance(f"u{len(rows):06d}", span, text, language="und", split=split))
        seconds += clip.seconds
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return Speech(folder, [row.audio.path for row in rows], seconds)


def clips_of(corpora: Path, minutes: float, folder: Path) -> list[Clip]:
    """Train clips of both corpora in turn as FLAC, at most `minutes`; where they are not there, synthetic speech."""
    (folder / "audio").mkdir(parents=True)
    places = [corpora / name for name in CORPORA]
    if not all((place / "manifest.tsv").is_file() for place in places):
        sizes = Sizes(train=max(60, min(720, int(25 * minutes))), dev=3, test=4)
        places = [make_sample_corpus(folder / "sample", sizes=sizes).corpus]
    lists = []
    for place in places:
        with (place / "manifest.tsv").open(encoding="utf-8") as stream:
            rows = csv.DictReader(stream, delimiter="\t")
            lists.append([place / row["path"] for row in rows if row["split"] == "train"])
    clips: list[Clip] = []
    seconds = 0.0
    for number in range(max(map(len, lists))):
        for sources in lists:
            if number < len(sources) and seconds < 60 * minutes:
                samples = decode(sources[number], str(sources[number]))
                path = folder / "audio" / f"{len(clips):05d}.flac"
                save_flac(path, samples)
                clips.append(Clip(str(path), len(samples) / RATE_HZ, audio_digest(samples)))
                seconds += len(samples) / RATE_HZ
    return clips


def ratio(slow: list[float], quick: list[float]) -> dict[str, float]:
    """How many times as fast, round by round: median and range."""
    each = [a / b for a, b in zip(slow, quick, strict=True)]
    return {"median": round(statistics.median(each), 2), "low": round(min(each), 2), "high": round(max(each), 2)}


def equality(reference: Texts, texts: Texts) -> dict[str, Any]:
    """Equal texts, and edits over the characters of the reference."""
    edits = sum(Levenshtein.distance(a, b) for a, b in zip(reference, texts, strict=True))
    return {
        "equal": sum(a == b for a, b in zip(reference, texts, strict=True)),
        "of": len(reference),
        "cer_between": round(edits / max(1, sum(map(len, reference))), 5),
    }
