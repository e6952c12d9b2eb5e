"""kill -9 in the middle of slimIPL, again and again: the resumed run ends with the weights of an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_until

pytestmark = pytest.mark.slow
_HERE = Path(__file__).resolve().parent
_KILLS = 4


def _begun(folder: Path) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(_HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ORATURE_SAVE_EVERY_S": "0", "PYTHONPATH": paths}
    command = [sys.executable, str(_HERE / "pseudo_driver.py"), str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _ended(driver: subprocess.Popen[str], folder: Path) -> bytes:
    _, err = driver.communicate(timeout=180)
    assert driver.returncode == 0, err
    return (folder / "end.safetensors").read_bytes()


def _checkpoints(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("state/checkpoint-0*")}


def _killed(folder: Path, seen: set[str]) -> bool:
    """Begins or goes on, and is killed after a few more checkpoints; False where it came to its end before."""
    driver = _begun(folder)
    wanted = len(seen) + 5

    def far_enough() -> bool:
        seen.update(_checkpoints(folder))
        return driver.poll() is not None or len(seen) >= wanted

    wait_until(far_enough, limit_s=90)
    over = driver.poll() is not None
    driver.kill()
    driver.communicate()
    return not over


def test_killed_in_mid_slot_and_resumed_gives_the_same_weights(tmp_path: Path) -> None:
    whole = _ended(_begun(tmp_path / "whole"), tmp_path / "whole")
    cut, seen = tmp_path / "cut", set[str]()
    kills = sum(_killed(cut, seen) for _ in range(_KILLS))
    assert kills >= 2 and any(len(name.split("-")) == 4 for name in seen), "killed after the warm-up, among slots"
    assert _ended(_begun(cut), cut) == whole
