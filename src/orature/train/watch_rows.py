"""What pseudo-labels were like while a model trained on them, evaluation by evaluation: finished, or under way.

Everything is read from JSON: the log of a finished model, or the newest whole checkpoint of a training that goes on or
was killed.

Example::

    watched = watched_in(store.folder(key), store.work(key) / "state", notes=info.notes)
    for row in watched.rows:
        print(row["update"], row["cache"], row.get("churn"), row.get("blank_share"), row.get("length_ratio"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import StoreError

LOG = "train_log.jsonl"
_FIGURES = {
    "slot": "slot",
    "cache": "cache",
    "label_churn": "churn",
    "label_empty_share": "empty_share",
    "label_infeasible_share": "infeasible_share",
    "label_blank_share": "blank_share",
    "label_characters_per_s": "characters_per_s",
    "probe_distance": "probe_distance",
    "labelled_loss": "labelled_loss",
    "pseudo_loss": "pseudo_loss",
    "dev_cer": "dev_cer",
    "rollbacks": "rollbacks",
    "collapse": "collapse",
}
"""Of a row of the log: its name there, and here."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The rows of one training; `warm` is what labels were like when its warm-up ended ({}: not known, or not over).

    `now` is what has come since the last evaluation, of a training that is not finished: None where that is nothing.
    """

    finished: bool
    update: int
    rows: list[dict[str, Any]]
    now: dict[str, Any] | None = None
    labels: int = 0
    warm: dict[str, float] = field(default_factory=dict)


def watch_rows(log: Sequence[Mapping[str, Any]], warm: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """The evaluations of a log that came after the warm-up; what was not measured is left out.

    `length_ratio` is characters a second against `warm`, or (where that is not known) against the first of the rows.
    """
    rows = [
        {"update": entry["update"], **{here: entry[there] for there, here in _FIGURES.items() if there in entry}}
        for entry in log
        if "slot" in entry
    ]
    usual = (warm or {}).get("characters_per_s") or next(
        (row["characters_per_s"] for row in rows if row.get("characters_per_s")), 0.0
    )
    for row in rows:
        if usual and "characters_per_s" in row:
            row["length_ratio"] = round(row["characters_per_s"] / usual, 4)
    return rows


def watched_in(artefact: Path, state: Path, notes: Mapping[str, Any] | None = None) -> Watched | None:
    """Of the model in `artefact`, or of the training with this state folder; None where neither has begun.

    `notes` are those of the finished artefact. StoreError for a checkpoint that cannot be read.
    """
    if (artefact / LOG).is_file():
        log = [json.loads(line) for line in (artefact / LOG).read_text("utf-8").splitlines()]
        noted = notes or {}
        warm = noted.get("warm") or {}
        update = int(log[-1]["update"]) if log else 0
        return Watched(True, update, watch_rows(log, warm), labels=int(noted.get("labelled", 0)), warm=warm)
    found = sorted(path for path in (state / "training").glob("checkpoint-*") if path.is_dir())
    return _under_way(found[-1]) if found else None


def _under_way(checkpoint: Path) -> Watched:
    from orature.train.pseudo_cache import LABELS, STATE, PseudoState

    try:
        progressed = json.loads((checkpoint / "progress.json").read_text("utf-8"))
        held = checkpoint / STATE
        state = PseudoState.model_validate_json(held.read_bytes()) if held.is_file() else PseudoState()
        listed = checkpoint / LABELS
        labels = listed.read_bytes().count(b"\n") if listed.is_file() else 0
        update, log = int(progressed["update"]), progressed["log"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"the checkpoint cannot be read ({error})",
            where=str(checkpoint),
            next_step="ask again: the training may have written another one meanwhile",
        ) from error
    now: dict[str, Any] | None = None
    if state.warm and (not log or update > log[-1]["update"]):
        entry = {"update": update, "slot": state.slot, "cache": len(state.entries), "rollbacks": state.rollbacks}
        now = watch_rows([entry | state.churn.row()], state.warm)[0]
    return Watched(False, update, watch_rows(log, state.warm), now, labels, state.warm)
