"""Words of a text in any script, with all that stands between them: the text is their sum, exactly.

A word is a run of letters, marks and digits, with apostrophes inside it; of scripts that are written without spaces
(Han, Thai ...) each letter with its marks is a word.

Example::

    [piece.text for piece in pieces("¿Qué tal, mi amor?")]        # ["¿", "Qué", " ", "tal", ", ", "mi", " ", ...]
    words("L'eau, s'il te plaît")                                 # ["l'eau", "s'il", "te", "plaît"]
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from orature.text.language import is_spaceless

_INSIDE = frozenset("'’ʼ‘`·\u200c\u200d")
"""What joins letters to one word where it stands between two of them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A word, or what stands between two words."""

    text: str
    is_word: bool


def pieces(text: str) -> list[Piece]:
    """`text` cut into words and what lies between them."""
    found: list[Piece] = []
    start = 0
    for first, last in _spans(text):
        if first > start:
            found.append(Piece(text[start:first], False))
        found.append(Piece(text[first:last], True))
        start = last
    if start < len(text):
        found.append(Piece(text[start:], False))
    return found


def words(text: str) -> list[str]:
    """The words of `text` as they are looked up: NFC, without difference of case."""
    return [looked_up(piece.text) for piece in pieces(text) if piece.is_word]


def looked_up(word: str) -> str:
    """A word as it is compared with others."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", word).casefold()).replace("’", "'")


def _spans(text: str) -> list[tuple[int, int]]:
    """First and past-the-last index of each word."""
    spans: list[tuple[int, int]] = []
    place, size = 0, len(text)
    while place < size:
        if unicodedata.category(text[place])[0] not in "LN":
            place += 1
            continue
        first, alone = place, is_spaceless(text[place])
        place += 1
        while place < size and _goes_on(text, place, alone):
            place += 1
        spans.append((first, place))
    return spans


def _goes_on(text: str, place: int, alone: bool) -> bool:
    """Whether the word goes on at `place`; `alone`: its letters are words of their own."""
    kind = unicodedata.category(text[place])[0]
    if kind == "M":
        return True
    if alone:
        return False
    if kind in "LN":
        return not is_spaceless(text[place])
    if text[place] not in _INSIDE or place + 1 == len(text):
        return False
    return unicodedata.category(text[place + 1])[0] in "LN" and not is_spaceless(text[place + 1])
