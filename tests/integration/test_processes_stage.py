"""`orature train --processes 2`: one artefact for any number of processes, and one of them speaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orature.cli.main import build
from orature.flow import Store
from tests.integration.tones import make_corpus

_SET = "size=micro updates=6 evaluate_every=3 batch_seconds=6 overfit_clips=0 average=2 dropout=0".split()


def arguments(root: Path, *more: str) -> list[str]:
    settings = [word for assignment in _SET for word in ("--set", assignment)]
    folders = [str(root / "corpus"), "--to", str(root / "model"), "--store", str(root / "store")]
    return ["train", *folders, *settings, "--device", "cpu", "--threads", "2", *more]


@pytest.mark.slow
def test_two_processes_make_the_artefact_of_one(tmp_path: Path) -> None:
    make_corpus(tmp_path / "toy")
    made = CliRunner().invoke(
        build(), ["ingest", str(tmp_path / "toy"), "--to", str(tmp_path / "corpus"), "--store", str(tmp_path / "store")]
    )
    assert made.exit_code == 0, made.output
    command = [sys.executable, "-m", "orature.cli.main", *arguments(tmp_path, "--processes", "2")]
    done = subprocess.run(command, env={**os.environ, "ORATURE_QUIET": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert (
        done.stderr.count("train: 6/6") <= 1 and done.stderr.count("parameters") == 1 and "Warning" not in done.stderr
    )
    store = Store(tmp_path / "store")
    before = sorted(store.keys())
    again = CliRunner().invoke(build(), arguments(tmp_path))
    assert again.exit_code == 0, again.output
    assert sorted(store.keys()) == before, "the number of processes is no part of what a model is"


def test_processes_that_a_machine_lacks_are_refused_before_any_work(tmp_path: Path) -> None:
    refused = CliRunner().invoke(build(), arguments(tmp_path, "--sharding", "fsdp"))
    assert refused.exit_code == 2 and "nobody to share with" in refused.stderr
    refused = CliRunner().invoke(build(), arguments(tmp_path, "--processes", "some"))
    assert refused.exit_code == 2 and "give --processes a number, or auto" in refused.stderr
