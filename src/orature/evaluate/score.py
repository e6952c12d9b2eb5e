"""From recognised utterances to the score file: error rates with intervals, slices, confusions, the worst rows.

Every score is pinned: normaliser name and version, fingerprint of the split, interval and what it is by. A recording
that the engine refused counts as all its words missed: it is never left out of the sums. A row without a reference
has no error rate: it is left out, counted under `refused` and said aloud.

Example::

    result = score(read_rows(Path("hypotheses.jsonl")), normaliser="orature-basic@1")
    result["wer"]          # {"value": 0.312, "low": 0.29, "high": 0.33, "by": "speaker"}
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from orature.core.errors import BadInput
from orature.evaluate.alignment import Alignment, Counts, align_characters, align_words, confusions, plain
from orature.evaluate.rows import Row
from orature.evaluate.statistics import LEVEL, RESAMPLES, SEED, interval
from orature.evaluate.warnings import warnings_for
from orature.text import normalise

FORMAT = 1
VOLATILE = ("rtf", "machine", "made_by")
"""Parts of a score file that differ between two runs of the same computation; never part of a digest."""

DURATION_EDGES_S = (2, 5, 10, 20)
CONFUSIONS = 200
WORST = 50
_NOTHING = Counts(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Scored:
    """One row with its alignments: normalised words and characters, and the raw ones (NFC and white space only)."""

    row: Row
    words: Alignment
    characters: Alignment
    raw_words: Counts
    raw_characters: Counts

    @property
    def cer(self) -> float:
        return self.characters.counts.errors / self.characters.counts.reference


@dataclass(frozen=True, slots=True)
class Drawing:
    """How intervals are drawn: by speaker, utterance or "auto", how often, from which seed."""

    by: str = "auto"
    resamples: int = RESAMPLES
    seed: int = SEED


def align_rows(rows: Iterable[Row], normaliser: str) -> tuple[list[Scored], Counter[str]]:
    """Aligns every row that has a reference; the others come back as counts by reason."""
    clean, raw = normalise.get(normaliser), normalise.get(normalise.RAW)
    scored: list[Scored] = []
    refused: Counter[str] = Counter()
    for row in rows:
        reference, hypothesis = clean(row.reference), clean(row.hypothesis)
        if not plain(row.reference):
            refused["empty reference"] += 1
        elif not plain(reference):
            refused["reference without words"] += 1
        else:
            scored.append(
                Scored(
                    row,
                    align_words(reference, hypothesis),
                    align_characters(reference, hypothesis),
                    align_words(raw(row.reference), raw(row.hypothesis)).counts,
                    align_characters(raw(row.reference), raw(row.hypothesis)).counts,
                )
            )
    return scored, refused


def score(
    rows: Sequence[Row],
    *,
    normaliser: str = normalise.NORMALISER,
    model: str = "",
    corpus: str = "",
    split: str = "test",
    split_fingerprint: str = "",
    language: str = "",
    decoder: Mapping[str, Any] | None = None,
    drawing: Drawing | None = None,
) -> dict[str, Any]:
    """The deterministic part of a score file for `rows`; raises `BadInput` when no row has a reference."""
    drawing = drawing or Drawing()
    ordered = sorted(rows, key=lambda row: row.id)
    scored, refused = align_rows(ordered, normaliser)
    if not scored:
        raise BadInput(
            f"none of the {len(ordered)} utterances has a reference transcript, so nothing can be scored",
            where=f"{corpus} {split}".strip(),
            next_step="choose a split with transcripts, for example `--split test`",
        )
    languages = sorted({item.row.language for item in scored})
    result: dict[str, Any] = {
        "format": FORMAT,
        "model": model,
        "corpus": corpus,
        "split": split,
        "split_fingerprint": split_fingerprint,
        "language": language or " ".join(languages),
        "decoder": dict(decoder or {}),
        "normaliser": normaliser,
        "utterances": len(scored),
        "words": _sum(scored, "words").reference,
        "characters": _sum(scored, "characters").reference,
        "hours": round(sum(item.row.duration_s for item in scored) / 3600, 6),
        "speakers": len({item.row.speaker for item in scored if item.row.speaker}),
        **rates(scored, drawing),
        "raw": rates(scored, drawing, raw=True),
        "errors": {"words": _as_json(_sum(scored, "words")), "characters": _as_json(_sum(scored, "characters"))},
        "refused": dict(sorted(refused.items())),
        "refusals": dict(sorted(Counter(_reason(item.row) for item in scored if item.row.refusal).items())),
        "slices": slices(scored, drawing),
        "entities": {"numbers": _numbers(scored, drawing), "names": None, "terms": None},
        "confusions": _confusions(scored),
        "worst": [_worst(item) for item in worst_first(scored)[:WORST]],
        "intervals": {"level": LEVEL, "resamples": drawing.resamples, "seed": drawing.seed},
    }
    return result | {"warnings": warnings_for(result)}


def with_circumstances(
    stable: Mapping[str, Any], *, rtf: float | None, machine: str, made_by: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole score file: `stable` plus what differs from run to run (speed, machine, command)."""
    return {**stable, "rtf": rtf, "machine": machine, "made_by": dict(made_by)}


