"""The client of a training worker against small workers: results, errors by kind, deaths, Ctrl-C, a killed client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import ConfigError, CorpusError, MissingExtra, ModelError, OratureError, TrainingFailed
from orature.engines.environment_voice import WORKERS
from orature.engines.training_worker import train_in_worker

WORKER = f"""
import sys, time, json
from pathlib import Path
sys.path.insert(0, {str(WORKERS)!r})
from training import Stopped, Trouble, run, stopping, tell

def main(job):
    state = Path(job["state"])
    (state / "pid").write_text(str(__import__("os").getpid()))
    kind = job["kind"]
    print("an engine may print what it likes")
    if kind == "break":
        import training
        training._lines[0].write(b"no json\\n")
        training._lines[0].flush()
    if kind == "die":
        sys.stderr.write("first\\nlast words\\n")
        sys.stderr.flush()
        __import__("os")._exit(9)
    if kind == "import":
        import no_such_engine
    if kind in ("config", "corpus", "model", "failed", "odd"):
        raise Trouble(kind, "what", where="there", next_step="do it")
    if kind == "mute":
        time.sleep(600)
    tell("begin", update=0, updates=3)
    for update in range(100_000 if kind == "long" else 3):
        tell("step", update=update + 1, loss=0.5)
        if stopping():
            (state / "saved").write_text(str(update))
            raise Stopped
        time.sleep(0.01)
    return {{"updates": 3}}

sys.exit(run(main, sys.argv[1:]))
"""


def job_in(folder: Path, kind: str, **more: Any) -> tuple[list[str], Path]:
    (folder / "worker.py").write_text(WORKER)
    job = folder / "job.json"
    job.write_text(json.dumps({"protocol": 1, "kind": kind, "state": str(folder), **more}))
    return [sys.executable, "-I", str(folder / "worker.py")], job


def quiet(line: Mapping[str, Any]) -> None:
    return


def test_what_it_tells_and_what_it_ends_with(tmp_path: Path) -> None:
    heard: list[Mapping[str, Any]] = []
    assert train_in_worker(*job_in(tmp_path, "well"), hear=heard.append) == {"updates": 3}
    assert [line["event"] for line in heard] == ["begin", "step", "step", "step"]
    assert heard[-1] == {"event": "step", "update": 3, "loss": 0.5}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("config", ConfigError),
        ("corpus", CorpusError),
        ("model", ModelError),
        ("failed", TrainingFailed),
        ("odd", TrainingFailed),
    ],
)
def test_errors_keep_their_kind(tmp_path: Path, kind: str, error: type[OratureError]) -> None:
    with pytest.raises(error) as caught:
        train_in_worker(*job_in(tmp_path, kind), hear=quiet)
    assert type(caught.value) is error
    assert (caught.value.what, caught.value.where, caught.value.next_step) == ("what", "there", "do it")


def test_what_goes_wrong_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="no_such_engine"):
        train_in_worker(*job_in(tmp_path, "import"), hear=quiet)
    with pytest.raises(TrainingFailed, match=r"exit code 9\): last words"):
        train_in_worker(*job_in(tmp_path, "die"), hear=quiet)
    with pytest.raises(TrainingFailed, match="broke its protocol"):
        train_in_worker(*job_in(tmp_path, "break"), hear=quiet)
    with pytest.raises(ConfigError, match="protocol 1"):
        train_in_worker(*job_in(tmp_path, "well", protocol=7), hear=quiet)
    with pytest.raises(MissingExtra, match="cannot be started") as caught:
        train_in_worker([str(tmp_path / "gone")], tmp_path / "job.json", hear=quiet, setup="make it")
    assert caught.value.next_step == "make it"


def test_at_ctrl_c_the_worker_saves_and_ends(tmp_path: Path) -> None:
    def interrupt(line: Mapping[str, Any]) -> None:
        if line.get("update") == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_in_worker(*job_in(tmp_path, "long"), hear=interrupt)
    assert int((tmp_path / "saved").read_text()) >= 4 and not _alive(tmp_path)


def test_when_the_client_is_killed_the_worker_ends(tmp_path: Path) -> None:
    command, job = job_in(tmp_path, "mute")
    code = (
        "import sys; from pathlib import Path; from orature.engines.training_worker import train_in_worker\n"
        f"train_in_worker({command!r}, Path({str(job)!r}), hear=lambda line: None)"
    )
    client = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    _until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "")
    assert _alive(tmp_path)
    client.send_signal(signal.SIGKILL)
    client.wait()
    _until(lambda: not _alive(tmp_path))
    assert not (tmp_path / "saved").exists()


def _alive(folder: Path) -> bool:
    status = Path("/proc", (folder / "pid").read_text(), "stat")
    return status.exists() and status.read_text().rpartition(") ")[2][0] != "Z"


def _until(true: Any) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not happen within 30 s"
        time.sleep(0.05)
