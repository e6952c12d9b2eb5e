"""What labels were like, from the log of a training and from a checkpoint of one that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orature.core.errors import StoreError
from orature.train.watch_rows import watch_rows, watched_in

LOG = [
    {"update": 10, "dev_cer": 0.5, "loss": 2.0},
    {"update": 20, "slot": 30, "cache": 4, "label_characters_per_s": 10.0, "label_blank_share": 0.7, "dev_cer": 0.4},
    {"update": 30, "slot": 60, "cache": 5, "label_characters_per_s": 6.0, "label_churn": 0.25, "collapse": "empty"},
]


def test_rows_begin_after_the_warm_up_and_lengths_are_against_it() -> None:
    rows = watch_rows(LOG, {"characters_per_s": 12.0})
    assert [row["update"] for row in rows] == [20, 30]
    assert [row["length_ratio"] for row in rows] == [0.8333, 0.5]
    assert rows[1]["churn"] == 0.25 and "churn" not in rows[0] and rows[0]["blank_share"] == 0.7
    assert rows[1]["collapse"] == "empty"
    assert [row["length_ratio"] for row in watch_rows(LOG)] == [1.0, 0.6], "an old model does not say how it began"
    assert watch_rows(LOG[:1]) == []


def _checkpoint(state: Path, name: str, update: int, pseudo: dict[str, object] | None) -> Path:
    folder = state / "training" / name
    folder.mkdir(parents=True)
    log = [entry for entry in LOG if int(str(entry["update"])) <= update]
    (folder / "progress.json").write_text(json.dumps({"update": update, "log": log}), "utf-8")
    if pseudo is not None:
        (folder / "pseudo.json").write_text(json.dumps(pseudo), "utf-8")
        (folder / "labels.jsonl").write_text('{"id": "a"}\n{"id": "b"}\n', "utf-8")
    return folder


def test_a_training_under_way_is_read_from_its_newest_checkpoint(tmp_path: Path) -> None:
    assert watched_in(tmp_path / "none", tmp_path / "state") is None
    _checkpoint(tmp_path / "state", "checkpoint-00000012-000001", 12, None)
    early = watched_in(tmp_path / "none", tmp_path / "state")
    assert early is not None and (early.update, early.rows, early.now) == (12, [], None)
    churn = {"labels": 10, "empty": 1, "compared": 100, "changed": 30, "characters": 90, "audio_s": 10.0}
    state = {"slot": 44, "entries": [[], [], []], "churn": churn, "warm": {"characters_per_s": 12.0, "update": 10.0}}
    _checkpoint(tmp_path / "state", "checkpoint-00000023-000001-00000044", 23, state)
    found = watched_in(tmp_path / "none", tmp_path / "state")
    assert found is not None and not found.finished and (found.update, found.labels) == (23, 2)
    assert [row["update"] for row in found.rows] == [20]
    assert found.now == {
        **{"update": 23, "slot": 44, "cache": 3, "rollbacks": 0, "churn": 0.3, "empty_share": 0.1},
        "infeasible_share": 0.0,
        **{"characters_per_s": 9.0, "length_ratio": 0.75},
    }


def test_a_finished_model_is_read_from_its_log(tmp_path: Path) -> None:
    (tmp_path / "train_log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in LOG), "utf-8")
    found = watched_in(tmp_path, tmp_path / "state", {"warm": {"characters_per_s": 12.0}, "labelled": 7})
    assert found is not None and found.finished and (found.update, found.labels, found.now) == (30, 7, None)
    assert found.rows[0]["length_ratio"] == 0.8333


def test_a_checkpoint_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path, "checkpoint-00000012-000001", 12, None)
    (folder / "progress.json").write_text("{", "utf-8")
    with pytest.raises(StoreError, match="cannot be read"):
        watched_in(tmp_path / "none", tmp_path)
