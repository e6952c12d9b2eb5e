"""Rows put aside on disk, so that memory does not grow with a corpus: in the order they came, or sorted by a key.

The files have no names: they are gone with the process, however it ends.

Example::

    with Spool(ctx.state) as spool:
        spool.add(["too-fast", "31.2 letters a second"])
        for reason, detail in spool: ...

    for row in in_order(rows, key=lambda row: row.id, pack=packed, unpack=unpacked, within=ctx.state): ...
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

AT_ONCE = 8192
"""Rows that are sorted in memory at a time."""
Row = TypeVar("Row")


class Spool:
    """Values of JSON in the order in which they were added; it can be read again and again."""

    def __init__(self, within: Path) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=within)  # noqa: SIM115
        self._count = 0

    def add(self, value: Any) -> None:
        """One more value, behind all others."""
        self._file.write(json.dumps(value) + "\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Generator[Any]:
        """All values from the first on; nothing may be added while they are read, nor two read at once."""
        self._file.seek(0)
        try:
            yield from map(json.loads, self._file)
        finally:
            if not self._file.closed:
                self._file.seek(0, 2)

    def close(self) -> None:
        """The values are gone."""
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *trouble: object) -> None:
        self.close()


def in_order(
    rows: Iterable[Row],
    *,
    key: Callable[[Row], str],
    pack: Callable[[Row], Any],
    unpack: Callable[[Any], Row],
    within: Path,
    at_once: int = AT_ONCE,
) -> Iterator[Row]:
    """`rows` by `key`, at most `at_once` of them in memory: sorted runs on disk that are merged (external sorting).

    `pack` makes JSON of a row and `unpack` the row of that. Rows with equal keys keep their order.
    """
    stream = iter(rows)
    with ExitStack() as held:
        runs: list[Spool] = []
        while part := sorted(islice(stream, at_once), key=key):
            if not runs and len(part) < at_once:
                yield from part
                return
            runs.append(held.enter_context(Spool(within)))
            for row in part:
                runs[-1].add([key(row), pack(row)])
            part.clear()
        streams = [held.enter_context(closing(iter(run))) for run in runs]
        for _, packed in heapq.merge(*streams, key=itemgetter(0)):
            yield unpack(packed)
