"""`--json`: standard output is one JSON document and nothing else, for every command that does its work well."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from tiny import LATIN, corpus_of, model_in
from typer.testing import CliRunner

from orature.cli.main import build
from tests.integration.tones import make_corpus

MICRO = "--set size=micro --set updates=4 --set evaluate_every=2 --set overfit_clips=0 --set batch_seconds=6"
SPEECH = "--set updates=2 --set evaluate_every=2 --set batch_seconds=6"
ON = "--device cpu --threads 1"
JUDGE = "judge made --reference made --judge tiny_model --synthetic-split train"

LINES = {
    f"up plain --to out {MICRO} {ON} --dry-run": {"steps", "train", "cost"},
    f"up plain --to out {MICRO} {ON}": {"model", "report", "score", "fresh"},
    "ingest plain --to made --dry-run": {"format", "ingest"},
    "ingest plain --to made": {"corpus", "rows", "splits"},
    "check made": {"leaks", "alphabet", "audio"},
    "split made --to divided --dry-run": {"divided"},
    "split made --to divided": {"corpus", "strategy"},
    f"train made --to model {MICRO} {ON} --dry-run": {"train"},
    f"train made --to model {MICRO} {ON}": {"model", "dev_cer"},
    f"pretrain corpus --start tiny_model --to adapted {SPEECH} {ON} --dry-run": {"pretrain", "cost", "masked"},
    f"pretrain corpus --start tiny_model --to adapted {SPEECH} {ON}": {"model", "dev_masked_accuracy"},
    f"evaluate model made --to scores {ON}": {"wer", "cer"},
    f"evaluate tiny_model made --to other {ON}": {"wer", "cer"},
    f"{JUDGE} --dry-run {ON}": {"steps", "real", "synthetic"},
    f"{JUDGE} --to judged --most 20 --filter-to kept {ON}": {"norm_i", "wer_real", "diversity", "filter"},
    f"judge --calibrate made --synthetic made --judge tiny_model --to cal --dry-run {ON}": {"trainings", "settings"},
    "compare scores other": {"a", "b", "wer"},
    "report scores": {"report"},
    f"transcribe tiny_model corpus/0.flac {ON}": {"text", "words"},
    "text made.txt --to text --lang qu --dry-run": {"files", "text"},
    "text made.txt --to text --lang qu": {"text", "rows", "sentences"},
    "why model": {"lineage"},
    "runs": {"runs"},
    "store check": {"checked", "problems"},
    "store gc --dry-run": {"removed", "bytes"},
    "voices --lang sw": {"voices"},
    "voices add xtts --dry-run --env env": {"commands", "licence", "size_mb"},
    "voices say fake abc --to listen.wav": {"file", "rows", "licence"},
    "doctor corpus": {"findings", "problems"},
    "doctor": {"findings", "problems"},
}


def test_one_document_with_the_promised_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_corpus(tmp_path / "plain")
    corpus_of(tmp_path / "corpus", LATIN)
    model_in(tmp_path / "tiny_model", [*LATIN, "abc"])
    (tmp_path / "made.txt").write_text("sumak yaku kan\nhatun wasi karka\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORATURE_STORE", raising=False)
    for line, names in LINES.items():
        done = CliRunner().invoke(build(), [*shlex.split(line), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, (line, done.output)
        assert names <= json.loads(done.stdout).keys(), line
