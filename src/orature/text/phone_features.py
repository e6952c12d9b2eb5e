"""Articulatory features of phones, how far two phones are apart, and the error rate that weighs mistakes by it.

The features are read off the chart of the IPA (revised to 2020): place, manner and voice of consonants, height,
backness and rounding of vowels, and one for each modifier. Values go from 0 to 1; height and backness of vowels are
graded. They serve the auxiliary loss of training and a rate in which p for b weighs less than p for a.

Shapes: P phones, F features.

Example::

    matrix_PF = feature_matrix(["p", "b", "a"])         # (3, len(FEATURES))
    distance("p", "b"), distance("p", "a")              # 0.25, 1.0
    phone_errors(["p", "a"], ["b", "a"])                # Errors(phones=2, errors=1, weighted=0.25)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from orature.text.phones import Letter, letters

FEATURES = tuple(
    "consonant vowel voiced nasal lateral stop fricative sibilant rhotic approximant implosive click labial "
    "labiodental coronal postalveolar retroflex palatal velar uvular pharyngeal glottal high front rounded "
    "aspirated ejective palatalised labialised velarised pharyngealised syllabic long".split()
)
FULL = 4.0
"""Phones whose features differ by this much in sum are as far apart as any."""
_PLACES = {
    "bilabial": "labial",
    "labiodental": "labial labiodental",
    "dental": "coronal",
    "alveolar": "coronal",
    "velarised": "coronal velarised",
    "postalveolar": "coronal postalveolar",
    "alveolopalatal": "coronal postalveolar palatal",
    "retroflex": "coronal retroflex",
    "palatal": "palatal",
    "labiopalatal": "labial palatal rounded",
    "velar": "velar",
    "labiovelar": "labial velar rounded",
    "uvular": "uvular",
    "pharyngeal": "pharyngeal",
    "glottal": "glottal",
}
_MANNERS = {
    "plosive": "stop",
    "nasal": "nasal stop",
    "trill": "rhotic",
    "tap": "rhotic stop",
    "fricative": "fricative",
    "sibilant": "fricative sibilant",
    "approximant": "approximant",
    "lateral-approximant": "lateral approximant",
    "lateral-fricative": "lateral fricative",
    "lateral-tap": "lateral rhotic stop",
    "implosive": "stop implosive",
    "click": "stop click",
    "lateral-click": "lateral stop click",
}
_RHOTICS = frozenset("ɹɻʁ")
_HEIGHTS = ("open", "near-open", "open-mid", "mid", "close-mid", "near-close", "close")
_BACKNESS = {"front": 1.0, "near-front": 0.8, "central": 0.5, "near-back": 0.2, "back": 0.0}
_MARKS = {
    "ʰ": "aspirated",
    "ʼ": "ejective",
    "ʲ": "palatalised",
    "ʷ": "labialised",
    "ˠ": "velarised",
    "ˤ": "pharyngealised",
    "\u0303": "nasal",
    "\u0329": "syllabic",
    "ː": "long",
}
_Cost = Callable[[str, str], float]


def feature_matrix(phones: Sequence[str]) -> npt.NDArray[np.float32]:
    """Features of each phone, shape (P, F), float32; ValueError for what is no phone of the inventory."""
    return np.array([features_of(phone) for phone in phones], np.float32).reshape(len(phones), len(FEATURES))


@cache
def features_of(phone: str) -> tuple[float, ...]:
    """The values of `FEATURES` for one phone; ValueError for what is no phone of the inventory."""
    base = next((phone[:size] for size in (2, 1) if phone[:size] in letters()), "")
    if not base:
        raise ValueError(f"{phone!r} is no phone of the inventory")
    values = dict.fromkeys(FEATURES, 0.0)
    values.update(_of_letter(letters()[base]))
    for mark in phone[len(base) :]:
        if mark == "\u0325":
            values["voiced"] = 0.0
        elif mark in _MARKS:
            values[_MARKS[mark]] = 1.0
        else:
            raise ValueError(f"{phone!r} is no phone of the inventory")
    return tuple(values[feature] for feature in FEATURES)


def _of_letter(letter: Letter) -> dict[str, float]:
    if letter.vowel:
        height = _HEIGHTS.index(letter.place) / (len(_HEIGHTS) - 1)
        backness = _BACKNESS[letter.manner]
        return {
            "vowel": 1,
            "syllabic": 1,
            "voiced": 1,
            "high": height,
            "front": backness,
            "rounded": float(letter.mark),
        }
    named = f"{_PLACES[letter.place]} {_MANNERS[letter.manner]}".split()
    found = dict.fromkeys(named, 1.0) | {"consonant": 1.0, "voiced": float(letter.mark)}
    return found | ({"rhotic": 1.0} if letter.phone in _RHOTICS else {})


@cache
def distance(one: str, other: str) -> float:
    """0 for the same phone, 1 for phones that differ by `FULL` or more; the sum of the differences over `FULL`."""
    gap = sum(abs(a - b) for a, b in zip(features_of(one), features_of(other), strict=True))
    return min(1.0, gap / FULL)


@dataclass(frozen=True, slots=True)
class Errors:
    """Phones of the references and mistakes against them: all alike (`errors`) and by distance (`weighted`)."""

    phones: int = 0
    errors: int = 0
    weighted: float = 0.0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.phones + other.phones, self.errors + other.errors, self.weighted + other.weighted)

    @property
    def rate(self) -> float:
        """Phone error rate; ValueError without a reference."""
        return self.errors / self._some()

    @property
    def weighted_rate(self) -> float:
        """The same with substitutions by their distance; ValueError without a reference."""
        return self.weighted / self._some()

    def _some(self) -> int:
        if not self.phones:
            raise ValueError("a phone error rate needs at least one phone in the references")
        return self.phones


def phone_errors(reference: Sequence[str], heard: Sequence[str]) -> Errors:
    """Mistakes of `heard` by the cheapest alignment: each as 1, and substitutions by their distance."""
    plain = _edit(reference, heard, lambda a, b: float(a != b))
    return Errors(len(reference), round(plain), _edit(reference, heard, distance))


def _edit(reference: Sequence[str], heard: Sequence[str], cost: _Cost) -> float:
    row = [float(place) for place in range(len(heard) + 1)]
    for number, phone in enumerate(reference, 1):
        before, row[0] = row[0], float(number)
        for place, other in enumerate(heard, 1):
            change = before if phone == other else before + cost(phone, other)
            before, row[place] = row[place], min(change, row[place] + 1.0, row[place - 1] + 1.0)
    return row[-1]
