"""A small character n-gram model: how many bits a letter of a text costs, for language checks and choice by domain.

Interpolated by the rule of Witten and Bell (1991; Chen and Goodman 1998, section 2.3), down to a uniform distribution
over the characters seen and one for all others.

Example::

    model = CharacterModel(["ari mashi", "imanalla"])
    model.bits("mashi") < model.bits("the window")
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from orature.text.leaks import sentence_key

ORDER = 4
_EDGE = "\x02"


class CharacterModel:
    """Counts of character n-grams of `texts` (their keys: lower case, no accents, no punctuation)."""

    def __init__(self, texts: Iterable[str], order: int = ORDER) -> None:
        self.order = order
        self._counts: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self.characters = 0
        for text in texts:
            self._add(_padded(text, order))
        self._alphabet = max(1, self._kinds[""]) + 1

    def _add(self, padded: str) -> None:
        begin = self.order - 1
        self.characters += len(padded) - begin
        for at in range(begin, len(padded)):
            for length in range(self.order):
                gram = padded[at - length : at + 1]
                context = gram[:-1]
                self._totals[context] += 1
                self._counts[gram] += 1
                if self._counts[gram] == 1:
                    self._kinds[context] += 1

    def bits(self, text: str) -> float:
        """Mean bits a character, the end of the text included; the lower the more alike."""
        padded = _padded(text, self.order)
        begin = self.order - 1
        cost = sum(-math.log2(self._probability(padded[at - begin : at + 1])) for at in range(begin, len(padded)))
        return cost / (len(padded) - begin)

    def _probability(self, gram: str) -> float:
        found = 1.0 / self._alphabet
        for length in range(1, len(gram) + 1):
            part = gram[-length:]
            total = self._totals.get(part[:-1], 0)
            if not total:
                break
            kinds = self._kinds[part[:-1]]
            found = (self._counts.get(part, 0) + kinds * found) / (total + kinds)
        return found


def _padded(text: str, order: int) -> str:
    return _EDGE * (order - 1) + sentence_key(text) + _EDGE
