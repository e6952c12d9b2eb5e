"""The doctor of a corpus: leaks between its splits and with other corpora and texts, each one named.

Example::

    leaks = find_leaks(Corpus.open(Path("corpus")), against=[Corpus.open(Path("more"))], text_files=[Path("lm.txt")])
    for leak in leaks:
        print(leak.sentence)

Kinds: `speaker` (a labelled speaker on both sides), `sentence`, `near-duplicate`, `audio` (see `orature.text.leaks`),
`text` (a line of a text file that is, or nearly is, a dev or test sentence). Looked at are train and unlabelled rows
against dev and test, dev against test, and both ways between this corpus and the others.

What is no leak but a warning: a corpus of one speaker, which cannot be disjoint by speaker; unknown speakers; one-word
sentences, which recur by nature; rows in no split yet, which `orature split` screens. Speaker names are compared
between two corpora only where they can mean the same person: in rows of the same source, or where a name has 16
characters or more (Common Voice's client ids).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.types import Utterance
from orature.data.corpus import UNASSIGNED, Corpus
from orature.text.alphabet import Alphabet, MixedWord, Outside, mixed_words
from orature.text.leaks import Breach, EmbargoIndex

_HELD_OUT = ("dev", "test")
_LONG_NAME = 16
_SENTENCE_COLUMNS = ("sentence", "text", "transcription", "transcript")


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak: its kind, the row or line it comes from, the dev or test row or split it reaches, all in a sentence."""

    kind: str
    taken: str
    reaches: str
    sentence: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(slots=True)
class Examination:
    """Leaks, warnings, and how much was looked at."""

    leaks: list[Leak] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    looked_at: dict[str, int] = field(default_factory=dict)


def find_leaks(corpus: Corpus, against: Sequence[Corpus] = (), text_files: Sequence[Path] = ()) -> list[Leak]:
    """All leaks of `corpus` between its splits, with other corpora and with text files."""
    return examine(corpus, against, text_files).leaks


def examine(corpus: Corpus, against: Sequence[Corpus] = (), text_files: Sequence[Path] = ()) -> Examination:
    """The leaks, and what a person should know about how far they could be looked for."""
    found = Examination()
    own = _HeldOut(corpus)
    _within(corpus, own, found)
    for other in against:
        _between(own, other, f"{other.root.name}/", found, "")
        _between(_HeldOut(other), corpus, "", found, f"{other.root.name}/")
    for path in text_files:
        lines = 0
        for number, text in read_sentences(path):
            lines += 1
            breach = own.both.sentence_breach(text)
            if breach:
                where = f"{path.name}:{number}"
                found.leaks.append(Leak("text", where, breach.row.id, f"text: {where}: {breach.sentence(text)}"))
        found.looked_at[f"lines of {path.name}"] = lines
    if own.both.exempt:
        found.warnings.append(
            f"{own.both.exempt} one-word sentences of dev and test are not compared: such prompts recur by nature"
        )
    return found


class _HeldOut:
    """Dev and test of one corpus, indexed; speakers with the sources in which they occur."""

    def __init__(self, corpus: Corpus) -> None:
        self.test = EmbargoIndex.of(corpus.split("test"))
        self.both = EmbargoIndex.of(corpus.split("test"), corpus.split("dev"))
        self.speakers: dict[str, dict[str, set[str]]] = {}
        for split in _HELD_OUT:
            for utterance in corpus.split(split):
                if utterance.speaker:
                    self.speakers.setdefault(utterance.speaker, {}).setdefault(split, set()).add(utterance.source)


def _within(corpus: Corpus, own: _HeldOut, found: Examination) -> None:
    everyone: set[str] = set()
    unknown = rows = unsettled = 0
    shared: dict[tuple[str, str, str], int] = {}
    for utterance in corpus:
        split = utterance.split or UNASSIGNED
        found.looked_at[split] = found.looked_at.get(split, 0) + 1
        rows += 1
        if utterance.speaker is None:
            unknown += 1
        else:
            everyone.add(utterance.speaker)
            for held in own.speakers.get(utterance.speaker, {}):
                if split == "train" or (split, held) == ("dev", "test"):
                    shared[utterance.speaker, split, held] = shared.get((utterance.speaker, split, held), 0) + 1
        if split == "test":
            continue
        breach = (own.test if split == "dev" else own.both).breach(utterance)
        if breach and split == UNASSIGNED:
            unsettled += 1
        elif breach:
            found.leaks.append(_leak(utterance, split, breach))
    if unsettled:
        found.warnings.append(
            f"{unsettled} rows in no split are, or nearly are, dev or test material: orature split leaves them out"
        )
    if unknown:
        found.warnings.append(
            f"the speaker of {unknown} of {rows} rows is unknown: shared speakers cannot be found among them"
        )
    if len(everyone) == 1 and shared:
        name = next(iter(everyone))
        found.warnings.append(
            f"one speaker only ({name}): the splits cannot be disjoint by speaker, so scores tell nothing about others"
        )
        return
    for (speaker, split, held), count in sorted(shared.items()):
        sentence = f"speaker: {speaker} is in {split} ({count} utterances) and in {held}"
        found.leaks.append(Leak("speaker", f"{split} speaker {speaker}", held, sentence))