def stable_part(whole: Mapping[str, Any]) -> dict[str, Any]:
    """`whole` without speed, machine and command: equal for equal computations, so it may count for a digest."""
    return {name: value for name, value in whole.items() if name not in VOLATILE}


def rates(scored: Sequence[Scored], drawing: Drawing, *, raw: bool = False) -> dict[str, Any]:
    """`wer` and `cer` with intervals over `scored`."""
    speakers = [item.row.speaker for item in scored]
    found: dict[str, Any] = {}
    for name, counts in (
        ("wer", [item.raw_words if raw else item.words.counts for item in scored]),
        ("cer", [item.raw_characters if raw else item.characters.counts for item in scored]),
    ):
        found[name] = interval(
            [one.errors for one in counts],
            [one.reference for one in counts],
            speakers,
            by=drawing.by,
            resamples=drawing.resamples,
            seed=drawing.seed,
        ).as_json()
    return found


def slices(scored: Sequence[Scored], drawing: Drawing) -> list[dict[str, Any]]:
    """Rates by length, speaker, origin and (when there are several) language, each with its number of words."""
    views: list[tuple[str, Callable[[Row], str]]] = [
        ("duration_s", lambda row: duration_bucket(row.duration_s)),
        ("speaker", lambda row: row.speaker or "unknown"),
        ("origin", lambda row: row.origin),
    ]
    if len({item.row.language for item in scored}) > 1:
        views.append(("language", lambda row: row.language))
    found = []
    for name, bucket_of in views:
        buckets: dict[str, list[Scored]] = {}
        for item in scored:
            buckets.setdefault(bucket_of(item.row), []).append(item)
        for bucket in sorted(buckets, key=_bucket_order):
            part = buckets[bucket]
            size = {"utterances": len(part), "words": _sum(part, "words").reference}
            found.append({"name": name, "bucket": bucket, **rates(part, drawing), **size})
    return found


def duration_bucket(duration_s: float) -> str:
    """ "0-2", "2-5", "5-10", "10-20" or "20-" seconds; a length on an edge belongs to the longer bucket."""
    below = 0
    for edge in DURATION_EDGES_S:
        if duration_s < edge:
            return f"{below}-{edge}"
        below = edge
    return f"{below}-"


def worst_first(scored: Iterable[Scored]) -> list[Scored]:
    """By character error rate, then by length, then by id; rows without an error are left out."""
    wrong = [item for item in scored if item.characters.counts.errors or item.words.counts.errors]
    return sorted(wrong, key=lambda item: (-item.cer, -item.characters.counts.reference, item.row.id))


def _bucket_order(bucket: str) -> tuple[int, str]:
    head = bucket.split("-")[0]
    return (int(head), bucket) if head.isdecimal() and head.isascii() and len(head) < 9 else (-1, bucket)


def _sum(scored: Iterable[Scored], unit: str) -> Counts:
    parts = (item.words.counts if unit == "words" else item.characters.counts for item in scored)
    return reduce(add, parts, _NOTHING)


def _as_json(counts: Counts) -> dict[str, int]:
    return {
        "hits": counts.hits,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
    }


def _reason(row: Row) -> str:
    return str((row.refusal or {}).get("reason") or "unknown")


def _numbers(scored: Sequence[Scored], drawing: Drawing) -> dict[str, Any]:
    """Words with a digit of any script: how many were said, and the share that was not heard exactly."""
    said, missed, speakers = [], [], []
    for item in scored:
        pairs = [edit for edit in item.words.edits if any(unicodedata.category(sign) == "Nd" for sign in edit.said)]
        if pairs:
            said.append(len(pairs))
            missed.append(sum(edit.kind != "equal" for edit in pairs))
            speakers.append(item.row.speaker)
    if not said:
        return {"words": 0, "missed": None}
    share = interval(missed, said, speakers, by=drawing.by, resamples=drawing.resamples, seed=drawing.seed)
    return {"words": sum(said), "missed": share.as_json()}


def _confusions(scored: Iterable[Scored]) -> dict[str, Any]:
    """The most frequent unequal pairs, with how often each character was said (what a share is a share of)."""
    pairs = confusions(item.characters for item in scored)
    said: Counter[str] = Counter()
    for (character, _), times in pairs.items():
        said[character] += times
    unequal = sorted(
        ((pair, times) for pair, times in pairs.items() if pair[0] != pair[1]), key=lambda one: (-one[1], one[0])
    )
    top = unequal[:CONFUSIONS]
    return {
        "pairs": [{"said": before, "heard": after, "times": times} for (before, after), times in top],
        "said": {character: said[character] for character in sorted({before for (before, _), _ in top} - {""})},
        "left_out": len(unequal) - len(top),
    }


def _worst(item: Scored) -> dict[str, Any]:
    words = item.words.counts
    return {
        "id": item.row.id,
        "wer": round(words.errors / words.reference, 6),
        "cer": round(item.cer, 6),
        "words": words.reference,
    }
