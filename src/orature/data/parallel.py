"""Reading sentence pairs: tables (TSV, CSV, JSON lines) by the names of their columns, and aligned text files.

Which column is the source is found in this order, and never guessed where two readings are possible:

1. the columns that a person names;
2. columns named by the languages (`es`, `spa`, `qu`), or `source` and `target` (`src`, `tgt`, `trg`);
3. `sentence` (or `text`, `transcription`) and `translation`, where `lang` or `translation_lang` say which is which;
4. two columns without a known name: the first line is a row, the first column is the source (and this is said).

A column `split` (train, dev, test ...) says where a row belongs, else a file's own name does (train.tsv, dev.tsv).

Example::

    ways = Direction(source=("es", "spa"), target=("qu", "que"))
    for row in read_table(Path("translations.tsv"), ways, Columns(), Seen()):
        print(row)                       # a Pair, or a Reject
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orature.core.errors import CorpusError
from orature.core.types import Reject
from orature.data.draft import Seen
from orature.data.tables import Row, Table, open_rows, split_of
from orature.data.tree import FolderTree
from orature.text.normalise import RAW, normalise
from orature.text.parallel import PARTS, Pair

TABLES = (".tsv", ".csv", ".jsonl", ".json", ".tsv.gz", ".csv.gz", ".jsonl.gz")
TEXTS = (".txt",)
WITHOUT_HEADER = "tables whose first line names no column: the first column was taken as the source"
_SOURCE, _TARGET = ("source", "src"), ("target", "tgt", "trg")
_SENTENCE, _TRANSLATION = ("sentence", "text", "transcription"), ("translation",)
_LANGUAGE, _TRANSLATION_LANGUAGE = ("lang", "language", "locale"), ("translation_lang", "translation_language")
_HEADER = "write a header line with a column a language, such as es and qu, and a row a pair below it"
_NAME_THEM = "name the columns with --source-column and --target-column"


@dataclass(frozen=True, slots=True)
class Direction:
    """All spellings (lower case) of the source's and of the target's language."""

    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a person names; "" leaves them to the header."""

    source: str = ""
    target: str = ""


def is_table(path: Path) -> bool:
    """Whether a file is read as a table."""
    return path.name.lower().endswith(TABLES)


def split_in_name(name: str) -> str:
    """The split that a file's name says (train.tsv, news_dev.es.txt), "" where it says none or more than one."""
    found = {split_of(part) for part in re.split(r"[._-]", name)} & set(PARTS)
    return str(found.pop()) if len(found) == 1 else ""


def read_table(path: Path, ways: Direction, columns: Columns, seen: Seen, *, name: str = "") -> Iterator[Pair | Reject]:
    """Every row of a table once, its id from `name` (else the file's); CorpusError where no columns say their sides."""
    if not path.stat().st_size:
        raise CorpusError(f"{path.name} is empty", where=str(path), next_step=_HEADER)
    tree = FolderTree(path.parent, only=(path.name,))
    table = open_rows(tree, path.name, seen)
    if len(table.columns) == 2 and not columns.source and not columns.target and _chosen(table.columns, ways) is None:
        table = open_rows(tree, path.name, seen, ("source", "target"))
        seen.note(WITHOUT_HEADER)
    by_name = split_in_name(path.name) or "train"
    sides: _Sides | None = None
    for row in table.rows:
        if isinstance(row, Reject):
            yield row
            continue
        sides = sides or _sides(path, table, row, ways, columns)
        line = row.where.rpartition(":")[2]
        yield _pair(f"{name or path.name}:{line}", row, sides, by_name)


@dataclass(frozen=True, slots=True)
class _Sides:
    """Names of the two columns; with `ways` each row's own languages say which of them is the source."""

    first: str
    second: str
    ways: Direction | None = None