def _between(held: _HeldOut, other: Corpus, name: str, found: Examination, held_name: str) -> None:
    """Rows of `other` that could be trained on, against dev and test of another corpus; one Leak for each speaker."""
    speakers: dict[tuple[str, str], str] = {}
    for utterance in other:
        split = utterance.split or UNASSIGNED
        if split in _HELD_OUT:
            continue
        breach = held.both.breach(utterance)
        if breach:
            found.leaks.append(_leak(utterance, f"{name}{split}", breach, held_name))
        for reached, sources in held.speakers.get(utterance.speaker or "", {}).items():
            if utterance.speaker and (utterance.source in sources or len(utterance.speaker) >= _LONG_NAME):
                speakers[utterance.speaker, reached] = split
    for (speaker, reached), split in sorted(speakers.items()):
        sentence = f"speaker: {speaker} is in {name}{split} and in {held_name}{reached}"
        found.leaks.append(Leak("speaker", f"{name}{split} speaker {speaker}", f"{held_name}{reached}", sentence))


def _leak(utterance: Utterance, split: str, breach: Breach, held_name: str = "") -> Leak:
    offered = utterance.id if breach.kind == "audio" else (utterance.text or "")
    taken = f"{split} utterance {utterance.id}"
    sentence = f"{breach.kind}: {taken}: {breach.sentence(offered)}"
    return Leak(breach.kind, taken, f"{held_name}{breach.row.id}", sentence)


def read_sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Line number (from 1) and sentence of a text file; of a table (.tsv, .csv) the column sentence or text.

    CorpusError for a file that is missing or not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if path.suffix.lower() not in (".tsv", ".csv"):
                yield from ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())
                return
            if path.suffix.lower() == ".tsv":
                table: Iterable[list[str]] = (line.rstrip("\r\n").split("\t") for line in lines)
            else:
                table = csv.reader(lines)
            yield from _column(table, path)
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"the text cannot be read ({error})", where=str(path), next_step="give a UTF-8 text file, a sentence a line"
        ) from error


def _column(table: Iterable[list[str]], path: Path) -> Iterator[tuple[int, str]]:
    at = 0
    for number, row in enumerate(table, 1):
        if number == 1:
            header = [name.strip().lower() for name in row]
            at = next((header.index(name) for name in _SENTENCE_COLUMNS if name in header), -1)
            if at < 0:
                raise CorpusError(
                    f"the table has no column {' or '.join(_SENTENCE_COLUMNS[:2])} (it has {', '.join(row)})",
                    where=str(path),
                    next_step="name the column sentence, or give a plain text file",
                )
        elif len(row) > at and row[at].strip():
            yield number, row[at].strip()


@dataclass(frozen=True, slots=True)
class AlphabetReport:
    """Characters of train, what dev and test hold beyond them, and words that mix scripts."""

    alphabet: Alphabet
    outside: tuple[Outside, ...]
    mixed: tuple[MixedWord, ...]
    controls: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "characters": dict(self.alphabet.counts),
            "outside": [one.to_json() for one in self.outside],
            "mixed_scripts": [one.to_json() for one in self.mixed],
            "control_characters": list(self.controls),
        }


def read_alphabet(corpus: Corpus) -> AlphabetReport:
    """The alphabet of the train texts as written, and what does not fit it."""
    alphabet = Alphabet.of(utterance.text for utterance in corpus.split("train") if utterance.text)
    held = ((u.id, u.text) for split in _HELD_OUT for u in corpus.split(split) if u.text)
    outside = alphabet.outside(held) if len(alphabet) else []
    mixed = mixed_words((u.id, u.text) for u in corpus if u.text)
    controls = tuple(u.id for u in corpus if u.text and any(0x7F <= ord(c) <= 0x9F or ord(c) == 0xFFFD for c in u.text))
    return AlphabetReport(alphabet, tuple(outside), tuple(mixed), controls)
