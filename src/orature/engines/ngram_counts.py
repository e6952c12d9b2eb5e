"""Counts of n-grams in text, in bounded memory: raw counts, and the adjusted counts of Kneser-Ney smoothing.

The adjusted count of an n-gram is its raw count at the highest order and where it begins with <s> (nothing can stand
before that); below it is the number of different words seen before it (Chen and Goodman 1998, section 3; Heafield et
al. 2013, "Scalable Modified Kneser-Ney Language Model Estimation", section 3.2).

Example::

    text = encode_sentences([["shuk", "wasi"], ["wasi"]], folder=tmp, memory_bytes=1 << 28)
    tables = count(text, order=3, folder=tmp, memory_bytes=1 << 28)
    tables.types[1]          # number of different bigrams
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orature.engines.ngram_rows import Numbers, Rows, Sorter, Spool, Words, starts, whole_groups

BEGIN, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<s>", "</s>", "<unk>")
_RAW, _ADJUSTED = 0, 1
_BLOCK = 1 << 19


@dataclass(frozen=True)
class EncodedText:
    """Sentences as word numbers: `names[i]` is word `i`; 0, 1 and 2 are <s>, </s> and <unk>, the rest by code point."""

    names: tuple[str, ...]
    stream: Spool
    numbers: npt.NDArray[np.int32]
    sentences: int
    tokens: int

    @property
    def bits(self) -> int:
        """Bits that hold one word number."""
        return max(int(len(self.names) - 1).bit_length(), 1)

    def blocks(self) -> Iterator[npt.NDArray[np.int32]]:
        """The text in stretches of whole sentences, each ended by </s>; shape (tokens,)."""
        left = np.zeros(0, dtype=np.int32)
        for words_MN, _ in self.stream.chunks(_BLOCK):
            part = np.concatenate([left, self.numbers[words_MN[:, 0]]])
            ends = np.flatnonzero(part == END)
            cut = int(ends[-1]) + 1 if len(ends) else 0
            left = part[cut:]
            if cut:
                yield part[:cut]


def encode_sentences(
    sentences: Iterable[Sequence[str]], *, folder: Path, memory_bytes: int, vocabulary: int | None = None
) -> EncodedText:
    """Numbers the words of all sentences; sentences without a word are left out.

    With `vocabulary`, only so many of the most frequent words (then by code point) keep a number of their own, the
    others become <unk>. A word that is spelled like <s>, </s> or <unk> becomes <unk>.
    """
    known = {name: place for place, name in enumerate(SPECIAL)}
    spool = Spool(folder / "text", words=1, numbers=0, rows=max(memory_bytes // 16, 1))
    held: list[int] = []
    count = 0
    for sentence in sentences:
        if not sentence:
            continue
        count += 1
        for word in sentence:
            held.append(UNKNOWN if word in SPECIAL else known.setdefault(word, len(known)))
        held.append(END)
        if len(held) >= _BLOCK:
            _spool(spool, held)
    _spool(spool, held)
    names, numbers = _final_numbers(list(known), spool, vocabulary)
    return EncodedText(names, spool, numbers, count, spool.total - count)


def _spool(spool: Spool, held: list[int]) -> None:
    if held:
        spool.add(np.array(held, dtype=np.int32)[:, None], np.zeros((len(held), 0)))
        held.clear()


def _final_numbers(
    words: list[str], spool: Spool, vocabulary: int | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Names by code point, and the final number of each first-seen number."""
    own = list(range(len(SPECIAL), len(words)))
    if vocabulary is not None and len(own) > vocabulary:
        frequency = np.zeros(len(words), dtype=np.int64)
        for words_MN, _ in spool.chunks():
            frequency += np.bincount(words_MN[:, 0], minlength=len(words))
        own = sorted(own, key=lambda place: (-int(frequency[place]), words[place]))[:vocabulary]
    own.sort(key=lambda place: words[place])
    numbers = np.full(len(words), UNKNOWN, dtype=np.int32)
    numbers[: len(SPECIAL)] = range(len(SPECIAL))
    numbers[own] = np.arange(len(SPECIAL), len(SPECIAL) + len(own))
    return (*SPECIAL, *(words[place] for place in own)), numbers


@dataclass
class Tables:
    """N-grams of every order, sorted by context: numbers are (raw count, adjusted count). Index 0 is order 1.

    `counts_of_counts[n - 1][k - 1]` is how many n-grams have the adjusted count k, for k = 1 to 4.
    """

    sorters: list[Sorter]
    counts_of_counts: list[list[int]] = field(default_factory=list)
    types: list[int] = field(default_factory=list)


