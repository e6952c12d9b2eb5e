"""What the shards of a text corpus hold, read as one list: rows in the order of the sources, sentences by number.

Example::

    pool = Pool.gathered(shard_folders, state / "pool.jsonl")
    pool.sentence(0).text
"""

from __future__ import annotations

import gzip
import json
import mmap
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orature.text.near_duplicates import Bands, Marks, Signatures
from orature.text.select import NOT_SELECTED
from orature.text.text_corpus import Sentence

ROWS, MARKS, SIGNATURES = "rows.jsonl.gz", "marks.npy", "signatures.npy"


def write_shard(
    folder: Path, rows: Sequence[dict[str, Any]], marks: Sequence[int], signatures: Signatures | None
) -> None:
    """One shard: its rows ({"keep": ...} or {"reject": ...}), and the marks and signatures of those kept."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / ROWS).write_bytes(gzip.compress("".join(lines).encode("utf-8"), compresslevel=4, mtime=0))
    np.save(folder / MARKS, np.asarray(marks, dtype=np.uint64))
    if signatures is not None:
        np.save(folder / SIGNATURES, signatures)


def shard_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of one shard, in order."""
    with gzip.open(folder / ROWS, "rb") as lines:
        for line in lines:
            yield json.loads(line)


class Fates:
    """Which of the kept sentences are left out after all, and why."""

    def __init__(self) -> None:
        self._twins: dict[int, tuple[str, int]] = {}
        self._chosen: bytearray | None = None

    def leave_out(self, twins: Mapping[int, int], reason: str) -> None:
        """Each of these for its twin that stays."""
        self._twins.update((number, (reason, twin)) for number, twin in twins.items())

    def choose(self, chosen: Iterable[int], of: int) -> None:
        """Of all `of` sentences only these stay."""
        self._chosen = bytearray(of)
        for number in chosen:
            self._chosen[number] = 1

    def of(self, number: int) -> tuple[str, int] | None:
        """The reason and the twin (-1 for one that was not chosen); None for a sentence that stays."""
        found = self._twins.get(number)
        if found is None and self._chosen is not None and not self._chosen[number]:
            return NOT_SELECTED, -1
        return found

    def counts(self) -> Counter[str]:
        """How many have twins, by reason."""
        return Counter(reason for reason, _ in self._twins.values())


class Pool:
    """The kept sentences of all shards, in one file that is read where it is asked for."""

    def __init__(self, folders: Sequence[Path], path: Path, offsets: array[int]) -> None:
        self._folders, self._offsets = folders, offsets
        self._file = path.open("rb")
        self._bytes = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else None

    @classmethod
    def gathered(cls, folders: Sequence[Path], path: Path) -> Pool:
        """Writes the kept sentences of the shards to `path` (work that can be lost) and opens them."""
        offsets = array("Q", [0])
        with path.open("wb") as out:
            for folder in folders:
                for row in shard_rows(folder):
                    if "keep" in row:
                        line = json.dumps(row["keep"], ensure_ascii=False).encode("utf-8")
                        out.write(line)
                        offsets.append(offsets[-1] + len(line))
        return cls(folders, path, offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def sentence(self, number: int) -> Sentence:
        """The sentence of this number, from 0."""
        if self._bytes is None:
            raise IndexError(number)
        line = self._bytes[self._offsets[number] : self._offsets[number + 1]]
        return Sentence.from_json(json.loads(line))

    def spoken(self, number: int) -> str:
        """What is read aloud of it."""
        return self.sentence(number).spoken

    def marks(self) -> Marks:
        """64 bits a sentence."""
        parts = [np.load(folder / MARKS) for folder in self._folders]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def bands(self, rows: Sequence[int]) -> Bands:
        """The signatures of the sentences of these numbers; they stay on the disk."""
        parts = [np.load(folder / SIGNATURES, mmap_mode="r") for folder in self._folders]
        return Bands(parts, np.asarray(rows, dtype=np.int64))

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """All rows of all shards in order: a kept one with its number, a rejected one with -1."""
        number = 0
        for folder in self._folders:
            for row in shard_rows(folder):
                yield (number if "keep" in row else -1), row
                number += "keep" in row

    def close(self) -> None:
        """Lets go of the file."""
        if self._bytes is not None:
            self._bytes.close()
        self._file.close()
