"""`dictionary:FILE.tsv` or `dictionary:FOLDER`: a text word for word by a list, where there is no better translator.

The longest listed phrase is taken first. Order and inflection stay those of the source, so the texts are no sentences
of the target language; what is right in them is words, and the share of those that were listed is told (`known`). Case
follows the source (a capital stays one), punctuation stays. Words that are not listed stay as they are, or are dropped,
as the file says (see `dictionary_file`).

Example::

    with open_translator("dictionary:es-qu.tsv") as translator:
        found = translator.translate([TranslationRequest("La casa grande.", "es", "qu")], TextSearch())[0]
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orature.core.errors import ConfigError, ModelError
from orature.core.identity import digest_file
from orature.core.types import Card, Refusal
from orature.engines.dictionary_file import LIST, read_dictionary
from orature.engines.translation_languages import same_language, tag_of
from orature.engines.translator import (
    SCORE_DIGITS,
    TextSearch,
    Translation,
    TranslationRequest,
    Translations,
    refusal_by,
)
from orature.text.language import is_spaceless
from orature.text.words import Piece, looked_up, pieces

ABOUT = "a word list (source, tab, target): word for word, for languages without a better translator"
FAMILY = "dictionary (word for word)"
VERSION = 1
"""Goes up with every change of what is found for the same request."""
MOST_CHARACTERS = 20_000
_BETWEEN = " \t\n\u00a0-‐‑"
"""What may stand between the words of a phrase."""
_UNLISTED = 0.01
"""The chance that is counted for a word that is not listed."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A stretch of the source: what stands for it, or what it is where nothing does."""

    source: str
    words: int
    """How many words with letters it holds."""
    choices: Sequence[tuple[str, float]] = ()


