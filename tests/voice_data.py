"""Speech that a small voice learns in seconds: each letter is a tone with two overtones, speakers differ in pitch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import save_corpus
from orature.train.voice.config import VoiceConfig

PITCHES = {"low": 0.8, "high": 1.3}
LETTERS = "abcdefgh"
MICRO = VoiceConfig(
    updates=6,
    batch_seconds=4.0,
    segment=2048,
    evaluate_every=3,
    dev_rows=2,
    samples=1,
    shrink=32,
    periods=(2, 3),
    lr=1e-3,
)


def tones(text: str, *, pitch: float = 1.0, silence_s: float = 0.05, seed: int = 1) -> np.ndarray:
    """Samples (float32, 16 kHz) of `text`: 120 ms a letter."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(0.12 * RATE_HZ)) / RATE_HZ
    shape = np.hanning(len(times)) ** 0.3
    parts = [np.zeros(int(silence_s * RATE_HZ))]
    for letter in text:
        hertz = 0.0 if letter == " " else pitch * 140.0 * 2 ** (LETTERS.find(letter.lower()) / 5)
        wave = sum(np.sin(2 * np.pi * hertz * n * times) / n for n in (1, 2, 3))
        parts.append(0.15 * shape * wave)
    parts.append(np.zeros(int(silence_s * RATE_HZ)))
    sound = np.concatenate(parts)
    return np.asarray(sound + 0.001 * rng.standard_normal(len(sound)), np.float32)


def utterance(folder: Path, name: str, text: str | None, samples: np.ndarray | None = None, **fields: Any) -> Utterance:
    """A recording in `folder`, by default of the tones of `text`."""
    pitch = PITCHES.get(str(fields.get("speaker")), 1.0)
    sound = tones(text or "", pitch=pitch, seed=len(name) + ord(name[-1])) if samples is None else samples
    path = folder / f"{name}.flac"
    save_flac(path, sound)
    span = AudioSpan(str(path), 0.0, len(sound) / RATE_HZ, audio_digest(sound))
    return Utterance(name, span, text, **{"language": "sw", "licence": "CC BY 4.0", **fields})


def texts_of(count: int, seed: int = 3) -> list[str]:
    """So many different sentences of one or two words."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        words = [
            "".join(rng.choice(list(LETTERS), size=int(rng.integers(3, 6)))) for _ in range(int(rng.integers(1, 3)))
        ]
        found[" ".join(words)] = None
    return list(found)


def corpus(
    folder: Path,
    *,
    train: int = 8,
    dev: int = 2,
    test: int = 2,
    speakers: Sequence[str | None] = (None,),
    **fields: Any,
) -> Path:
    """A corpus folder of tones with splits; speakers take turns in each split."""
    folder.mkdir(parents=True)
    rows = []
    texts = iter(texts_of(train + dev + test))
    for split, count in (("train", train), ("dev", dev), ("test", test)):
        for number in range(count):
            speaker = speakers[number % len(speakers)]
            rows.append(utterance(folder, f"{split}{number:02}", next(texts), speaker=speaker, split=split, **fields))
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder
