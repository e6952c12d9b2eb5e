"""A corpus with labelled and unlabelled speech, and what a recogniser heard in it, for tests of labelling."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, quality, save_flac
from orature.data.corpus import save_corpus
from orature.flow import Ref

from tiny import LATIN  # isort: skip

SPOKEN = [f"{LATIN[n * 37 % 144 // 12]} {LATIN[n * 37 % 12]}" for n in range(144)]
"""144 different sentences of four words: those of train are the first 100; dev and test have other words."""
DEV, TEST = "achik punchapi rini kunan", "tamya urmakun llaktapi chishi"


def speech(folder: Path, rows: Sequence[Mapping[str, Any]], seconds: float = 2.0, train: int = 100) -> Path:
    """A corpus folder: `train` rows of train, one of dev, one of test, and `rows`, unlabelled.

    Each of `rows` holds fields of `Utterance`, and may hold `level` (of the noise, 0 for silence) and `seconds`.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    known = [{"id": f"t{n:03}", "text": text, "split": "train"} for n, text in enumerate(SPOKEN[:train])]
    known += [{"id": "d1", "text": DEV, "split": "dev"}, {"id": "x1", "text": TEST, "split": "test"}]
    made = []
    for row in [*known, *({"text": None, "split": "unlabelled"} | dict(row) for row in rows)]:
        level, length = row.pop("level", 0.1), row.pop("seconds", seconds)
        samples = (level * rng.standard_normal(int(length * RATE_HZ))).astype(np.float32)
        path = folder / f"{row['id']}.flac"
        save_flac(path, samples)
        span = AudioSpan(str(path), 0.0, length, row.pop("digest", None) or audio_digest(samples))
        utterance = Utterance(**{"audio": span, "language": "qu", "speaker": "anna", **row})
        made.append((utterance, {"quality": quality(samples)}))
    save_corpus(lambda name: write_beside(folder / name), made, [])
    return folder


def heard(folder: Path, records: Mapping[str, Mapping[str, Any]]) -> Ref:
    """An artefact of `Transcribe` by the ids of the rows: hypothesis, and score, confidence, words or refusal."""
    folder.mkdir(parents=True)
    lines = [
        json.dumps({"id": name, "reference": "", "score": -0.1, "words": [], "refusal": None, **record})
        for name, record in sorted(records.items())
    ]
    (folder / "hypotheses.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Ref(key="external", stage="transcribe", digest=folder.name, path=str(folder))
