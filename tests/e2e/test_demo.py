"""`orature demo`, from the synthetic corpus to the report, with a training of a few updates."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orature.cli.main import build
from orature.recipes import up as recipe
from orature.testing import sample_corpus
from orature.testing.sample_corpus import NOTICE, Sizes

SMALL = Sizes(train=24, dev=6, test=8)
FEW = {"updates": 2, "overfit_clips": 0, "evaluate_every": 2, "batch_seconds": 20.0}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same way as a person's, with less to train on and hardly any training."""
    monkeypatch.setattr(recipe, "up", functools.partial(recipe.up, train=FEW))
    made = functools.partial(sample_corpus.make_sample_corpus, sizes=SMALL, progress=False)
    monkeypatch.setattr(sample_corpus, "make_sample_corpus", made)


def _demo(*arguments: str) -> Any:
    return CliRunner().invoke(build(), ["demo", *arguments], catch_exceptions=False)


@pytest.mark.slow
def test_synthetic_speech_to_report_and_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = _demo("--to", str(out))
    assert done.exit_code == 0, done.output
    assert NOTICE in done.stdout and "(synthetic speech:" in done.stdout
    lines = done.stdout.rstrip().split("\n")
    assert lines[-1] == str(out / "report.html")
    assert (out / "report.html").is_file() and (out / "model" / "model.safetensors").is_file()
    text = (out / "sample" / "unseen" / "clip.txt").read_text("utf-8").strip()
    assert f"  said   {text}" in lines
    assert any(line.startswith("  WER ") for line in lines)

    made = (out / "model" / "model.safetensors").stat().st_mtime_ns
    again = _demo("--to", str(out), "--json")
    facts = json.loads(again.stdout)
    assert (facts["said"], facts["synthetic_speech"], facts["utterances"]) == (text, True, 8)
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == made, "the second time it does nothing"


@pytest.mark.slow
def test_a_corpus_of_ones_own(tmp_path: Path) -> None:
    own = sample_corpus.make_sample_corpus(tmp_path / "own").corpus
    done = _demo("--corpus", str(own), "--to", str(tmp_path / "out"), "--json")
    facts = json.loads(done.stdout)
    said = {
        line.split("\t")[1] for line in (own / "manifest.tsv").read_text("utf-8").splitlines() if "\ttest\t" in line
    }
    assert facts["said"] in said and facts["synthetic_speech"] is False
    assert NOTICE not in done.stdout


def test_a_corpus_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    done = _demo("--corpus", str(tmp_path / "nothing"), "--to", str(tmp_path / "out"))
    assert done.exit_code == 2 and "nothing" in done.stderr
