"""Lines of text from files of many kinds, one at a time: what cannot be read in a line is that line's trouble alone.

| kind | what it is |
|---|---|
| lines | plain text, a sentence or a paragraph a line (also Common Voice's sentence-collector files) |
| tsv | a table with a column `sentence`, or a named one (also validated_sentences.tsv of a Common Voice release) |
| jsonl | JSON lines with a field `text`, or a named one |
| parquet | a column `text`, or a named one, read by row groups (pyarrow, extra `text`) |
| wiki | what WikiExtractor writes: wiki_00 ... with <doc ...> blocks or JSON lines |

All but parquet may be packed with gzip, bzip2 or xz. A folder is read with all files of these kinds below it, in the
order of their names.

Example::

    for line in read_lines(find_files(Path("extracted"))[0]):
        print(line.number, line.trouble or line.text)
"""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

from orature.core.errors import BadInput, MissingExtra
from orature.text.sentences import COLUMN, FIELD, kind_of

SourceKind = Literal["lines", "tsv", "jsonl", "parquet", "wiki"]
KINDS: tuple[str, ...] = get_args(SourceKind)
UNDECODABLE, MALFORMED, TOO_LONG_LINE, HEADING, NOT_VALIDATED = (
    "text-undecodable",
    "row-malformed",
    "line-too-long",
    "heading",
    "not-validated",
)
MAX_LINE_BYTES = 1 << 20
ROWS_AT_A_TIME = 1024
_PACKED = (".gz", ".bz2", ".xz")
_SUFFIXES: dict[str, SourceKind] = {
    ".txt": "lines", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
}  # fmt: skip
_WIKI = re.compile(r"wiki_\d+\Z")
_DOC = re.compile(r"<doc\s[^>]*>\s*\Z")
_TITLE = re.compile(r'\btitle="([^"]*)"')
_ABOUT = ("readme", "licen", "copying", "notice", "credits", "changelog")
CV_SENTENCES = "validated_sentences.tsv"
CV_LICENCE = "CC0-1.0"
_FAILED = (OSError, EOFError, zlib.error, lzma.LZMAError)
_PLAIN = "give text (UTF-8, one sentence or paragraph a line), .tsv, .jsonl, .parquet, or what WikiExtractor writes"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read: `column` is that of a table or the field of JSON, "" for the usual one."""

    path: Path
    name: str
    kind: SourceKind
    column: str = ""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line (or row) with its number in the file from 1; `trouble` is (reason, detail).

    `part` numbers the paragraphs of a row from 0.
    """

    number: int
    text: str
    trouble: tuple[str, str] | None = None
    part: int = 0


def kind_of_file(path: Path) -> SourceKind | None:
    """How a file is read, from its name; None for a file that is no text."""
    name = path.name.lower()
    for suffix in _PACKED:
        name = name.removesuffix(suffix)
    if _WIKI.match(name):
        return "wiki"
    return _SUFFIXES.get(Path(name).suffix)


def find_files(source: Path, kind: str = "auto", column: str = "") -> list[SourceFile]:
    """The files of a source: itself, or all below a folder; BadInput where there is none or it is of no known kind.

    Of a Common Voice release only validated_sentences.tsv is taken: its other tables hold dev and test.
    """
    source = Path(source)
    if kind not in ("auto", *KINDS):
        raise BadInput(f"there is no kind of text {kind!r}", next_step=f"choose auto, {', '.join(KINDS)}")
    if not source.exists():
        raise BadInput("there is no such file or folder", where=str(source), next_step=_PLAIN)
    if source.is_file():
        named = kind if kind != "auto" else kind_of_file(source) or kind_of(source)
        return [SourceFile(source, source.name, cast(SourceKind, named), column)]
    if (source / CV_SENTENCES).is_file():
        return [SourceFile(source / CV_SENTENCES, CV_SENTENCES, "tsv", column)]
    found: list[SourceFile] = []
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        inside = path.relative_to(source)
        if any(part.startswith(".") for part in inside.parts) or path.name.lower().startswith(_ABOUT):
            continue
        own = kind if kind != "auto" else kind_of_file(path)
        if own is not None:
            found.append(SourceFile(path, str(inside), cast(SourceKind, own), column))
    if not found:
        raise BadInput("no file of text is in this folder", where=str(source), next_step=_PLAIN)
    return found