class DictionaryTranslator:
    """See the module."""

    batch = 1024

    def __init__(self, path: Path) -> None:
        read = read_dictionary(path)
        self._entries, facts = read.entries, read.facts
        self._longest = max(map(len, self._entries))
        self._drop = facts.get("unknown") == "drop"
        self._direction = (facts.get("source", ""), facts.get("target", ""))
        name = facts.get("name") or (path.parent.name if path.name == LIST else path.stem)
        self.card = Card(
            name=name,
            family=FAMILY,
            languages=tuple(tag_of(tag) for tag in self._direction if tag),
            licence=facts.get("licence") or "not stated",
            revision=f"dictionary-{VERSION} {digest_file(path)[:16]}",
            deterministic=True,
        )

    def check(self, source: str, target: str) -> None:
        """ConfigError for another direction than the file tells; a file that tells none is taken at your word."""
        for asked, has, verb in zip((source, target), self._direction, ("read", "write"), strict=True):
            if has and not same_language(asked, has):
                raise ConfigError(
                    f"the dictionary {self.card.name} does not {verb} the language {asked!r}",
                    where="language",
                    next_step=f"the nearest that it has: {tag_of(has)}; or take another list",
                )

    def translate(self, requests: Sequence[TranslationRequest], search: TextSearch) -> list[Translations | Refusal]:
        """One outcome a request, in order; beams and length penalty mean nothing here."""
        return [refusal_by(self, request) or self._one(request, search) for request in requests]

    def close(self) -> None:
        """It holds nothing but the list."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, request: TranslationRequest, search: TextSearch) -> Translations | Refusal:
        if len(request.text) > MOST_CHARACTERS:
            return Refusal("too-long", f"{len(request.text)} characters; at most {MOST_CHARACTERS} are translated")
        slots = self._slots(request.text)
        words = sum(slot.words for slot in slots)
        known = sum(slot.words for slot in slots if slot.choices) / words if words else 1.0
        texts: dict[str, float] = {}
        for total, ranks in _drawn(slots, request.seed, search) if search.sample else _ranked(slots, search.n_best):
            score = total / max(1, sum(1 for slot in slots if slot.words)) ** search.length_penalty
            texts.setdefault(self._written(slots, ranks), round(score, SCORE_DIGITS))
        texts.pop("", None)
        if not texts:
            return Refusal("no-text", "none of its words is listed")
        best = sorted(texts.items(), key=lambda item: -item[1])
        return tuple(Translation(text, score, round(known, 4)) for text, score in best)

    def _slots(self, text: str) -> list[_Slot]:
        """`text` cut into listed phrases, the longest first, words that are not listed, and what lies between."""
        cut = pieces(text.strip())
        slots: list[_Slot] = []
        place = 0
        while place < len(cut):
            size, choices = self._longest_at(cut, place)
            source = "".join(piece.text for piece in cut[place : place + size])
            letters = sum(_has_letters(piece) for piece in cut[place : place + size])
            slots.append(_Slot(source, letters, choices))
            place += size
        return slots

    def _longest_at(self, cut: Sequence[Piece], start: int) -> tuple[int, Sequence[tuple[str, float]]]:
        """How many pieces the longest listed phrase from `start` on covers, and its renderings; (1, ()) for none."""
        best: tuple[int, Sequence[tuple[str, float]]] = (1, ())
        phrase: list[str] = []
        for place in range(start, len(cut)):
            piece = cut[place]
            if not piece.is_word:
                if not phrase or piece.text.strip(_BETWEEN):
                    break
                continue
            phrase.append(looked_up(piece.text))
            if len(phrase) > self._longest:
                break
            if found := self._entries.get(tuple(phrase)):
                best = (place - start + 1, found)
        return best

    def _written(self, slots: Sequence[_Slot], ranks: Sequence[int]) -> str:
        text, listed = "", False
        for slot, rank in zip(slots, ranks, strict=True):
            if slot.choices:
                rendering = _cased(slot.choices[rank][0], slot.source)
                joined = listed and text and not is_spaceless(text[-1]) and not is_spaceless(rendering[0])
                text += f" {rendering}" if joined else rendering
            elif slot.words == 0 or not self._drop:
                text += slot.source
            listed = bool(slot.choices)
        return " ".join(text.split())


def _has_letters(piece: Piece) -> bool:
    return piece.is_word and any(map(str.isalpha, piece.text))


def _cased(rendering: str, source: str) -> str:
    """`rendering` with the capitals of `source`: all, the first, or those of the list."""
    letters = [letter for letter in source if letter.isalpha()]
    if len(letters) > 1 and all(map(str.isupper, letters)):
        return rendering.upper()
    if letters and letters[0].isupper():
        return rendering[0].upper() + rendering[1:]
    return rendering


def _ranked(slots: Sequence[_Slot], count: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """The `count` best ways to choose a rendering of each slot, the best first: total log-probability and ranks."""
    first = (0,) * len(slots)
    waiting, seen = [(-_total(slots, first), first)], {first}
    while waiting and count:
        cost, ranks = heapq.heappop(waiting)
        yield -cost, ranks
        count -= 1
        for place, slot in enumerate(slots):
            other = (*ranks[:place], ranks[place] + 1, *ranks[place + 1 :])
            if other[place] < len(slot.choices) and other not in seen:
                seen.add(other)
                heapq.heappush(waiting, (-_total(slots, other), other))


def _drawn(slots: Sequence[_Slot], seed: int, search: TextSearch) -> Iterator[tuple[float, tuple[int, ...]]]:
    """`n_best` ways drawn by their weights, by a generator of the request's own."""
    draw = random.Random(seed)
    for _ in range(search.n_best):
        ranks = []
        for slot in slots:
            choices = slot.choices[: search.top_k or None]
            weights = [weight ** (1.0 / search.temperature) for _, weight in choices]
            ranks.append(draw.choices(range(len(choices)), weights)[0] if choices else 0)
        yield _total(slots, ranks), tuple(ranks)


def _total(slots: Sequence[_Slot], ranks: Sequence[int]) -> float:
    return sum(
        math.log(slot.choices[rank][1] if slot.choices else _UNLISTED)
        for slot, rank in zip(slots, ranks, strict=True)
        if slot.words
    )


def begin(
    model: str, *, device: str = "cpu", threads: int | None = None, backend: str = "auto"
) -> DictionaryTranslator:
    """Reads the word list; ModelError for a broken one."""
    return DictionaryTranslator(files(model)[0])


def files(model: str) -> list[Path]:
    """The word list."""
    if not model:
        raise ConfigError("dictionary: names no word list", next_step="write dictionary:FILE.tsv")
    path = Path(model)
    path = path / LIST if path.is_dir() else path
    if not path.is_file():
        raise ModelError(
            "there is no such word list", where=str(path), next_step="name a TSV file, or a folder with it"
        )
    return [path]
