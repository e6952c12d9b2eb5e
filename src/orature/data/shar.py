"""Lhotse Shar: the recordings of many utterances in one tar, their cuts beside it, both in one order.

`CutSet.from_shar` reads such a folder; Orature reads a recording out of the tar by its place (`TarSpan`), so that a
corpus may point into it.

Example::

    with SharWriter(folder) as writer:
        place = writer.add(utterance, encode(samples, "flac"), "flac", {"seed": 7})
    samples = load(f"{folder / RECORDINGS}::{place.offset}+{place.size}")
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from orature.core.errors import CorpusError
from orature.core.types import Utterance
from orature.data.rows import cut_of, encode_line
from orature.data.tarspan import TarSpan

CUTS, RECORDINGS = "cuts.jsonl.gz", "recording.tar"
PLACE = "shar"
"""Name under `custom` of a cut: where its recording lies in the tar, [offset, size] in bytes."""


def shar_name(name: str, number: int) -> str:
    """`name` as it is called in a folder of many: "recording.000007.tar"."""
    stem, _, ending = name.partition(".")
    return f"{stem}.{number:06d}.{ending}"


def member_name(ident: str) -> str:
    """The id as a name inside a tar; CorpusError for an id that Lhotse could not find again under it."""
    if not ident or ident != ident.strip("/") or "//" in ident or "\0" in ident or {".", ".."} & set(ident.split("/")):
        raise CorpusError(f"{ident!r} cannot be the name of a recording in a tar", next_step="give the row another id")
    return ident


class SharWriter:
    """One pair of cuts and tar in `folder`; the same bytes for the same rows (no times, no owners)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[bytes] = []
        self._at = 0

    def __enter__(self) -> SharWriter:
        self._file = (self._folder / RECORDINGS).open("wb")
        return self

    def add(self, utterance: Utterance, sound: bytes, ending: str, extra: Mapping[str, Any]) -> TarSpan:
        """One more row; `sound` is its whole recording as a file with `ending` ("flac", "opus")."""
        name = member_name(utterance.id)
        start = self._member(f"{name}.{ending}", sound)
        cut = cut_of(utterance, {**extra, PLACE: [start, len(sound)]})
        cut["recording"]["sources"] = [{"type": "shar", "channels": [0], "source": ""}]
        self._member(f"{name}.json", encode_line(cut["recording"], where=ascii(utterance.id)))
        self._lines.append(encode_line(cut, where=ascii(utterance.id)))
        return TarSpan(str(self._folder / RECORDINGS), start, len(sound))

    def _member(self, name: str, content: bytes) -> int:
        """Writes one file; where its content begins."""
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(content), 0, 0o644
        header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        padding = bytes(-len(content) % tarfile.BLOCKSIZE)
        self._file.write(header + content + padding)
        start = self._at + len(header)
        self._at = start + len(content) + len(padding)
        return start

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        finally:
            self._file.close()
        memory = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=memory, mtime=0, compresslevel=4) as packed:
            packed.writelines(self._lines)
        (self._folder / CUTS).write_bytes(memory.getvalue())


def read_cuts(path: Path) -> Iterator[dict[str, Any]]:
    """The cuts of one shard; CorpusError where the file is damaged."""
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise CorpusError(f"a shard of the corpus is damaged ({error})", where=str(path)) from error


def cut_with_path(cut: dict[str, Any], tar: str) -> dict[str, Any]:
    """A cut of a shard as a cut of a corpus folder: its source names the place in `tar`."""
    offset, size = cut["custom"][PLACE]
    source = {"type": "file", "channels": [0], "source": str(TarSpan(tar, offset, size))}
    custom = {name: value for name, value in cut["custom"].items() if name != PLACE}
    return {**cut, "custom": custom, "recording": {**cut["recording"], "sources": [source]}}
