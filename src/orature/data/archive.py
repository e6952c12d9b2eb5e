"""Archives as trees: tar (also gzip, bzip2, xz) as a stream, zip by its directory; nothing is unpacked to disk.

An archive is not trusted: members that would leave the folder (absolute names, `..`, links, devices) are refused and
counted, members and archives that swell beyond reason are stopped, a cut-off archive is an ArchiveError.

Example::

    tree = open_archive(path, path.open("rb").read(512))
    for name, data in tree.stream(lambda name: name.endswith(".mp3")):
        print(name, len(data))
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from orature.core.errors import ArchiveError
from orature.core.types import Reject
from orature.data.tree import ARCHIVE_SUFFIXES, Tree, inside, is_table

MAX_MEMBER_BYTES = 1 << 30
MAX_TABLES_BYTES = 2 << 30
MAX_RATIO = 100
"""An archive may swell to this many times its size; speech does not pack better than about 10 to 1."""
FREE_BYTES = 256 << 20
"""Up to here the ratio is not looked at (a few seconds of silence in wav pack very well)."""
_BLOCK = 1 << 18
_FETCH = "download it again and compare its size and checksum with the publisher's"
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, OSError)


def open_archive(path: Path, head: bytes) -> Tree | None:
    """The archive at `path` whose first 512 bytes are `head`, or None where it is no archive."""
    if zipfile.is_zipfile(path) or head.startswith(b"PK\x03\x04"):
        return ZipTree(path)
    packing = _packing(head)
    if packing == "gz" and path.name.lower().endswith((".jsonl.gz", ".json.gz")):
        return None
    if packing or head[257:262] == b"ustar" or (path.name.lower().endswith(".tar") and head.strip(b"\0")):
        return TarTree(path, packing)
    return None


def _packing(head: bytes) -> str:
    for magic, name in ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "xz")):
        if head.startswith(magic):
            return name
    return ""


def _label(path: Path, names: list[str]) -> str:
    """The single top folder of the archive, else its file name without endings."""
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    if len(tops) == 1 and all("/" in name for name in names):
        return tops.pop()
    stem = path.name
    for suffix in sorted(ARCHIVE_SUFFIXES, key=len, reverse=True):
        stem = stem.removesuffix(suffix)
    return stem


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _Archive(Tree):
    """What tar and zip have in common: the listing with its refusals."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.absolute(), "")
        self._names: dict[str, None] = {}
        self._tables: dict[str, bytes] = {}

    @property
    def archived(self) -> bool:
        return True

    def names(self) -> list[str]:
        return list(self._names)

    def find(self, name: str) -> Path | None:
        return None

    def open_table(self, name: str) -> BinaryIO:
        return io.BytesIO(self._tables[name])

    def _admit(self, raw: str, plain: bool) -> str | None:
        """The safe name of a member; None (and a Reject) where it escapes or is there twice."""
        name = inside(_printable(raw)) if plain else None
        if name is None:
            why = "its name leads out of the archive" if plain else "it is a link or a device, not a file"
            self.rejects.append(Reject(_printable(raw), "archive-escape", why, self.path.name))
            return None
        if name in self._names:
            why = "the archive holds two members of this name; the first counts"
            self.rejects.append(Reject(name, "archive-duplicate", why, self.path.name))
            return None
        self._names[name] = None
        return name

    def _keep_table(self, name: str, data: bytes) -> None:
        self._tables[name] = data
        if sum(map(len, self._tables.values())) > MAX_TABLES_BYTES:
            raise ArchiveError("the tables in the archive are too large to read", where=str(self.path))

    @contextmanager
    def _explained(self, read: Callable[[], int]) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            raise ArchiveError(
                f"the archive is cut off or damaged after {read()} members ({error or error.__class__.__name__})",
                where=str(self.path),
                next_step=_FETCH,
            ) from error


