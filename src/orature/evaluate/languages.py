"""Several languages in one test set: rates of each with intervals, plain means, two systems language by language.

The macro average counts each language alike, however many utterances it has (Lugosch et al. 2022, table 2, reports CER
so).

Example::

    by_language(rows, NORMALISER)["macro"]["cer"]      # {"value": 0.31, "low": 0.28, "high": 0.34, "by": "speaker"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orature.core.errors import BadInput
from orature.evaluate.compare import difference_json
from orature.evaluate.rows import Row
from orature.evaluate.score import Drawing, Scored, align_rows, rates
from orature.evaluate.statistics import Part, macro_difference, macro_interval, paired_difference

UNITS = ("wer", "cer")
WORSE, BETTER, ALIKE, UNKNOWN = "worse", "better", "not distinguishable", "too few to say"


def grouped(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Scored rows by the language of their row, tags in order."""
    found: dict[str, list[Scored]] = {}
    for item in scored:
        found.setdefault(item.row.language, []).append(item)
    return dict(sorted(found.items()))


def by_language(rows: Iterable[Row], normaliser: str, drawing: Drawing | None = None) -> dict[str, Any]:
    """`languages` (rates with intervals and sizes by tag) and `macro` (their plain means with intervals).

    Nothing where all rows with a reference are of one language.
    """
    drawing = drawing or Drawing()
    groups = grouped(aligned(rows, normaliser))
    if len(groups) < 2:
        return {}
    return {
        "languages": {language: {**rates(own, drawing), **_sizes(own)} for language, own in groups.items()},
        "macro": {unit: _macro(list(groups.values()), unit, drawing) for unit in UNITS} | {"languages": len(groups)},
    }


def aligned(rows: Iterable[Row], normaliser: str) -> list[Scored]:
    """Rows with a reference, aligned, in the order of their ids (which draws depend on)."""
    return align_rows(sorted(rows, key=lambda row: row.id), normaliser)[0]


def _sizes(rows: Sequence[Scored]) -> dict[str, Any]:
    return {
        "utterances": len(rows),
        "words": sum(item.words.counts.reference for item in rows),
        "characters": sum(item.characters.counts.reference for item in rows),
        "hours": round(sum(item.row.duration_s for item in rows) / 3600, 6),
        "speakers": len({item.row.speaker for item in rows if item.row.speaker}),
    }


def _macro(groups: Sequence[Sequence[Scored]], unit: str, drawing: Drawing) -> dict[str, Any]:
    parts = [_part(rows, unit) for rows in groups]
    return macro_interval(parts, by=drawing.by, resamples=drawing.resamples, seed=drawing.seed).as_json()


def _part(rows: Sequence[Scored], unit: str, others: Sequence[Scored] = ()) -> Part:
    return Part(
        errors=[_counts(item, unit)[0] for item in rows],
        lengths=[_counts(item, unit)[1] for item in rows],
        speakers=[item.row.speaker for item in rows],
        others=[_counts(item, unit)[0] for item in others],
    )


def _counts(item: Scored, unit: str) -> tuple[int, int]:
    counts = item.words.counts if unit == "wer" else item.characters.counts
    return counts.errors, counts.reference


def compare_languages(
    baseline: Sequence[Row], rows: Sequence[Row], normaliser: str, drawing: Drawing | None = None
) -> dict[str, Any]:
    """How `rows` differ from `baseline` on the same utterances: by language, and on average over languages.

    `languages[tag]` holds the baseline's `wer` and `cer` with intervals, and under `difference` for each the rate of
    `rows` minus that of the baseline (negative: `rows` err less) with interval, p-value and a verdict about `rows`:
    better, worse, not distinguishable, too few to say. BadInput when the two are not of the same utterances.
    """
    drawing = drawing or Drawing()
    _refuse_unlike(baseline, rows)
    first, second = (grouped(aligned(one, normaliser)) for one in (baseline, rows))
    found: dict[str, Any] = {}
    for language, old in first.items():
        found[language] = {
            **rates(old, drawing),
            "difference": {unit: _difference(old, second[language], unit, drawing) for unit in UNITS},
        }
    macro: dict[str, Any] = {unit: _macro(list(first.values()), unit, drawing) for unit in UNITS}
    macro["difference"] = {}
    for unit in UNITS:
        parts = [_part(old, unit, second[language]) for language, old in first.items()]
        drawn = macro_difference(parts, by=drawing.by, resamples=drawing.resamples, seed=drawing.seed)
        macro["difference"][unit] = _said(difference_json(drawn))
    return {"languages": found, "macro": macro}


def _difference(old: Sequence[Scored], new: Sequence[Scored], unit: str, drawing: Drawing) -> dict[str, Any]:
    part = _part(old, unit, new)
    drawn = paired_difference(
        part.errors,
        part.others,
        part.lengths,
        part.speakers,
        by=drawing.by,
        resamples=drawing.resamples,
        seed=drawing.seed,
    )
    return _said(difference_json(drawn))


def _said(difference: Mapping[str, Any]) -> dict[str, Any]:
    """The difference with its verdict in words about the new system."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        verdict = UNKNOWN
    elif low <= 0.0 <= high:
        verdict = ALIKE
    else:
        verdict = WORSE if difference["delta"] > 0 else BETTER
    return {**difference, "verdict": verdict}


def worse_languages(compared: Mapping[str, Any], unit: str = "cer") -> dict[str, Mapping[str, Any]]:
    """Of what `compare_languages` found: the differences whose interval lies above zero by tag, the worst first."""
    found = {tag: one["difference"][unit] for tag, one in compared["languages"].items()}
    worse = {tag: one for tag, one in found.items() if one["verdict"] == WORSE}
    return dict(sorted(worse.items(), key=lambda pair: -pair[1]["delta"]))


def _refuse_unlike(baseline: Sequence[Row], rows: Sequence[Row]) -> None:
    old = {row.id: (row.language, row.reference) for row in baseline}
    new = {row.id: (row.language, row.reference) for row in rows}
    unlike = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if unlike:
        raise BadInput(
            f"two systems were decoded on different utterances ({len(unlike)} differ, first: {unlike[0]})",
            where="comparison by language",
            next_step="decode both on the same corpus and split",
        )
