"""Bootstrap intervals for error rates: resampled by speaker, or by utterance where speakers are unknown.

An error rate is a ratio of sums (errors over reference length), so whole speakers, or utterances, are drawn with
replacement and both sums are taken over the draw (Bisani and Ney 2004, "Bootstrap estimates for confidence intervals
in ASR performance evaluation"). Plain percentiles are too narrow when there are few speakers; the tails are therefore
widened to those of Student's t (the expanded percentile interval of Hesterberg 2015, "What teachers should know about
the bootstrap", section 5.2). Simulated coverage of a nominal 95 % (test_eval_statistics.py holds it): 5 speakers 80 %
plain, 90 % widened; 10 speakers 91 % and 95 %.

The draws come from the raw PCG64 stream, which NumPy promises not to change, so a seed means the same for ever.

Example::

    interval([1, 0, 2], [5, 4, 6], ["a", "b", "c"])      # Interval(value=0.2, low=..., high=..., by="utterance")
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from orature.core.errors import ConfigError

By = Literal["speaker", "utterance"]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RESAMPLES = 1000
SEED = 20_040_517
LEVEL = 0.95
MIN_SPEAKERS = 5
"""With fewer known speakers than this, the interval is by utterance (and says so)."""
MIN_UNITS = 5
"""With fewer speakers or utterances than this to draw from, no interval is given."""

_NORMAL = NormalDist()
_BLOCK = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A rate (fraction) with its 95 % interval; `low` and `high` are None when there is too little to draw from."""

    value: float
    low: float | None
    high: float | None
    by: By

    def as_json(self) -> dict[str, float | str | None]:
        """Rounded to six decimals, as the score file has it."""
        return {"value": _round(self.value), "low": _round(self.low), "high": _round(self.high), "by": self.by}


@dataclass(frozen=True, slots=True)
class Difference:
    """Rate of B minus rate of A on the same rows, with its interval and a two-sided p-value (None: too few units)."""

    delta: float
    low: float | None
    high: float | None
    p: float | None
    by: By

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


def resampling_unit(speakers: Sequence[str | None], by: str = "auto") -> By:
    """`speaker` when every row has one and there are at least five, else `utterance`; "auto" may be overruled."""
    if by == "utterance":
        return "utterance"
    if by == "speaker":
        return "speaker"
    if by != "auto":
        raise ConfigError(f"intervals cannot be drawn by {by!r}", next_step="choose auto, speaker or utterance")
    known = all(speakers) and len(set(speakers)) >= MIN_SPEAKERS
    return "speaker" if known else "utterance"


