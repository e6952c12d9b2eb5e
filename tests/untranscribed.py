"""Speech without transcripts for tests: sounds in a fixed order, so that what is masked follows from what is heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Split, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import save_corpus
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.families import families
from orature.engines.native_folder import write_weights
from orature.engines.phone_tokens import PhoneTokens
from orature.engines.recognisers import save_model

PHONES = PhoneTokens(("a", "b", "i", "k", "s", "u"))


def turns(seed: int, seconds: float = 2.4) -> np.ndarray:
    """Samples (float32, 16 kHz): a low hiss, a high hiss and near silence take turns, 160 ms each.

    Every mel bin is loud or soft at any time, so that a frame has one of few codes.
    """
    rng = np.random.default_rng(seed)
    hiss = rng.standard_normal(int(seconds * RATE_HZ) + 1)
    state = (np.arange(hiss.size - 1) / RATE_HZ / 0.16 + 3 * rng.random()).astype(int) % 3
    kinds = np.stack([hiss[1:] + 0.97 * hiss[:-1], hiss[1:] - 0.97 * hiss[:-1], 0.02 * hiss[1:]])
    return (0.1 * np.take_along_axis(kinds, state[None], axis=0)[0]).astype(np.float32)


def speech_in(folder: Path, splits: list[Split | None], *, seed: int = 0, seconds: float = 2.4, **fields: Any) -> Path:
    """A corpus folder without transcripts with a row for each of `splits`; `fields` are those of `Utterance`."""
    folder.mkdir(parents=True)
    rows = []
    for number, split in enumerate(splits):
        samples, path = turns(1000 * seed + number, seconds), folder / f"{number:03}.flac"
        save_flac(path, samples)
        span = AudioSpan(str(path), 0.0, len(samples) / RATE_HZ, audio_digest(samples))
        rows.append(Utterance(f"u{number:03}", span, None, **{"licence": "CC0 1.0", "split": split, **fields}))
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


def phone_model(folder: Path, *, half: bool = True, **shape: Any) -> Path:
    """A micro model folder of phones as `orature run base` writes it, never trained, in float16."""
    torch.manual_seed(7)
    model = ConformerCtc(ConformerConfig.of_size("micro", vocabulary=len(PHONES), **shape))
    facts = {"name": "start", "family": "conformer", "languages": "sw,it", "licence": "CC0 1.0"}
    save_model(folder, families()["orature-conformer-ctc"], model, PHONES, facts)
    write_weights(model, half=half)(folder / "model.safetensors")
    return folder
