"""Sentences that are there already, exactly or nearly, in memory of a few hundred bytes a sentence.

Exact: by the key of `text.leaks.sentence_key` (case, accents and punctuation do not count). Near: Jaccard overlap of
character 4-grams of the key, candidates by MinHash and banding (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of
Massive Datasets", chapter 3; the signatures are datasketch's, seeded), each candidate then checked exactly. With 64
permutations in 16 bands of 4 a pair with overlap 0.8 is found with probability 0.9998.

Example::

    marks = [mark_of(text) for text in texts]
    signatures = signatures_of(texts, seed=0)
    twins = near_duplicates(Bands([signatures]), texts.__getitem__, threshold=0.8)     # {later: earlier}
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from orature.core.errors import MissingExtra
from orature.text.leaks import sentence_key

PERMUTATIONS, BANDS, ROWS = 64, 16, 4
_GRAM = 4
_WINDOW = 8
"""Candidates of a sentence in one bucket: the first one and so many right before it."""
Marks = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]
_WEIGHTS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)


def has_datasketch() -> bool:
    """True where datasketch is installed."""
    return find_spec("datasketch") is not None


def need_datasketch() -> None:
    """MissingExtra where datasketch is not installed."""
    if not has_datasketch():
        raise MissingExtra(
            "near duplicates are found with datasketch, which is not installed",
            next_step='pip install "orature[text]", or leave them in with --near-duplicates 0',
        )


def mark_of(text: str) -> int:
    """64 bits that stand for the key of a sentence: two of ten million different ones meet with probability 3e-6."""
    return int.from_bytes(hashlib.blake2b(sentence_key(text).encode("utf-8"), digest_size=8).digest(), "little")


def shingles(text: str) -> frozenset[str]:
    """Character 4-grams of the key of a sentence, with a space at either end; a shorter one is one gram."""
    key = f" {sentence_key(text)} "
    return frozenset(key[at : at + _GRAM] for at in range(max(1, len(key) - _GRAM + 1)))


def signatures_of(texts: Sequence[str], seed: int) -> Signatures:
    """MinHash signatures, shape (len(texts), 64), the same for one text and seed. MissingExtra without datasketch."""
    need_datasketch()
    minhash = import_module("datasketch").MinHash
    grams = ([gram.encode("utf-8") for gram in sorted(shingles(text))] for text in texts)
    rows = [one.hashvalues for one in minhash.generator(grams, num_perm=PERMUTATIONS, seed=seed, scheme="affine32")]
    return np.asarray(rows, dtype=np.uint32).reshape(len(texts), PERMUTATIONS)


def exact_duplicates(marks: Marks) -> dict[int, int]:
    """Number of each row that repeats an earlier one, to the number of the first such row."""
    order = np.argsort(marks, kind="stable")
    again = np.flatnonzero(marks[order][1:] == marks[order][:-1]) + 1
    first: dict[int, int] = {}
    for place in again.tolist():
        before = int(order[place - 1])
        first[int(order[place])] = first.get(before, before)
    return first


class Bands:
    """Signatures that lie in several arrays (memory-mapped ones stay on the disk), read one band at a time.

    `rows` are the numbers of the rows to look at, counted over all arrays.
    """

    def __init__(self, parts: Sequence[Signatures], rows: npt.NDArray[np.int64] | None = None) -> None:
        self._parts = parts
        self.rows = np.arange(sum(map(len, parts)), dtype=np.int64) if rows is None else rows

    def buckets(self, band: int) -> npt.NDArray[np.uint64]:
        """One number for each of `rows`: equal ones share the bucket of this band."""
        columns = [part[:, band * ROWS : (band + 1) * ROWS] for part in self._parts]
        if not columns:
            return np.empty(0, np.uint64)
        with np.errstate(over="ignore"):
            mixed: npt.NDArray[np.uint64] = np.concatenate(columns)[self.rows].astype(np.uint64) * _WEIGHTS
            buckets: npt.NDArray[np.uint64] = mixed.sum(axis=1, dtype=np.uint64)
        return buckets


def near_duplicates(bands: Bands, text_of: Callable[[int], str], *, threshold: float) -> dict[int, int]:
    """Number of each row that is nearly an earlier kept one (overlap at least `threshold`), to the number of that row.

    Rows are judged in their order; a row found to be nearly another one is stood for by it in later comparisons.
    """
    candidates: dict[int, set[int]] = defaultdict(set)
    for band in range(BANDS):
        for row, earlier in _bucket_mates(bands.buckets(band), bands.rows):
            candidates[row].update(earlier)
    stands_for: dict[int, int] = {}
    for row in sorted(candidates):
        own = shingles(text_of(row))
        for other in sorted({stands_for.get(earlier, earlier) for earlier in candidates.pop(row)}):
            theirs = shingles(text_of(other))
            shared = len(own & theirs)
            if shared >= threshold * (len(own) + len(theirs) - shared):
                stands_for[row] = other
                break
    return stands_for


def _bucket_mates(buckets: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, list[int]]]:
    """For each row that shares its bucket with earlier ones: some of those."""
    order = np.argsort(buckets, kind="stable")
    edges = np.flatnonzero(np.diff(buckets[order])) + 1
    begins, ends = np.concatenate(([0], edges)), np.concatenate((edges, [len(order)]))
    shared = ends - begins > 1
    for begin, end in zip(begins[shared].tolist(), ends[shared].tolist(), strict=True):
        members = rows[order[begin:end]].tolist()
        for place in range(1, len(members)):
            yield members[place], [members[0], *members[max(1, place - _WINDOW) : place]]
