"""Training in several processes, stopped or killed: a sentence, nothing left behind, a checkpoint to go on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import finish, group_is_gone, wait_until

from orature.train import checkpoint

pytestmark = pytest.mark.slow
_TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Two processes at work, with a first checkpoint."""
    command = [sys.executable, str(Path(__file__).with_name("train_driver.py")), str(tmp_path), "2"]
    paths = os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ORATURE_SAVE_EVERY_S": "0", "PYTHONPATH": paths}
    driver = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: driver.poll() is not None or len(list(tmp_path.glob("state/checkpoint-0*"))) > 0, limit_s=90)
    yield driver
    if not group_is_gone(driver.pid):
        os.killpg(driver.pid, signal.SIGKILL)


def workers(driver: subprocess.Popen[str]) -> list[int]:
    """Process ids of the training processes (not of Python's resource tracker), in order of their start."""
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text(encoding="ascii").split()
    return [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="children are found through /proc")
def test_a_killed_worker_ends_all_with_a_sentence(running: subprocess.Popen[str], tmp_path: Path) -> None:
    found = workers(running)
    assert len(found) == 2
    os.kill(found[1], signal.SIGKILL)
    code, _, err = finish(running)
    assert code == 1 and "Traceback" not in err
    assert "a training process died" in err and "goes on from the last checkpoint" in err
    wait_until(lambda: group_is_gone(running.pid), limit_s=10)
    assert checkpoint.restore(tmp_path / "state") is not None


def test_a_stop_ends_all(running: subprocess.Popen[str], tmp_path: Path) -> None:
    os.killpg(running.pid, signal.SIGINT)
    code, _, err = finish(running)
    assert code == 130 and "run the same command again" in err
    assert "Traceback" not in err
    wait_until(lambda: group_is_gone(running.pid), limit_s=10)
    assert checkpoint.restore(tmp_path / "state") is not None


def test_a_killed_parent_leaves_no_orphans(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.kill()
    running.wait()
    wait_until(lambda: group_is_gone(running.pid), limit_s=10)
    assert checkpoint.restore(tmp_path / "state") is not None
