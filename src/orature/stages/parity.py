"""The proof that an exported model says what the model says: a golden set of recordings decoded by both (law 7).

Example::

    recordings, about = golden_set(corpus, split="dev")
    figures = compare_models(load_recogniser("model"), load_recogniser("exported"), recordings)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

from orature.core.errors import AudioError, CorpusError
from orature.core.types import RATE_HZ, Hypothesis, Refusal, Utterance
from orature.data import audio
from orature.data.corpus import Corpus
from orature.engines.ctc_decode import Floats
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.protocol import Recogniser, Samples
from orature.engines.seq2seq_recogniser import Seq2SeqRecogniser

CER_LIMIT = 0.002
"""Largest character error rate between the texts of a model and its float32 export."""
LOG_LIMIT = 0.02
"""Largest difference of a log-probability between a CTC model and its float32 export."""
TOKENS_LIMIT = 0.05
"""Largest share of recordings whose tokens may differ between an encoder-decoder and its float32 export."""
_CLIPS, _SECONDS, _LONG_S = 20, 90.0, 36.0


def golden_set(corpus: Corpus | None, split: str = "dev") -> tuple[list[Samples], str]:
    """Recordings to decode with both models, and what they are, in words.

    From a corpus: up to 20 of the split (or, where it is empty, of all), spread over all lengths, 90 s at most, and one
    of 36 s joined from them, longer than a window. Without a corpus: sounds drawn from a seed.
    """
    if corpus is None:
        return sounds(), "6 sounds drawn from a seed (no corpus was given)"
    rows = list(corpus.split(split)) or list(corpus)
    rows.sort(key=lambda row: (row.audio.duration_s, row.id))
    found: list[Samples] = []
    for row in _spread(rows):
        if sum(map(len, found)) / RATE_HZ + row.audio.duration_s > _SECONDS and found:
            continue
        try:
            found.append(audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s))
        except AudioError:
            continue
    if not found:
        raise CorpusError("no recording of this corpus can be read", where=str(corpus.root))
    joined = np.concatenate(found)
    repeated = np.tile(joined, 1 + int(_LONG_S * RATE_HZ) // len(joined))[: int(_LONG_S * RATE_HZ)]
    return [*found, repeated], f"{len(found)} recordings of the corpus, and {_LONG_S:g} s joined from them"


def _spread(rows: Sequence[Utterance]) -> list[Utterance]:
    """Up to 20 rows, evenly over the order given."""
    count = min(_CLIPS, len(rows))
    return [rows[round(index * (len(rows) - 1) / max(1, count - 1))] for index in range(count)]


def sounds() -> list[Samples]:
    """Six sounds of 0.7 to 33 s with gliding harmonics, pauses and noise, the same each time."""
    rng = np.random.default_rng(20_240_713)
    found = []
    for seconds in (0.7, 1.9, 3.1, 5.3, 9.7, 33.0):
        times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
        pitch_hz = 120 + 60 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * times + rng.uniform(0, 6))
        phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
        voice = sum(np.sin(k * phase) * np.exp(-0.3 * k * (1 + np.sin(5 * times + k))) for k in range(1, 12))
        loud = np.clip(np.sin(2 * np.pi * 2.3 * times + rng.uniform(0, 6)) + 0.4, 0, 1)
        found.append((0.1 * loud * voice + 0.01 * rng.standard_normal(len(times))).astype(np.float32))
    return found


def compare_models(model: Recogniser, other: Recogniser, recordings: Sequence[Samples]) -> dict[str, Any]:
    """How far the outputs of two recognisers differ on the same recordings.

    `texts_equal` of `texts`; `cer_between`: edits between both texts over the characters of the first's. For CTC also
    the largest difference of a log-probability, whether both give as many steps, and the share of steps with another
    best token; for encoder-decoders the share of recordings whose tokens differ (a text can hide them).
    """
    if isinstance(model, CtcRecogniser) and isinstance(other, CtcRecogniser):
        both = model.log_probabilities(recordings), other.log_probabilities(recordings)
        texts, others = (_read(it, logs) for it, logs in zip((model, other), both, strict=True))
    else:
        both = None
        texts, others = ([_text(one) for one in it.transcribe(recordings)] for it in (model, other))
    edits = sum(Levenshtein.distance(a, b) for a, b in zip(texts, others, strict=True))
    figures: dict[str, Any] = {
        "texts": len(texts),
        "texts_equal": sum(a == b for a, b in zip(texts, others, strict=True)),
        "characters": sum(map(len, texts)),
        "cer_between": edits / max(1, sum(map(len, texts))),
    }
    if both is not None:
        figures |= _compare_logs(*both)
    if isinstance(model, Seq2SeqRecogniser) and isinstance(other, Seq2SeqRecogniser):
        figures |= _compare_tokens(model, other, recordings)
    differing = [(a, b) for a, b in zip(texts, others, strict=True) if a != b]
    if differing:
        figures["first_difference"] = {"model": differing[0][0][:200], "exported": differing[0][1][:200]}
    return figures


def _read(model: CtcRecogniser, logs: Sequence[Floats | Refusal]) -> list[str]:
    """Texts of log-probabilities by the model's decoder."""
    return [
        _text(log if isinstance(log, Refusal) else model.decoder.decode(log, model.vocabulary, step_s=model.step_s))
        for log in logs
    ]