def rows_in(memory_bytes: int, columns: int) -> int:
    """How many rows of so many 8-byte columns may be held when sorting needs about five copies of them."""
    return max(memory_bytes // (40 * (columns + 1)), 256)


def prefix_significance(order: int) -> tuple[int, ...]:
    """Columns by weight when sorted by context, then word."""
    return tuple(range(order))


def suffix_significance(order: int) -> tuple[int, ...]:
    """Columns by weight when sorted by the last word first."""
    return tuple(range(order - 1, -1, -1))


def count(text: EncodedText, *, order: int, folder: Path, memory_bytes: int) -> Tables:
    """Counts every n-gram up to `order` in one pass over the text and one over the sorted n-grams."""
    rows, bits = rows_in(memory_bytes // 2, order + 2), text.bits
    windows = Sorter(
        folder / "windows",
        words=order,
        numbers=1,
        significance=suffix_significance(order),
        bits=bits,
        rows=rows,
    )
    for block in text.blocks():
        for part in _windows(block, order):
            windows.add(part, np.ones((len(part), 1)))
    each = rows_in(memory_bytes // (2 * order), order + 2)
    sorters = [
        Sorter(folder / f"order{n}", words=n, numbers=2, significance=prefix_significance(n), bits=bits, rows=each)
        for n in range(1, order + 1)
    ]
    tally = np.zeros((order, 6), dtype=np.int64)
    stream: Iterator[Rows] = _highest(windows.chunks(), sorters[-1], tally[-1])
    for n in range(order - 1, 0, -1):
        stream = _lower(stream, n, bits, sorters[n - 1], tally[n - 1])
    for _ in stream:
        pass
    return Tables(sorters, tally[:, 1:5].tolist(), tally[:, 0].tolist())


def _windows(block: npt.NDArray[np.int32], order: int) -> Iterator[Words]:
    """All n-grams of `order` that end in a word or </s>, sentences padded with <s> on the left."""
    ends = np.flatnonzero(block == END)
    lengths = np.diff(np.concatenate([[-1], ends]))
    padding = order - 1
    padded = np.full(len(block) + padding * len(lengths), BEGIN, dtype=np.int32)
    sentence_of = np.repeat(np.arange(len(lengths)), lengths)
    padded[np.arange(len(block)) + padding * (sentence_of + 1)] = block
    view = np.lib.stride_tricks.sliding_window_view(padded, order)
    yield view[view[:, -1] != BEGIN]


def _highest(chunks: Iterable[Rows], sorter: Sorter, tally: npt.NDArray[np.int64]) -> Iterator[Rows]:
    for words_MN, numbers_MK in chunks:
        both_M2 = np.repeat(numbers_MK, 2, axis=1)
        _keep(words_MN, both_M2, sorter, tally)
        yield words_MN, numbers_MK


def _lower(
    chunks: Iterable[Rows], order: int, bits: int, sorter: Sorter, tally: npt.NDArray[np.int64]
) -> Iterator[Rows]:
    """From (order + 1)-grams, sorted by their last word first, to n-grams of `order` in the same sense."""
    columns = tuple(range(order, 0, -1))
    for words_MN, numbers_MK, keys_MC in whole_groups(chunks, columns, bits):
        first = starts(keys_MC)
        raw = np.add.reduceat(numbers_MK[:, _RAW], first)
        before = np.diff(np.concatenate([first, [len(words_MN)]])).astype(np.float64)
        shorter = words_MN[first, 1:]
        adjusted = np.where(shorter[:, 0] == BEGIN, raw, before)
        _keep(shorter, np.stack([raw, adjusted], axis=1), sorter, tally)
        yield shorter, raw[:, None]


def _keep(words_MN: Words, both_M2: Numbers, sorter: Sorter, tally: npt.NDArray[np.int64]) -> None:
    """Stores the n-grams without padding (a second <s>) and counts their adjusted counts."""
    own = words_MN[:, 1] != BEGIN if words_MN.shape[1] > 1 else np.ones(len(words_MN), dtype=bool)
    words_MN, both_M2 = words_MN[own], both_M2[own]
    sorter.add(words_MN, both_M2)
    tally[0] += len(words_MN)
    tally[1:] += np.bincount(np.minimum(both_M2[:, _ADJUSTED], 5).astype(np.int64), minlength=6)[1:]
