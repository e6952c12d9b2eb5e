"""Shards: long work over many rows in whole pieces that survive a crash and are not redone.

Example::

    results = ShardMap(out / "audio", marks, convert, workers=2).run(batches)
"""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from orature.core.errors import StoreError
from orature.core.faults import write_point
from orature.core.files import PART, fsync_path, fsync_tree, part_path, remove, write_json
from orature.core.identity import canonical_json, digest_bytes
from orature.flow.executor import run_tasks
from orature.flow.executor_ray import refuse_missing, sizes_of

SHARD_NAME = "shard.json"
MOST_PACKED = 1 << 30
"""Bytes that one shard may bring back from another machine."""
T = TypeVar("T")
Work = Callable[[Sequence[T], Path], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Task(Generic[T]):
    index: int
    rows: int
    digest: str
    batch: Sequence[T]

    def spent(self) -> _Task[T]:
        return _Task(self.index, self.rows, self.digest, ())


@dataclass(frozen=True)
class _Worker(Generic[T]):
    """Runs in the worker process: makes one shard beside its place and puts it there.

    So a shard that is whole is never lost with the driver; and one that the dead predecessor of this worker had put in
    its place is not made again.
    """

    folder: Path
    marks: Path
    work: Work[T]

    def __call__(self, task: _Task[T]) -> tuple[_Task[T], None]:
        if not is_whole(self.folder, self.marks, task):
            part = part_path(self.folder / shard_name(task.index))
            part.mkdir()
            try:
                _fill(part, self.work, task)
                fsync_tree(part)
                write_point("shard-worked")
                settle(part, self.folder, self.marks, task)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return task.spent(), None


def settle(part: Path, folder: Path, marks: Path, task: _Task[Any]) -> None:
    """Puts a finished shard in its place, after the mark that says from which rows it was made."""
    write_json(mark_of(marks, task.index), task.digest)
    write_point("shard-marked")
    try:
        part.rename(folder / shard_name(task.index))
    except OSError:
        if not is_whole(folder, marks, task):  # the worker of a driver that was killed may have been quicker
            raise
    fsync_path(folder)
    write_point("shard-renamed")


def is_whole(folder: Path, marks: Path, task: _Task[Any]) -> bool:
    """Does the shard lie in its place, made from the rows of this task?"""
    mark = mark_of(marks, task.index)
    made = (folder / shard_name(task.index) / SHARD_NAME).is_file() and mark.is_file()
    return made and mark.read_text(encoding="utf-8").strip() == canonical_json(task.digest)


def mark_of(marks: Path, index: int) -> Path:
    """The file with the digest of a shard's rows."""
    return marks / f"{shard_name(index)}.json"


Packed = dict[str, bytes]
"""The files of a shard by their names below its folder."""


@dataclass(frozen=True)
class _Remote(Generic[T]):
    """Runs on any machine: makes one shard in a folder that is gone afterwards, and brings its files back."""

    work: Work[T]
    needs: dict[str, int]

    def __call__(self, task: _Task[T]) -> tuple[_Task[T], Packed]:
        refuse_missing(self.needs)
        with tempfile.TemporaryDirectory(prefix="orature-shard-") as place:
            folder = Path(place, shard_name(task.index))
            folder.mkdir()
            _fill(folder, self.work, task)
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            if size > MOST_PACKED:
                raise StoreError(
                    f"a shard of {size >> 20} MiB is too large to come back through Ray (at most {MOST_PACKED >> 20})",
                    where=self.work.__class__.__name__,
                    next_step="make the shards smaller",
                )
            return task.spent(), {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _fill(folder: Path, work: Work[T], task: _Task[T]) -> None:
    result = work(task.batch, folder)
    if (folder / SHARD_NAME).exists():
        raise StoreError(f"the name {SHARD_NAME} is reserved inside a shard", where=str(folder))
    (folder / SHARD_NAME).write_text(canonical_json(result) + "\n", encoding="utf-8")


@dataclass
class ShardMap(Generic[T]):
    """One mapping of `work` over batches into `folder`; `marks` holds the digest of each shard's rows.

    `needs` are files and folders that `work` reads and that every machine of a Ray cluster must have.
    """

    folder: Path
    marks: Path
    work: Work[T]
    workers: int = 1
    on_done: Callable[[int, bool], None] = lambda rows, kept: None
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    remade: int = 0
    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    needs: Sequence[Path] = ()
    gpus: float = 0
    lost: Counter[int] = field(default_factory=Counter)
    """How often a shard in the making was lost with its worker, by its number."""

    def run(self, batches: Iterable[Sequence[T]]) -> list[dict[str, Any]]:
        """What `work` returned for each batch, in the order of the batches; whole shards of an earlier try are kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.marks.mkdir(parents=True, exist_ok=True)
        todo = ((task.index, task) for task in self._todo(batches))
        work: Any = _Worker(self.folder, self.marks, self.work)
        if self.executor == "ray":
            work = _Remote(self.work, sizes_of(self.needs))
        how: dict[str, Any] = {"workers": self.workers, "executor": self.executor, "address": self.address}
        how |= {"gpus": self.gpus}
        for _, (task, made) in run_tasks(todo, work, on_death=self._lose, **how):
            if made is not None:
                settle(self._unpacked(task, made), self.folder, self.marks, task)
            self._take(task, kept=False)
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
        if is_whole(self.folder, self.marks, task):
            return True
        place = self.folder / shard_name(task.index)
        if (place / SHARD_NAME).is_file():
            self.remade += 1
            remove(place)
        return False

    def _lose(self, index: int) -> None:
        """What a dead worker left of its shard is removed at once: it could be large, and it is made again."""
        self.lost[index] += 1
        for part in self.folder.glob(f"{PART}*-{shard_name(index)}"):
            remove(part)

    def _unpacked(self, task: _Task[T], files: Packed) -> Path:
        part = part_path(self.folder / shard_name(task.index))
        for name, content in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(content)
        fsync_tree(part)
        write_point("shard-worked")
        return part

    def _take(self, task: _Task[T], *, kept: bool) -> None:
        text = (self.folder / shard_name(task.index) / SHARD_NAME).read_text(encoding="utf-8")
        self.results[task.index] = json.loads(text)
        self.on_done(task.rows, kept)


def shard_name(index: int) -> str:
    """Folder name of a shard: "00000"."""
    return f"{index:05d}"
