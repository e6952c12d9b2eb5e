"""A language of tones: six phones, a spelling with a digraph and silent letters, a model that hears the phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import save_corpus
from orature.engines.phone_tokens import PhoneTokens
from orature.engines.recognisers import save_model
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.job import Job
from orature.train.launch import Place, Spread, train_job
from orature.train.loader import Example

TONES = {"p": 300.0, "t": 650.0, "k": 1100.0, "a": 1700.0, "i": 2600.0, "ʃ": 3900.0}
SPELLING = {"p": "t", "t": "k", "k": "p", "a": "o", "i": "u", "ʃ": "sh"}
"""The letters are others than the phones; each word ends with a silent e half of the time."""
LANGUAGE = "qaa"
"""A private tag, which no engine reads."""
_TONE_S, _PAUSE_S = 0.12, 0.1


def spoken(words: list[list[str]], rng: np.random.Generator) -> np.ndarray:
    """Tones of 120 ms with short gaps, longer ones between words, in a little noise (float32)."""
    times = np.arange(int(_TONE_S * RATE_HZ)) / RATE_HZ
    parts = [np.zeros(int(_PAUSE_S * RATE_HZ))]
    for word in words:
        parts += [0.2 * np.sin(2 * np.pi * TONES[phone] * times) * (times < 0.1) for phone in word]
        parts.append(np.zeros(int(_PAUSE_S * RATE_HZ)))
    samples = np.concatenate(parts)
    return (samples + 0.003 * rng.standard_normal(samples.size)).astype(np.float32)


def said(rng: np.random.Generator, words: int) -> list[list[str]]:
    return [list(rng.choice(list(TONES), size=int(rng.integers(2, 5)))) for _ in range(words)]


def spelt(words: list[list[str]], rng: np.random.Generator) -> str:
    return " ".join("".join(SPELLING[phone] for phone in word) + "e" * int(rng.integers(2)) for word in words)


def phone_base(folder: Path, updates: int = 150) -> Path:
    """A micro model folder that has learned the phones of the tones."""
    folder.mkdir()
    rng, phones = np.random.default_rng(1), PhoneTokens(tuple(sorted(TONES)))
    made = []
    for number in range(60):
        words = said(rng, 2)
        samples, text = spoken(words, rng), " ".join(phone for word in words for phone in word)
        path = folder / f"{number:02d}.flac"
        save_flac(path, samples)
        length = len(samples) / RATE_HZ
        made.append(Example(f"{number:02d}", str(path), 0.0, length, text, tuple(phones.encode(text))))
    config = TrainConfig(
        size="micro",
        updates=updates,
        batch_seconds=10.0,
        evaluate_every=updates,
        average=1,
        peak_lr=3e-3,
        dropout=0.0,
        augment=AugmentConfig(warp=0.0, speeds=(1.0,), noise_probability=0.0),
    )
    job = Job(config=config, texts=(), languages=("und",), phones=phones.phones).with_examples(made[:50], made[50:])
    network = job.make()
    ended = train_job(job, network, Spread(threads=1), Place(folder / "state", progress=False))
    facts = {"name": "tones", "family": "conformer", "languages": "und"}
    save_model(folder / "model", network.family, network.network, phones, facts)  # type: ignore[arg-type]
    (folder / "per.txt").write_text(f"{ended.outcome.dev.cer:.3f}", encoding="utf-8")
    return folder / "model"


def toy_corpus(folder: Path, rows: int = 45, elsewhere: str = "") -> Path:
    """A corpus folder of tones with their spelling, two thirds in train; `elsewhere` is the text of dev and test."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    found = []
    for number in range(rows):
        words = said(rng, 3)
        samples, text = spoken(words, rng), spelt(words, rng)
        save_flac(folder / f"{number}.flac", samples)
        span = AudioSpan(str(folder / f"{number}.flac"), 0.0, len(samples) / RATE_HZ, audio_digest(samples))
        split = ("train", "train", "train", "train", "dev", "test")[number % 6]
        text = f"{elsewhere} {number * 'o'}" if elsewhere and split != "train" else text
        found.append(Utterance(f"u{number:02}", span, text, language=LANGUAGE, split=split))
    save_corpus(lambda name: write_beside(folder / name), found, [])
    return folder
