"""What a text alone says about a label that a recogniser made: loops, foreign letters, phrases that it makes up.

Pure functions over one label, and `SameLabels` over all labels of a corpus. `orature.data.label_judge` puts them
together with bounds from labelled speech.

Example::

    repeated_share("wasi wasi wasi wasi")                 # 0.75: all but the first copy
    disagreement("shuk wasi", "shuk wasu")                # 0.11
    SameLabels.of(labels, transcripts, most=5).refusal("thanks for watching")
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from unicodedata import category, normalize

import numpy as np
from rapidfuzz.distance import Levenshtein

from orature.core.types import Refusal
from orature.text.language import is_spaceless, scripts
from orature.text.leaks import sentence_key
from orature.text.normalise import normalise

HALLUCINATED = "hallucinated"
LONG_LETTERS = 12
"""Shorter labels recur in speech by nature ("good morning")."""
_LOOP = re.compile(r"(.{1,80}?)\1{2,}")
"""A unit and at least two more copies of it right behind: once more is a word form or an emphasis in many languages."""
_WORD_GRAM, _LETTER_GRAM = 4, 8
_LEAST_WORDS, _LEAST_LETTERS = 8, 16
_SLACK = 2.0
_LEAST_SEEN = 3


def repeated_share(text: str) -> float:
    """Share of `text`, in [0, 1], that says again what it has said: the larger of two measures.

    Loops: the characters of all further copies of a unit of up to 80 characters that stands three times or more in a
    row. Repeated n-grams: the share of word 4-grams (in scripts without spaces character 8-grams) that stood there
    before, of texts of at least 8 words or 16 letters (Rae et al. 2021, "Scaling language models", appendix A).
    """
    plain = normalise(text)
    if not plain:
        return 0.0
    line = plain + " "
    loops = sum(len(found[0]) - len(found[1]) for found in _LOOP.finditer(line))
    grams = _grams(plain)
    return max(loops / len(line), 1.0 - len(set(grams)) / len(grams) if grams else 0.0)


def _grams(plain: str) -> Sequence[object]:
    count = sum(category(character)[0] == "L" for character in plain)
    if 2 * sum(map(is_spaceless, plain)) > count:
        dense, size, least = tuple(plain.replace(" ", "")), _LETTER_GRAM, _LEAST_LETTERS
    else:
        dense, size, least = tuple(plain.split(" ")), _WORD_GRAM, _LEAST_WORDS
    return [dense[at : at + size] for at in range(len(dense) - size + 1)] if len(dense) >= least else []


def outside_share(text: str, alphabet: Collection[str]) -> float:
    """Share of the letters and marks of `text` (NFD, so that accents count by themselves) that `alphabet` lacks.

    0 for a text without letters.
    """
    letters = [one for one in normalize("NFD", normalise(text)) if category(one)[0] in "LM"]
    return sum(one not in alphabet for one in letters) / max(1, len(letters))


def other_script_share(text: str, own: Collection[str]) -> float:
    """Share of the letters of `text` that are in none of the scripts `own` ("Latin", "Cyrillic"); 0 without letters."""
    found = scripts(text)
    return sum(count for script, count in found.items() if script not in own) / max(1, found.total())


def disagreement(one: str, other: str) -> float:
    """Character edits between two labels as they are scored, by the length of the longer: 0 the same, 1 nothing shared.

    Symmetric, unlike an error rate, since neither label is the truth.
    """
    first, second = normalise(one), normalise(other)
    return Levenshtein.distance(first, second) / max(1, len(first), len(second))


def is_phrase(text: str, phrases: Collection[str]) -> str:
    """The phrase (of keys, see `sentence_key`) that makes up half of `text` or more; "" where none does."""
    key = f" {sentence_key(text)} "
    return next((one for one in sorted(phrases) if f" {one} " in key and 2 * len(one) >= len(key) - 2), "")


@dataclass(frozen=True)
class SameLabels:
    """Labels that too many different recordings were given: what a recogniser says when it understands nothing.

    A label (by its `sentence_key`, 12 characters or longer) may stand `most` times; twice as often as the most frequent
    such sentence among the transcripts, since prompts are read by several speakers; and twice its own share of the
    transcripts, where they hold it three times or more.
    """

    counts: Mapping[str, int]
    """Recordings by the keys of labels, those of more than `most` recordings alone."""
    recordings: int
    transcripts: Counter[str]
    usual: int
    """How often the most frequent long sentence stands among the transcripts."""
    most: int

    @classmethod
    def of(cls, labels: Iterable[tuple[str, str]], transcripts: Iterable[str], most: int) -> SameLabels:
        """From (label, what identifies its recording) pairs, all of them, and the transcripts of labelled speech.

        A recording that is there twice counts once. `labels` are gone through twice where some are frequent, and are
        held as hashes (of 64 bits) meanwhile. ValueError for what can be gone through once only.
        """
        if iter(labels) is labels:
            raise ValueError("labels are gone through twice: give a list, or what can begin anew")
        frequent, recordings = _frequent(labels, most)
        counts = {key: frequent[_mark(key)] for key in _keys_of(labels, frequent)} if frequent else {}
        said = Counter(map(sentence_key, transcripts))
        usual = max((count for key, count in said.items() if len(key) >= LONG_LETTERS), default=0)
        return cls(counts, recordings, said, usual, most)

    def allowed(self, key: str) -> int:
        """How many recordings may have the label with this key."""
        seen = self.transcripts[key]
        own = self.recordings * seen / max(1, self.transcripts.total()) if seen >= _LEAST_SEEN else 0.0
        return max(self.most, math.ceil(_SLACK * self.usual), math.ceil(_SLACK * own))

    def refusal(self, text: str) -> Refusal | None:
        """Why `text` is taken for made up; None where it is not."""
        key = sentence_key(text)
        count = self.counts.get(key, 0)
        if count <= self.most or count <= (most := self.allowed(key)):
            return None
        return Refusal(HALLUCINATED, f"{count} recordings have this label, expected are at most {most}")

    def frequent(self, most: int = 20) -> list[tuple[str, int]]:
        """The keys of the labels that are refused, the most frequent first."""
        found = [(key, count) for key, count in self.counts.items() if count > self.most and count > self.allowed(key)]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:most]


def _frequent(labels: Iterable[tuple[str, str]], most: int) -> tuple[dict[int, int], int]:
    """Recordings by the hash of a long key, where there are more than `most`; and recordings with labels in all."""
    marks, pairs = array("Q"), array("Q")
    for text, recording in labels:
        key = sentence_key(text)
        pairs.append(_mark(f"{key}\n{recording}"))
        marks.append(_mark(key) if len(key) >= LONG_LETTERS else 0)
    _, first = np.unique(np.array(pairs, dtype=np.uint64), return_index=True)
    found, counts = np.unique(np.array(marks, dtype=np.uint64)[first], return_counts=True)
    often = (counts > most) & (found > 0)
    return dict(zip(found[often].tolist(), counts[often].tolist(), strict=True)), len(first)


def _keys_of(labels: Iterable[tuple[str, str]], marks: Collection[int]) -> set[str]:
    keys = (sentence_key(text) for text, _ in labels)
    return {key for key in keys if len(key) >= LONG_LETTERS and _mark(key) in marks}


def _mark(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
