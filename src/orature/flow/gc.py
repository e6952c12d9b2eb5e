"""Garbage collection: drop what no recent run used and nothing that is kept was made from.

Example::

    removed = collect(store, keep_days=30, dry_run=True)
    sum(item.bytes for item in removed)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import Timeout

from orature.core.errors import StoreError
from orature.core.files import remove
from orature.flow.run import read_runs
from orature.flow.store import Store


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that was, or would be, removed; `bytes` is what that frees on the disk."""

    what: str
    key: str
    stage: str
    bytes: int


def collect(store: Store, *, keep_days: float, dry_run: bool) -> list[Removal]:
    """Remove artefacts that no run of the last `keep_days` days used, and unfinished work of no such run.

    Ancestors of what is kept are kept; a key that somebody holds, and a run that is still going on, are never touched.
    """
    with store.lock("store"):
        used = _used_keys(store, datetime.now(UTC) - timedelta(days=keep_days))
        kept = _with_ancestors(store, used)
        old = [("artefact", key) for key in sorted(set(store.keys()) - kept)]
        old += [("unfinished work", key) for key in _work_keys(store) if key not in used or store.folder(key).is_dir()]
        removed = [item for what, key in old for item in _drop(store, what, key, dry_run)]
    if not dry_run:
        store.empty_trash()
    return removed


def _used_keys(store: Store, since: datetime) -> set[str]:
    runs = [run for run in read_runs(store) if datetime.fromisoformat(run.updated) > since or run.is_going_on()]
    return {step.key for run in runs for step in run.steps}


def _with_ancestors(store: Store, keys: set[str]) -> set[str]:
    kept: set[str] = set()
    todo = list(keys)
    while todo:
        key = todo.pop()
        if key in kept:
            continue
        kept.add(key)
        try:
            todo += [ref.key for ref in store.info(key).inputs if not ref.is_external]
        except StoreError:
            continue
    return kept


def _drop(store: Store, what: str, key: str, dry_run: bool) -> Iterator[Removal]:
    """Nothing when somebody holds the key."""
    with suppress(Timeout), store.lock(key).acquire(timeout=0):
        is_artefact = what == "artefact"
        yield Removal(what, key, _stage(store, key), _bytes(store.folder(key) if is_artefact else store.work(key)))
        if is_artefact and not dry_run:
            store.drop(key)
            remove(store.logs(key))
        elif not dry_run:
            remove(store.work(key))


def _work_keys(store: Store) -> list[str]:
    work = store.root / "work"
    return sorted(path.name for path in work.iterdir()) if work.is_dir() else []


def _stage(store: Store, key: str) -> str:
    try:
        return store.info(key).stage if store.folder(key).is_dir() else ""
    except StoreError:
        return "damaged"


def _bytes(folder: Path) -> int:
    """Bytes that only this folder holds: a file that was published elsewhere as a hard link frees nothing."""
    stats = [path.lstat() for path in folder.rglob("*") if not path.is_dir()]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)
