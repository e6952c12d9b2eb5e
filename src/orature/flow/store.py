"""The store: artefacts by key, complete or not there at all.

Example::

    store = open_store(None)            # $ORATURE_STORE or ./.orature
    ref = store.find("1a2b3c")
    store.lineage(ref), store.verify(ref.key)
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from orature.core.errors import BadInput, ConfigError, StoreError
from orature.core.files import PART, full_disk_explained, link_or_copy, part_path, refuse_unwritable, remove, replace
from orature.flow.artefact import INFO_NAME, MEND, ArtefactInfo, find_problems, read_info, walk_files
from orature.flow.ref import EXTERNAL, Ref

if TYPE_CHECKING:
    from orature.flow.gc import Removal

HOME = ".orature"
_KEY = re.compile(r"[0-9a-f]{64}")


class Store:
    """Folder `root` with artefacts/, work/, logs/, locks/, runs/, trash/; made on first write."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.artefacts, self.trash = self.root / "artefacts", self.root / "trash"

    def folder(self, key: str) -> Path:
        """Where the artefact of `key` lies or will lie."""
        return self.artefacts / key

    def work(self, key: str) -> Path:
        """Where it is made, with what a crash left of it."""
        return self.root / "work" / key

    def logs(self, key: str) -> Path:
        """Where its stage keeps logs, which survive and never count."""
        return self.root / "logs" / key

    def lock(self, name: str) -> FileLock:
        """The lock of a key (held while it is made or removed), or "store" (while it is decided what is in use)."""
        path = self.root / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, poll_interval=0.1)

    def keys(self) -> list[str]:
        """Keys of all artefacts, sorted."""
        if not self.artefacts.is_dir():
            return []
        return sorted(path.name for path in self.artefacts.iterdir() if _KEY.fullmatch(path.name))

    def get(self, key: str) -> Ref | None:
        """The artefact of `key`, None if not made yet; StoreError if files are missing or of a wrong size."""
        if not self.folder(key).is_dir():
            return None
        info = self.info(key)
        problems = find_problems(self.folder(key), info, full=False)
        if problems:
            more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise StoreError(
                f"the stored result of {info.stage} is damaged: {'; '.join(problems[:3])}{more}",
                where=str(self.folder(key)),
                next_step=MEND,
            )
        return info.ref()

    def path_of(self, ref: Ref) -> Path:
        """Folder of an artefact or path of an external input; StoreError when it is not there."""
        path = Path(ref.path) if ref.is_external else self.folder(ref.key)
        if not path.exists():
            kind = f"the input {ref.stage}" if ref.is_external else f"the result of {ref.stage} (key {ref.key[:12]})"
            raise StoreError(f"{kind} is not there any more", where=str(path), next_step="run the whole command again")
        return path

    def info(self, key: str) -> ArtefactInfo:
        """artefact.json of `key`; StoreError when missing or damaged."""
        info = read_info(self.folder(key))
        if info.key != key:
            raise StoreError("an artefact lies under a key that is not its own", where=str(self.folder(key)))
        return info

    def verify(self, key: str) -> list[str]:
        """Every problem of one artefact, all its bytes read again; empty when it is as it was made."""
        try:
            return find_problems(self.folder(key), self.info(key), full=True)
        except StoreError as error:
            return [error.what]

    def check(self, *, drop: bool = False) -> dict[str, list[str]]:
        """`verify` for the whole store: problems by key, whole artefacts left out. `drop` removes the damaged ones."""
        found = {key: problems for key in self.keys() if (problems := self.verify(key))}
        for key in found if drop else ():
            with self.lock(key):
                self.drop(key)
        if drop:
            self.empty_trash()
        return found

    def external(self, path: Path, stage: str, digest: str) -> Ref:
        """Name a file or folder from outside by its content digest."""
        return Ref(key=EXTERNAL, stage=stage, digest=digest, path=str(path.absolute()))

    def find(self, prefix: str) -> Ref:
        """The artefact whose key or digest begins with `prefix` (6 or more of 0-9a-f), or that was published there.

        BadInput when there is none or more than one.
        """
        if (Path(prefix) / INFO_NAME).is_file():
            return read_info(Path(prefix)).ref()
        if not re.fullmatch(r"[0-9a-f]{6,64}", prefix):
            raise BadInput(
                f"{prefix!r} is neither the beginning of a key or digest (at least 6 of 0-9a-f) nor a published folder",
                next_step="`orature runs` lists the keys",
            )
        keys = self.keys()
        hits = [self.info(key).ref() for key in keys if key.startswith(prefix)]
        hits = hits or [ref for ref in map(self._ref, keys) if ref and ref.digest.startswith(prefix)]
        if not hits:
            raise BadInput(f"no artefact begins with {prefix}", where=str(self.root), next_step="see `orature runs`")
        if len(hits) > 1:
            names = ", ".join(f"{ref.key[:12]} ({ref.stage})" for ref in hits[:8])
            raise BadInput(f"{prefix} is ambiguous: {names}", next_step="give more digits of the key")
        return hits[0]

    def _ref(self, key: str) -> Ref | None:
        try:
            return self.info(key).ref()
        except StoreError:
            return None

    def lineage(self, ref: Ref) -> list[ArtefactInfo]:
        """`ref` and everything of this store that it was made from, inputs before what reads them, each once."""
        return list(self._lineage(ref, set()))

    def _lineage(self, ref: Ref, seen: set[str]) -> Iterator[ArtefactInfo]:
        if ref.is_external or ref.key in seen or not self.folder(ref.key).is_dir():
            return
        seen.add(ref.key)
        info = self.info(ref.key)
        for parent in info.inputs:
            yield from self._lineage(parent, seen)
        yield info

    def drop(self, key: str) -> None:
        """Take an artefact out of sight with one rename; `empty_trash` frees the space."""
        self.trash.mkdir(parents=True, exist_ok=True)
        self.folder(key).rename(part_path(self.trash / key))

    def empty_trash(self) -> None:
        """Free the space of what was dropped."""
        if self.trash.is_dir():
            for path in self.trash.iterdir():
                shutil.rmtree(path, ignore_errors=True)

    def gc(self, *, keep_days: float, dry_run: bool) -> list[Removal]:
        """Drop what no run of the last `keep_days` days used, see `flow.gc`; what was or would be removed."""
        from orature.flow.gc import collect

        return collect(self, keep_days=keep_days, dry_run=dry_run)

    def publish(self, ref: Ref, to: Path) -> None:
        """Lay the artefact's files into folder `to`, as hard links where possible; `to` appears with one rename.

        StoreError when `to` holds anything but an earlier publication.
        """
        to = to.absolute()
        refuse_foreign(to)
        with full_disk_explained(to), self.lock("store"):
            to.parent.mkdir(parents=True, exist_ok=True)
            for left in to.parent.glob(f"{PART}*-{to.name}"):
                remove(left)
            part = part_path(to)
            try:
                for name in walk_files(self.path_of(ref)):
                    target = part / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    link_or_copy(self.folder(ref.key) / name, target)
                replace(part, to)
            finally:
                remove(part)


