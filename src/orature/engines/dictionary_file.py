"""Word lists on disk: a TSV that says of itself what it is, and the model folder around it.

The file is UTF-8, a line an entry: source, tab, target, and further columns; a third column that is a number above 0 is
a weight, others are ignored. A source may hold several words (a phrase) and stand on several lines, the usual rendering
first. Lines that begin with `#` are comments; these of them are read, all optional::

    # source: es
    # target: qu
    # licence: CC-BY-4.0
    # unknown: pass

`unknown` says what becomes of words that are not listed: `pass` (they stay as they are) or `drop`. A folder holds the
file as dictionary.tsv, beside a config.json of model_type `dictionary`.

Example::

    write_dictionary(Path("es-qu"), align_pairs(pairs), source="es", target="qu", licence="CC-BY-4.0")
    entries = read_dictionary(Path("es-qu/dictionary.tsv")).entries
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orature.core.errors import ConfigError, ModelError
from orature.engines.native_folder import write_json
from orature.engines.vocabulary import Files
from orature.text.word_alignment import Rendering
from orature.text.words import words

LIST, MODEL_TYPE = "dictionary.tsv", "dictionary"
UNKNOWN = ("pass", "drop")
_FACT = re.compile(r"#\s*(source|target|licence|unknown|name)\s*:\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class WordList:
    """Entries by the words of their source, each with its renderings and weights that sum up to one."""

    entries: Mapping[tuple[str, ...], Sequence[tuple[str, float]]]
    facts: Mapping[str, str]


def read_dictionary(path: Path) -> WordList:
    """A word list; ModelError names the line at fault."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the word list cannot be read: {error}",
            where=str(path),
            next_step="name a UTF-8 file with a source, a tab and a target a line",
        ) from error
    facts: dict[str, str] = {}
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            if match := _FACT.fullmatch(line):
                facts[match[1]] = match[2]
            continue
        if not line.strip():
            continue
        source, target, weight = _entry(line, f"{path}:{number}")
        found.setdefault(source, {}).setdefault(target, weight)
    if facts.get("unknown", "pass") not in UNKNOWN:
        raise ModelError(f"unknown: {facts['unknown']!r}", where=str(path), next_step="write `pass` or `drop`")
    if not found:
        raise ModelError(
            "the word list is empty", where=str(path), next_step="give it a line a word: source, tab, target"
        )
    return WordList({source: _weighed(targets) for source, targets in found.items()}, facts)


def _entry(line: str, where: str) -> tuple[tuple[str, ...], str, float]:
    columns = [column.strip() for column in line.split("\t")]
    source = tuple(words(columns[0]))
    if len(columns) < 2 or not source or not columns[1]:
        raise ModelError(
            "the line has no source and target", where=where, next_step="write the source, a tab and the target"
        )
    try:
        weight = float(columns[2]) if len(columns) > 2 else 1.0
    except ValueError:
        weight = 1.0
    return source, " ".join(columns[1].split()), weight if 0.0 < weight < float("inf") else 1.0


def _weighed(targets: Mapping[str, float]) -> list[tuple[str, float]]:
    """The heaviest first, equal ones as they stand in the file."""
    total = sum(targets.values())
    return sorted(((target, weight / total) for target, weight in targets.items()), key=lambda one: -one[1])


def dictionary_text(
    table: Mapping[str, Sequence[Rendering]],
    *,
    source: str = "",
    target: str = "",
    licence: str = "",
    unknown: str = "pass",
    name: str = "",
) -> str:
    """The file of a table of `align_pairs`."""
    if unknown not in UNKNOWN:
        raise ConfigError(f"unknown words cannot be {unknown!r}", where="unknown", next_step="choose pass or drop")
    facts = {"name": name, "source": source, "target": target, "licence": licence, "unknown": unknown}
    lines = [f"# {key}: {' '.join(value.split())}" for key, value in facts.items() if value]
    for word in sorted(table):
        lines += [f"{word}\t{one.text}\t{one.share:g}\t{one.count}" for one in table[word]]
    return "\n".join(lines) + "\n"


def dictionary_files(table: Mapping[str, Sequence[Rendering]], **facts: str) -> Files:
    """The files of a model folder around a table, each with what writes it; `facts` as of `dictionary_text`."""
    text = dictionary_text(table, **facts)
    return {"config.json": write_json({"model_type": MODEL_TYPE}), LIST: _text(text)}


def write_dictionary(folder: Path, table: Mapping[str, Sequence[Rendering]], **facts: str) -> None:
    """Writes a model folder; `facts`: source, target, licence, unknown, name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in dictionary_files(table, **facts).items():
        write(folder / name)


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write
