"""A toy language that a small network can learn: words of another one with each letter put in place of another."""

from __future__ import annotations

import random

_WORDS = "wasi allpa yaku inti killa sacha urku mayu rumi tuta puncha warmi kari wawa kuchu misi runa sara papa chiri"
_FROM, _TO = "aikluprstwymnch", "oegdbmzvqfjxtyr"


def translated(text: str) -> str:
    """The text in the toy language."""
    return text.translate(str.maketrans(_FROM, _TO))


def toy_pairs(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """Different sentences of two to four words and their translations."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(draw.choices(_WORDS.split(), k=draw.randint(2, 4)))] = None
    return [(text, translated(text)) for text in found]
