"""Pseudo-sentences: letters in an order that a language could have, for phones in new company.

Letters are drawn from counts of character n-grams of the language's own sentences (Shannon 1948, section 3), now and
then from a shorter context, so that words come about that nobody wrote.

Example::

    model = PseudoText(["habari za asubuhi", "watoto wanasoma kitabu"])
    model.sentence(np.random.default_rng(1), letters=30)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

ORDER = 4
_EDGE = "\x02"
_SHORTER = 0.12
"""Chance of a context shorter by one: of a letter that the longest context did not call for."""


class PseudoText:
    """Counts of n-grams up to `order` of `texts`; ValueError where these hold no letter."""

    def __init__(self, texts: Iterable[str], order: int = ORDER) -> None:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            padded = _EDGE * (order - 1) + " ".join(text.split()) + _EDGE
            for at in range(order - 1, len(padded)):
                for length in range(order):
                    counts[padded[at - length : at]][padded[at]] += 1
        if not set(counts[""]) - {_EDGE, " "}:
            raise ValueError("pseudo-sentences need texts with letters to learn from")
        self._order = order
        self._table = {
            context: (sorted(seen), np.cumsum([seen[letter] for letter in sorted(seen)]))
            for context, seen in counts.items()
        }

    def sentence(self, rng: np.random.Generator, letters: int) -> str:
        """A sentence of about `letters` characters, ended where a word ends; the same for the same state of `rng`."""
        written = ""
        while len(written) < 2 * letters:
            context = (_EDGE * (self._order - 1) + written)[-(self._order - 1) :]
            while context not in self._table or (context and rng.random() < _SHORTER):
                context = context[1:]
            letter = self._drawn(context, rng)
            if letter in (_EDGE, " ") and len(written) >= letters:
                break
            if letter == _EDGE:
                letter = " "
            if letter != " " or not written.endswith(" "):
                written += letter
        return written.strip()

    def _drawn(self, context: str, rng: np.random.Generator) -> str:
        seen, sums = self._table[context]
        return seen[int(np.searchsorted(sums, rng.integers(sums[-1]), side="right"))]
