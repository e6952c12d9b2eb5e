"""From which Norm_I on synthetic speech helps: where dev error with it crosses dev error without it.

Every rung of a ladder of qualities has a Norm_I and the dev error of recognisers trained with speech of that quality;
the baseline is trained without, at equal compute. The gain (baseline minus rung) is made monotonous in Norm_I by
isotonic regression (pool adjacent violators: Barlow et al. 1972, "Statistical inference under order restrictions") and
its zero is found by a line between neighbouring rungs over ln Norm_I, which is linear in the judge's error. Intervals
are bootstrapped: utterances or speakers of dev (the same for all arms), training seeds, and the judge's probe together.

Example::

    found = threshold([Rung("clean", norm_clean, error_clean), Rung("noise", norm_noise, error_noise)], baseline)
    found["verdict"], found["threshold"]      # "crosses", {"value": 0.08, "low": 0.03, "high": 0.2}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orature.evaluate.statistics import MIN_UNITS, Floats, expanded_interval

LEAST = 1e-6
"""Norm_I below this is as this: the logarithm goes on for ever."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A measured value and its resamples, shape (B,)."""

    value: float
    draws: Floats


@dataclass(frozen=True, slots=True)
class Rung:
    """One quality: its Norm_I and the dev error with it."""

    name: str
    norm_i: Drawn
    error: Drawn


def isotonic(values: Floats) -> Floats:
    """The nearest (least squares) sequence that never falls, for each row of `values`, shape (..., K)."""
    rows = np.atleast_2d(values)
    fitted = np.array([_pooled(row) for row in rows])
    found: Floats = fitted.reshape(values.shape)
    return found


def _pooled(row: Floats) -> list[float]:
    blocks: list[tuple[float, int]] = []
    for value in row:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    return [mean for mean, size in blocks for _ in range(size)]


def crossing(norm_i: Sequence[float] | Floats, gain: Sequence[float] | Floats) -> float:
    """Norm_I from which on the isotonic gain is above zero: 0 where it always is, infinity where it never is."""
    places = np.log(np.maximum(np.asarray(norm_i, np.float64), LEAST))
    order = np.argsort(places, kind="stable")
    places, gains = places[order], isotonic(np.asarray(gain, np.float64)[order])
    above = np.flatnonzero(gains > 0)
    if not len(above):
        return math.inf
    first = int(above[0])
    if first == 0:
        return 0.0
    low, high = gains[first - 1], gains[first]
    return float(np.exp(places[first - 1] + (0.0 - low) / (high - low) * (places[first] - places[first - 1])))


def threshold(rungs: Sequence[Rung], baseline: Drawn, *, units: int) -> dict[str, Any]:
    """Where synthetic speech starts to help: verdict, threshold with interval, and a row a rung with its difference.

    `units` is the number of speakers or utterances behind the draws; with fewer than five no interval is given. The
    interval's ends are None where it is open: no quality tried was bad enough (low) or good enough (high).
    """
    names = [rung.name for rung in rungs]
    norms = np.array([rung.norm_i.value for rung in rungs])
    gains = np.array([baseline.value - rung.error.value for rung in rungs])
    value = crossing(norms, gains)
    many = units >= MIN_UNITS
    drawn = _drawn_crossings(rungs, baseline) if many else np.array([value])
    low, high = expanded_interval(drawn, units, between=False) if many else (0.0, math.inf)
    shares = {
        "always": round(float(np.mean(drawn == 0.0)), 4),
        "never": round(float(np.mean(np.isinf(drawn))), 4),
    }
    verdict = "always" if value == 0.0 else "never" if math.isinf(value) else "crosses"
    table = [_row(rung, baseline, units) for rung in rungs]
    return {
        "verdict": verdict,
        "threshold": {"value": _closed(value), "low": _closed(min(low, value)), "high": _closed(max(high, value))},
        "shares": (shares | {"crosses": round(1 - sum(shares.values()), 4)}) if many else None,
        "range": {"lowest": round(float(norms.min()), 6), "highest": round(float(norms.max()), 6)},
        "baseline": _interval(baseline, units),
        "rungs": table,
        "fitted_gain": dict(zip(names, _fitted(norms, gains), strict=True)),
        "sentence": sentence(verdict, value, table, norms),
    }


def sentence(verdict: str, value: float, table: Sequence[dict[str, Any]], norms: npt.NDArray[np.float64]) -> str:
    """The answer in plain words."""
    helped = [row["name"] for row in table if row["difference"]["verdict"] == "helps"]
    hurt = [row["name"] for row in table if row["difference"]["verdict"] == "hurts"]
    proof = f" Distinguishable from no synthetic speech: helps at {', '.join(helped) or 'none'}; " + (
        f"hurts at {', '.join(hurt) or 'none'}."
    )
    if verdict == "never":
        return (
            f"Synthetic speech never helps here: at no quality tried (Norm_I up to {norms.max():.3g}) is the error on "
            f"dev below that of real speech alone.{proof}"
        )
    if verdict == "always":
        return (
            f"Synthetic speech always helps here: at every quality tried (Norm_I down to {norms.min():.3g}) the error "
            f"on dev is below that of real speech alone, so the threshold lies below what was tried.{proof}"
        )
    return f"Synthetic speech starts to help at a Norm_I of about {value:.3g}.{proof}"


def _drawn_crossings(rungs: Sequence[Rung], baseline: Drawn) -> Floats:
    norms = np.stack([rung.norm_i.draws for rung in rungs], axis=1)
    gains = np.stack([baseline.draws - rung.error.draws for rung in rungs], axis=1)
    return np.array([crossing(norm, gain) for norm, gain in zip(norms, gains, strict=True)])


def _fitted(norms: Floats, gains: Floats) -> list[float]:
    order = np.argsort(norms, kind="stable")
    fitted = np.empty_like(gains)
    fitted[order] = isotonic(gains[order])
    return [round(float(gain), 6) for gain in fitted]


def _row(rung: Rung, baseline: Drawn, units: int) -> dict[str, Any]:
    delta = Drawn(rung.error.value - baseline.value, rung.error.draws - baseline.draws)
    found = _interval(delta, units)
    low, high = found["low"], found["high"]
    verdict = "too few to say"
    if low is not None and high is not None:
        verdict = "helps" if high < 0 else "hurts" if low > 0 else "not distinguishable"
    return {
        "name": rung.name,
        "norm_i": _interval(rung.norm_i, units),
        "error": _interval(rung.error, units),
        "difference": {**found, "verdict": verdict},
    }


def _interval(drawn: Drawn, units: int) -> dict[str, Any]:
    if units < MIN_UNITS:
        return {"value": round(drawn.value, 6), "low": None, "high": None}
    low, high = expanded_interval(drawn.draws, units)
    return {
        "value": round(drawn.value, 6),
        "low": round(min(low, drawn.value), 6),
        "high": round(max(high, drawn.value), 6),
    }


def _closed(value: float) -> float | None:
    return None if value == 0.0 or math.isinf(value) else round(value, 6)
