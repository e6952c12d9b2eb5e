"""A run executes stages through the store, says what it does, and keeps a record of every step.

Example::

    run = Run(open_store(), recipe="up", command="orature up digits.tar")
    corpus = run.do(Ingest(source=source), on=Resources(workers=2))
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import Timeout
from pydantic import BaseModel

from orature.core.errors import Interrupted
from orature.core.faults import write_point
from orature.core.files import full_disk_explained, write_json
from orature.core.progress import clock, say
from orature.core.provenance import now, versions
from orature.flow.make import make_artefact
from orature.flow.ref import Ref, Resources
from orature.flow.stage import Stage
from orature.flow.store import Store

State = Literal["running", "done", "cached", "failed", "interrupted"]


class Step(BaseModel):
    """One stage in a run; `seconds` of wall time."""

    key: str
    stage: str
    state: State
    digest: str = ""
    seconds: float = 0.0


class RunRecord(BaseModel):
    """The content of runs/<id>.json; `began` has microseconds, since runs are told in the order in which they began."""

    id: str
    recipe: str
    command: str
    began: str
    updated: str
    pid: int
    host: str
    versions: dict[str, str]
    steps: list[Step] = []

    def is_going_on(self) -> bool:
        """Is the process of this run still there? On another machine nobody knows: a running step counts as yes."""
        if self.host != socket.gethostname():
            return any(step.state == "running" for step in self.steps)
        try:
            os.kill(self.pid, 0)
        except OSError as error:
            return error.errno == errno.EPERM
        return self.pid != os.getpid() or any(step.state == "running" for step in self.steps)

    def state(self) -> str:
        """running, done, failed, or interrupted (also when the process is gone in the middle of a step)."""
        if any(step.state == "running" for step in self.steps):
            return "running" if self.is_going_on() else "interrupted"
        last = self.steps[-1].state if self.steps else "done"
        return "done" if last == "cached" else last


class Run:
    """One execution of a recipe; the record in runs/<id>.json appears with the first step."""

    def __init__(self, store: Store, recipe: str, command: str) -> None:
        self.store = store
        moment = datetime.now(UTC)
        self.record = RunRecord(
            id=f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
            recipe=recipe,
            command=command,
            began=moment.isoformat(timespec="microseconds"),
            updated=now(),
            pid=os.getpid(),
            host=socket.gethostname(),
            versions=versions(),
        )

    @property
    def id(self) -> str:
        """Name of this run: time of day (UTC) and four random hex digits."""
        return self.record.id

    def path_of(self, ref: Ref) -> Path:
        """Folder of an artefact or path of an external input."""
        return self.store.path_of(ref)

    def planned(self, stage: Stage) -> Literal["done", "todo"]:
        """What `do` would meet, without doing anything."""
        return "todo" if self.store.get(stage.key()) is None else "done"

    def do(self, stage: Stage, *, on: Resources | None = None) -> Ref:
        """The artefact of `stage`: at once if it is there, else made under the lock of its key.

        Interrupted on Ctrl-C, SIGTERM and SIGHUP; StoreError on a full disk or a damaged artefact. Whatever happens,
        the same command goes on from what is finished.
        """
        key, began = stage.key(), time.monotonic()
        step = Step(key=key, stage=stage.name, state="running")
        self.record.steps.append(step)
        with self._settled(step, began), _signals_interrupt(), full_disk_explained(self.store.root):
            with self.store.lock("store"):
                self._save()
                ref = self.store.get(key)
            write_point("run-recorded")
            if ref is None:
                ref = self._made(stage, key, step, on or Resources())
            else:
                step.state = "cached"
            step.digest = ref.digest
        if step.state == "cached":
            say(f"{stage.name}: already done (key {key[:12]})")
        else:
            say(f"{stage.name}: done in {clock(step.seconds)} (key {key[:12]})")
        return ref

    def _made(self, stage: Stage, key: str, step: Step, resources: Resources) -> Ref:
        lock = self.store.lock(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = Path(lock.lock_file).read_text(encoding="utf-8").strip() or "another process"
            say(f"{stage.name}: waiting for {holder}, which is making key {key[:12]}")
            lock.acquire()
        try:
            ref = self.store.get(key)
            if ref is not None:
                step.state = "cached"
                return ref
            Path(lock.lock_file).write_text(f"process {self.record.pid} on {self.record.host}\n", encoding="utf-8")
            info = make_artefact(self.store, stage, resources, command=self.record.command, run_id=self.id)
            step.state = "done"
            return info.ref()
        finally:
            lock.release()

    @contextmanager
    def _settled(self, step: Step, began: float) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt as stop:
            step.state = "interrupted"
            again = "run the same command again to go on"
            raise Interrupted(f"{step.stage} was stopped", where=str(self.store.root), next_step=again) from stop
        finally:
            step.state = "failed" if step.state == "running" else step.state
            step.seconds = round(time.monotonic() - began, 3)
            with suppress(OSError):
                self._save()

    def _save(self) -> None:
        self.record.updated = now()
        write_json(self.store.root / "runs" / f"{self.id}.json", self.record.model_dump(mode="json"))


def read_runs(store: Store) -> list[RunRecord]:
    """All runs of a store, oldest first; a record that cannot be read is left out."""
    records = []
    for path in (store.root / "runs").glob("*.json"):
        with suppress(ValueError):  # pydantic's ValidationError is one
            record = RunRecord.model_validate_json(path.read_bytes())
            records.append((datetime.fromisoformat(record.began), record.id, record))
    return [record for *_, record in sorted(records, key=lambda one: one[:2])]


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end the work as Ctrl-C does, unless somebody else handles or ignores them."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
