"""Text by language for phone text: a folder of LANG.txt files, or a table with the columns `sentence` and `lang`.

Example::

    texts_by_language(Path("text_udhr"))["sw"][:2]
    texts_by_language(Path("my_texts"))       # sw.txt, pt-BR.txt.gz ...
"""

from __future__ import annotations

import csv
from pathlib import Path

from orature.core.errors import BadInput, ConfigError
from orature.text.language import canonical_tag
from orature.text.sentences import read_sentences

TABLE = "sentences.tsv"
_HOW = "give a folder of LANG.txt files (sw.txt, pt-BR.txt), or one with a sentences.tsv of `sentence` and `lang`"


def texts_by_language(source: Path) -> dict[str, list[str]]:
    """The lines of each language (BCP-47 tag) in the order of the files' names; BadInput where there are none."""
    table = source / TABLE if source.is_dir() else source
    if table.suffix == ".tsv" and table.is_file():
        return _of_table(table)
    if not source.is_dir():
        raise BadInput("there is no such folder of texts", where=str(source), next_step=_HOW)
    found: dict[str, list[str]] = {}
    for path in sorted(source.iterdir()):
        stem = path.name.removesuffix(".gz")
        if path.is_file() and stem.endswith(".txt"):
            found.setdefault(_tag(stem.removesuffix(".txt"), str(path)), []).extend(read_sentences(path))
    if not found:
        raise BadInput("the folder holds no LANG.txt", where=str(source), next_step=_HOW)
    return found


def source_files(source: Path) -> list[Path]:
    """The files that `texts_by_language` reads."""
    table = source / TABLE if source.is_dir() else source
    if table.suffix == ".tsv" and table.is_file():
        return [table]
    return sorted(path for path in source.glob("*.txt*") if path.name.endswith((".txt", ".txt.gz")))


def _of_table(table: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with table.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"sentence", "lang"} <= set(rows.fieldnames or ()):
            raise BadInput("the table lacks `sentence` or `lang`", where=f"{table}:1", next_step=_HOW)
        for number, row in enumerate(rows, 2):
            if row["sentence"] is None or row["lang"] is None:
                raise BadInput("the row is too short", where=f"{table}:{number}", next_step=_HOW)
            found.setdefault(_tag(row["lang"], f"{table}:{number}"), []).append(row["sentence"])
    return found


def _tag(name: str, where: str) -> str:
    try:
        return canonical_tag(name)
    except ConfigError as error:
        raise BadInput(error.what, where=where, next_step=error.next_step) from error
