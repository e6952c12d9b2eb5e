"""BLEU and chrF of translations, with intervals, by sacrebleu (which only this file calls).

Figures are in points from 0 to 100, as sacrebleu prints them, with its signature: BLEU (Papineni et al. 2002; Post
2018, "A call for clarity in reporting BLEU scores") and chrF2 (Popović 2015: 6-grams of characters, beta 2). BLEU
counts characters where references are mostly in a script without spaces, which the signature says.

Both sides are brought to NFC and single spaces first; an empty reference is refused, an empty translation counts as all
missed. `normalised` holds the same figures under the scoring normaliser of the language, without case and punctuation.

Intervals are drawn as those of error rates are (`orature.evaluate.statistics`): sentences, or speakers where there are
at least five, with replacement, figures from the sums of each draw (Koehn 2004, "Statistical significance tests for
machine translation evaluation"); two systems are compared over the same draws.

Example::

    found = score_translations(["wasi sumakmi"], ["wasika sumakmi"], language="qu")
    found.chrf.value, found.chrf.low, found.chrf.signature
    chrf("wasi sumakmi", "wasika sumakmi")          # of one sentence
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from unicodedata import category

import numpy as np

from orature.core.errors import MissingExtra
from orature.evaluate.alignment import EmptyReference, plain
from orature.evaluate.statistics import (
    MIN_UNITS,
    RESAMPLES,
    SEED,
    By,
    Difference,
    Floats,
    Integers,
    difference_of,
    drawn_sums,
    expanded_interval,
    resampling_unit,
)
from orature.text.language import is_spaceless
from orature.text.normalise import normalise, normaliser_for

METRICS = ("bleu", "chrf")


@dataclass(frozen=True, slots=True)
class Points:
    """A figure from 0 to 100 with its 95 % interval; no interval (None) where there is too little to draw from."""

    value: float
    low: float | None
    high: float | None
    by: By
    signature: str

    def as_json(self) -> dict[str, float | str | None]:
        """Rounded to four decimals."""
        low, high = (None if edge is None else round(edge, 4) for edge in (self.low, self.high))
        return {"value": round(self.value, 4), "low": low, "high": high, "by": self.by, "signature": self.signature}


@dataclass(frozen=True, slots=True)
class TranslationScore:
    """Figures of a set of translations, of the texts as they are and under the scoring normaliser."""

    sentences: int
    words: int
    """Of the references."""
    empty: int
    """Translations without a word."""
    bleu: Points
    chrf: Points
    normaliser: str
    normalised: dict[str, Points]

    def as_json(self) -> dict[str, Any]:
        """As score.json has it."""
        return {
            "sentences": self.sentences,
            "words": self.words,
            "empty": self.empty,
            "bleu": self.bleu.as_json(),
            "chrf": self.chrf.as_json(),
            "normaliser": self.normaliser,
            "normalised": {name: points.as_json() for name, points in self.normalised.items()},
        }


class _Metric:
    """One of sacrebleu's metrics: counts a sentence, and the figure of summed counts."""

    def __init__(self, name: str, tokenise: str) -> None:
        metrics = _sacrebleu()
        self._metric: Any = metrics.BLEU(tokenize=tokenise, force=True) if name == "bleu" else metrics.CHRF()

    def counts(self, translations: Sequence[str], references: Sequence[str]) -> Integers:
        """Counts a sentence, shape (sentences, counts)."""
        found = self._metric._extract_corpus_statistics(list(translations), [list(references)])
        return np.asarray(found, dtype=np.int64)

    def figure(self, sums: Integers) -> float:
        """The figure of summed counts."""
        return min(100.0, float(self._metric._compute_score_from_stats(sums.tolist()).score))

    def figures(self, sums: Integers) -> Floats:
        """The figure of each row of summed counts."""
        return np.asarray([self.figure(row) for row in sums], dtype=np.float64)

    @property
    def signature(self) -> str:
        return str(self._metric.get_signature())


def _sacrebleu() -> Any:
    """sacrebleu's metrics; MissingExtra where it is not installed."""
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise MissingExtra(
            "BLEU and chrF are counted by sacrebleu, which is not installed",
            next_step='pip install "orature[translate]"',
        ) from error
    return metrics


def require_metrics() -> None:
    """MissingExtra, before any work, where BLEU and chrF cannot be counted."""
    _sacrebleu()


@cache
def _metric(name: str, tokenise: str = "13a") -> _Metric:
    return _Metric(name, tokenise)


