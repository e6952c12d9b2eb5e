"""`orature up` killed with SIGKILL ten times at random moments and started again: the same digests as undisturbed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orature.flow import Store
from tests.integration.tones import make_corpus

_ROOT = Path(__file__).resolve().parents[2]
_OPTIONS = (
    *("--set", "size=micro", "--set", "updates=60", "--set", "evaluate_every=10", "--set", "batch_seconds=5"),
    *("--set", "average=2", "--set", "overfit_clips=4", "--threads", "1", "--device", "cpu"),
)
KILLS = 10


def command(source: Path, to: Path) -> list[str]:
    return [sys.executable, "-m", "orature", "up", str(source), "--to", str(to), *_OPTIONS]


def environment() -> dict[str, str]:
    """Checkpoints after every update, so that kills fall between and into them."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "ORATURE_SAVE_EVERY_S": "0",
    }


def digests(store: Path) -> dict[str, str]:
    found = Store(store)
    infos = map(found.info, found.keys())
    return {info.stage: info.digest for info in infos}


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    source = make_corpus(tmp_path / "toy")
    began = time.monotonic()
    subprocess.run(command(source, tmp_path / "calm"), env=environment(), check=True, capture_output=True, timeout=300)
    whole_s = time.monotonic() - began
    draw = random.Random(20)
    killed = 0
    for attempt in range(60):
        process = subprocess.Popen(
            command(source, tmp_path / "shaken"),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_s = None if killed == KILLS else draw.uniform(0.25, 0.9) * whole_s
            status = process.wait(timeout=wait_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            killed += 1
            continue
        assert status == 0, f"attempt {attempt} ended with {status}"
        if killed == KILLS:
            break
        _forget_last(tmp_path / "shaken")
    assert killed == KILLS
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    assert digests(shaken / ".orature") == digests(calm / ".orature")
    for name in ("model/model.safetensors", "model/train_log.jsonl", "hypotheses.jsonl"):
        one, two = (folder / name for folder in (calm, shaken))
        assert _without_place(one) == _without_place(two), name
    assert (shaken / "report.html").is_file()
    assert not any((shaken / ".orature" / "work").iterdir())


def _forget_last(folder: Path) -> None:
    """A run that came to its end before ten kills begins anew, so that the kills fall into work."""
    store = Store(folder / ".orature")
    keys = store.keys()
    for key in keys:
        store.drop(key)


def _without_place(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name != "hypotheses.jsonl":
        return data
    return data.replace(str(path.parent).encode(), b"")