def interval(
    errors: Sequence[int],
    lengths: Sequence[int],
    speakers: Sequence[str | None],
    *,
    by: str = "auto",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Sum of `errors` over sum of `lengths` (one entry an utterance, in the same unit) with its 95 % interval."""
    unit = resampling_unit(speakers, by)
    wrong, total = _clusters(errors, speakers, unit), _clusters(lengths, speakers, unit)
    value = float(wrong.sum() / total.sum())
    if len(total) < MIN_UNITS:
        return Interval(value, None, None, unit)
    (drawn,) = _draw_rates((wrong,), total, resamples, seed)
    low, high = _tails(drawn, len(total))
    return Interval(value, min(low, value), max(high, value), unit)


def drawn_rates(
    errors: Sequence[int],
    lengths: Sequence[int],
    speakers: Sequence[str | None],
    *,
    by: By,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[Floats, int]:
    """A rate a resample, shape (resamples,), and the number of speakers or utterances (`by`) drawn from.

    Equal seeds over equally many units draw the same units: rates of two systems over the same rows stay paired.
    """
    wrong, total = _clusters(errors, speakers, by), _clusters(lengths, speakers, by)
    (drawn,) = _draw_rates((wrong,), total, resamples, seed)
    return drawn, len(total)


def drawn_sums(
    table: Integers,
    speakers: Sequence[str | None],
    *,
    by: By,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[Integers, int]:
    """Sums of the columns of `table` (one row an utterance) a resample, shape (resamples, columns), and the units.

    For figures that are no ratio of two sums, such as BLEU. Equal seeds draw the same units as `drawn_rates` does.
    """
    sums = _clusters(table, speakers, by)
    units = len(sums)
    blocks = []
    for chosen in _chosen(units, resamples, seed):
        rows = np.arange(len(chosen))[:, None] * units
        times = np.bincount((chosen + rows).ravel(), minlength=chosen.size).reshape(chosen.shape)
        blocks.append(times @ sums)
    return np.concatenate(blocks), units


def expanded_interval(drawn: Floats, units: int, *, between: bool = True) -> tuple[float, float]:
    """The 95 % interval of draws over so many `units` (at least `MIN_UNITS`), its tails widened as everywhere here.

    Not `between`: only values that were drawn are given, so that draws may be infinite.
    """
    return _tails(drawn, units, "linear" if between else "inverted_cdf")


def paired_difference(
    errors_a: Sequence[int],
    errors_b: Sequence[int],
    lengths: Sequence[int],
    speakers: Sequence[str | None],
    *,
    by: str = "auto",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Difference:
    """Rate of B minus rate of A, both drawn over the same speakers or utterances; negative means B errs less.

    `p` is twice the smaller share of draws on either side of zero, at least 2 / (resamples + 1).
    """
    unit = resampling_unit(speakers, by)
    first, second = _clusters(errors_a, speakers, unit), _clusters(errors_b, speakers, unit)
    total = _clusters(lengths, speakers, unit)
    delta = float((second.sum() - first.sum()) / total.sum())
    if len(total) < MIN_UNITS:
        return Difference(delta, None, None, None, unit)
    drawn_a, drawn_b = _draw_rates((first, second), total, resamples, seed)
    return difference_of(delta, drawn_b - drawn_a, len(total), unit)


def difference_of(delta: float, drawn: Floats, units: int, unit: By) -> Difference:
    """A difference from paired draws of it over so many `units` (at least `MIN_UNITS`), with interval and p-value."""
    low, high = _tails(drawn, units)
    below, above = int(np.count_nonzero(drawn <= 0)), int(np.count_nonzero(drawn >= 0))
    p = min(1.0, 2 * (min(below, above) + 1) / (len(drawn) + 1))
    return Difference(delta, min(low, delta), max(high, delta), p, unit)


@dataclass(frozen=True, slots=True)
class Part:
    """One of several test sets that count alike (a language): errors and lengths an utterance, and who spoke it.

    `others` holds the errors of a second system on the same utterances, where two are compared.
    """

    errors: Sequence[int]
    lengths: Sequence[int]
    speakers: Sequence[str | None]
    others: Sequence[int] = ()


def macro_interval(
    parts: Sequence[Part], *, by: str = "auto", resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """The plain mean of the rates of `parts` with its 95 % interval, each part drawn on its own.

    Tails are widened as for the part with the fewest units, rather too much than too little; where one part has too few
    to draw from there is no interval. `by` is "speaker" when every part is drawn by speaker.
    """
    value = _mean([sum(part.errors) / sum(part.lengths) for part in parts])
    drawn, units, unit = _draw_means(parts, [[part.errors] for part in parts], by, resamples, seed)
    if not drawn:
        return Interval(value, None, None, unit)
    low, high = _tails(drawn[0], units)
    return Interval(value, min(low, value), max(high, value), unit)


def macro_difference(
    parts: Sequence[Part], *, by: str = "auto", resamples: int = RESAMPLES, seed: int = SEED
) -> Difference:
    """The plain mean over `parts` of (rate of `others` minus rate of `errors`), paired within each part."""
    delta = _mean([(sum(part.others) - sum(part.errors)) / sum(part.lengths) for part in parts])
    drawn, units, unit = _draw_means(parts, [[part.errors, part.others] for part in parts], by, resamples, seed)
    if not drawn:
        return Difference(delta, None, None, None, unit)
    return difference_of(delta, drawn[1] - drawn[0], units, unit)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _draw_means(
    parts: Sequence[Part], errors: Sequence[Sequence[Sequence[int]]], by: str, resamples: int, seed: int
) -> tuple[list[Floats], int, By]:
    """Mean rates over parts for each system of `errors`, and the fewest units; no rates where these are too few."""
    units = [resampling_unit(part.speakers, by) for part in parts]
    totals = [_clusters(part.lengths, part.speakers, unit) for part, unit in zip(parts, units, strict=True)]
    unit: By = "speaker" if set(units) == {"speaker"} else "utterance"
    fewest = min(map(len, totals))
    if fewest < MIN_UNITS:
        return [], fewest, unit
    drawn = [
        _draw_rates(tuple(_clusters(one, part.speakers, own) for one in systems), total, resamples, seed + number)
        for number, (part, own, total, systems) in enumerate(zip(parts, units, totals, errors, strict=True))
    ]
    return [np.mean(rates, axis=0) for rates in zip(*drawn, strict=True)], fewest, unit


def _clusters(values: Sequence[int] | Integers, speakers: Sequence[str | None], by: By) -> Integers:
    """Sums of `values` by speaker (in order of first appearance), or `values` as they are; shape (units, ...)."""
    flat = np.asarray(values, dtype=np.int64)
    if by == "utterance":
        return flat
    number: dict[str | None, int] = {}
    where = np.asarray([number.setdefault(speaker, len(number)) for speaker in speakers], dtype=np.int64)
    sums = np.zeros((len(number), *flat.shape[1:]), dtype=np.int64)
    np.add.at(sums, where, flat)
    return sums


def _draw_rates(errors: tuple[Integers, ...], total: Integers, resamples: int, seed: int) -> list[Floats]:
    """`resamples` rates for each of `errors`, drawn over the same units."""
    rates: list[list[Floats]] = [[] for _ in errors]
    for chosen in _chosen(len(total), resamples, seed):
        length = total[chosen].sum(axis=1)
        for drawn, wrong in zip(rates, errors, strict=True):
            drawn.append(wrong[chosen].sum(axis=1) / length)
    return [np.concatenate(blocks) for blocks in rates]


def _chosen(units: int, resamples: int, seed: int) -> Iterator[Integers]:
    """Numbers of the units of each resample, shape (some, units); in blocks, so that memory stays bounded."""
    source = np.random.PCG64(seed)
    block = max(1, _BLOCK // units)
    for begin in range(0, resamples, block):
        shape = (min(block, resamples - begin), units)
        raw = source.random_raw(shape[0] * shape[1]).reshape(shape)
        yield ((raw >> np.uint64(32)) * np.uint64(units) >> np.uint64(32)).astype(np.int64)


def _tails(drawn: Floats, units: int, method: Literal["linear", "inverted_cdf"] = "linear") -> tuple[float, float]:
    """Expanded percentiles: the normal tail beyond sqrt(n / (n - 1)) times the t quantile with n - 1 degrees."""
    reach = math.sqrt(units / (units - 1)) * t_quantile(1 - (1 - LEVEL) / 2, units - 1)
    tail = _NORMAL.cdf(-reach)
    low, high = np.quantile(drawn, [tail, 1 - tail], method=method)
    return float(low), float(high)


def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t, to three decimals (Abramowitz and Stegun 1964, 26.7.5; below 4 degrees by bisection)."""
    if degrees < 4:
        low, high = 0.0, 1e6
        while high - low > 1e-9 * (1.0 + low):
            middle = (low + high) / 2
            low, high = (middle, high) if 1.0 - t_tail(middle, degrees) < probability else (low, middle)
        return low
    z, v = _NORMAL.inv_cdf(probability), degrees
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def t_tail(t: float, degrees: int) -> float:
    """The probability of more than `t` >= 0 under Student's t (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term, total = (cosine, cosine) if odd else (1.0, 1.0)
    for n in range(3 if odd else 2, degrees, 2):
        term *= cosine**2 * ((n - 1) / n)
        total += term
    if odd:
        within = 2 / math.pi * (angle + (sine * total if degrees > 1 else 0.0))
    else:
        within = sine * total
    return max(0.0, (1.0 - within) / 2)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
