"""Aligns what was said with what was heard, in words and in characters: the only place that calls jiwer.

What counts, and why:

* Both texts are brought to NFC first: a composed and a decomposed "é" are the same letter, not an error.
* Words are what stands between white space. Runs of white space count as one.
* Characters are Unicode code points of the NFC text, combining marks included, the single space between two words
  included: this is what published character error rates count, so the figures can be laid side by side.
* An empty reference has no error rate. It is refused (`EmptyReference`), never scored as "3".

Example::

    counts = align_words("kayman shamuychik", "kayman shamuy").counts
    counts.errors, counts.reference        # 1 error in 2 words
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer

from orature.core.errors import BadInput

EditKind = Literal["equal", "substitute", "delete", "insert"]
Confusions = Counter[tuple[str, str]]
"""How often (said, heard) were aligned; an empty string stands for "nothing": ("a", "") is a dropped a."""

_WORDS = jiwer.ReduceToListOfListOfWords()
_CHARACTERS = jiwer.ReduceToListOfListOfChars()


class EmptyReference(BadInput):
    """A reference without a single word: no rate can be given for it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Edits between one reference and one hypothesis; `reference` is the length of the reference in the same unit."""

    hits: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> int:
        return self.hits + self.substitutions + self.deletions

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True, slots=True)
class Edit:
    """One aligned pair: `said` from the reference, `heard` from the hypothesis ("" where there is none)."""

    kind: EditKind
    said: str
    heard: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """The edits from left to right, and their counts."""

    edits: tuple[Edit, ...]
    counts: Counts


def plain(text: str) -> str:
    """`text` in NFC with every run of white space made one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def align_words(reference: str, hypothesis: str) -> Alignment:
    """The least number of word edits that turn `reference` into `hypothesis`; raises `EmptyReference`."""
    said, heard = plain(reference), plain(hypothesis)
    _refuse_empty(said)
    output = jiwer.process_words([said], [heard], reference_transform=_WORDS, hypothesis_transform=_WORDS)
    return _alignment(output.references[0], output.hypotheses[0], output.alignments[0])


def align_characters(reference: str, hypothesis: str) -> Alignment:
    """The least number of code point edits (spaces count) from `reference` to `hypothesis`; raises `EmptyReference`."""
    said, heard = plain(reference), plain(hypothesis)
    _refuse_empty(said)
    output = jiwer.process_characters(
        [said], [heard], reference_transform=_CHARACTERS, hypothesis_transform=_CHARACTERS
    )
    return _alignment(output.references[0], output.hypotheses[0], output.alignments[0])


def confusions(alignments: Iterable[Alignment]) -> Confusions:
    """Counts every aligned (said, heard) pair, equal ones too, so that shares can be given."""
    pairs: Confusions = Counter()
    for alignment in alignments:
        pairs.update((edit.said, edit.heard) for edit in alignment.edits)
    return pairs


def _refuse_empty(said: str) -> None:
    if not said:
        raise EmptyReference(
            "the reference is empty, so no error rate can be given",
            next_step="transcribe this recording or leave it out of the test set",
        )


def _alignment(said: Sequence[str], heard: Sequence[str], chunks: Iterable[jiwer.AlignmentChunk]) -> Alignment:
    edits: list[Edit] = []
    kinds: Counter[str] = Counter()
    for chunk in chunks:
        left = said[chunk.ref_start_idx : chunk.ref_end_idx]
        right = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for index in range(max(len(left), len(right))):
            kinds[chunk.type] += 1
            before = left[index] if index < len(left) else ""
            after = right[index] if index < len(right) else ""
            edits.append(Edit(chunk.type, before, after))
    counts = Counts(kinds["equal"], kinds["substitute"], kinds["delete"], kinds["insert"])
    return Alignment(tuple(edits), counts)
