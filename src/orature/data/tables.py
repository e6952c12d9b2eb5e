"""Manifests row by row: TSV without quoting, CSV, JSON lines; a row that cannot be read is a Reject and never lost.

Example::

    table = open_rows(tree, "manifest.tsv", seen)
    for row in table.rows:
        print(row if isinstance(row, Reject) else (row.where, row.cells["path"]))
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO, cast

from orature.core.errors import CorpusError
from orature.core.types import Reject, Split
from orature.data.draft import Seen
from orature.data.tree import Tree

_CSV_LINES = 20
"""A quoted CSV cell may run over this many lines; a quote that is open longer is a slip of one row."""
_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("dev", "valid", "validation", "val", "development"), "dev"),
    **dict.fromkeys(("test", "eval", "testing", "evaluation"), "test"),
    **dict.fromkeys(("unlabelled", "unlabeled", "unassigned", "untranscribed"), "unlabelled"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: where it stands (file:line) and its cells by column name (lower case)."""

    where: str
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """Column names (empty for JSON lines) and the rows, which can be read once."""

    columns: tuple[str, ...]
    rows: Iterator[Row | Reject]


def split_of(word: str) -> Split | None:
    """The split a word means ("valid", "validation" and "dev" are one); None for an unknown word."""
    return _SPLITS.get(word.strip().lower())


def seconds_of(cell: str | None) -> float | None:
    """A length in seconds, or None where the cell holds no positive number."""
    try:
        value = float(cell) if cell else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def open_rows(tree: Tree, name: str, seen: Seen, header_is_row: Sequence[str] = ()) -> Table:
    """The table `name` of `tree` by its ending; each physical row is counted in `seen` before it is looked at.

    `header_is_row` names the columns of a table whose first line is a row like the others.
    """
    lower = name.lower().removesuffix(".gz")
    lines = _lines(tree, name)
    if lower.endswith((".jsonl", ".json")):
        return Table((), _json_rows(lines, name, seen))
    header = next(lines, None)
    if header is None:
        raise CorpusError(f"{name} is empty", where=str(tree.path), next_step="write a header line: path, sentence ...")
    first = header[1].decode("utf-8", "replace")
    if lower.endswith(".csv"):
        mark = max(",;\t|", key=first.count)
        columns = tuple(cell.strip().lower() for cell in next(csv.reader([first], delimiter=mark)))
        if header_is_row:
            columns, lines = tuple(header_is_row), chain([header], lines)
        return Table(columns, _csv_rows(lines, name, seen, columns, mark))
    columns = tuple(cell.strip().lower() for cell in first.split("\t"))
    if header_is_row:
        columns, lines = tuple(header_is_row), chain([header], lines)
    return Table(columns, _tsv_rows(lines, name, seen, columns))


