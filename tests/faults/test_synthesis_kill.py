"""Synthesis under kill -9 of driver and workers, local and on Ray: one digest, a death redoes what it had at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import wait_until
from speech_samples import reading, sentences, text_corpus

from orature.flow import Ref, Resources, Run, Store
from orature.testing.faults import in_child

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "synthesis_kills.py"
QUIET = Resources(progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_kills_at_random_moments(tmp_path: Path, executor: str) -> None:
    if executor == "ray" and find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    sizes = ["--sentences", "120", "--per-shard", "10", "--kills", "3", "--pause", "0.2", "--voice", "fake"]
    command = [sys.executable, str(SCRIPT), "--to", str(tmp_path / "k"), "--executor", executor, *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same_digest"] and found["killed"]["kills"] == {"worker": 2, "driver": 1}
    assert found["killed"]["shards"] == 12
    assert found["killed"]["whole_redone"] <= 3 and 2 <= found["killed"]["begun_again"] <= 4


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize(
    "fault", ["shard-worked:2", "shard-marked:1", "shard-renamed:2", "part-open:1", "part-synced:3", "part-renamed:8"]
)
def test_killed_at_write_points_and_resumed(tmp_path: Path, fault: str) -> None:
    text = text_corpus(tmp_path / "t", sentences(20))

    def make(root: Path) -> Ref:
        return Run(Store(root), "test", "test").do(reading(text, per_shard=5), on=QUIET)

    whole = make(tmp_path / "whole")
    assert in_child(lambda: make(tmp_path / "s"), fault=f"{fault}:kill") == -9
    assert Store(tmp_path / "s").check() == {}
    assert make(tmp_path / "s") == whole
    info, other = (Store(tmp_path / name).info(whole.key) for name in ("whole", "s"))
    assert info.files == other.files and Store(tmp_path / "s").check() == {}
    wait_until(lambda: not any((tmp_path / "s" / "work").iterdir()), limit_s=1)
