"""How varied speech is: speakers and prompts, pitch, speaking rate, durations, words; of one corpus beside another.

A judge with a strong language model repairs bad audio, so clear speech can still be the same voice over and over.
These figures stand beside Norm_I for that reason; none of them is a score.

Example::

    real, made = diversity(rows_of_people), diversity(rows_of_a_voice)
    narrower(made, real)        # ["speakers: 1 against 119", "pitch between utterances: 0.3 against 4.1 semitones"]
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orature.evaluate.pitch import Pitch

HALF = 0.5
"""A measure below this share of the real one is called narrower."""
MIN_MEASURED = 5


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance as far as variety goes: who, which prompt, how long, what text (as it is scored), what pitch."""

    speaker: str | None
    prompt: str
    duration_s: float
    text: str
    pitch: Pitch | None = None


def diversity(rows: Sequence[Spoken]) -> dict[str, Any]:
    """Figures of one side; parts without enough to measure are None.

    `effective_speakers` is the exponential of the entropy of seconds by speaker: as many equally used speakers as would
    be as varied (Hill 1973, "Diversity and evenness", order 1). `between_semitones` is the standard deviation of the
    utterances' median pitch, `within_semitones` the mean of their ranges; a `spread` is a coefficient of variation.
    """
    letters = [len("".join(row.text.split())) for row in rows]
    rates = [count / row.duration_s for count, row in zip(letters, rows, strict=True) if count and row.duration_s > 0]
    words = Counter(word for row in rows for word in row.text.split())
    signs = Counter(sign for row in rows for sign in row.text if not sign.isspace())
    return {
        "utterances": len(rows),
        "hours": round(sum(row.duration_s for row in rows) / 3600, 6),
        **_who(rows),
        "pitch": _pitch([row.pitch for row in rows if row.pitch is not None]),
        "rate": _spread(rates, "characters_per_s"),
        "duration": _spread([row.duration_s for row in rows], "seconds"),
        "text": {
            "sentences": len({row.text for row in rows}),
            "words": sum(words.values()),
            "word_types": len(words),
            "characters": sum(signs.values()),
            "character_types": len(signs),
        },
    }


def _who(rows: Sequence[Spoken]) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    for row in rows:
        if row.speaker:
            seconds[row.speaker] = seconds.get(row.speaker, 0.0) + row.duration_s
    total = sum(seconds.values())
    shares = [own / total for own in seconds.values() if own > 0] if total > 0 else []
    entropy = -sum(share * math.log(share) for share in shares)
    return {
        "speakers": len(seconds),
        "effective_speakers": round(math.exp(entropy), 3) if shares else None,
        "prompts": len({row.prompt for row in rows if row.prompt}),
    }


def _pitch(found: Sequence[Pitch]) -> dict[str, Any] | None:
    if len(found) < MIN_MEASURED:
        return None
    medians = np.array([one.median_hz for one in found])
    low, middle, high = np.percentile(medians, [5, 50, 95])
    return {
        "utterances": len(found),
        "median_hz": round(float(middle), 1),
        "low_hz": round(float(low), 1),
        "high_hz": round(float(high), 1),
        "between_semitones": round(float(np.std(12 * np.log2(medians))), 3),
        "within_semitones": round(float(np.mean([one.range_semitones for one in found])), 3),
        "voiced_share": round(float(np.mean([one.voiced_share for one in found])), 4),
    }


def _spread(values: Sequence[float], unit: str) -> dict[str, Any] | None:
    if len(values) < MIN_MEASURED:
        return None
    low, high = np.percentile(values, [5, 95])
    mean = float(np.mean(values))
    return {
        "unit": unit,
        "mean": round(mean, 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "spread": round(float(np.std(values)) / mean, 4) if mean > 0 else 0.0,
    }


def narrower(made: Mapping[str, Any], real: Mapping[str, Any]) -> list[str]:
    """In words, what varies less than half as much in `made` as in `real`; what one side lacks is left out."""
    found = []
    for name, unit, path in (
        ("speakers", "", ("speakers",)),
        ("speakers in effect", "", ("effective_speakers",)),
        ("pitch between utterances", " semitones", ("pitch", "between_semitones")),
        ("range of pitch within an utterance", " semitones", ("pitch", "within_semitones")),
        ("spread of the speaking rate", "", ("rate", "spread")),
        ("spread of durations", "", ("duration", "spread")),
    ):
        ours, theirs = _at(made, path), _at(real, path)
        if ours is not None and theirs and ours < HALF * theirs:
            found.append(f"{name}: {ours:.3g} against {theirs:.3g}{unit}")
    return found


def _at(measures: Mapping[str, Any], path: Iterable[str]) -> float | None:
    value: Any = measures
    for name in path:
        if value is None:
            return None
        value = value.get(name)
    return None if value is None else float(value)
