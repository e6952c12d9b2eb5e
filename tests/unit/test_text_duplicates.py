"""Exact and near duplicates: found whatever the order of files, none invented."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from orature.core.errors import MissingExtra
from orature.text import near_duplicates as module
from orature.text.near_duplicates import (
    Bands,
    exact_duplicates,
    mark_of,
    near_duplicates,
    shingles,
    signatures_of,
)

BASE = "the river rose in the night and took the bridge with it before anybody could warn the village"


def marks(texts: list[str]) -> Any:
    return np.array([mark_of(text) for text in texts], dtype=np.uint64)


def test_exact_duplicates_by_the_key_of_the_sentence() -> None:
    texts = ["Shuk wasi!", "ishkay", "shuk wasi", "SHUK, WASI", "kimsa", "ishkay"]
    assert exact_duplicates(marks(texts)) == {2: 0, 3: 0, 5: 1}
    assert exact_duplicates(marks([])) == {}


def brute_force(texts: list[str], threshold: float) -> dict[int, int]:
    found: dict[int, int] = {}
    for row, text in enumerate(texts):
        own = shingles(text)
        for other in range(row):
            if other in found:
                continue
            theirs = shingles(texts[other])
            if len(own & theirs) >= threshold * len(own | theirs):
                found[row] = other
                break
    return found


def test_near_duplicates_are_those_of_a_comparison_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    words = [f"{a}{b}{c}" for a in "ktpm" for b in "aeiou" for c in ("", "na", "shi", "ru")]
    texts: list[str] = []
    for _ in range(120):
        sentence = list(rng.choice(words, size=14))
        texts.append(" ".join(sentence))
        for _ in range(int(rng.integers(0, 4))):
            sentence = list(sentence)
            sentence[int(rng.integers(0, len(sentence)))] = str(rng.choice(words))
            texts.append(" ".join(sentence))
    signatures = signatures_of(texts, seed=1)
    found = near_duplicates(Bands([signatures]), texts.__getitem__, threshold=0.75)
    wanted = brute_force(texts, 0.75)
    assert len(wanted) > 30
    assert set(found) <= set(wanted), "a pair below the threshold was called a duplicate"
    assert len(set(found) & set(wanted)) >= 0.97 * len(wanted)


def test_a_thousand_copies_of_a_pattern_leave_one() -> None:
    texts = [f"{BASE} {number:04d}" for number in range(300)]
    found = near_duplicates(Bands([signatures_of(texts, 0)]), texts.__getitem__, threshold=0.8)
    assert len(found) == 299 and set(found.values()) == {0}


def test_a_rejected_row_is_stood_for_by_the_one_that_stays() -> None:
    """Far down a crowded bucket all near neighbours are rejected already; the row they stand for still counts."""

    class Crowded(Bands):
        def buckets(self, band: int) -> npt.NDArray[np.uint64]:
            return np.full(20, 7, np.uint64) if band == 0 else np.arange(20, dtype=np.uint64)

    texts = ["cattle and rain and nothing else", *(f"{BASE} {number:02d}" for number in range(19))]
    bands = Crowded([signatures_of(texts, 0)])
    assert near_duplicates(bands, texts.__getitem__, threshold=0.8) == dict.fromkeys(range(2, 20), 1)


def test_signatures_in_several_parts_are_as_in_one_and_rows_can_be_left_out() -> None:
    texts = [BASE, "something else entirely about cattle and rain", BASE + " again", BASE + " at once"]
    whole = signatures_of(texts, 0)
    parts = [signatures_of(texts[:1], 0), signatures_of(texts[1:], 0)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert near_duplicates(Bands(parts), texts.__getitem__, threshold=0.8) == {2: 0, 3: 0}
    rows = np.array([1, 2, 3], dtype=np.int64)
    assert near_duplicates(Bands(parts, rows), texts.__getitem__, threshold=0.8) == {3: 2}
    assert not np.array_equal(signatures_of(texts, 1), whole), "the seed has no effect"


def test_nothing_to_compare() -> None:
    assert near_duplicates(Bands([]), str, threshold=0.8) == {}
    assert signatures_of([], 0).shape == (0, 64)


def test_without_datasketch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="datasketch") as caught:
        signatures_of(["a"], 0)
    assert "pip install" in caught.value.next_step
