"""Tables of n-grams too large for memory: sorted runs on disk, merged as streams of chunks.

A row is an n-gram and some numbers. Shapes: M rows, N words (int32), K numbers (float64; whole counts are exact up to
2**53). What comes out does not depend on how much memory was allowed: only on the rows that went in.

Example::

    sorter = Sorter(folder / "order3", words=3, numbers=1, significance=(2, 1, 0), bits=17, rows=1_000_000)
    sorter.add(words_MN, numbers_MK)
    for words_MN, numbers_MK in sorter.chunks(): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Rows = tuple[Words, Numbers]
_FAN = 16


def pack(words_MN: Words, significance: Sequence[int], bits: int) -> Keys:
    """Columns of `words_MN`, the most significant first, as few uint64 columns as hold `bits` a word: (M, C)."""
    per = 64 // bits
    columns = []
    for first in range(0, len(significance), per):
        key = np.zeros(len(words_MN), dtype=np.uint64)
        for column in significance[first : first + per]:
            key = (key << np.uint64(bits)) | words_MN[:, column].astype(np.uint64)
        columns.append(key)
    return np.stack(columns, axis=1) if columns else np.zeros((len(words_MN), 1), dtype=np.uint64)


def sort_order(keys_MC: Keys) -> npt.NDArray[np.intp]:
    """The stable order that sorts rows of keys."""
    if keys_MC.shape[1] == 1:
        return np.argsort(keys_MC[:, 0], kind="stable")
    return np.lexsort(keys_MC.T[::-1])


def starts(keys_MC: Keys) -> npt.NDArray[np.intp]:
    """First row of each run of equal keys."""
    if not len(keys_MC):
        return np.zeros(0, dtype=np.intp)
    fresh = np.concatenate([[True], (keys_MC[1:] != keys_MC[:-1]).any(axis=1)])
    return np.flatnonzero(fresh)


def _not_after(keys_MC: Keys, bound_C: Keys) -> int:
    """How many of the sorted keys are at most `bound_C`."""
    below = np.zeros(len(keys_MC), dtype=bool)
    equal = np.ones(len(keys_MC), dtype=bool)
    for column in range(keys_MC.shape[1]):
        below |= equal & (keys_MC[:, column] < bound_C[column])
        equal &= keys_MC[:, column] == bound_C[column]
    return int((below | equal).sum())


class Spool:
    """Rows kept in the order in which they came: in memory up to `rows`, else in two files beside `path`."""

    def __init__(self, path: Path, words: int, numbers: int, rows: int) -> None:
        self._path, self._words, self._numbers, self._limit = path, words, numbers, max(rows, 1)
        self._held: list[Rows] = []
        self._held_rows = 0
        self._stored = 0
        self.total = 0

    def add(self, words_MN: Words, numbers_MK: Numbers) -> None:
        """Appends rows."""
        self._held.append((words_MN.astype(np.int32, copy=False), numbers_MK))
        self._held_rows += len(words_MN)
        self.total += len(words_MN)
        if self._held_rows > self._limit:
            self._store()

    def _store(self) -> None:
        with self._file("words").open("ab") as words, self._file("numbers").open("ab") as numbers:
            for words_MN, numbers_MK in self._held:
                words.write(np.ascontiguousarray(words_MN).tobytes())
                numbers.write(np.ascontiguousarray(numbers_MK).tobytes())
        self._stored += self._held_rows
        self._held, self._held_rows = [], 0

    def _file(self, kind: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{kind}")

    def close(self) -> None:
        """Puts all rows on disk."""
        if self._held_rows:
            self._store()

    def chunks(self, rows: int | None = None) -> Iterator[Rows]:
        """All rows again, at most `rows` at a time (default: the limit)."""
        step = max(rows or self._limit, 1)
        if self._stored:
            with self._file("words").open("rb") as words, self._file("numbers").open("rb") as numbers:
                for first in range(0, self._stored, step):
                    count = min(step, self._stored - first)
                    words_MN = np.fromfile(words, np.int32, count * self._words).reshape(count, self._words)
                    numbers_MK = np.fromfile(numbers, np.float64, count * self._numbers)
                    yield words_MN, numbers_MK.reshape(count, self._numbers)
        for words_MN, numbers_MK in self._held:
            for first in range(0, len(words_MN), step):
                yield words_MN[first : first + step], numbers_MK[first : first + step]

    def clear(self) -> None:
        """Frees memory and disk."""
        self._held, self._held_rows, self._stored = [], 0, 0
        for kind in ("words", "numbers"):
            self._file(kind).unlink(missing_ok=True)


class Sorter:
    """External merge sort by the columns `significance`; rows of equal words become one with the sum of the numbers.

    At most about `rows` rows are held in memory; more go to sorted runs beside `path`.
    """

    def __init__(
        self, path: Path, *, words: int, numbers: int, significance: Sequence[int], bits: int, rows: int
    ) -> None:
        self._path, self._words, self._numbers = path, words, numbers
        self._significance, self._bits, self._limit = tuple(significance), bits, max(rows, 2)
        self._held: list[Rows] = []
        self._held_rows = 0
        self._levels: list[list[Spool]] = [[]]
        self._made = 0

    def add(self, words_MN: Words, numbers_MK: Numbers) -> None:
        """Rows in any order."""
        for first in range(0, len(words_MN), self._limit):
            part = slice(first, first + self._limit)
            self._held.append((words_MN[part], numbers_MK[part]))
            self._held_rows += len(words_MN[part])
            if self._held_rows > self._limit:
                self._spill()

    def _spill(self) -> None:
        self._store(0, [self._sorted(self._held)])
        self._held, self._held_rows = [], 0

    def _store(self, level: int, chunks: Iterable[Rows]) -> None:
        """One more run at `level`; so many as `_FAN` of them become one of the next level."""
        self._made += 1
        run = Spool(self._path.with_name(f"{self._path.name}-{self._made}"), self._words, self._numbers, self._limit)
        for words_MN, numbers_MK in chunks:
            run.add(words_MN, numbers_MK)
        run.close()
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(run)
        if len(self._levels[level]) == _FAN:
            runs, self._levels[level] = self._levels[level], []
            self._store(level + 1, self._merged(runs))

    def _sorted(self, parts: list[Rows]) -> Rows:
        words_MN = np.concatenate([part[0] for part in parts]) if parts else np.zeros((0, self._words), np.int32)
        numbers_MK = np.concatenate([part[1] for part in parts]) if parts else np.zeros((0, self._numbers))
        keys_MC = pack(words_MN, self._significance, self._bits)
        order = sort_order(keys_MC)
        words_MN, numbers_MK, keys_MC = words_MN[order], numbers_MK[order], keys_MC[order]
        first = starts(keys_MC)
        if len(first) < len(words_MN):
            words_MN, numbers_MK = words_MN[first], np.add.reduceat(numbers_MK, first, axis=0)
        return words_MN, numbers_MK

    def chunks(self) -> Iterator[Rows]:
        """All rows in order, equal ones summed; the sorter is empty afterwards."""
        if self._made == 0:
            held, self._held, self._held_rows = self._held, [], 0
            words_MN, numbers_MK = self._sorted(held)
            del held
            for first in range(0, len(words_MN), self._limit):
                yield words_MN[first : first + self._limit], numbers_MK[first : first + self._limit]
            return
        if self._held:
            self._spill()
        runs = [run for level in self._levels for run in level]
        self._levels, self._made = [[]], 0
        yield from self._merged(runs)

    def _merged(self, runs: list[Spool]) -> Iterator[Rows]:
        """Takes from every run what is not after the least of the last rows read, so that no equal row is left out."""
        step = max(self._limit // len(runs), 1)
        streams = [run.chunks(step) for run in runs]
        waiting: list[tuple[Words, Numbers, Keys] | None] = [self._next(stream) for stream in streams]
        while any(one is not None for one in waiting):
            lasts = np.stack([one[2][-1] for one in waiting if one is not None])
            bound_C = lasts[sort_order(lasts)[0]]
            parts: list[Rows] = []
            for place, one in enumerate(waiting):
                if one is None:
                    continue
                words_MN, numbers_MK, keys_MC = one
                taken = _not_after(keys_MC, bound_C)
                parts.append((words_MN[:taken], numbers_MK[:taken]))
                left = (words_MN[taken:], numbers_MK[taken:], keys_MC[taken:])
                waiting[place] = left if len(left[0]) else self._next(streams[place])
            yield self._sorted(parts)
        for run in runs:
            run.clear()

    def _next(self, stream: Iterator[Rows]) -> tuple[Words, Numbers, Keys] | None:
        for words_MN, numbers_MK in stream:
            return words_MN, numbers_MK, pack(words_MN, self._significance, self._bits)
        return None


def whole_groups(chunks: Iterable[Rows], columns: Sequence[int], bits: int) -> Iterator[tuple[Words, Numbers, Keys]]:
    """Chunks cut anew so that sorted rows equal in `columns` are never apart; with the keys of these columns."""
    held: list[Rows] = []
    for words_MN, numbers_MK in chunks:
        if not len(words_MN):
            continue
        keys_MC = pack(words_MN, columns, bits)
        last = int(starts(keys_MC)[-1])
        if last == 0 and held and (pack(held[-1][0][-1:], columns, bits) == keys_MC[:1]).all():
            held.append((words_MN, numbers_MK))
            continue
        yield from _flushed([*held, (words_MN[:last], numbers_MK[:last])], columns, bits)
        held = [(words_MN[last:], numbers_MK[last:])]
    yield from _flushed(held, columns, bits)


def _flushed(parts: list[Rows], columns: Sequence[int], bits: int) -> Iterator[tuple[Words, Numbers, Keys]]:
    if sum(len(words_MN) for words_MN, _ in parts):
        words_MN = np.concatenate([part[0] for part in parts])
        numbers_MK = np.concatenate([part[1] for part in parts])
        yield words_MN, numbers_MK, pack(words_MN, columns, bits)


class Follower:
    """Looks rows up in a sorted stream that is read along: `significance` are the columns of the stream by weight."""

    def __init__(self, chunks: Iterable[Rows], significance: Sequence[int], bits: int) -> None:
        self._stream, self._significance, self._bits = iter(chunks), tuple(significance), bits
        self._keys: Keys | None = None
        self._numbers: Numbers = np.zeros((0, 0))

    def look_up(self, wanted_MN: Words, missing: float = 0.0) -> Numbers:
        """Numbers of each wanted row, (M, K); rows that the stream lacks get `missing`. Wanted rows come in order."""
        wanted_MC = pack(wanted_MN, self._significance, self._bits)
        if not len(wanted_MC):
            return np.zeros((0, self._numbers.shape[1]))
        while self._keys is None or not len(self._keys) or _not_after(self._keys, wanted_MC[-1]) == len(self._keys):
            if not self._read():
                break
        if self._keys is None:
            return np.full((len(wanted_MC), 1), missing)
        found = self._places(wanted_MC)
        values = np.full((len(wanted_MC), self._numbers.shape[1]), missing)
        values[found >= 0] = self._numbers[found[found >= 0]]
        used = max(_not_after(self._keys, wanted_MC[-1]) - 1, 0)
        self._keys, self._numbers = self._keys[used:], self._numbers[used:]
        return values

    def _read(self) -> bool:
        for words_MN, numbers_MK in self._stream:
            keys_MC = pack(words_MN, self._significance, self._bits)
            if self._keys is None:
                self._keys, self._numbers = keys_MC, numbers_MK
            else:
                self._keys = np.concatenate([self._keys, keys_MC])
                self._numbers = np.concatenate([self._numbers, numbers_MK])
            return True
        return False

    def _places(self, wanted_MC: Keys) -> npt.NDArray[np.int64]:
        """Row of the buffer for each wanted key, -1 where there is none."""
        keys = self._keys if self._keys is not None else wanted_MC[:0]
        if wanted_MC.shape[1] == 1:
            at = np.searchsorted(keys[:, 0], wanted_MC[:, 0])
            inside = np.minimum(at, len(keys) - 1)
            return np.where((at < len(keys)) & (keys[inside, 0] == wanted_MC[:, 0]), inside, -1)
        both = np.concatenate([keys, wanted_MC])
        order = sort_order(both)
        own = np.where(order < len(keys), order, -1)
        nearest = np.maximum.accumulate(own)
        places = np.full(len(both), -1, dtype=np.int64)
        places[order] = nearest
        found = places[len(keys) :]
        same = (keys[np.maximum(found, 0)] == wanted_MC).all(axis=1) & (found >= 0)
        return np.where(same, found, -1)
