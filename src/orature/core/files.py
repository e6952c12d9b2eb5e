"""Write beside, fsync, rename (law 3): a name either holds the whole content or is not there.

Example::

    with write_beside(folder / "checkpoint.safetensors") as part:
        save(part)
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError, StoreError
from orature.core.faults import write_point
from orature.core.identity import canonical_json

PART = ".part-"
_FLUSHES = 16
_numbers = itertools.count()


def part_path(path: Path) -> Path:
    """A name beside `path` that nobody else uses and that `clear_parts` knows as unfinished."""
    return path.with_name(f"{PART}{os.getpid()}-{next(_numbers)}-{path.name}")


def fsync_path(path: Path) -> None:
    """Flush one file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(path: Path) -> None:
    """Flush a file, or a folder with everything below it: files first, many at a time (the disk bundles them)."""
    if not path.is_dir():
        fsync_path(path)
        return
    places = [(Path(folder), names) for folder, _, names in os.walk(path)]
    files = [folder / name for folder, names in places for name in names]
    if len(files) > 2:
        with ThreadPoolExecutor(_FLUSHES) as pool:
            list(pool.map(fsync_path, files))
    else:
        for file in files:
            fsync_path(file)
    for folder, _ in places:
        fsync_path(folder)


def remove(path: Path) -> None:
    """Remove a file or a folder; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(new: Path, path: Path) -> None:
    """Rename `new` to `path`, in place of what stood there, and flush the folder."""
    if path.is_dir() and not path.is_symlink():
        old = part_path(path)
        path.rename(old)
        new.rename(path)
        remove(old)
    else:
        new.replace(path)
    fsync_path(path.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk knows no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Yield a name to write a file or a folder to; on clean exit it is flushed and becomes `path`, else it is removed.

    StoreError when nothing was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    try:
        write_point("part-open")
        yield part
        if not part.exists():
            raise StoreError(f"nothing was written to {path.name}", where=str(path))
        write_point("part-written")
        fsync_tree(part)
        write_point("part-synced")
        replace(part, path)
        write_point("part-renamed")
    finally:
        remove(part)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, UTF-8, into `path` itself (a path that `write_beside` gave)."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_json(path: Path, data: Any) -> None:
    """Canonical JSON and a newline, written beside and renamed."""
    with write_beside(path) as part:
        part.write_text(canonical_json(data) + "\n", encoding="utf-8")


def clear_parts(folder: Path) -> None:
    """Remove what a crash left unfinished anywhere below `folder`."""
    for place, folders, names in os.walk(folder):
        for name in [name for name in folders + names if name.startswith(PART)]:
            remove(Path(place, name))
        folders[:] = [name for name in folders if not name.startswith(PART)]


_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


class full_disk_explained:
    """Context: a full disk or quota, or a folder `where` that cannot be written, becomes a StoreError with advice."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Writers that are not Python's (model weights, audio) pass on only the text of the system's error.
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or os.strerror(errno.ENOSPC) in str(error):
            raise StoreError(
                "the disk is full; nothing half-written is kept",
                where=str(self.where),
                next_step="free some space (`orature store gc` helps), then run the same command again to go on",
            ) from error
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and _concerns(error.filename, self.where):
            raise StoreError(
                f"nothing can be written there: {os.strerror(error.errno)}",
                where=str(self.where),
                next_step="name a folder that you may write to, or mend its permissions",
            ) from error


def _concerns(name: object, where: Path) -> bool:
    """Is the file `name` below the folder `where`, or where that folder would have to be?"""
    if not isinstance(name, str | bytes):
        return False
    path, place = Path(os.fsdecode(name)).absolute(), where.absolute()
    return path.is_relative_to(place) or place.is_relative_to(path)


def refuse_unwritable(folder: Path) -> None:
    """ConfigError when `folder` is, or would lie below, a file or a folder that may not be written: ask before work.

    A folder is made there and removed again: for root every permission says yes, also where nothing can be made (/proc,
    a disk mounted read-only).
    """
    place = next(above for above in (folder.absolute(), *folder.absolute().parents) if above.exists())
    why = "is a file"
    if place.is_dir():
        tried = part_path(place / "tried")
        try:
            tried.mkdir()
            tried.rmdir()
            return
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "has no room left: the disk is full" if full else "may not be written"
    raise ConfigError(f"{place} {why}", where=str(folder), next_step="name another folder to write to")