def _sides(path: Path, table: Table, row: Row, ways: Direction, columns: Columns) -> _Sides:
    header = table.columns or tuple(row.cells)
    if columns.source or columns.target:
        named = (columns.source.lower(), columns.target.lower())
        missing = [name or "(not named)" for name in named if name not in header]
        if missing:
            raise CorpusError(
                f"there is no column {', '.join(missing)}; there are: {', '.join(header)[:200]}",
                where=row.where if not table.columns else str(path),
                next_step="name both columns as they are written in the table",
            )
        return _Sides(*named)
    found = _chosen(header, ways)
    if found is None:
        raise CorpusError(
            f"no columns say that they are source and target; there are: {', '.join(header)[:200]}",
            where=str(path),
            next_step=_NAME_THEM,
        )
    return found


def _chosen(header: Sequence[str], ways: Direction) -> _Sides | None:
    """The columns by their names; None where the names say nothing."""
    for firsts, seconds in ((ways.source, ways.target), (_SOURCE, _TARGET)):
        first, second = _first(header, firsts), _first(header, seconds)
        if first and second:
            return _Sides(first, second)
    first, second = _first(header, _SENTENCE), _first(header, _TRANSLATION)
    if first and second and (_first(header, _LANGUAGE) or _first(header, _TRANSLATION_LANGUAGE)):
        return _Sides(first, second, ways)
    return None


def _first(header: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in header), None)


def _pair(where: str, row: Row, sides: _Sides, by_name: str) -> Pair | Reject:
    first, second = row.cells.get(sides.first, ""), row.cells.get(sides.second, "")
    if sides.ways is not None:
        turned = _turned(row.cells, sides.ways)
        if turned is None:
            said = ", ".join(
                f"{name} {row.cells[name]!r}" for name in (*_LANGUAGE, *_TRANSLATION_LANGUAGE) if name in row.cells
            )
            return Reject(where, "other-language", f"not the two languages asked for ({said})", where)
        first, second = (second, first) if turned else (first, second)
    given = row.cells.get("split", "").strip()
    split = (split_of(given) or "") if given else by_name
    if split not in PARTS:
        return Reject(where, "other-split", f"the split {given!r} is neither train, dev nor test", where)
    origin, licence = where.rpartition(":")[0], row.cells.get("licence", "")
    return Pair(where, normalise(first, RAW), normalise(second, RAW), split, origin, licence)


def _turned(cells: Mapping[str, str], ways: Direction) -> bool | None:
    """Whether the second column is the source; None where the languages do not tell, or tell of others."""
    own, other = (_cell(cells, names) for names in (_LANGUAGE, _TRANSLATION_LANGUAGE))
    if not own and not other:
        return None
    straight = _fits(own, ways.source) and _fits(other, ways.target)
    turned = _fits(own, ways.target) and _fits(other, ways.source)
    return None if straight == turned else turned


def _cell(cells: Mapping[str, str], names: Sequence[str]) -> str:
    return next((cells[name] for name in names if cells.get(name)), "")


def _fits(tag: str, codes: Sequence[str]) -> bool:
    """Whether a tag names the language of `codes`; no tag at all fits every language."""
    lower = tag.strip().replace("_", "-").lower()
    return not lower or lower in codes or lower.split("-")[0] in codes


def read_texts(source: Path, target: Path, seen: Seen, *, name: str = "") -> Iterator[Pair | Reject]:
    """Two text files, line by line; CorpusError where one has more lines than the other."""
    split = split_in_name(source.name) or "train"
    sides = [_lines(path) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise CorpusError(
            f"{source.name} has {len(sides[0])} lines and {target.name} has {len(sides[1])}: they are not aligned",
            where=str(target),
            next_step="give two files whose lines translate each other one by one, the source first",
        )
    origin = name or source.name
    for number, lines in enumerate(zip(*sides, strict=True), 1):
        seen.rows += 1
        where = f"{origin}:{number}"
        try:
            first, second = (normalise(line.decode("utf-8"), RAW) for line in lines)
        except UnicodeDecodeError:
            yield Reject(where, "text-undecodable", "a side of the row is not valid UTF-8", where)
            continue
        yield Pair(where, first, second, split, origin)


def _lines(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise CorpusError(f"the text cannot be read ({error.strerror})", where=str(path)) from error
    return lines[:-1] if lines[-1] == b"" else lines
