"""What is to be translated, what a person has translated already, and what a translator found: read and written here.

Example::

    texts = distinct_texts(Path("corpus"), splits=("train",), source="es")
    found = read_found(run.path_of(translated))
    found["la casa es grande"].candidates[0].text
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orature.core.errors import BadInput
from orature.core.types import Refusal, Utterance
from orature.data.corpus import Corpus
from orature.data.rows import fold
from orature.stages.corpus_rows import draw_order
from orature.text.language_check import short_code
from orature.text.normalise import normalise
from orature.text.text_corpus import SUMMARY, TextCorpus
from orature.text.text_sources import find_files, read_lines

TRANSLATIONS, FACTS = "translations.jsonl", "translate.json"
Translated = Literal["train", "dev"]
"""Splits that may be translated: never test."""
_COLUMN, _KEYS = "translation", ("id", "sentence")
_TABLE = "give a table of tab-separated values (UTF-8) with columns `translation` and `sentence` or `id`"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One translation with what the translator said of it; `back` is what it becomes when it is translated back.

    `round_trip` is chrF of `back` against the source, in points; None where nobody translated back.
    """

    text: str
    score: float = 0.0
    known: float = 1.0
    back: str = ""
    round_trip: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As `translations.jsonl` has it: what was not done is left out."""
        record: dict[str, Any] = {"text": self.text, "score": self.score, "known": self.known}
        return record if self.round_trip is None else {**record, "back": self.back, "round_trip": self.round_trip}


@dataclass(frozen=True, slots=True)
class Found:
    """What a translator made of one text: candidates, the best first, or a refusal."""

    source: str
    candidates: tuple[Candidate, ...] = ()
    refusal: Refusal | None = None

    def to_json(self) -> dict[str, Any]:
        """One line of `translations.jsonl`."""
        why = None if self.refusal is None else {"reason": self.refusal.reason, "detail": self.refusal.detail}
        return {"source": self.source, "candidates": [one.to_json() for one in self.candidates], "refusal": why}


def read_found(folder: Path) -> dict[str, Found]:
    """What `Translate` found, by source text; BadInput where it cannot be read."""
    path = folder / TRANSLATIONS
    found: dict[str, Found] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                why = row["refusal"]
                found[row["source"]] = Found(
                    row["source"],
                    tuple(Candidate(**one) for one in row["candidates"]),
                    None if why is None else Refusal(why["reason"], why["detail"]),
                )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"the translations cannot be read ({type(error).__name__}: {error})",
            where=f"{path}:{len(found) + 1}",
            next_step="translate again",
        ) from error
    return found


@dataclass
class HumanTranslations:
    """Translations that persons made, by the id of a row or by its text (case and punctuation aside)."""

    by_id: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_text: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: int = 0

    @classmethod
    def read(cls, path: Path) -> HumanTranslations:
        """A table with a header line: `translation`, and `id` or `sentence` (or both); BadInput for anything else.

        Several lines for one sentence are several translations of it. A line without a translation counts as none.
        """
        found = cls()
        lines = _lines(path)
        header = next(lines, (1, []))[1]
        if _COLUMN not in header or not set(_KEYS) & set(header):
            raise BadInput(
                f"the table has the columns {', '.join(header)[:200] or 'of no header'}",
                where=str(path),
                next_step=_TABLE,
            )
        for number, cells in lines:
            if len(cells) > len(header):
                what = f"{len(cells)} cells, but {len(header)} columns"
                raise BadInput(what, where=f"{path}:{number}", next_step=_TABLE)
            row = dict(zip(header, cells, strict=False))
            found._add(row.get("id", "").strip(), row.get("sentence", ""), fold(row.get(_COLUMN, "")))
        return found

    def _add(self, row_id: str, sentence: str, translation: str) -> None:
        self.rows += 1
        key = normalise(sentence)
        places = [*([self.by_id[row_id]] if row_id else []), *([self.by_text[key]] if key else [])]
        for place in places:
            if translation and translation not in place:
                place.append(translation)

    def of(self, row_id: str, text: str) -> list[str]:
        """The translations of a row, by its id where that is in the table, else by its text."""
        return self.by_id.get(row_id) or self.by_text.get(normalise(text)) or []


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n").split("\t")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"the translations cannot be read: {error}", where=f"{path} (after line {number})", next_step=_TABLE
        ) from error


def is_text_corpus(place: Path) -> bool:
    """A folder made by `orature text`."""
    return (place / SUMMARY).is_file()


def in_source(corpus: Corpus, source: str) -> set[str]:
    """The tags of a corpus that mean the language `source`; all of them where none does (it may use another tag)."""
    tags = set(corpus.summary()["languages"])
    return {tag for tag in tags if short_code(tag) == short_code(source)} or tags


def why_not(row: Utterance, splits: Sequence[str], tags: set[str]) -> Refusal | None:
    """Why a row of a corpus is not translated at all; None where it is."""
    if row.split not in splits:
        return Refusal("other-split", f"it is in {row.split or 'no split'}")
    if not fold(row.text or ""):
        return Refusal("no-text", "it has no transcript")
    return None if row.language in tags else Refusal("not-the-source-language", f"it is in {row.language}")


def distinct_texts(
    place: Path, *, splits: Sequence[str], source: str, human: HumanTranslations | None = None
) -> list[str]:
    """The different texts of a corpus, a text corpus or a file, in an order that mixes long and short ones.

    Of a corpus the rows of `splits` in the language `source`; those that a person has translated are left out (by id,
    which in a file is the number of the line).
    """
    done = human or HumanTranslations()
    found: set[str] = set()
    for row_id, text in _texts(place, splits, source):
        if text and text not in found and not done.of(row_id, text):
            found.add(text)
    return sorted(found, key=lambda text: (draw_order(0, text), text))


def nothing_said(place: Path, splits: Sequence[str]) -> str:
    """Why `place` has no text to translate: the splits that were looked at, or of a file its lines by what is amiss."""
    if not place.is_file():
        return f"splits: {', '.join(splits)}"
    lines = read_lines(find_files(place)[0])
    counts = Counter("blank" if line.trouble is None else line.trouble[0] for line in lines)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common()) or "the file is empty"


def _texts(place: Path, splits: Sequence[str], source: str) -> Iterator[tuple[str, str]]:
    if place.is_file():
        for line in read_lines(find_files(place)[0]):
            yield str(line.number), fold(line.text)
    elif is_text_corpus(place):
        for sentence in TextCorpus.open(place):
            yield sentence.id, fold(sentence.text)
    else:
        corpus = Corpus.open(place)
        tags = in_source(corpus, source)
        for row in corpus:
            if why_not(row, splits, tags) is None:
                yield row.id, fold(row.text or "")
