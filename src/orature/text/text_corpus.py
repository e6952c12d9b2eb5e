"""A text corpus: sentences fit to be read aloud, with source and licence, in a folder with a digest.

The folder holds `sentences.jsonl.gz` (one JSON a line), `rejects.jsonl` (every line that was left out, with its reason)
and `text.json` (the summary). It is made by `orature text` and never changed.

Example::

    corpus = TextCorpus.open(Path("text"))
    for sentence in corpus:
        print(sentence.id, sentence.spoken)
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.identity import SetDigest, canonical_json, digest_json

SENTENCES, REJECTS, SUMMARY = "sentences.jsonl.gz", "rejects.jsonl", "text.json"
FORMAT = 1
_NEEDED = ("digest", "sentences", "characters", "words", "language")
_AGAIN = "make the text corpus again with: orature text SOURCE --to TEXT --lang xx"
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: `text` as it is to be transcribed, `spoken` what a voice reads (numbers and symbols in words).

    `line` is the line or row of the source where it stood, from 1; `licence` "" when nobody said one.
    """

    id: str
    text: str
    source: str = ""
    licence: str = ""
    line: int = 0
    spoken: str = ""

    def __post_init__(self) -> None:
        if not self.spoken:
            object.__setattr__(self, "spoken", self.text)

    def to_json(self) -> dict[str, Any]:
        """One line of sentences.jsonl.gz."""
        return {
            "id": self.id,
            "text": self.text,
            "spoken": self.spoken,
            "source": self.source,
            "licence": self.licence,
            "line": self.line,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Sentence:
        """What `to_json` wrote; KeyError or ValueError for anything else."""
        return cls(
            id=str(row["id"]),
            text=str(row["text"]),
            source=str(row.get("source") or ""),
            licence=str(row.get("licence") or ""),
            line=int(row.get("line") or 0),
            spoken=str(row.get("spoken") or ""),
        )


class TextCorpus:
    """An immutable, lazy list of sentences in the order of their sources."""

    def __init__(self, root: Path, summary: Mapping[str, Any]) -> None:
        self.root = root
        self._summary = summary

    @classmethod
    def open(cls, folder: Path) -> TextCorpus:
        """The text corpus in `folder`; CorpusError where there is none, or it is damaged or of an unknown format."""
        folder = Path(folder).absolute()
        try:
            summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CorpusError(
                "this folder holds no text corpus (no text.json)", where=str(folder), next_step=_AGAIN
            ) from error
        except (OSError, ValueError) as error:
            raise CorpusError("text.json cannot be read", where=str(folder), next_step=_AGAIN) from error
        if not isinstance(summary, dict) or summary.get("format") != FORMAT:
            found = summary.get("format") if isinstance(summary, dict) else None
            raise CorpusError(f"text corpus format {found!r} is not {FORMAT}", where=str(folder), next_step=_AGAIN)
        missing = [name for name in _NEEDED if name not in summary]
        if missing:
            raise CorpusError(f"text.json lacks {', '.join(missing)}", where=str(folder), next_step=_AGAIN)
        if not (folder / SENTENCES).is_file():
            raise CorpusError(f"this text corpus has lost its {SENTENCES}", where=str(folder), next_step=_AGAIN)
        return cls(folder, summary)

    def __iter__(self) -> Iterator[Sentence]:
        for _, row in numbered_json(self.root / SENTENCES):
            yield row

    def __len__(self) -> int:
        return int(self._summary["sentences"])

    def __repr__(self) -> str:
        return f"TextCorpus({self.root}, {len(self)} sentences)"

    @property
    def digest(self) -> str:
        """Content digest (64 hex): the same for the same sentences and language in any order."""
        return str(self._summary["digest"])

    @property
    def language(self) -> str:
        """BCP-47 tag of all sentences."""
        return str(self._summary["language"])

    def summary(self) -> dict[str, Any]:
        """What text.json says."""
        return dict(self._summary)

    def verify(self) -> list[str]:
        """Reads every sentence and says what is wrong: an id twice, a count or a digest that does not fit."""
        tally = Tally()
        seen: set[str] = set()
        problems: list[str] = []
        for sentence in self:
            if sentence.id in seen:
                problems.append(f"the id {sentence.id!r} is there twice")
            seen.add(sentence.id)
            tally.add(sentence)
        found = tally.summary(self.language)
        return problems + [
            f"{SUMMARY}: {name} is {self._summary[name]!r}, but the sentences give {value!r}"
            for name, value in found.items()
            if name in self._summary and self._summary[name] != value
        ]


def numbered_json(path: Path) -> Iterator[tuple[int, Sentence]]:
    """The sentences of a packed file with their line numbers; CorpusError where it is damaged."""
    number = 0
    try:
        with gzip.open(path, "rb") as packed, io.BufferedReader(packed, _BUFFER) as lines:
            for number, line in enumerate(lines, 1):
                yield number, Sentence.from_json(json.loads(line))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise CorpusError(
            f"the text corpus is damaged ({error})", where=f"{path}:{number + 1}", next_step=_AGAIN
        ) from error


class Tally:
    """Counts and the digest of sentences, gathered one by one in constant memory."""

    def __init__(self) -> None:
        self._digest = SetDigest()
        self.sentences = self.characters = self.words = 0
        self._sources: dict[str, int] = {}
        self._licences: set[str] = set()

    def add(self, sentence: Sentence) -> None:
        """One more sentence."""
        self._digest.add(canonical_json(sentence.to_json()).encode("utf-8"))
        self.sentences += 1
        self.characters += len(sentence.spoken)
        self.words += len(sentence.spoken.split())
        self._sources[sentence.source] = self._sources.get(sentence.source, 0) + 1
        if sentence.licence:
            self._licences.add(sentence.licence)

    def summary(self, language: str) -> dict[str, Any]:
        """The part of text.json that the sentences themselves give."""
        rows = self._digest.hexdigest()
        return {
            "format": FORMAT,
            "digest": digest_json({"format": FORMAT, "language": language, "rows": rows}),
            "sentences": self.sentences,
            "characters": self.characters,
            "words": self.words,
            "language": language,
            "sources": dict(sorted(self._sources.items())),
            "licences": sorted(self._licences),
        }


def write_sentences(path: Path, sentences: Iterable[Sentence]) -> Tally:
    """Writes sentences.jsonl.gz (the same bytes for the same sentences) into `path` itself and returns the counts."""
    tally = Tally()
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as out:
        for sentence in sentences:
            tally.add(sentence)
            out.write((json.dumps(sentence.to_json(), ensure_ascii=False) + "\n").encode("utf-8"))
    return tally
