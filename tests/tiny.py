"""Corpora and models that take no time to make: hissing clips with given texts, a micro model never trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import torch

from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import save_corpus
from orature.engines.characters import BLANK, Characters
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.families import families
from orature.engines.phone_tokens import PhoneTokens
from orature.engines.recognisers import save_model

WORDS = "shuk ishkay kimsa chusku pichka sukta kanchis pusak iskun chunka wasi yaku".split()
LATIN = [f"{first} {second}" for first, second in zip(WORDS, WORDS[1:] + WORDS[:1], strict=True)]


def corpus_of(folder: Path, texts: Sequence[str | None], seconds: float = 1.5, **fields: Any) -> Path:
    """A corpus folder of hissing clips with these transcripts, a third of them in each split."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    rows = []
    for number, text in enumerate(texts):
        samples = (0.1 * rng.standard_normal(int(seconds * RATE_HZ))).astype(np.float32)
        save_flac(folder / f"{number}.flac", samples)
        span = AudioSpan(str(folder / f"{number}.flac"), 0.0, seconds, audio_digest(samples))
        split = ("train", "dev", "test")[number % 3]
        rows.append(Utterance(f"u{number:02}", span, text, **{"language": "qu", "split": split, **fields}))
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


def model_in(folder: Path, texts: Sequence[str], *, blank: float = 0.0, cer: float = 0.1, **policy: Any) -> Path:
    """A micro model folder with the alphabet of `texts`, whose head favours blank by `blank`."""
    torch.manual_seed(3)
    characters = Characters.of([" ", *texts])
    model = ConformerCtc(ConformerConfig.of_size("micro", vocabulary=len(characters)))
    with torch.no_grad():
        model.head.bias[BLANK] += blank
    facts = {"name": "tried", "family": "conformer", "languages": "qu"}
    save_model(folder, families()["orature-conformer-ctc"], model, characters, facts)
    training = {
        "text_policy": {"case": "lower", "punctuation": "strip", "turkic": False, "replace": [], **policy},
        "dev": {"cer": cer, "wer": 0.3},
        "updates": 900,
        "train_hours": 1.5,
        "guards": {"characters_outside": {}, "overfit_cer": 0.2},
    }
    (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")
    return folder


def phone_model_in(folder: Path, phones: Sequence[str] = ("a", "k", "m", "ʃ", "iː"), *, blank: float = -1.0) -> Path:
    """A micro model of phones, never trained, whose head favours blank by `blank`."""
    torch.manual_seed(5)
    tokens: Any = PhoneTokens(tuple(sorted(normalize("NFD", phone) for phone in phones)))
    model = ConformerCtc(ConformerConfig.of_size("micro", vocabulary=len(tokens)))
    with torch.no_grad():
        model.head.weight *= 10  # so that it writes different phones
        model.head.bias[BLANK] += blank
    facts = {"name": "phones", "family": "conformer", "languages": "qu,sw"}
    save_model(folder, families()["orature-conformer-ctc"], model, tokens, facts)
    return folder
