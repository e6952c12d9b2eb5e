"""A scored folder: `score.json` and `hypotheses.jsonl`, and beside them what a report can also show.

Optional neighbours: `train_log.jsonl` (learning curves) and `lineage.json` (a list of stages with keys and digests).

Example::

    scored = open_scored(Path("results/test"))
    scored.score["wer"]["value"], len(scored.rows)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orature.core.errors import BadInput
from orature.evaluate.rows import NEXT, Row, read_json_lines, read_rows

SCORE_FILES = ("score.json", "report.json")
HYPOTHESES_FILE = "hypotheses.jsonl"
TRAIN_LOG_FILE = "train_log.jsonl"
LINEAGE_FILE = "lineage.json"
_NEEDED = ("wer", "cer", "normaliser", "utterances", "words")


@dataclass(frozen=True, slots=True)
class ScoredFolder:
    """What one evaluation left behind; `train_log` and `lineage` are None where they are not there."""

    root: Path
    score: dict[str, Any]
    rows: Sequence[Row]
    train_log: list[dict[str, Any]] | None = None
    lineage: list[dict[str, Any]] | None = None


def open_scored(path: Path) -> ScoredFolder:
    """Reads a scored folder (or the folder of the score file given); raises `BadInput` saying what is missing."""
    root = path.parent if path.is_file() else path
    if not root.is_dir():
        raise BadInput("there is no such report folder", where=str(path), next_step=NEXT)
    score = _read_score(root)
    rows = read_rows(root / HYPOTHESES_FILE)
    log = root / TRAIN_LOG_FILE
    lineage = root / LINEAGE_FILE
    return ScoredFolder(
        root,
        score,
        rows,
        read_json_lines(log) if log.is_file() else None,
        _read_list(lineage) if lineage.is_file() else None,
    )


def _read_score(root: Path) -> dict[str, Any]:
    for name in SCORE_FILES:
        if (root / name).is_file():
            value = _read_json(root / name)
            missing = [need for need in _NEEDED if not isinstance(value, dict) or need not in value]
            if missing:
                raise BadInput(
                    f"this is not a score file: {', '.join(missing)} missing", where=str(root / name), next_step=NEXT
                )
            return dict(value)
    raise BadInput(f"this folder holds no {SCORE_FILES[0]}", where=str(root), next_step=NEXT)


def _read_list(path: Path) -> list[dict[str, Any]]:
    value = _read_json(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadInput("this is not a list of stages", where=str(path), next_step=NEXT)
    return value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"this file cannot be read as JSON: {error}", where=str(path), next_step=NEXT) from error