def refuse_foreign(to: Path) -> None:
    """`to` may be absent, empty, or exactly what `publish` once wrote; else StoreError. Ask before long work."""
    refuse_unwritable(to.parent)
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return
    names = set(walk_files(to)) if to.is_dir() else set()
    foreign = names - read_info(to).files.keys() - {INFO_NAME} if INFO_NAME in names else names or {to.name}
    if foreign:
        raise StoreError(
            f"{to} holds files that are not Orature's: {', '.join(sorted(foreign)[:3])}",
            where=str(to),
            next_step="choose another folder, or move these files away",
        )


def open_store(path: Path | None = None, *, must_exist: bool = False, beside: Path | None = None) -> Store:
    """The store at `path`, else at $ORATURE_STORE, else `.orature` in `beside` (the results) or in the working folder.

    A folder that holds `.orature` will do as well.

    ConfigError when `path` is a file, or with `must_exist` when there is no store.
    """
    root = path or Path(os.environ.get("ORATURE_STORE") or (beside or Path()) / HOME)
    if (root / HOME).is_dir():
        root = root / HOME
    if root.exists() and not root.is_dir():
        raise ConfigError(f"the store {root} is not a folder", next_step="name a folder with --store")
    if must_exist and not root.is_dir():
        raise ConfigError(f"there is no store at {root}", next_step="name it with --store, or set ORATURE_STORE")
    if not root.exists():
        refuse_unwritable(root)
    return Store(root)
