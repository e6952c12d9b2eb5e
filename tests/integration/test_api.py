"""The commands as Python functions, on a toy corpus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orature
from orature.core.types import Hypothesis
from orature.flow import Resources
from tests.integration.tones import make_corpus

FEW = {"size": "micro", "updates": 2, "evaluate_every": 2, "batch_seconds": 6.0, "overfit_clips": 0}


def test_each_command_is_a_function(tmp_path: Path) -> None:
    folder, store = make_corpus(tmp_path / "toy"), tmp_path / "store"
    corpus = orature.ingest(folder, tmp_path / "corpus", store=store)
    assert len(corpus) == 36
    assert orature.check(tmp_path / "corpus") == []
    again = orature.split(tmp_path / "corpus", tmp_path / "splits", store=store, strategy="given")
    assert again.fingerprint("test") == corpus.fingerprint("test")
    on = Resources(threads=1, progress=False)
    model = orature.train(tmp_path / "splits", tmp_path / "model", store=store, options=FEW, resources=on)
    score = orature.evaluate(model, tmp_path / "splits", tmp_path / "scores", store=store)
    assert score["utterances"] == 6 and score["split_fingerprint"] == corpus.fingerprint("test")
    assert orature.compare(tmp_path / "scores", tmp_path / "scores")["wer"]["delta"] == 0
    heard = orature.transcribe(model, folder / "audio" / "test000.wav")
    assert isinstance(heard[0], Hypothesis)
    assert {finding.level for finding in orature.doctor(model, tmp_path / "splits")} <= {"ok", "note", "problem"}
    assert orature.report(tmp_path / "scores", tmp_path / "page.html").is_file()


def test_importing_the_package_is_instant() -> None:
    code = "import sys, orature; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