def read_lines(file: SourceFile) -> Iterator[SourceLine]:
    """Every line of a file in its order; BadInput where the file as a whole cannot be read."""
    try:
        if file.kind == "parquet":
            yield from _parquet(file)
            return
        with _opened(file.path) as stream:
            if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise BadInput(
                    "the text is UTF-16", where=str(file.path), next_step="convert it: iconv -f UTF-16 -t UTF-8"
                )
            stream.seek(0)
            lines = _decoded(stream)
            if file.kind == "tsv":
                yield from _table(lines, file)
            elif file.kind == "jsonl":
                yield from _records(lines, file.column or FIELD)
            elif file.kind == "wiki":
                yield from _wiki(lines)
            else:
                yield from lines
    except _FAILED as error:
        raise BadInput(f"the text cannot be read: {error}", where=str(file.path), next_step=_PLAIN) from error


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as probe:
        magic = probe.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(path, "rb"))
    if magic.startswith(b"\xfd7zXZ"):
        return cast(IO[bytes], lzma.open(path, "rb"))
    return path.open("rb")


def _decoded(stream: IO[bytes]) -> Iterator[SourceLine]:
    """Lines as text, without the mark at the beginning of the file; long ones are passed over in blocks."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                continue
            yield SourceLine(number, "", (TOO_LONG_LINE, f"more than {MAX_LINE_BYTES} bytes without a line break"))
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield SourceLine(number, line.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            shown = line.rstrip(b"\r\n")[:80].decode("utf-8", "backslashreplace")
            yield SourceLine(number, "", (UNDECODABLE, f"byte {error.start + 1} is no UTF-8: {shown}"))


def _table(lines: Iterable[SourceLine], file: SourceFile) -> Iterator[SourceLine]:
    source = iter(lines)
    first = next(source, SourceLine(1, ""))
    header = first.text.split("\t")
    column = file.column or COLUMN
    if column not in header:
        raise BadInput(
            f"the table has no column `{column}`; it has: {', '.join(header)[:200]}",
            where=f"{file.path}:1",
            next_step="name the column with --column",
        )
    place = header.index(column)
    for line in source:
        if line.trouble is not None:
            yield line
            continue
        row = next(csv.reader([line.text], delimiter="\t", quoting=csv.QUOTE_NONE), [])
        if len(row) <= place:
            trouble = (MALFORMED, f"the row has {len(row)} columns, `{column}` is column {place + 1}")
            yield SourceLine(line.number, "", trouble if line.text.strip() else None)
        else:
            yield SourceLine(line.number, row[place])


def _records(lines: Iterable[SourceLine], field: str) -> Iterator[SourceLine]:
    for line in lines:
        if line.trouble is not None or not line.text.strip():
            yield line
            continue
        try:
            text = json.loads(line.text)[field]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            yield SourceLine(line.number, "", (MALFORMED, f"no JSON object with the field `{field}`"))
            continue
        yield from _paragraphs(line.number, text, field)


def _paragraphs(number: int, text: Any, field: str) -> Iterator[SourceLine]:
    if not isinstance(text, str):
        yield SourceLine(number, "", (MALFORMED, f"`{field}` is no text"))
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        yield SourceLine(number, "", (UNDECODABLE, f"`{field}` is no valid Unicode"))
        return
    parts = text.splitlines() or [""]
    yield from (SourceLine(number, one, part=part) for part, one in enumerate(parts))


def _wiki(lines: Iterable[SourceLine]) -> Iterator[SourceLine]:
    """WikiExtractor's blocks; the tags themselves are no rows, the title that opens an article is a heading."""
    title: str | None = None
    for line in lines:
        text = line.text
        if line.trouble is None and text.startswith("{") and text.rstrip().endswith("}"):
            yield from _records([line], FIELD)
        elif line.trouble is None and _DOC.match(text):
            found = _TITLE.search(text)
            title = found.group(1).strip() if found else ""
        elif line.trouble is None and text.strip() == "</doc>":
            title = None
        elif title is not None and line.trouble is None and text.strip():
            is_title, title = text.strip() == title, None
            yield SourceLine(line.number, text, (HEADING, "the title of an article") if is_title else None)
        else:
            yield line


def _parquet(file: SourceFile) -> Iterator[SourceLine]:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra(
            "parquet files are read with pyarrow, which is not installed",
            where=str(file.path),
            next_step='pip install "orature[text]"',
        ) from error
    column = file.column or FIELD
    try:
        with parquet.ParquetFile(file.path) as table:
            if column not in table.schema_arrow.names:
                raise BadInput(
                    f"the table has no column `{column}`; it has: {', '.join(table.schema_arrow.names)[:200]}",
                    where=str(file.path),
                    next_step="name the column with --column",
                )
            number = 0
            for batch in table.iter_batches(batch_size=ROWS_AT_A_TIME, columns=[column]):
                for text in batch.column(0).to_pylist():
                    number += 1
                    yield from _paragraphs(number, text, column)
    except arrow.ArrowException as error:
        raise BadInput(f"the parquet file cannot be read: {error}", where=str(file.path), next_step=_PLAIN) from error
