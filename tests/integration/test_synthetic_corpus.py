"""A corpus of synthetic speech, whose recordings lie in tars, serves every part that an ordinary corpus serves."""

from __future__ import annotations

import json
from pathlib import Path

from speech_samples import reading, sentences, text_corpus
from tiny import LATIN, corpus_of
from typer.testing import CliRunner

from orature.cli.main import build
from orature.data.corpus import Corpus
from orature.flow import Resources, Run, Store
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import corpus_ref
from orature.stages.pool import Pool
from orature.stages.train import Train
from orature.stages.transcribe import Transcribe
from orature.train.config import TrainConfig

ONE = Resources(progress=False, device="cpu", threads=1)
FEW = {"size": "micro", "updates": 4, "evaluate_every": 2, "batch_seconds": 10, "overfit_clips": 0, "average": 1}


def test_pooled_trained_and_transcribed(tmp_path: Path) -> None:
    """Also in a store that is moved: the tars are named relative to what points into them."""
    run = Run(Store(tmp_path / "store"), "test", "test")
    synthetic = run.do(reading(text_corpus(tmp_path / "t", sentences(14)), language="qu"), on=ONE)
    real = corpus_ref(corpus_of(tmp_path / "real", LATIN))
    pooled = run.do(Pool(corpora=(real, synthetic), names=("real", "synthetic"), reject_limit=0.9), on=ONE)
    train = Corpus.open(run.path_of(pooled)).split("train")
    assert {row.origin for row in train} == {"real", "synthetic"}
    model = run.do(Train(corpus=pooled, config=TrainConfig(**FEW)), on=ONE)
    (tmp_path / "store").rename(tmp_path / "moved")
    run = Run(Store(tmp_path / "moved"), "test", "test")
    heard = run.do(Transcribe(model=model, corpus=pooled, split="train"), on=ONE)
    lines = [path for path in run.path_of(heard).rglob("*.jsonl*") if "hypotheses" in path.name]
    assert lines
    rows = [json.loads(line) for line in lines[0].read_text("utf-8").splitlines()]
    assert len(rows) == len(train) and not [row for row in rows if row.get("refusal")]


def test_checked_published_and_read_again(tmp_path: Path) -> None:
    text_corpus(tmp_path / "t", sentences(9))
    store = ["--store", str(tmp_path / "store")]
    line = ["synthesise", str(tmp_path / "t"), "--voice", "fake", "--to", str(tmp_path / "speech"), "--json", *store]
    done = CliRunner().invoke(build(), line)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["utterances"] == 9 and report["rows"]["kept"] == 9
    assert Corpus.open(tmp_path / "speech").digest == report["digest"]
    checked = CliRunner().invoke(build(), ["check", str(tmp_path / "speech"), "--json"])
    assert checked.exit_code == 0, checked.output
    cost = CliRunner().invoke(build(), [*line, "--dry-run"])
    assert json.loads(cost.stdout)["synthesise"] == "done"
    stage = ingest_stage(tmp_path / "speech", format="lhotse")
    run = Run(Store(tmp_path / "again"), "test", "test")
    again = Corpus.open(run.path_of(run.do(stage, on=ONE)))
    assert {(row.id, row.audio.digest) for row in again} == {
        (row.id, row.audio.digest) for row in Corpus.open(tmp_path / "speech")
    }
