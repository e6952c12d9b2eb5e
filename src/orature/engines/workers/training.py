"""A training worker's side of docs/voice_worker.md: a job file in, JSON lines out, checkpoints that survive anything.

It runs in the engine's own environment and imports nothing of Orature. `tell` and `run` need the standard library
alone; checkpoints are safetensors and JSON, so torch and safetensors are imported where they are written.

Example::

    def main(job):
        for update in range(...):
            ...
            tell("step", update=update, loss=0.7)
            if stopping():
                save(state, tensors, progress)
                raise Stopped

    sys.exit(run(main, sys.argv[1:]))
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

PROTOCOL = 1
DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
_CODES = {"config": BAD_INPUT, "corpus": BAD_INPUT, "model": BAD_INPUT, "not-installed": BAD_INPUT, "failed": FAILED}
_CURRENT = "checkpoint"
_stop = threading.Event()
_lines: list[Any] = []


class Trouble(Exception):
    """What ends a job: a kind (config, corpus, model, not-installed, failed), what, where, and what to do next."""

    def __init__(self, kind: str, what: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.kind, self.what, self.where, self.next_step = kind, what, where, next_step


class Stopped(Exception):
    """The job was asked to stop and has saved what it did."""


def tell(event: str, **fields: Any) -> None:
    """One line for the client: what happened, with its figures; silent before `run` and in tests."""
    if _lines:
        _lines[0].write(json.dumps({"event": event, **fields}).encode("ascii") + b"\n")
        _lines[0].flush()


def stopping() -> bool:
    """True once the client has asked to stop (SIGTERM): save, then raise Stopped."""
    return _stop.is_set()


def run(main: Callable[[dict[str, Any]], dict[str, Any]], arguments: list[str]) -> int:
    """Reads the job, does it, tells its result or what went wrong; the exit code.

    What the engine prints goes to standard error. When the client is gone (the end of standard input) the process ends
    at once: the last checkpoint counts.
    """
    _lines[:] = [os.fdopen(os.dup(1), "wb")]
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_client, daemon=True).start()
    try:
        if len(arguments) != 1:
            raise Trouble("config", "a training worker is given one job file")
        tell("done", **main(read_job(Path(arguments[0]))))
        return DONE
    except Trouble as trouble:
        _complain(trouble)
        return _CODES.get(trouble.kind, FAILED)
    except ImportError as error:
        _complain(Trouble("not-installed", str(error)))
        return BAD_INPUT
    except MemoryError as error:
        _complain(Trouble("failed", f"memory ran out: {error}", next_step="lower batch and raise accumulation"))
        return FAILED
    except Stopped:
        return INTERRUPTED


def read_job(path: Path) -> dict[str, Any]:
    """The job of a file; Trouble where it is none of this protocol."""
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Trouble("config", f"the job cannot be read: {error}", where=str(path)) from error
    if not isinstance(job, dict) or job.get("protocol") != PROTOCOL:
        raise Trouble("config", f"this worker trains by protocol {PROTOCOL}", where=str(path))
    return job


def _complain(trouble: Trouble) -> None:
    tell("error", kind=trouble.kind, what=trouble.what, where=trouble.where, next=trouble.next_step)


def _follow_client() -> None:
    while os.read(0, 1 << 12):
        pass
    os._exit(FAILED)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name to write a file or a folder to; on clean exit it is flushed to the disk and renamed to `path`."""
    part = path.with_name(path.name + ".writing")
    _remove(part)
    yield part
    for place in [*(sorted(part.rglob("*")) if part.is_dir() else []), part]:
        _flush(place)
    if path.is_dir():
        _remove(path)
    part.rename(path)
    _flush(path.parent)


def save(state: Path, tensors: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
    """A checkpoint of `progress["update"]`, unless it is there; the one before is removed once this one is whole."""
    place = state / f"{_CURRENT}-{int(progress['update']):08d}"
    if place.exists():
        return
    older = _checkpoints(state)
    with beside(place) as part:
        part.mkdir(parents=True)
        import_module("safetensors.torch").save_file(dict(tensors), part / "tensors.safetensors")
        (part / "progress.json").write_text(json.dumps(dict(progress)), encoding="utf-8")
    for path in older:
        _remove(path)


def restore(state: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Tensors and progress of the newest whole checkpoint, None where there is none."""
    found = _checkpoints(state)
    if not found:
        return None
    progress = json.loads((found[-1] / "progress.json").read_text(encoding="utf-8"))
    return import_module("safetensors.torch").load_file(found[-1] / "tensors.safetensors"), progress


def _checkpoints(state: Path) -> list[Path]:
    return sorted(path for path in state.glob(f"{_CURRENT}-*") if path.suffix != ".writing")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit("this file is a library: a training worker calls run(main, arguments)")
