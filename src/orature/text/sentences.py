"""Sentences of text files: plain text (one a line), tables with a column `sentence`, JSON lines with `text`; also .gz.

Example::

    for sentence in read_sentences(Path("news.txt.gz")):
        print(sentence)
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from orature.core.errors import BadInput

Kind = Literal["lines", "tsv", "jsonl"]
COLUMN, FIELD = "sentence", "text"
_PLAIN = "give plain text (one sentence a line, UTF-8), a .tsv with a column `sentence`, or a .jsonl with `text`"


def kind_of(path: Path) -> Kind:
    """How a file is read, from its name: .tsv, .jsonl, else lines; a last .gz does not count."""
    name = path.name.lower().removesuffix(".gz")
    return "tsv" if name.endswith(".tsv") else "jsonl" if name.endswith((".jsonl", ".ndjson")) else "lines"


def read_sentences(path: Path, kind: Kind | None = None) -> Iterator[str]:
    """Every sentence of a file in its order, empty ones too; BadInput names the file and line that cannot be read."""
    kind = kind or kind_of(path)
    done = 0
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        opened = gzip.open if packed else open
        with opened(path, "rt", encoding="utf-8-sig", newline="\n") as stream:
            lines = (line.rstrip("\r\n") for line in stream)
            for sentence in _of_kind(lines, kind, path):
                done += 1
                yield sentence
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(
            f"the text cannot be read: {error}", where=f"{path} (after sentence {done})", next_step=_PLAIN
        ) from error


def _of_kind(lines: Iterable[str], kind: Kind, path: Path) -> Iterator[str]:
    if kind == "lines":
        yield from lines
    elif kind == "tsv":
        yield from _column(lines, path)
    else:
        yield from _field(lines, path)


def _column(lines: Iterable[str], path: Path) -> Iterator[str]:
    rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    header = next(rows, [])
    if COLUMN not in header:
        raise BadInput(f"the table has no column `{COLUMN}`", where=f"{path}:1", next_step=_PLAIN)
    place = header.index(COLUMN)
    for number, row in enumerate(rows, 2):
        if len(row) <= place:
            raise BadInput(f"line {number} has no column `{COLUMN}`", where=f"{path}:{number}", next_step=_PLAIN)
        yield row[place]


def _field(lines: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[FIELD]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BadInput(f"line {number} has no `{FIELD}`", where=f"{path}:{number}", next_step=_PLAIN) from error
        if not isinstance(text, str):
            raise BadInput(f"`{FIELD}` of line {number} is no text", where=f"{path}:{number}", next_step=_PLAIN)
        yield text
