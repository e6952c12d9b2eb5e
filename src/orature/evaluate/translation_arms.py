"""In plain words: whether transfer by speech translation beat direct transfer, for each kind of labels.

Example::

    for sentence in verdicts(facts["arms"]): print(sentence)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import linear_regression
from typing import Any

from orature.evaluate.arms import BETTER, UNKNOWN, WORSE

_WHAT = {"st": "Translation-enhanced transfer", "joint": "Joint training", "text": "A decoder trained on text alone"}

_NOTHING_LEARNED = 0.9
"""CER from which on a text has next to nothing of what was said."""
_FLAT = 0.0005
"""CER that twice the pairs take off, below which a line is level."""
_FURTHEST = 1000
"""So many times the pairs at hand are as far as a line is drawn."""


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence an arm of translation, joint training or text; a difference that includes zero is called that."""
    if rows and all(map(_unlearned, rows)):
        return [
            f"No arm has learned to recognise yet (each CER is {100 * _NOTHING_LEARNED:.0f} % or more), so the "
            "differences say nothing: give more updates."
        ]
    found = []
    unlearned = {row["name"] for row in rows if _unlearned(row)}
    for row in rows:
        kind = str(row["name"]).split("_")[0]
        if kind not in _WHAT or row["difference"] is None:
            continue
        what = f"{_WHAT[kind]} ({row['name']})"
        if {row["name"], row["against"]} <= unlearned:
            found.append(
                f"{what}: neither it nor {row['against']} has learned to recognise yet (each CER is "
                f"{100 * _NOTHING_LEARNED:.0f} % or more), so their difference says nothing."
            )
        else:
            found.append(_said(what, row))
    found += _by_pairs(rows)
    direct = [row for row in rows if row["name"] == row["against"]]
    if direct and not any(row["difference"] is not None for row in rows):
        found.append("There is one arm alone, so nothing can be compared.")
    return found


def _unlearned(row: Mapping[str, Any]) -> bool:
    return bool(row["test"]["cer"]["value"] >= _NOTHING_LEARNED)


def shares_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Pairs that a translator was trained on and the CER that came of its labels, from few pairs to many."""
    found = [
        (int(row["labels"]["pairs"]), row["test"]["cer"])
        for row in rows
        if str(row["name"]).startswith("st_") and (row.get("labels") or {}).get("pairs")
    ]
    return sorted(found, key=lambda one: one[0])


def _by_pairs(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What twice the pairs bring, and how many would be as good as direct transfer: a line of CER over log pairs."""
    points = [(pairs, rate["value"]) for pairs, rate in shares_of(rows)]
    direct = [row["test"]["cer"]["value"] for row in rows if row["name"] == row["against"]]
    if len({pairs for pairs, _ in points}) < 2 or not direct:
        return []
    slope, at_one = linear_regression([math.log2(pairs) for pairs, _ in points], [cer for _, cer in points])
    most = points[-1][0]
    line = f"Over {points[0][0]:,} to {most:,} pairs, twice as many change CER by {100 * slope:+.1f} points"
    told = f"{line} (a line through {len(points)} trainings, one seed each)"
    reached = at_one + slope * math.log2(most)
    if reached <= direct[0]:
        return [f"{told}; with {most:,} it is at the level of direct transfer or below."]
    if slope >= -_FLAT:
        return [f"{told}: more pairs alone would not make it as good as direct transfer."]
    needed = 2 ** ((direct[0] - at_one) / slope)
    if needed > _FURTHEST * most:
        return [f"{told}: by that line more than {_FURTHEST * most:,} pairs would be needed for direct transfer's CER."]
    return [f"{told}: by that line some {_rounded(needed):,} pairs would be needed for direct transfer's CER."]


def _rounded(count: float) -> int:
    """To two digits: more would be false."""
    unit = int(10 ** max(0, math.floor(math.log10(count)) - 1))
    return round(count / unit) * unit


def _said(what: str, row: Mapping[str, Any]) -> str:
    one = row["difference"]["cer"]
    reach = "" if one["low"] is None else f" (95 % interval {100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
    relative = "" if one["relative"] is None else f", {100 * one['relative']:+.0f} % of its CER"
    change = f"CER changes by {100 * one['delta']:+.1f} points{reach}{relative}, against {row['against']}"
    if one["verdict"] == BETTER:
        return f"{what} helped: {change}."
    if one["verdict"] == WORSE:
        return f"{what} did harm: {change}."
    if one["verdict"] == UNKNOWN:
        return f"{what}: the test is too small to tell; {change}."
    return f"{what} made no difference that can be told from chance: {change}; the interval includes zero."
