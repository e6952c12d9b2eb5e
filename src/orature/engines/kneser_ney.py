"""Interpolated modified Kneser-Ney language models, estimated in bounded memory and written as ARPA.

The estimate is that of Chen and Goodman (1998, section 3) in the closed form and streaming order of Heafield et al.
(2013, sections 3.2 to 3.5): discounts D1, D2 and D3+ of each order from counts of adjusted counts, all orders
interpolated, the unigrams with a uniform distribution over the vocabulary and <unk> (<s> is never predicted).

Example::

    facts = estimate([["shuk", "wasi"], ["wasi"]], Path("lm.arpa"), order=3)
    facts.discounts[0]       # D1, D2, D3+ of unigrams
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orature.core.errors import BadInput, ConfigError
from orature.engines.arpa import write_arpa
from orature.engines.ngram_counts import (
    BEGIN,
    UNKNOWN,
    EncodedText,
    Tables,
    count,
    encode_sentences,
    prefix_significance,
    rows_in,
    suffix_significance,
)
from orature.engines.ngram_rows import Follower, Numbers, Rows, Sorter, Spool, Words, starts, whole_groups

MEMORY_BYTES = 1 << 29
ORDERS = range(2, 7)
"""KenLM's query code refuses an ARPA of unigrams only, and was built for at most 6."""
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where counts of counts give none (those of lmplz --discount_fallback)."""
_NOTHING = -99.0


@dataclass(frozen=True, slots=True)
class LmFacts:
    """What was estimated: n-grams written by order, discounts by order, and the orders whose discounts are `FALLBACK`
    because the text is too small or too regular for an estimate."""

    order: int
    sentences: int
    tokens: int
    vocabulary: int
    ngrams: tuple[int, ...]
    pruned: tuple[int, ...]
    discounts: tuple[tuple[float, float, float], ...]
    fallback_orders: tuple[int, ...]


def discounts_of(counts_of_counts: Sequence[int]) -> tuple[float, float, float] | None:
    """D1, D2, D3+ from how many n-grams have adjusted count 1, 2, 3, 4 (Chen and Goodman 1998, equation 26).

    None where one of these is zero or a discount falls outside of [0, its count].
    """
    t1, t2, t3, t4 = counts_of_counts
    if min(t1, t2, t3, t4) == 0:
        return None
    share = t1 / (t1 + 2 * t2)
    found = (1 - 2 * share * t2 / t1, 2 - 3 * share * t3 / t2, 3 - 4 * share * t4 / t3)
    if any(not 0 <= discount <= place for place, discount in enumerate(found, 1)):
        return None
    return found


def check_options(order: int, prune: Sequence[int], vocabulary: int | None) -> None:
    """ConfigError for an order that KenLM cannot read or thresholds that fall."""
    if order not in ORDERS:
        raise ConfigError(
            f"a language model of order {order} cannot be used",
            next_step=f"choose an order from {ORDERS.start} to {ORDERS.stop - 1}",
        )
    rising = list(prune) == sorted(prune) and all(value >= 0 for value in prune)
    if len(prune) > order or not rising or (prune and prune[0] != 0):
        raise ConfigError(
            f"the pruning thresholds {', '.join(map(str, prune))} do not fit",
            next_step="give one a order, beginning with 0 for words, never falling: 0,0,1",
        )
    if vocabulary is not None and vocabulary < 1:
        raise ConfigError("a vocabulary needs at least one word", next_step="give a larger limit, or none")


def estimate(
    sentences: Iterable[Sequence[str]],
    path: Path,
    *,
    order: int = 3,
    prune: Sequence[int] = (),
    vocabulary: int | None = None,
    memory_bytes: int = MEMORY_BYTES,
    folder: Path | None = None,
) -> LmFacts:
    """Writes the language model of tokenised `sentences` to `path` (gzip where it ends in .gz); same text, same bytes.

    `prune[n - 1]` drops n-grams with at most so many occurrences (the last value holds for higher orders); their mass
    goes to the shorter context. Counts beyond `memory_bytes` go to temporary files in `folder`. BadInput for a text
    without words, ConfigError for options that do not fit.
    """
    check_options(order, prune, vocabulary)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        text = encode_sentences(sentences, folder=place, memory_bytes=memory_bytes, vocabulary=vocabulary)
        if not text.tokens:
            raise BadInput("the text holds no words", next_step="give more text")
        tables = count(text, order=order, folder=place, memory_bytes=memory_bytes)
        thresholds = [prune[min(n, len(prune)) - 1] if prune else 0 for n in range(1, order + 1)]
        return _Estimate(text, tables, thresholds, place, memory_bytes).write(path)


class _Estimate:
    """The passes after counting; every stream holds rows of one order."""

    def __init__(
        self, text: EncodedText, tables: Tables, thresholds: list[int], folder: Path, memory_bytes: int
    ) -> None:
        self._text, self._tables, self._thresholds, self._folder = text, tables, thresholds, folder
        self._order, self._bits = len(tables.sorters), text.bits
        self._rows = rows_in(memory_bytes // (3 * self._order), self._order + 2)
        found = [discounts_of(counts) for counts in tables.counts_of_counts]
        self._fallback = tuple(n for n, one in enumerate(found, 1) if one is None)
        self._discounts = tuple(one or FALLBACK for one in found)
        self._kept = [0] * self._order

    def write(self, path: Path) -> LmFacts:
        contexts: list[Spool | None] = [None] * self._order
        raw: list[Sorter] = []
        for n in range(1, self._order + 1):
            by_suffix, spool = self._unsmoothed(n)
            raw.append(by_suffix)
            if n > 1:
                contexts[n - 2] = spool
        final = self._interpolated(raw)
        sections = (self._section(n, final[n - 1], contexts[n - 1]) for n in range(1, self._order + 1))
        written = [len(self._text.names) if n == 1 else kept for n, kept in enumerate(self._kept, 1)]
        write_arpa(path, self._text.names, written, sections)
        return LmFacts(
            order=self._order,
            sentences=self._text.sentences,
            tokens=self._text.tokens,
            vocabulary=len(self._text.names) - 3,
            ngrams=tuple(written),
            pruned=tuple(t - k for t, k in zip(self._tables.types, self._kept, strict=True)),
            discounts=self._discounts,
            fallback_orders=self._fallback,
        )

    def _sorter(self, name: str, n: int, numbers: int, significance: tuple[int, ...]) -> Sorter:
        return Sorter(
            self._folder / f"{name}{n}",
            words=n,
            numbers=numbers,
            significance=significance,
            bits=self._bits,
            rows=self._rows,
        )

    def _unsmoothed(self, n: int) -> tuple[Sorter, Spool]:
        """Pass by context: discounted share of each kept n-gram with its context's weight, and the weights alone."""
        by_suffix = self._sorter("share", n, 2, suffix_significance(n))
        weights = Spool(self._folder / f"weight{n}", max(n - 1, 1), 1, self._rows)
        context = tuple(range(n - 1))
        discounts = self._discounts[n - 1]
        for words_MN, both_M2, keys_MC in whole_groups(self._tables.sorters[n - 1].chunks(), context, self._bits):
            first = starts(keys_MC)
            sizes = np.diff(np.concatenate([first, [len(words_MN)]]))
            adjusted = both_M2[:, 1]
            kept = both_M2[:, 0] > self._thresholds[n - 1]
            level = np.where(kept, np.minimum(adjusted, 3), 0).astype(np.int64)
            total = np.add.reduceat(adjusted, first)
            mass = np.add.reduceat(np.where(kept, 0.0, adjusted), first)
            for count_at, discount in enumerate(discounts, 1):
                mass = mass + discount * np.add.reduceat((level == count_at).astype(np.float64), first)
            weight = mass / total
            share = (adjusted - np.array([0.0, *discounts])[level]) / np.repeat(total, sizes)
            each = np.repeat(weight, sizes)
            by_suffix.add(words_MN[kept], np.stack([share, each], axis=1)[kept])
            self._kept[n - 1] += int(kept.sum())
            useful = np.add.reduceat(kept, first) > 0
            if n > 1:
                weights.add(words_MN[first[useful], : n - 1], weight[useful, None])
            else:
                self._uniform = float(weight[0])
        return by_suffix, weights

    def _interpolated(self, raw: list[Sorter]) -> list[Sorter]:
        """Passes by suffix: each order joined with the finished one below; results sorted by context again."""
        final: list[Sorter] = []
        below: Spool | None = None
        for n in range(1, self._order + 1):
            mine = Spool(self._folder / f"mine{n}", n, 1, self._rows)
            by_context = self._sorter("final", n, 1, prefix_significance(n))
            follower = Follower(below.chunks(), suffix_significance(n - 1), self._bits) if below is not None else None
            for words_MN, numbers_M2 in raw[n - 1].chunks():
                lower = self._lower(words_MN, follower)
                probability_M1 = numbers_M2[:, :1] + numbers_M2[:, 1:] * lower
                mine.add(words_MN, probability_M1)
                by_context.add(words_MN, probability_M1)
            if below is not None:
                below.clear()
            below = mine
            final.append(by_context)
        if below is not None:
            below.clear()
        return final

    def _lower(self, words_MN: Words, follower: Follower | None) -> Numbers:
        if follower is None:
            return np.full((len(words_MN), 1), 1.0 / (len(self._text.names) - 1))
        return follower.look_up(words_MN[:, 1:])

    def _section(
        self, n: int, final: Sorter, contexts: Spool | None
    ) -> Iterator[tuple[Words, Numbers, Numbers | None]]:
        """Rows of one order for the ARPA file: words, log10 probability, log10 backoff (None at the highest order)."""
        weights = Follower(contexts.chunks(), prefix_significance(n), self._bits) if contexts is not None else None
        for words_MN, probability_M1 in self._with_special(n, final.chunks()):
            starts_sentence = words_MN[:, -1] == BEGIN
            log_M = np.log10(np.maximum(probability_M1[:, 0], 10.0**_NOTHING))
            log_M[starts_sentence] = _NOTHING
            yield words_MN, log_M, None if weights is None else self._backoff(weights, words_MN)

    def _backoff(self, weights: Follower, words_MN: Words) -> Numbers:
        backoff: Numbers = np.log10(np.maximum(weights.look_up(words_MN, missing=1.0)[:, 0], 10.0**_NOTHING))
        return backoff

    def _with_special(self, n: int, chunks: Iterable[Rows]) -> Iterator[Rows]:
        """<s> and, unless it was counted, <unk> join the unigrams."""
        if n > 1:
            yield from chunks
            return
        parts = list(chunks)
        words_MN = np.concatenate([part[0] for part in parts])
        extra = [BEGIN] if UNKNOWN in words_MN else [BEGIN, UNKNOWN]
        numbers = np.concatenate([part[1] for part in parts])
        words_MN = np.concatenate([words_MN, np.array(extra, dtype=np.int32)[:, None]])
        missing = self._uniform / (len(self._text.names) - 1)
        numbers = np.concatenate([numbers, np.full((len(extra), 1), missing)])
        order = np.argsort(words_MN[:, 0], kind="stable")
        yield words_MN[order], numbers[order]
