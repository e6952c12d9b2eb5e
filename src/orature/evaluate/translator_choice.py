"""Which of several translators was taken and why, in words with all figures, and as a section of its report.

Example::

    choice = choice_of({"transformer": score, "dictionary": other}, taken="dictionary", lead=lead, failed={})
    print(choice["sentence"])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orature.evaluate.html.page import rows_table
from orature.evaluate.html.text import escape

SAID = {"transformer": "a Transformer", "dictionary": "a dictionary of aligned words"}
_FIGURES = ("chrf", "bleu")


def choice_of(
    scores: Mapping[str, Mapping[str, Any]],
    *,
    taken: str,
    lead: Mapping[str, Any] | None,
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """What training.json says of a choice: dev scores by kind, the chrF by which the taken one leads, the sentence.

    `lead` has the paired difference to the other (`delta`, `low`, `high` in points), None where there was no other.
    """
    rows = next(iter(scores.values()))["sentences"]
    figures = {kind: {name: score[name] for name in (*_FIGURES, "refused")} for kind, score in scores.items()}
    return {
        "taken": taken,
        "split": "dev",
        "rows": rows,
        "fingerprint": next(iter(scores.values()))["split_fingerprint"],
        "dev": figures,
        "lead": None if lead is None else dict(lead),
        "failed": dict(failed),
        "sentence": _sentence(figures, rows, taken, lead, failed),
    }


def _sentence(
    figures: Mapping[str, Mapping[str, Any]],
    rows: int,
    taken: str,
    lead: Mapping[str, Any] | None,
    failed: Mapping[str, str],
) -> str:
    """One sentence: what was taken, what each reached on dev, what could not be made."""
    own = _points(figures[taken]["chrf"])
    if lead is None:
        why = "; ".join(f"{SAID[kind]} could not be made: {reason}" for kind, reason in failed.items())
        return f"{SAID[taken]} was taken, with chrF {own} on {rows} dev pairs" + (f", as {why}" if why else "")
    others = " and ".join(
        f"{SAID[kind]} reaches {_points(one['chrf'])}" for kind, one in figures.items() if kind != taken
    )
    return f"{SAID[taken]} was taken, with chrF {own} on {rows} dev pairs; {others}; {_lead(lead)}"


def _lead(lead: Mapping[str, Any]) -> str:
    """By how much, and whether that can be told from chance."""
    if lead["delta"] == 0:
        return "of equals the Transformer is taken"
    if lead["low"] is None:
        return f"the difference is {lead['delta']:+.1f}, of too few pairs for an interval"
    told = f"the difference is {lead['delta']:+.1f} ({lead['low']:+.1f} to {lead['high']:+.1f})"
    return told if lead["low"] > 0 else f"{told}, which cannot be told from chance"


def choice_section(choice: Mapping[str, Any]) -> str:
    """What all candidates reached on dev, as a section with the id `choice`."""
    lines = [
        [escape(SAID[kind]), *_cells(one), "taken" if kind == choice["taken"] else ""]
        for kind, one in choice["dev"].items()
    ]
    lines += [[escape(SAID[kind]), "–", "–", "–", "could not be made"] for kind in choice["failed"]]
    sentence = choice["sentence"][:1].upper() + choice["sentence"][1:]
    head = ("trained on the same pairs", "chrF2 on dev", "BLEU on dev", "refused", "")
    return (
        f'<section id="choice"><h2>Which translator</h2><p class="lead">{escape(sentence)}.</p>'
        f"{rows_table(head, lines)}"
        '<p class="note">Chosen by chrF on dev, never on test; what is refused counts as an empty translation. The '
        "figures below are those of the one that was taken, on test.</p></section>"
    )


def _cells(found: Mapping[str, Any]) -> list[str]:
    return [*(_cell(found[name]) for name in _FIGURES), str(found["refused"])]


def _cell(points: Mapping[str, Any]) -> str:
    reach = "" if points["low"] is None else f"<br><small>{points['low']:.1f} to {points['high']:.1f}</small>"
    return f"{points['value']:.1f}{reach}"


def _points(points: Mapping[str, Any]) -> str:
    reach = "" if points["low"] is None else f" ({points['low']:.1f} to {points['high']:.1f})"
    return f"{points['value']:.1f}{reach}"
