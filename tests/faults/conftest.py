"""Helpers for tests that start, kill and resume whole processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orature.testing.toy_stages import TALLY

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the flushing, which costs milliseconds a file and makes no difference to a killed process."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def tallies(tmp_path: Path) -> Path:
    """Folder in which each piece of work of a started process leaves one file."""
    folder = tmp_path / "tallies"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tallies: Path) -> Start:
    """Start flow_driver.py with arguments; `fault` strikes at a write point."""

    def begin(*arguments: object, fault: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).with_name("flow_driver.py")), *map(str, arguments)]
        environment = {**os.environ, TALLY: str(tallies), "ORATURE_FAULT": fault}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return begin


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status (-n for signal n), standard output and error."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out.strip(), err


def count(tallies: Path, what: str) -> int:
    """How many pieces of work of one kind were done so far."""
    return sum(1 for path in tallies.iterdir() if path.name.startswith(f"{what}-"))


def wait_until(holds: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Poll until `holds()`; fails after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def group_is_gone(leader: int) -> bool:
    """True when no process of the session of `leader` is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False
