"""In plain words: whether transfer by speech translation beat direct transfer, for each kind of labels.

Example::

    for sentence in verdicts(facts["arms"]): print(sentence)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.arms import BETTER, UNKNOWN, WORSE

_WHAT = {"st": "Translation-enhanced transfer", "joint": "Joint training", "text": "A decoder trained on text alone"}


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence an arm of translation, joint training or text; a difference that includes zero is called that."""
    found = []
    if rows and min(row["test"]["cer"]["value"] for row in rows) >= 1:
        found.append(
            "No arm has learned to recognise yet (each CER is 100 % or more), so the differences say nothing: give "
            "more updates."
        )
    for row in rows:
        kind = str(row["name"]).split("_")[0]
        if kind in _WHAT and row["difference"] is not None:
            found.append(_said(f"{_WHAT[kind]} ({row['name']})", row))
    direct = [row for row in rows if row["name"] == row["against"]]
    if direct and not any(row["difference"] is not None for row in rows):
        found.append("There is one arm alone, so nothing can be compared.")
    return found


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