class _Guard(io.RawIOBase):
    """Passes unpacked bytes on and stops when there are far more of them than the archive can honestly hold."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self._limit = max(FREE_BYTES, path.stat().st_size * MAX_RATIO)
        self._total = 0
        self._tail = b""

    def drain(self) -> None:
        """Reads to the end, where a checksum may wait and the zero block that closes every tar archive must stand."""
        while self.read(_BLOCK):
            pass
        if len(self._tail) < 512 or self._tail.strip(b"\0"):
            raise EOFError("the closing block is missing")

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if 0 <= size < _BLOCK else _BLOCK)
        self._total += len(data)
        self._tail = (self._tail + data[-512:])[-512:]
        if self._total > self._limit:
            raise ArchiveError(
                f"the archive swells to more than {MAX_RATIO} times its size: a decompression bomb",
                where=str(self._path),
                next_step="unpack it by hand if you trust it, and give the folder",
            )
        return data


class TarTree(_Archive):
    """A tar archive, read from the front each time: once for the tables, once for the audio."""

    def __init__(self, path: Path, packing: str) -> None:
        super().__init__(path)
        self._packing = packing
        count = 0
        with self._explained(lambda: count):
            for member, read in self._members():
                count += 1
                if member.isdir():
                    continue
                name = self._admit(member.name, member.isreg())
                if name is not None and is_table(name) and member.size <= MAX_MEMBER_BYTES:
                    self._keep_table(name, read())
        self.label = _label(path, list(self._names))

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
        with self.path.open("rb") as raw:
            plain: BinaryIO = raw
            if self._packing == "gz":
                plain = cast(BinaryIO, gzip.GzipFile(fileobj=raw))
            elif self._packing == "bz2":
                plain = cast(BinaryIO, bz2.BZ2File(raw))
            elif self._packing == "xz":
                plain = cast(BinaryIO, lzma.LZMAFile(raw))  # noqa: SIM115  (closed with raw)
            guard = _Guard(plain, self.path)
            with tarfile.open(fileobj=cast(BinaryIO, guard), mode="r|", bufsize=_BLOCK, errorlevel=2) as tar:
                for member in tar:
                    yield member, lambda member=member: _contents(tar, member)  # type: ignore[misc]
                    tar.members.clear()  # type: ignore[attr-defined]  # a million members must not pile up
            guard.drain()

    def stream(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | Reject]]:
        count = 0
        done: set[str] = set()
        with self._explained(lambda: count):
            for member, read in self._members():
                count += 1
                name = inside(_printable(member.name)) if member.isreg() else None
                if name is None or name in done or not wanted(name):
                    continue
                done.add(name)
                if member.size > MAX_MEMBER_BYTES:
                    yield name, _too_large(name, member.size)
                else:
                    yield name, read()


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    data = stream.read() if stream is not None else b""
    if len(data) != member.size:
        raise EOFError(f"{member.name} has {len(data)} of {member.size} bytes")
    return data


def _too_large(name: str, size: int) -> Reject:
    return Reject(name, "archive-bomb", f"the member unpacks to {size} bytes, more than {MAX_MEMBER_BYTES}", name)


class ZipTree(_Archive):
    """A zip archive, read by its directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        with self._explained(lambda: 0), zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            self._check_whole(infos)
            for info in infos:
                kind = stat.S_IFMT(info.external_attr >> 16)
                if info.is_dir():
                    continue
                name = self._admit(info.filename, kind in (0, stat.S_IFREG))
                if name is None:
                    continue
                self._infos[name] = info
                if is_table(name) and info.file_size <= MAX_MEMBER_BYTES:
                    self._keep_table(name, archive.read(info))
        self.label = _label(path, list(self._names))

    def _check_whole(self, infos: list[zipfile.ZipInfo]) -> None:
        if any(info.flag_bits & 1 for info in infos):
            raise ArchiveError(
                "the archive is encrypted", where=str(self.path), next_step="unpack it with its password"
            )
        if any(info.compress_type not in (0, 8, 12, 14) or info.extract_version > 63 for info in infos):
            what = "the archive is packed by a method that Python cannot read"
            raise ArchiveError(what, where=str(self.path), next_step="unpack it by hand and give the folder")
        total = sum(info.file_size for info in infos)
        if total > max(FREE_BYTES, self.path.stat().st_size * MAX_RATIO):
            raise ArchiveError(
                f"the archive swells to {total} bytes, more than {MAX_RATIO} times its size: a decompression bomb",
                where=str(self.path),
                next_step="unpack it by hand if you trust it, and give the folder",
            )

    def stream(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | Reject]]:
        with self._explained(lambda: 0), zipfile.ZipFile(self.path) as archive:
            for name, info in self._infos.items():
                if not wanted(name):
                    continue
                if info.file_size > MAX_MEMBER_BYTES:
                    yield name, _too_large(name, info.file_size)
                    continue
                try:
                    data: bytes | Reject = archive.read(info)
                except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
                    data = Reject(name, "archive-damaged", f"the member cannot be unpacked ({error})", name)
                yield name, data