def _lines(tree: Tree, name: str) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank, parted at line feeds only (a sentence may hold other line separators)."""
    with tree.open_table(name) as raw:
        stream: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if name.lower().endswith(".gz") else raw
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                if number == 1:
                    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                        raise CorpusError(f"{name} is UTF-16", where=str(tree.path), next_step="save it as UTF-8")
                    line = line.removeprefix(b"\xef\xbb\xbf")
                line = line.rstrip(b"\r\n")
                if line.strip():
                    yield number, line
        except (OSError, EOFError, zlib.error) as error:
            what = f"{name} is cut off or damaged after line {number} ({error})"
            raise CorpusError(what, where=str(tree.path), next_step="get the file again") from error


def _undecodable(line: bytes, where: str) -> Reject:
    return Reject(
        line.split(b"\t")[0][:80].decode("utf-8", "replace"), "text-undecodable", "the row is not valid UTF-8", where
    )


def _malformed(line: str, detail: str, where: str) -> Reject:
    return Reject(line[:60], "row-malformed", detail, where)


def _tsv_rows(
    lines: Iterator[tuple[int, bytes]], name: str, seen: Seen, columns: tuple[str, ...]
) -> Iterator[Row | Reject]:
    """No quoting: a lone quote is a letter like any other. Missing cells at the end are empty."""
    for number, line in lines:
        seen.rows += 1
        where = f"{name}:{number}"
        try:
            cells = line.decode("utf-8").split("\t")
        except UnicodeDecodeError:
            yield _undecodable(line, where)
            continue
        yield _row(cells, columns, where)


def _row(cells: list[str], columns: tuple[str, ...], where: str) -> Row | Reject:
    if len(cells) > len(columns):
        if any(cells[len(columns) :]):
            return _malformed(cells[0], f"{len(cells)} cells, but {len(columns)} columns", where)
        del cells[len(columns) :]
    padded = chain(cells, [""] * (len(columns) - len(cells)))
    return Row(where, {column: cell.strip() for column, cell in zip(columns, padded, strict=True)})


def _csv_rows(
    lines: Iterator[tuple[int, bytes]], name: str, seen: Seen, columns: tuple[str, ...], mark: str
) -> Iterator[Row | Reject]:
    waiting: list[tuple[int, bytes]] = []
    while True:
        waiting += islice(lines, max(0, _CSV_LINES - len(waiting)))
        if not waiting:
            return
        used, cells = _one_csv_row(waiting, len(columns), mark)
        number, line = waiting[0]
        del waiting[:used]
        where = f"{name}:{number}"
        seen.rows += 1
        if cells is None:
            yield _malformed(
                line.decode("utf-8", "replace"), "a quote is not closed, or stands in the wrong place", where
            )
        elif any(_has_surrogate(cell) for cell in cells):
            yield _undecodable(line, where)
        else:
            yield _row(cells, columns, where)


def _one_csv_row(waiting: list[tuple[int, bytes]], columns: int, mark: str) -> tuple[int, list[str] | None]:
    """How many lines the first row takes and its cells; (1, None) where no number of lines makes a row."""
    text = ""
    for used, (_, line) in enumerate(waiting, 1):
        text += ("\n" if text else "") + line.decode("utf-8", "surrogateescape")
        try:
            cells = next(
                csv.reader(text.splitlines(keepends=True) if used > 1 else [text], delimiter=mark, strict=True)
            )
        except (csv.Error, StopIteration):
            continue
        if used == 1 or len(cells) == columns:
            return used, cells
    return 1, None


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _json_rows(lines: Iterator[tuple[int, bytes]], name: str, seen: Seen) -> Iterator[Row | Reject]:
    for where, value in json_lines(lines, name, seen):
        if isinstance(value, Reject):
            yield value
            continue
        cells = {str(key).lower(): _cell(item) for key, item in value.items()}
        if any(_has_surrogate(cell) for cell in cells.values()):
            yield Reject(ascii(value)[:60], "text-undecodable", "the row holds half a surrogate pair", where)
        else:
            yield Row(where, cells)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        return ""
    return value if isinstance(value, str) else str(value)


def json_lines(
    lines: Iterator[tuple[int, bytes]], name: str, seen: Seen
) -> Iterator[tuple[str, dict[str, Any] | Reject]]:
    """Each line as a JSON object with its place, or a Reject."""
    for number, line in lines:
        seen.rows += 1
        where = f"{name}:{number}"
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            yield where, _undecodable(line, where)
            continue
        except (ValueError, RecursionError) as error:
            yield where, _malformed(line.decode("utf-8"), f"no valid JSON ({error})", where)
            continue
        if isinstance(value, dict):
            yield where, value
        else:
            yield where, _malformed(line.decode("utf-8"), "the line is JSON, but no object", where)


def json_objects(tree: Tree, name: str, seen: Seen) -> Iterator[tuple[str, dict[str, Any] | Reject]]:
    """The objects of a JSON-lines file (also gzipped) of `tree`."""
    return json_lines(_lines(tree, name), name, seen)
