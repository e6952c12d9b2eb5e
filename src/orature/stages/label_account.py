"""The labels that a recogniser gave, as read from `hypotheses.jsonl`, and the account of what became of them.

Example::

    with read_labels(run.path_of(heard) / HYPOTHESES) as labels:
        labels["u7"].text, labels["u7"].confidence
"""

from __future__ import annotations

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orature.core.errors import BadInput, CorpusError
from orature.core.types import Refusal
from orature.data.corpus import id_hash
from orature.data.rows import fold
from orature.stages.corpus_rows import draw_order

LABELS = "labels.json"
FORMAT = 1
MOST_LISTED = 1000
"""Speakers that are listed, those with the most rows."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a recogniser heard in one recording; `score` is the mean log-probability a frame.

    `confidence` is the calibrated one, else the mean of those of the words, None where there is neither; `refusal` says
    why nothing was heard.
    """

    text: str
    score: float
    confidence: float | None = None
    refusal: str | None = None


class Labels:
    """The labels of `hypotheses.jsonl` by the ids of their rows, each read when it is asked for.

    Sixteen bytes a row are held (the hash of its id and its place in the file), so that memory hardly grows with a
    corpus.
    """

    def __init__(self, path: Path) -> None:
        marks, places, at = array("Q"), array("Q"), 0
        number = 0
        try:
            with path.open("rb") as lines:
                for line in lines:
                    number += 1
                    record = json.loads(line)
                    _label(record)
                    marks.append(id_hash(record["id"]))
                    places.append(at)
                    at += len(line)
            self._file = path.open("rb")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"the hypotheses cannot be read ({type(error).__name__}: {error})",
                where=f"{path}:{number}",
                next_step="decode the split again",
            ) from error
        found = np.array(marks, dtype=np.uint64)
        order = found.argsort(kind="stable")
        self._marks, self._places = found[order], np.array(places, dtype=np.uint64)[order]

    def __len__(self) -> int:
        return len(self._marks)

    def get(self, row_id: str) -> Label | None:
        """The label of a row; None where it has none."""
        mark = np.uint64(id_hash(row_id))
        first, end = (int(self._marks.searchsorted(mark, side)) for side in ("left", "right"))
        for place in self._places[first:end][::-1]:  # two ids may share a hash; of two lines of one id the last counts
            self._file.seek(int(place))
            record = json.loads(self._file.readline())
            if record["id"] == row_id:
                return _label(record)
        return None

    def __getitem__(self, row_id: str) -> Label:
        label = self.get(row_id)
        if label is None:
            raise KeyError(row_id)
        return label

    def __enter__(self) -> Labels:
        return self

    def __exit__(self, *trouble: object) -> None:
        self._file.close()


def read_labels(path: Path) -> Labels:
    """The label of each row by its id; BadInput for a file that is no list of hypotheses."""
    return Labels(path)


def _label(record: Mapping[str, Any]) -> Label:
    words = record.get("words") or ()
    confidence = record.get("confidence")
    if confidence is None and words:
        confidence = sum(float(word["confidence"]) for word in words) / len(words)
    refusal = record.get("refusal")
    return Label(
        text=fold(record["hypothesis"] or ""),
        score=float(record["score"]),
        confidence=confidence,
        refusal=None if refusal is None else str(refusal.get("detail") or refusal.get("reason") or "refused"),
    )


@dataclass(slots=True)
class _Share:
    """Rows and hours of one language or speaker."""

    rows: int = 0
    seconds: float = 0.0
    kept: int = 0
    kept_seconds: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "hours": round(self.seconds / 3600, 6),
            "kept": self.kept,
            "kept_hours": round(self.kept_seconds / 3600, 6),
            "rejected": dict(sorted(self.rejected.items())),
        }


@dataclass
class Account:
    """Counts rows of the labelled split by reason, language and speaker, and draws examples."""

    seed: int
    examples: int
    silent: int = 0
    _whole: _Share = field(default_factory=_Share)
    _languages: dict[str, _Share] = field(default_factory=lambda: defaultdict(_Share))
    _speakers: dict[str, _Share] = field(default_factory=lambda: defaultdict(_Share))
    _drawn: dict[str, list[tuple[bytes, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(list))

    def add(
        self, row_id: str, language: str, speaker: str | None, seconds: float, label: Label, refusal: Refusal | None
    ) -> None:
        """One row: kept where `refusal` is None."""
        for share in (self._whole, self._languages[language], self._speakers[speaker or ""]):
            share.rows += 1
            share.seconds += seconds
            if refusal is None:
                share.kept += 1
                share.kept_seconds += seconds
            else:
                share.rejected[refusal.reason] += 1
        self.silent += refusal is None and not label.text
        shown: dict[str, Any] = {
            "id": row_id,
            "text": label.text,
            "score": label.score,
            "confidence": None if label.confidence is None else round(label.confidence, 4),
            "seconds": round(seconds, 3),
        }
        if refusal is not None:
            shown["detail"] = refusal.detail
        self._draw("kept" if refusal is None else refusal.reason, row_id, shown)

    def _draw(self, kind: str, row_id: str, shown: dict[str, Any]) -> None:
        drawn = self._drawn[kind]
        drawn.append((draw_order(self.seed, row_id), shown))
        if len(drawn) > 2 * self.examples + 16:
            self._drawn[kind] = self._first(drawn)

    def _first(self, drawn: Iterable[tuple[bytes, dict[str, Any]]]) -> list[tuple[bytes, dict[str, Any]]]:
        return sorted(drawn, key=lambda pair: (pair[0], pair[1]["id"]))[: self.examples]

    def to_json(self) -> dict[str, Any]:
        """Everything that was counted; the same for the same rows in any order."""
        speakers = sorted(self._speakers.items(), key=lambda pair: (-pair[1].rows, pair[0]))
        return {
            "format": FORMAT,
            **self._whole.to_json(),
            "silent_kept": self.silent,
            "languages": {name: share.to_json() for name, share in sorted(self._languages.items())},
            "speakers": {name or "unknown": share.to_json() for name, share in speakers[:MOST_LISTED]},
            "speakers_count": len(speakers),
            "examples": {
                kind: [shown for _, shown in self._first(drawn)] for kind, drawn in sorted(self._drawn.items())
            },
        }


def read_account(folder: Path) -> dict[str, Any]:
    """labels.json of a labelled corpus; CorpusError where it has none."""
    try:
        found: dict[str, Any] = json.loads((folder / LABELS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"this corpus holds no account of labels ({LABELS})",
            where=str(folder),
            next_step="make one with: orature label CORPUS --model MODEL --to NEW",
        ) from error
    return found
