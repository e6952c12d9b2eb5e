"""A file of text translated line by line into another file: what a person expects of a translator.

Example::

    translated_file(run, Path("news.txt"), Path("news.qu.txt"), Translating(into="qu", source="es", translator="fake"))

Every line of the source has its line in the result, an empty one where there is none to translate or nothing was
found. A result that ends in .tsv is a table with the source, scores and the reason of what is empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orature.core.errors import BadInput, ConfigError
from orature.core.files import refuse_unwritable, write_beside
from orature.core.types import Refusal
from orature.flow import Resources, Run
from orature.recipes.translating import Translating, languages_of, plain_stage, screening_of
from orature.stages.translation_sieve import Choice, Sieve
from orature.text.text_sources import SourceFile, SourceLine, find_files, read_lines
from orature.text.translation_checks import OFF

ENDINGS = (".txt", ".tsv")
COLUMNS = ("sentence", "translation", "score", "known", "round_trip", "reason")
_BLANK = "blank"


def translated_file(
    run: Run, place: Path, to: Path, asked: Translating, *, on: Resources | None = None
) -> dict[str, Any]:
    """Writes `to` and says how many lines were translated and why others were not.

    No check is made but those that are set, and the embargo where corpora are named.
    """
    file = check_file(place, to, asked)
    stage = plain_stage(place, asked)
    screening = screening_of(languages_of(place, asked)[1], asked, OFF)
    found = None if stage is None else run.path_of(run.do(stage, on=on))
    sieve = screening.sieve(lambda ref: Path(ref.path), found)
    reasons: Counter[str] = Counter()
    lines = 0
    with write_beside(to) as part, part.open("w", encoding="utf-8", newline="\n") as out:
        if to.suffix == ".tsv":
            out.write("\t".join(COLUMNS) + "\n")
        for line, choice in _choices(file, sieve):
            lines += 1
            reasons.update([] if choice.kept else [choice.refusals[0].reason])
            out.write((_row(line, choice) if to.suffix == ".tsv" else _text(choice)) + "\n")
    lost = sum(reasons.values())
    return {"to": str(to), "lines": lines, "translated": lines - lost, "reasons": dict(sorted(reasons.items()))}


def check_file(place: Path, to: Path, asked: Translating) -> SourceFile:
    """The file as it is read; BadInput or ConfigError for one, or a place for the result, that will not do."""
    file = find_files(place)[0]
    if file.kind not in ("lines", "tsv"):
        raise BadInput(
            f"a file of kind {file.kind} has no lines that could be kept in their order",
            where=str(place),
            next_step="make a text corpus of it with `orature text`, and translate that",
        )
    if to.suffix not in ENDINGS:
        raise ConfigError(f"{to} would be a file of unknown kind", next_step="name OUT.txt or OUT.tsv with --to")
    if to.absolute() == place.absolute():
        raise ConfigError(f"{to} is what is to be translated", next_step="name another file with --to")
    if to.is_dir():
        raise ConfigError(f"{to} is a folder", next_step="name a file with --to")
    if asked.variants > 1 or asked.dev:
        raise ConfigError("a file of text has no dev rows and one translation a line", next_step="leave both out")
    refuse_unwritable(to.parent)
    return file


def _choices(file: SourceFile, sieve: Sieve) -> Iterator[tuple[SourceLine, Choice]]:
    for line in read_lines(file):
        if line.trouble is not None:
            yield line, Choice("", sieve.by, (), (Refusal(*line.trouble),))
        elif not line.text.strip():
            yield line, Choice("", sieve.by, (), (Refusal(_BLANK, "there is nothing in the line"),))
        else:
            yield line, sieve.choose(str(line.number), line.text)


def _text(choice: Choice) -> str:
    return choice.kept[0].text if choice.kept else ""


def _row(line: SourceLine, choice: Choice) -> str:
    """A line of the table; tabs inside a sentence become spaces."""
    cells = ["" for _ in COLUMNS]
    cells[0] = " ".join(line.text.split())
    if choice.kept:
        one = choice.kept[0]
        cells[1:5] = [
            one.text,
            f"{one.score:g}",
            f"{one.known:g}",
            "" if one.round_trip is None else f"{one.round_trip:g}",
        ]
    else:
        cells[5] = choice.refusals[0].reason
    return "\t".join(cells)
