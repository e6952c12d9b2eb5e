"""One recognised utterance as it stands in `hypotheses.jsonl`, and reading and writing such files.

Example::

    rows = read_rows(Path("scored/hypotheses.jsonl"))
    rows[0].reference, rows[0].hypothesis
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import BadInput

NEXT = "make it again with `orature evaluate MODEL CORPUS`"


@dataclass(frozen=True, slots=True)
class Row:
    """What was said (`reference`) and heard (`hypothesis`); `refusal` holds reason and detail when nothing was.

    `audio` holds path, start_s and duration_s of the recording; `words` the recognised words with their times.
    """

    id: str
    reference: str
    hypothesis: str
    speaker: str | None = None
    language: str = "und"
    origin: str = "real"
    duration_s: float = 0.0
    score: float | None = None
    refusal: Mapping[str, str] | None = None
    audio: Mapping[str, Any] = field(default_factory=dict)
    words: Sequence[Mapping[str, Any]] = ()


def row_of(record: Mapping[str, Any], where: str = "") -> Row:
    """The row in one JSON object; raises `BadInput` naming what is missing or of the wrong kind."""
    for name in ("id", "reference", "hypothesis"):
        value = record.get(name)
        if not isinstance(value, str) and not (name == "hypothesis" and value is None and record.get("refusal")):
            raise BadInput(f"a hypothesis row has no text under '{name}'", where=where, next_step=NEXT)
    duration = record.get("duration_s") or 0.0
    if not isinstance(duration, (int, float)):
        raise BadInput("'duration_s' is not a number", where=where, next_step=NEXT)
    return Row(
        id=record["id"],
        reference=record["reference"],
        hypothesis=record["hypothesis"] or "",
        speaker=record.get("speaker") or None,
        language=record.get("language") or "und",
        origin=record.get("origin") or "real",
        duration_s=float(duration),
        score=record.get("score"),
        refusal=record.get("refusal"),
        audio=record.get("audio") or {},
        words=record.get("words") or (),
    )


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; raises `BadInput` with file and line when one cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"this file cannot be read: {error}", where=str(path), next_step=NEXT) from error
    records: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise BadInput(f"line {number} is not JSON: {error}", where=f"{path}:{number}", next_step=NEXT) from error
        if not isinstance(record, dict):
            raise BadInput(f"line {number} is not a JSON object", where=f"{path}:{number}", next_step=NEXT)
        records.append(record)
    return records


def read_rows(path: Path) -> list[Row]:
    """All rows of a hypotheses file in its order; raises `BadInput` on a broken line or an id that comes twice."""
    rows: list[Row] = []
    seen: set[str] = set()
    for number, record in enumerate(read_json_lines(path), 1):
        row = row_of(record, f"{path}:{number}")
        if row.id in seen:
            raise BadInput(f"the id '{row.id}' comes twice", where=f"{path}:{number}", next_step=NEXT)
        seen.add(row.id)
        rows.append(row)
    return rows
