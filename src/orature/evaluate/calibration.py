"""Do confidences mean what they say? Words that were heard, each with its confidence and whether it was right.

Example::

    found = reliability(judged(row.reference, row.words, "orature-basic@1"))
    found.error      # expected calibration error
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orature.evaluate.alignment import align_words, plain
from orature.text import normalise

BINS = 10
Judged = tuple[float, bool]
"""A confidence, and whether the word was right."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Words with a confidence in [`low`, `high`): how many, their mean confidence and the share that was right."""

    low: float
    high: float
    words: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """The bins that hold words, and the expected calibration error (Guo et al. 2017, section 2)."""

    bins: tuple[Bin, ...]
    error: float
    words: int


def judged(reference: str, words: Sequence[Mapping[str, Any]], normaliser: str) -> list[Judged]:
    """Each heard word (as `normaliser` leaves it) with its confidence; right where it is aligned to its equal.

    Words need `text` and `confidence`. A word that the normaliser splits counts as several; where the reference holds
    no word nothing is judged.
    """
    clean = normalise.get(normaliser)
    heard = [
        (part, float(word["confidence"]))
        for word in words
        if isinstance(word.get("confidence"), int | float) and math.isfinite(word["confidence"])
        for part in plain(clean(str(word.get("text") or ""))).split()
    ]
    said = clean(reference)
    if not plain(said) or not heard:
        return []
    edits = align_words(said, " ".join(part for part, _ in heard)).edits
    kinds = [edit.kind for edit in edits if edit.heard]
    return [(confidence, kind == "equal") for (_, confidence), kind in zip(heard, kinds, strict=True)]


def reliability(pairs: Iterable[Judged], bins: int = BINS) -> Reliability | None:
    """Mean confidence against the share of right words in `bins` bins of equal width; None without words."""
    inside: list[list[Judged]] = [[] for _ in range(bins)]
    for confidence, right in pairs:
        inside[min(max(int(confidence * bins), 0), bins - 1)].append((confidence, right))
    total = sum(map(len, inside))
    if not total:
        return None
    found = []
    for place, own in enumerate(inside):
        if own:
            mean = math.fsum(confidence for confidence, _ in own) / len(own)
            found.append(Bin(place / bins, (place + 1) / bins, len(own), mean, sum(r for _, r in own) / len(own)))
    gap = math.fsum(one.words * abs(one.confidence - one.right) for one in found)
    return Reliability(tuple(found), gap / total, total)
