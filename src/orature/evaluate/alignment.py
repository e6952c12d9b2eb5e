"""Aligns what was said with what was heard, in words (here) and in characters (by jiwer, which only this file calls).

What counts, and why:

* Both texts are brought to NFC first: a composed and a decomposed "é" are the same letter, not an error.
* Words are what stands between white space. Runs of white space count as one.
* Of all alignments with the least number of word edits, the one whose words look most alike is taken: "on the mat" and
  "on mat today" share "mat". The rate is that of any Levenshtein alignment; only what is shown as wrong, missed or
  added gains by it.
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
from rapidfuzz.distance import Levenshtein

from orature.core.errors import BadInput

EditKind = Literal["equal", "substitute", "delete", "insert"]
Confusions = Counter[tuple[str, str]]
"""How often (said, heard) were aligned; an empty string stands for "nothing": ("a", "") is a dropped a."""

_EDIT = 1 << 40
_UNLIKE = 1000
_ALONE = 400
"""Among equal numbers of edits: an unlike pair costs up to 1000, a word that stands alone 400."""
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
    edits = _best_edits(said.split(), heard.split())
    kinds = Counter(edit.kind for edit in edits)
    return Alignment(tuple(edits), Counts(kinds["equal"], kinds["substitute"], kinds["delete"], kinds["insert"]))


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


def _best_edits(said: Sequence[str], heard: Sequence[str]) -> list[Edit]:
    """Least edits, then least unlike pairs (dynamic programming over words, Wagner and Fischer 1974)."""
    rows = [[column * (_EDIT + _ALONE) for column in range(len(heard) + 1)]]
    for number, word in enumerate(said, 1):
        above, row = rows[-1], [number * (_EDIT + _ALONE)]
        for column, other in enumerate(heard):
            row.append(
                min(
                    above[column] + _pair_cost(word, other),
                    above[column + 1] + _EDIT + _ALONE,
                    row[column] + _EDIT + _ALONE,
                )
            )
        rows.append(row)
    edits: list[Edit] = []
    down, across = len(said), len(heard)
    while down or across:
        here = rows[down][across]
        if down and across:
            before, after = said[down - 1], heard[across - 1]
            if here == rows[down - 1][across - 1] + _pair_cost(before, after):
                edits.append(Edit("equal" if before == after else "substitute", before, after))
                down, across = down - 1, across - 1
                continue
        if down and here == rows[down - 1][across] + _EDIT + _ALONE:
            down -= 1
            edits.append(Edit("delete", said[down], ""))
        else:
            across -= 1
            edits.append(Edit("insert", "", heard[across]))
    return edits[::-1]


def _pair_cost(said: str, heard: str) -> int:
    if said == heard:
        return 0
    return _EDIT + round(_UNLIKE * Levenshtein.normalized_distance(said, heard))


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
