"""A source as a tree of names: a folder, or an archive that is read as a stream and never unpacked to disk.

Example::

    tree = open_tree(Path("cv-corpus-25.0-2026-03-01-que.tar.gz"))
    print(tree.label, tree.names()[:3])
    drafts = attach(tree, rows, seen, strays=True)     # rows get their audio in the order of the archive
"""

from __future__ import annotations

import os
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from orature.core.errors import ArchiveError, CorpusError
from orature.core.types import Reject
from orature.data.audio import AUDIO_SUFFIXES
from orature.data.draft import Draft, Seen

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
TABLE_SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".jsonl.gz", ".txt")
_CHOICES = "give a folder, a manifest file, an audio file, or an archive (" + " ".join(ARCHIVE_SUFFIXES) + ")"


def is_audio(name: str) -> bool:
    """Whether a name looks like a sound file (hidden files and macOS leftovers do not count)."""
    base = name.rsplit("/", 1)[-1]
    return base.lower().endswith(AUDIO_SUFFIXES) and not base.startswith(".") and not name.startswith("__MACOSX/")


def is_table(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return base.lower().endswith(TABLE_SUFFIXES) and not base.startswith(".") and not name.startswith("__MACOSX/")


class Tree(ABC):
    """Names with `/` between parts, relative to the root; tables by name, audio by path or in one pass."""

    def __init__(self, path: Path, label: str) -> None:
        self.path = path
        self.label = label
        self.rejects: list[Reject] = []
        """Members of an archive that may not be read (each a row that was seen and refused)."""

    @abstractmethod
    def names(self) -> list[str]:
        """All files: sorted in a folder, in the order of storage in an archive."""

    @abstractmethod
    def open_table(self, name: str) -> BinaryIO:
        """The bytes of a small file (a manifest), to be closed by the caller."""

    @abstractmethod
    def find(self, name: str) -> Path | None:
        """The file behind a name, or None where audio must be taken from `stream`."""

    @abstractmethod
    def stream(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | Reject]]:
        """The contents of the wanted members in the order of storage."""

    @property
    def archived(self) -> bool:
        return False


class FolderTree(Tree):
    """A folder on disk, or only the named files of it."""

    def __init__(self, path: Path, only: tuple[str, ...] = ()) -> None:
        super().__init__(path.absolute(), path.absolute().name)
        self._only = only
        self._names: list[str] | None = list(only) or None

    def names(self) -> list[str]:
        if self._names is None:
            found: list[str] = []
            for folder, inner, files in os.walk(self.path):
                inner[:] = sorted(name for name in inner if not name.startswith("."))
                start = Path(folder).relative_to(self.path).as_posix()
                prefix = "" if start == "." else start + "/"
                found += [prefix + name for name in files if not name.startswith(".")]
            self._names = sorted(found)
        return self._names

    def open_table(self, name: str) -> BinaryIO:
        try:
            return (self.path / name).open("rb")
        except OSError as error:
            raise CorpusError(f"{name} cannot be read ({error.strerror})", where=str(self.path)) from error

    def find(self, name: str) -> Path | None:
        return self.path / name

    def stream(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | Reject]]:
        return ((name, (self.path / name).read_bytes()) for name in self.names() if wanted(name))


def open_tree(path: Path) -> Tree:
    """The tree at `path`; CorpusError where nothing is there, ArchiveError where an archive cannot be opened."""
    path = Path(path)
    try:
        if path.is_dir():
            return FolderTree(path)
        if not path.exists():
            raise CorpusError("there is no such file or folder", where=str(path), next_step=_CHOICES)
        with path.open("rb") as stream:
            head = stream.read(512)
    except (OSError, ValueError) as error:
        raise CorpusError(f"the source cannot be read ({error})", where=ascii(str(path)), next_step=_CHOICES) from error
    from orature.data.archive import open_archive

    archive = open_archive(path, head)
    if archive is not None:
        return archive
    if path.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise ArchiveError(
            "this is no archive, whatever its name says" if head else "this archive is empty",
            where=str(path),
            next_step="download it again and compare its size and checksum with the publisher's",
        )
    if is_audio(path.name) or is_table(path.name):
        return FolderTree(path.parent, only=(path.name,))
    raise CorpusError("this file is neither an archive, a manifest nor a sound", where=str(path), next_step=_CHOICES)


def inside(name: str) -> str | None:
    """`name` without `.` and `//`, or None where it leaves the tree (absolute, a drive, or `..`)."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or name[0] in "/\\" or ".." in parts or parts[0][1:2] == ":" or "\0" in name:
        return None
    return "/".join(parts)


def referred(folder: str, given: str) -> str | None:
    """The name that a row in `folder` means by `given` (`..` resolved), or None where it lies outside the tree."""
    joined = posixpath.normpath(f"{folder}/{given}" if folder and not given.startswith("/") else given)
    return inside(joined)


def attach(
    tree: Tree, rows: Iterable[Draft | Reject], seen: Seen, *, strays: bool, refused: AbstractSet[str] = frozenset()
) -> Iterator[Draft | Reject]:
    """Gives every draft its audio by `audio_name`.

    In a folder in the order of the rows; in an archive in the order of its members, so that it is read once. A draft
    whose audio is not there becomes a Reject "audio-missing". A recording that no row names becomes a Reject
    "audio-without-row" if `strays`, and is noted otherwise; `refused` (filled while `rows` are read) names recordings
    whose row the reader itself refused.
    """
    named: set[str] = set()
    if tree.archived:
        yield from _attach_streamed(tree, rows, named)
    else:
        for row in rows:
            if isinstance(row, Reject):
                yield row
                continue
            named.add(row.audio_name)
            yield replace(row, audio=tree.find(row.audio_name))
    left = [name for name in tree.names() if is_audio(name) and name not in named and name not in refused]
    if not strays:
        seen.note("audio files that no row names", len(left))
        return
    for name in left:
        seen.rows += 1
        yield Reject(name.rsplit(".", 1)[0], "audio-without-row", "no row of the tables names this recording", name)


def _attach_streamed(tree: Tree, rows: Iterable[Draft | Reject], named: set[str]) -> Iterator[Draft | Reject]:
    waiting: dict[str, list[Draft]] = {}
    for row in rows:
        if isinstance(row, Reject):
            yield row
        else:
            waiting.setdefault(row.audio_name, []).append(row)
    named.update(waiting)
    for name, data in tree.stream(waiting.__contains__):
        for draft in waiting.pop(name, ()):
            if isinstance(data, Reject):
                yield replace(data, id=draft.id, where=draft.where)
            else:
                yield replace(draft, audio=data)
    for drafts in waiting.values():
        for draft in drafts:
            detail = f"the archive has no member {draft.audio_name}"
            yield Reject(draft.id, "audio-missing", detail, draft.where)
