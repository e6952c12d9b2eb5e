"""Are two systems different? A paired bootstrap over the same utterances; unlike test sets are refused.

Example::

    outcome = compare(open_scored(Path("a")), open_scored(Path("b")))
    print(as_text(outcome))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orature.core.errors import BadInput
from orature.evaluate.alignment import Counts
from orature.evaluate.folder import ScoredFolder
from orature.evaluate.score import Drawing, Scored, align_rows
from orature.evaluate.statistics import Difference, paired_difference

_MUST_AGREE = (
    ("split_fingerprint", "they were scored on different test sets"),
    ("normaliser", "they were scored with different normalisers"),
)


class CompareRefused(BadInput):
    """Two reports whose figures must not be laid side by side."""


def compare(a: ScoredFolder, b: ScoredFolder, drawing: Drawing | None = None) -> dict[str, Any]:
    """Rates of A and B and the difference B minus A with interval, p-value and verdict, for words and characters.

    Raises `CompareRefused` when split fingerprint, normaliser or the references themselves differ.
    """
    refuse_unlike(a, b)
    return compare_aligned((a, aligned(a)), (b, aligned(b)), drawing or Drawing())


def aligned(folder: ScoredFolder) -> list[Scored]:
    """The rows of a folder, in the order of their names, with their errors counted."""
    return align_rows(sorted(folder.rows, key=lambda row: row.id), folder.score["normaliser"])[0]


def compare_aligned(
    first: tuple[ScoredFolder, Sequence[Scored]], second: tuple[ScoredFolder, Sequence[Scored]], drawing: Drawing
) -> dict[str, Any]:
    """`compare` of folders that may be compared, whose rows are aligned already."""
    (a, scored_a), (b, scored_b) = first, second
    speakers = [item.row.speaker for item in scored_a]
    outcome: dict[str, Any] = {
        "a": {"model": a.score.get("model", ""), "report": str(a.root)},
        "b": {"model": b.score.get("model", ""), "report": str(b.root)},
        "split_fingerprint": a.score["split_fingerprint"],
        "normaliser": a.score["normaliser"],
        "utterances": len(scored_a),
        "words": sum(item.words.counts.reference for item in scored_a),
    }
    for unit in ("wer", "cer"):
        counts_a, counts_b = counts_of(scored_a, unit), counts_of(scored_b, unit)
        difference = paired_difference(
            [one.errors for one in counts_a],
            [one.errors for one in counts_b],
            [one.reference for one in counts_a],
            speakers,
            by=drawing.by,
            resamples=drawing.resamples,
            seed=drawing.seed,
        )
        total = sum(one.reference for one in counts_a)
        outcome["a"][unit] = round(sum(one.errors for one in counts_a) / total, 6)
        outcome["b"][unit] = round(sum(one.errors for one in counts_b) / total, 6)
        verdict = {"verdict": verdict_of(difference)}
        outcome[unit] = difference_json(difference) | verdict | _ballot(counts_a, counts_b)
    return outcome


def as_text(outcome: dict[str, Any]) -> str:
    """The outcome in a few lines for a terminal; rates in percent with one decimal."""
    lines = [
        f"A  {outcome['a']['model'] or outcome['a']['report']}",
        f"B  {outcome['b']['model'] or outcome['b']['report']}",
        f"on the same {outcome['utterances']:,} utterances ({outcome['words']:,} words), {outcome['normaliser']}",
        "",
        f"{'':4} {'A':>8} {'B':>8} {'B - A':>8}   95 % interval       p",
    ]
    for unit in ("wer", "cer"):
        found = outcome[unit]
        if found["low"] is None:
            reach, p = "too few to say   ", "-"
        else:
            reach, p = f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}", f"{found['p']:.3f}"
        lines.append(
            f"{unit.upper():4} {100 * outcome['a'][unit]:7.1f}% {100 * outcome['b'][unit]:7.1f}% "
            f"{100 * found['delta']:+7.1f}    {reach:<17} {p:>6}"
        )
    lines.append("")
    for unit in ("wer", "cer"):
        found = outcome[unit]
        lines.append(
            f"{unit.upper()}: {found['verdict']} (interval by {found['by']}; B better on {found['b_better']:,} "
            f"utterances, worse on {found['a_better']:,}, equal on {found['equal']:,})"
        )
    return "\n".join(lines)


def refuse_unlike(a: ScoredFolder, b: ScoredFolder) -> None:
    """CompareRefused when split fingerprint, normaliser or the references themselves differ."""
    where = f"{a.root} and {b.root}"
    for name, why in _MUST_AGREE:
        first, second = a.score.get(name), b.score.get(name)
        if first != second:
            raise CompareRefused(
                f"these two reports cannot be compared: {why} ({name}: {_short(first)} and {_short(second)})",
                where=where,
                next_step="evaluate both models on the same corpus and split, then compare again",
            )
    said_a = {row.id: row.reference for row in a.rows}
    said_b = {row.id: row.reference for row in b.rows}
    unlike = sorted(name for name in said_a.keys() | said_b.keys() if said_a.get(name) != said_b.get(name))
    if unlike:
        raise CompareRefused(
            f"these two reports cannot be compared: {len(unlike):,} of {len(said_a.keys() | said_b.keys()):,} "
            f"utterances are not in both with the same reference (first: {unlike[0]})",
            where=where,
            next_step="evaluate both models on the same corpus and split, then compare again",
        )


def _short(value: object) -> str:
    text = str(value)
    return text[:12] + "…" if len(text) > 24 else (text or "none")


def counts_of(scored: Sequence[Scored], unit: str) -> list[Counts]:
    """Errors and reference lengths a row, for "wer" or "cer"."""
    return [item.words.counts if unit == "wer" else item.characters.counts for item in scored]


def _ballot(first: Sequence[Counts], second: Sequence[Counts]) -> dict[str, int]:
    b_better = sum(y.errors < x.errors for x, y in zip(first, second, strict=True))
    a_better = sum(y.errors > x.errors for x, y in zip(first, second, strict=True))
    return {"a_better": a_better, "b_better": b_better, "equal": len(first) - a_better - b_better}


def difference_json(difference: Difference) -> dict[str, Any]:
    """Rounded to six decimals, as score files and comparisons have it."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    return {
        "delta": round(difference.delta, 6),
        "low": rounded(difference.low),
        "high": rounded(difference.high),
        "p": rounded(difference.p),
        "by": difference.by,
    }


def verdict_of(difference: Difference) -> str:
    """Which of A and B is better, in words."""
    if difference.low is None:
        return "too few utterances to say"
    if not difference.distinguishable:
        return "not distinguishable"
    return "B is better" if difference.delta < 0 else "A is better"
