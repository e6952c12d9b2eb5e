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
    if rows and all(map(_unlearned, rows)):
        return [
            "No arm has learned to recognise yet (each CER is 100 % or more), so the differences say nothing: give "
            "more updates."
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
                f"{what}: neither it nor {row['against']} has learned to recognise yet (each CER is 100 % or more), "
                "so their difference says nothing."
            )
        else:
            found.append(_said(what, row))
    direct = [row for row in rows if row["name"] == row["against"]]
    if direct and not any(row["difference"] is not None for row in rows):
        found.append("There is one arm alone, so nothing can be compared.")
    return found


def _unlearned(row: Mapping[str, Any]) -> bool:
    return bool(row["test"]["cer"]["value"] >= 1)


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
