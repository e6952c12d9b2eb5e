"""`orature up` killed with SIGKILL ten times at random moments and started again: the same digests as undisturbed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orature.flow import Store
from tests.integration.tones import make_corpus

_ROOT = Path(__file__).resolve().parents[2]
_OPTIONS = (
    *("--set", "size=micro", "--set", "updates=20", "--set", "evaluate_every=4", "--set", "batch_seconds=5"),
    *("--set", "average=2", "--set", "overfit_clips=2", "--threads", "1", "--device", "cpu"),
)
KILLS = 10


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
    driver = [sys.executable, str(Path(__file__).with_name("up_driver.py")), str(source), str(tmp_path), str(KILLS)]
    done = subprocess.run(
        [*driver, "20", "--", *_OPTIONS], env=environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert f"killed {KILLS} times" in done.stdout
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    assert digests(shaken / ".orature") == digests(calm / ".orature")
    assert set(digests(calm / ".orature")) == {"ingest", "split", "train", "transcribe", "evaluate"}
    for name in ("model/model.safetensors", "model/train_log.jsonl", "hypotheses.jsonl"):
        one, two = (folder / name for folder in (calm, shaken))
        assert _without_place(one) == _without_place(two), name
    assert (shaken / "report.html").is_file()
    store = Store(shaken / ".orature")
    left, before = {path.name for path in (store.root / "work").iterdir()}, store.keys()
    assert left <= set(before), "only a kill between a result and the sweeping behind it leaves anything"
    store.gc(keep_days=1, dry_run=False)
    assert not any((store.root / "work").iterdir()) and store.keys() == before


def _without_place(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name != "hypotheses.jsonl":
        return data
    return data.replace(str(path.parent).encode(), b"")
