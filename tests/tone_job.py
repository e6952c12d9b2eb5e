"""A training job on tones as letters, small enough for tests that start several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orature.data import audio
from orature.engines.characters import Characters
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.job import Job
from orature.train.loader import Example

TONES = {"a": 400.0, "b": 1100.0, "c": 2600.0}
CONFIG = TrainConfig(
    size="micro",
    updates=8,
    batch_seconds=4.0,
    accumulate=2,
    evaluate_every=4,
    average=2,
    peak_lr=1e-3,
    dropout=0.0,
    augment=AugmentConfig(warp=0.02, noise_probability=0.5),
)


def tone_job(folder: Path, **fields: Any) -> Job:
    """22 training and 8 dev utterances, written into `folder`; `fields` are those of `TrainConfig`."""
    letters, made = Characters.of([" abc"]), []
    rng = np.random.default_rng(5)
    for number in range(30):
        text = "".join(rng.choice(list(TONES), size=rng.integers(1, 5)))
        times = np.arange(3200) / 16_000
        parts = [0.2 * np.sin(2 * np.pi * TONES[letter] * times) * (times < 0.15) for letter in text]
        samples = np.concatenate([np.zeros(1600), *parts])
        samples = (samples + 0.005 * rng.standard_normal(samples.size)).astype("f4")
        path = folder / f"{number:02d}.flac"
        audio.save_flac(path, samples)
        made.append(Example(f"{number:02d}", str(path), 0.0, len(samples) / 16_000, text, tuple(letters.encode(text))))
    job = Job(config=CONFIG.model_copy(update=fields), texts=(" abc",), languages=("und",))
    return job.with_examples(made[:22], made[22:])
