"""A translator that turns words into others by a fixed rule, for tests: deterministic, quick, n-best and sampling too.

Example::

    with open_translator("fake") as translator:
        found = translator.translate([TranslationRequest("the house", "en", "qu")], TextSearch(n_best=2))[0]

Each word becomes a word of syllables that depends on the word and the language wanted; words without a letter stay as
they are and count as not known. A text that holds the word `refuse` is refused, one that holds `endless` is refused as
`truncated`, and from or into the language `xx` it does not translate.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from orature.core.errors import ConfigError
from orature.core.types import Card, Refusal
from orature.engines.translator import (
    SCORE_DIGITS,
    TextSearch,
    Translation,
    TranslationRequest,
    Translations,
    refusal_by,
)

ABOUT = "made-up words instead of a translation, for tests"
MOST_CHARACTERS = 2000
_SYLLABLES = "ka yu sha mi wa ri pa ni chu ku ti la".split()
_UNKNOWN = "xx"


class FakeTranslator:
    """See the module."""

    batch = 4

    def __init__(self) -> None:
        self.card = Card("fake", "made-up words (no translation)", (), "CC0-1.0", "fake-1", deterministic=True)

    def check(self, source: str, target: str) -> None:
        """ConfigError for the language `xx` alone."""
        for tag in (source, target):
            if tag == _UNKNOWN:
                raise ConfigError(f"the fake translator does not know {tag!r}", next_step="did you mean 'xh' or 'es'?")

    def translate(self, requests: Sequence[TranslationRequest], search: TextSearch) -> list[Translations | Refusal]:
        """Made-up words; one outcome a request, in order."""
        return [refusal_by(self, request) or _one(request, search) for request in requests]

    def close(self) -> None:
        """It holds nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _one(request: TranslationRequest, search: TextSearch) -> Translations | Refusal:
    words = request.text.split()
    if len(request.text) > MOST_CHARACTERS:
        return Refusal("too-long", f"{len(request.text)} characters; at most {MOST_CHARACTERS} are translated")
    if "refuse" in words:
        return Refusal("translator-failed", "it was asked to refuse")
    if "endless" in words:
        return Refusal("truncated", "it was asked not to end")
    known = sum(any(map(str.isalpha, word)) for word in words) / len(words)
    draw = random.Random(f"{request.seed} {request.text} {request.target}")
    choices = [
        tuple(draw.randrange(3) for _ in words) if search.sample else _choice(rank, len(words))
        for rank in range(search.n_best)
    ]
    found: dict[str, float] = {}
    for choice in choices:
        text = " ".join(_word(word, request, number) for word, number in zip(words, choice, strict=True))
        total = sum(math.log(0.5 ** (number + 1)) for number in choice)
        found.setdefault(text, total / len(words) ** search.length_penalty)
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return tuple(Translation(text, round(score, SCORE_DIGITS), known) for text, score in ranked)


def _choice(rank: int, words: int) -> tuple[int, ...]:
    """The `rank`-th alternative differs from the first in one word."""
    return tuple(1 + (rank - 1) // words if rank and place == (rank - 1) % words else 0 for place in range(words))


def _word(word: str, request: TranslationRequest, number: int) -> str:
    if not any(map(str.isalpha, word)):
        return word
    seed = hashlib.sha256(f"{word.lower()} {request.source} {request.target} {number}".encode()).digest()
    return "".join(_SYLLABLES[byte % len(_SYLLABLES)] for byte in seed[: 1 + seed[-1] % 3])


def begin(model: str, *, device: str = "cpu", threads: int | None = None, backend: str = "auto") -> FakeTranslator:
    """The translator; it takes no model."""
    return FakeTranslator()


def files(model: str) -> list[Path]:
    """None."""
    return []