def chrf(translation: str, reference: str) -> float:
    """chrF2 of one sentence, 0 to 100; EmptyReference where there is nothing to compare with."""
    metric = _metric("chrf")
    return metric.figure(metric.counts([plain(translation)], [_said(reference)])[0])


def corpus_chrf(translations: Sequence[str], references: Sequence[str]) -> float:
    """chrF2 of a whole set without an interval, 0 to 100."""
    metric = _metric("chrf")
    return metric.figure(_table(metric, translations, references).sum(axis=0))


def score_translations(
    translations: Sequence[str],
    references: Sequence[str],
    *,
    language: str = "und",
    speakers: Sequence[str | None] | None = None,
    by: str = "auto",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> TranslationScore:
    """BLEU and chrF of equally many translations and references into `language`, with intervals.

    `speakers` (None: not known) are drawn as wholes where at least five are known, as for error rates. ValueError for
    lists of unlike length or without a sentence, EmptyReference for a reference without a word.
    """
    _check(translations, references)
    groups = [None] * len(references) if speakers is None else speakers
    unit = resampling_unit(groups, by)
    tokenise = _tokeniser(references)

    def measured(heard: Sequence[str], said: Sequence[str]) -> dict[str, Points]:
        return {name: _points(_metric(name, tokenise), heard, said, groups, unit, resamples, seed) for name in METRICS}

    name = normaliser_for(language)
    fold = _folded(name)
    raw = measured(translations, references)
    folded = measured([fold(text) for text in translations], [fold(text) or text for text in references])
    return TranslationScore(
        sentences=len(references),
        words=sum(len(reference.split()) for reference in references),
        empty=sum(not plain(text) for text in translations),
        bleu=raw["bleu"],
        chrf=raw["chrf"],
        normaliser=name,
        normalised=folded,
    )


def compare_translations(
    first: Sequence[str],
    second: Sequence[str],
    references: Sequence[str],
    *,
    speakers: Sequence[str | None] | None = None,
    by: str = "auto",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Difference]:
    """The figures ("bleu", "chrf") of `second` minus those of `first` on the same sentences, in points, paired.

    Positive means that the second translates better. The same errors as `score_translations`.
    """
    _check(first, references)
    _check(second, references)
    groups = [None] * len(references) if speakers is None else speakers
    unit, tokenise = resampling_unit(groups, by), _tokeniser(references)
    found = {}
    for name in METRICS:
        metric = _metric(name, tokenise)
        one, two = (_table(metric, texts, references) for texts in (first, second))
        delta = metric.figure(two.sum(axis=0)) - metric.figure(one.sum(axis=0))
        (sums_one, units), (sums_two, _) = (
            drawn_sums(table, groups, by=unit, resamples=resamples, seed=seed) for table in (one, two)
        )
        if units < MIN_UNITS:
            found[name] = Difference(delta, None, None, None, unit)
        else:
            drawn = metric.figures(sums_two) - metric.figures(sums_one)
            found[name] = difference_of(delta, drawn, units, unit)
    return found


def _points(
    metric: _Metric,
    translations: Sequence[str],
    references: Sequence[str],
    speakers: Sequence[str | None],
    unit: By,
    resamples: int,
    seed: int,
) -> Points:
    table = _table(metric, translations, references)
    value = metric.figure(table.sum(axis=0))
    sums, units = drawn_sums(table, speakers, by=unit, resamples=resamples, seed=seed)
    if units < MIN_UNITS:
        return Points(value, None, None, unit, metric.signature)
    low, high = expanded_interval(metric.figures(sums), units)
    return Points(value, min(low, value), max(high, value), unit, metric.signature)


def _table(metric: _Metric, translations: Sequence[str], references: Sequence[str]) -> Integers:
    return metric.counts([plain(text) for text in translations], [_said(text) for text in references])


def _folded(name: str) -> Callable[[str], str]:
    def fold(text: str) -> str:
        return normalise(text, name)

    return fold


def _said(reference: str) -> str:
    text = plain(reference)
    if not text:
        raise EmptyReference("a reference without a word has no BLEU and no chrF", next_step="leave that sentence out")
    return text


def _check(translations: Sequence[str], references: Sequence[str]) -> None:
    if len(translations) != len(references) or not references:
        raise ValueError(f"{len(translations)} translations for {len(references)} references")


def _tokeniser(references: Sequence[str]) -> str:
    """sacrebleu's name of how BLEU counts: words, or characters where words are not parted by spaces."""
    letters = unspaced = 0
    for text in references:
        letters += sum(category(sign)[0] == "L" for sign in text)
        unspaced += sum(map(is_spaceless, text))
    return "char" if 2 * unspaced > letters else "13a"
