"""`orature runs RUN` shows what pseudo-labels are like: of a training that was interrupted, and when it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from tiny import model_in
from typer.testing import CliRunner

from orature.cli import spine
from orature.core.errors import Interrupted
from orature.flow import Resources, Run, Store
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import model_ref
from orature.stages.portion import Portion
from orature.stages.train_pseudo import TrainPseudo
from orature.train import loop
from orature.train.config import TrainConfig
from orature.train.pseudo_config import PseudoConfig, WatchConfig
from tests.integration.tones import make_corpus

QUIET = Resources(threads=1, progress=False)
OFF = WatchConfig(empty_share=None, length_ratio=None, probe_distance=None, labelled_loss=None, dev_loss=None)


def asked(store: Store, *words: str) -> tuple[int, str]:
    app = typer.Typer()
    spine.register(app)
    result = CliRunner().invoke(app, ["runs", *words, "--store", str(store.root)])
    return result.exit_code, result.stdout + result.stderr


def test_churn_is_shown_while_it_lasts_and_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    first = Run(store, "test", "orature test")
    corpus = first.do(ingest_stage(make_corpus(tmp_path / "source", train=12)), on=QUIET)
    split = first.do(Portion(corpus=corpus, minutes=0.1, rest="unlabelled"), on=QUIET)
    (tmp_path / "start").mkdir()
    start = model_ref(model_in(tmp_path / "start", ["abc"], blank=-3.0))
    config = TrainConfig(updates=9, evaluate_every=3, batch_seconds=4.0, average=1, peak_lr=1e-4, head="keep")
    pseudo = PseudoConfig(warmup_updates=2, cache=2, ratio=2.0, replace=0.9, probe_s=1.0, watch=OFF)
    stage = TrainPseudo(corpus=split, start=start, config=config, pseudo=pseudo)
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    update, stop = loop.Trainer._update, {"at": 8}

    def stopped(self: loop.Trainer, *args: Any, **more: Any) -> Any:
        if self.progressed.update == stop["at"]:
            raise KeyboardInterrupt
        return update(self, *args, **more)

    monkeypatch.setattr(loop.Trainer, "_update", stopped)
    with pytest.raises(Interrupted):
        first.do(stage, on=QUIET)
    code, text = asked(store, first.id[:15])
    assert code == 0 and "not finished at update 8" in text and "since then" in text and "churn" in text
    (found,) = json.loads(asked(store, "last", "--json")[1])["pseudo_labels"]
    assert not found["finished"] and [row["update"] for row in found["rows"]] == [3, 6] and found["now"]["update"] == 8
    assert found["rows"][-1]["cache"] == 2 and found["labels"] > 0 and found["rows"][-1]["length_ratio"] > 0

    stop["at"] = -1
    again = Run(store, "test", "orature test")
    again.do(stage, on=QUIET)
    (done,) = json.loads(asked(store, again.id, "--json")[1])["pseudo_labels"]
    assert done["finished"] and done["now"] is None and [row["update"] for row in done["rows"]] == [3, 6, 9]
    assert done["rows"][:2] == found["rows"], "what was shown while it lasted stays"
    assert "finished at update 9" in asked(store, again.id)[1]


def test_a_run_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    corpus = ingest_stage(make_corpus(tmp_path / "source", train=4))
    names = []
    for _ in range(2):
        run = Run(store, "test", "test")
        run.do(corpus, on=QUIET)
        names.append(run.id)
    code, text = asked(store, "1999")
    assert code == 2 and "no run begins with '1999'" in text
    code, text = asked(store, names[0][:4])
    assert code == 2 and "2 runs begin with" in text and names[1] in text
    code, text = asked(store, "last")
    assert code == 0 and names[1] in text and "pseudo-labels" not in text
