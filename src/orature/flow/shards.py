"""Shards: long work over many rows in whole pieces that survive a crash and are not redone.

Example::

    results = map_shards(out / "audio", marks, batches, convert, workers=2)
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from orature.core.errors import StoreError
from orature.core.faults import write_point
from orature.core.files import fsync_path, fsync_tree, part_path, remove, write_json
from orature.core.identity import canonical_json, digest_bytes
from orature.flow.executor import run_tasks

SHARD_NAME = "shard.json"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Task(Generic[T]):
    index: int
    rows: int
    digest: str
    batch: Sequence[T]


@dataclass(frozen=True)
class _Worker(Generic[T]):
    """Runs in the worker process: makes one shard beside its place; only the parent renames."""

    folder: Path
    work: Callable[[Sequence[T], Path], dict[str, Any]]

    def __call__(self, task: _Task[T]) -> tuple[_Task[T], Path]:
        part = part_path(self.folder / shard_name(task.index))
        part.mkdir()
        whole = False
        try:
            result = self.work(task.batch, part)
            if (part / SHARD_NAME).exists():
                raise StoreError(f"the name {SHARD_NAME} is reserved inside a shard", where=str(self.folder))
            (part / SHARD_NAME).write_text(canonical_json(result) + "\n", encoding="utf-8")
            fsync_tree(part)
            write_point("shard-worked")
            whole = True
        finally:
            if not whole:
                shutil.rmtree(part, ignore_errors=True)
        return _Task(task.index, task.rows, task.digest, ()), part


@dataclass
class ShardMap(Generic[T]):
    """One mapping of `work` over batches into `folder`; `marks` holds the digest of each shard's rows."""

    folder: Path
    marks: Path
    work: Callable[[Sequence[T], Path], dict[str, Any]]
    workers: int = 1
    on_done: Callable[[int, bool], None] = lambda rows, kept: None
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    remade: int = 0

    def run(self, batches: Iterable[Sequence[T]]) -> list[dict[str, Any]]:
        """What `work` returned for each batch, in the order of the batches; whole shards of an earlier try are kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.marks.mkdir(parents=True, exist_ok=True)
        todo = ((task.index, task) for task in self._todo(batches))
        for _, (task, part) in run_tasks(todo, _Worker(self.folder, self.work), workers=self.workers):
            self._finish(task, part)
        wanted = {shard_name(index) for index in range(len(self.results))}
        for path in [path for path in self.folder.iterdir() if path.name not in wanted]:
            remove(path)
        return [self.results[index] for index in range(len(self.results))]

    def _todo(self, batches: Iterable[Sequence[T]]) -> Iterator[_Task[T]]:
        for index, batch in enumerate(batches):
            task = _Task(index, len(batch), digest_bytes(pickle.dumps(batch, protocol=4)), batch)
            if self._is_made(task):
                self._take(task, kept=True)
            else:
                yield task

    def _is_made(self, task: _Task[T]) -> bool:
        place = self.folder / shard_name(task.index)
        if not (place / SHARD_NAME).is_file():
            return False
        mark = self._mark(task.index)
        if mark.is_file() and mark.read_text(encoding="utf-8").strip() == canonical_json(task.digest):
            return True
        self.remade += 1
        remove(place)
        return False

    def _mark(self, index: int) -> Path:
        return self.marks / f"{shard_name(index)}.json"

    def _finish(self, task: _Task[T], part: Path) -> None:
        write_json(self._mark(task.index), task.digest)
        write_point("shard-marked")
        part.rename(self.folder / shard_name(task.index))
        fsync_path(self.folder)
        write_point("shard-renamed")
        self._take(task, kept=False)

    def _take(self, task: _Task[T], *, kept: bool) -> None:
        text = (self.folder / shard_name(task.index) / SHARD_NAME).read_text(encoding="utf-8")
        self.results[task.index] = json.loads(text)
        self.on_done(task.rows, kept)


def shard_name(index: int) -> str:
    """Folder name of a shard: "00000"."""
    return f"{index:05d}"
