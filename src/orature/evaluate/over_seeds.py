"""Are two ways of training different? Several pairs of systems, each pair trained with a seed of its own.

One pair of trainings says whether its two models differ on other utterances; it does not say whether two more trainings
would differ as well, and with little speech they often do not (Bouthillier et al. 2021, "Accounting for variance in
machine learning benchmarks"). Here the variance of the mean difference is that over the test (bootstrap of utterances
or speakers, the same for all seeds) plus that over seeds (their variance divided by their number); the interval is
Student's, with the degrees of freedom of Satterthwaite (1946), rounded down. With two or three seeds it is wide.
Simulated coverage of a nominal 95 %, where seeds vary from not at all to four times as much as the test: 2 seeds 89 to
97 %, 3 seeds 94 to 99 %, 5 seeds 94 to 99 % (test_eval_over_seeds.py holds it).

Example::

    outcome = compare_seeds([(open_scored(Path("a1")), open_scored(Path("b1"))), (open_scored(Path("a2")), ...)])
    print(seeds_as_text(outcome))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from orature.core.errors import BadInput
from orature.evaluate.compare import (
    CompareRefused,
    aligned,
    compare,
    compare_aligned,
    counts_of,
    difference_json,
    refuse_unlike,
    verdict_of,
)
from orature.evaluate.folder import ScoredFolder
from orature.evaluate.score import Drawing
from orature.evaluate.statistics import LEVEL, MIN_UNITS, Difference, drawn_rates, resampling_unit, t_quantile, t_tail

Pair = tuple[ScoredFolder, ScoredFolder]


def compare_in_turn(folders: Sequence[ScoredFolder]) -> dict[str, Any]:
    """`compare` of two folders, `compare_seeds` of more, which are A and B in turn; BadInput for an odd number."""
    if len(folders) % 2:
        raise BadInput(f"{len(folders)} reports are no pairs", next_step="name A and B of each seed: A1 B1 A2 B2")
    if len(folders) == 2:
        return compare(folders[0], folders[1])
    return compare_seeds(list(zip(folders[::2], folders[1::2], strict=True)))


def compare_seeds(pairs: Sequence[Pair], drawing: Drawing | None = None) -> dict[str, Any]:
    """The mean over pairs (A, B) of the difference B minus A, with interval, p-value and verdict; each pair beside it.

    CompareRefused where test sets, normalisers or references differ between any two folders, or one is named twice.
    """
    if len(pairs) < 2:
        raise BadInput("one pair has no other seed beside it", next_step="name two or more pairs: A1 B1 A2 B2")
    drawing = drawing or Drawing()
    roots = [folder.root.resolve() for pair in pairs for folder in pair]
    if len(set(roots)) < len(roots):
        twice = next(root for root in roots if roots.count(root) > 1)
        raise CompareRefused("a report is named twice", where=str(twice), next_step="name each training once")
    for folder in (folder for pair in pairs for folder in pair):
        refuse_unlike(pairs[0][0], folder)
    rows = [[(folder, aligned(folder)) for folder in pair] for pair in pairs]
    each = [compare_aligned(a, b, drawing) for a, b in rows]
    outcome: dict[str, Any] = {
        "seeds": len(pairs),
        "pairs": each,
        "split_fingerprint": each[0]["split_fingerprint"],
        "normaliser": each[0]["normaliser"],
        "utterances": each[0]["utterances"],
        "words": each[0]["words"],
    }
    speakers = [item.row.speaker for item in rows[0][0][1]]
    for unit in ("wer", "cer"):
        counts = [[counts_of(scored, unit) for _, scored in pair] for pair in rows]
        lengths = [one.reference for one in counts[0][0]]
        errors = [[[one.errors for one in system] for system in pair] for pair in counts]
        difference, spread = mean_difference(errors, lengths, speakers, drawing)
        outcome[unit] = difference_json(difference) | {
            "spread": round(spread, 6),
            "a": round(sum(one["a"][unit] for one in each) / len(each), 6),
            "b": round(sum(one["b"][unit] for one in each) / len(each), 6),
            "verdict": verdict_of(difference),
        }
    return outcome


def mean_difference(
    errors: Sequence[Sequence[Sequence[int]]],
    lengths: Sequence[int],
    speakers: Sequence[str | None],
    drawing: Drawing | None = None,
) -> tuple[Difference, float]:
    """Mean over seeds of (rate of B minus rate of A) and the standard deviation of that difference between seeds.

    `errors[s]` holds the errors an utterance of A and of B trained with seed s; the utterances are those of `lengths`.
    """
    drawing = drawing or Drawing()
    by = resampling_unit(speakers, drawing.by)
    total = sum(lengths)
    deltas = [(sum(b) - sum(a)) / total for a, b in errors]
    mean, spread = float(np.mean(deltas)), float(np.std(deltas, ddof=1))
    # One table of differences an utterance, summed over seeds: the draws of their mean.
    gained = np.sum([np.asarray(b) - np.asarray(a) for a, b in errors], axis=0)
    drawn, units = drawn_rates(gained, lengths, speakers, by=by, resamples=drawing.resamples, seed=drawing.seed)
    if units < MIN_UNITS:
        return Difference(mean, None, None, None, by), spread
    seeds = len(errors)
    of_test = float(np.var(drawn / seeds, ddof=1)) * units / (units - 1)
    of_seeds = spread**2 / seeds
    both = of_test + of_seeds
    if both == 0.0:
        return Difference(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, by), spread
    freedom = math.floor(both**2 / (of_seeds**2 / (seeds - 1) + of_test**2 / (units - 1)))
    reach = t_quantile(1 - (1 - LEVEL) / 2, freedom) * math.sqrt(both)
    p = 2 * t_tail(abs(mean) / math.sqrt(both), freedom)
    return Difference(mean, mean - reach, mean + reach, p, by), spread


def seeds_as_text(outcome: dict[str, Any]) -> str:
    """The outcome for a terminal: a line a seed, then the mean; rates in percent with one decimal."""
    lines = [
        f"{outcome['seeds']} pairs of trainings on the same {outcome['utterances']:,} utterances "
        f"({outcome['words']:,} words), {outcome['normaliser']}"
    ]
    for unit in ("wer", "cer"):
        lines += ["", f"{unit.upper():5} {'A':>8} {'B':>8} {'B - A':>8}   95 % interval over utterances"]
        for one in outcome["pairs"]:
            found = one[unit]
            lines.append(_line("", one["a"][unit], one["b"][unit], found) + f"  {one['b']['report']}")
        found = outcome[unit]
        lines.append(_line("mean", found["a"], found["b"], found) + "  over utterances and seeds")
        p = "" if found["p"] is None else f", p {found['p']:.3f}"
        lines.append(
            f"{unit.upper()}: {found['verdict']} (test by {found['by']}; the difference varies by "
            f"{100 * found['spread']:.1f} points between seeds{p})"
        )
    return "\n".join(lines)


def _line(name: str, a: float, b: float, found: dict[str, Any]) -> str:
    reach = "too few to say"
    if found["low"] is not None:
        reach = f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}"
    return f"{name:5}{100 * a:8.1f}%{100 * b:8.1f}%{100 * found['delta']:+9.1f}   {reach:<16}"