def _compare_logs(ours: Sequence[Floats | Refusal], theirs: Sequence[Floats | Refusal]) -> dict[str, Any]:
    worst, changed, steps, same_steps = 0.0, 0, 0, True
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(a, Refusal) or isinstance(b, Refusal):
            same_steps = same_steps and type(a) is type(b)
            continue
        if a.shape != b.shape:
            same_steps = False
            continue
        if a.size:
            worst = max(worst, float(np.abs(a - b).max()))
            changed += int((a.argmax(axis=1) != b.argmax(axis=1)).sum())
            steps += len(a)
    return {
        "log_probability_error": float(f"{worst:.2g}"),
        "same_steps": same_steps,
        "steps_changed": float(f"{changed / max(1, steps):.2g}"),
    }


def _compare_tokens(
    model: Seq2SeqRecogniser, other: Seq2SeqRecogniser, recordings: Sequence[Samples]
) -> dict[str, Any]:
    """Greedy tokens of each recording's first window."""
    most = int((model.network.max_seconds or 30.0) * RATE_HZ)
    prompt = model.vocabulary.prompt(model.language or None) if _told(model) else None
    if prompt is None:
        return {}
    changed = 0
    for samples in recordings:
        given = torch.from_numpy(samples[:most])[None], torch.tensor([min(len(samples), most)])
        ours, theirs = (one.network.generate(*given, prompt)[0][0] for one in (model, other))
        changed += ours.tokens != theirs.tokens
    return {"tokens_changed": float(f"{changed / len(recordings):.2g}")}


def _told(model: Seq2SeqRecogniser) -> bool:
    """Whether it is known in which language to write."""
    known = model.vocabulary.language_tokens()
    return bool(not known or model.language or getattr(model.vocabulary, "language", None))


def _text(outcome: Hypothesis | Refusal) -> str:
    return outcome.text if isinstance(outcome, Hypothesis) else f"<{outcome.reason}>"


def broken(figures: dict[str, Any]) -> str:
    """Why an export in float32 is refused, in words; "" where it is within the limits."""
    if figures.get("same_steps") is False:
        return "it gives another number of output steps"
    if figures["cer_between"] > CER_LIMIT:
        same, all_ = figures["texts_equal"], figures["texts"]
        return (
            f"{all_ - same} of {all_} texts differ from the model's (character error rate between both "
            f"{100 * figures['cer_between']:.2f} %, allowed {100 * CER_LIMIT:g} %)"
        )
    if figures.get("tokens_changed", 0.0) > TOKENS_LIMIT:
        return f"{100 * figures['tokens_changed']:g} % of the recordings get other tokens"
    error = figures.get("log_probability_error", 0.0)
    if not error <= LOG_LIMIT:
        return f"a log-probability differs by {error:g}, allowed {LOG_LIMIT:g}"
    return ""
