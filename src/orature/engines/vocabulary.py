"""What stands between text and token numbers, whatever the family: characters, nested vocabularies, word pieces.

Example::

    tokens = vocabulary.encode("shuk wasi")
    vocabulary.decode(tokens) == "shuk wasi"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

Files = dict[str, Callable[[Path], None]]
"""Files of a model folder by name, each with what writes it; equal models write equal bytes."""


class Vocabulary(Protocol):
    """Tokens 0 to `len - 1` of a recogniser."""

    def __len__(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Target tokens of a prepared transcript; what the vocabulary lacks becomes its unknown token."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens; blanks, unknown and other special tokens write nothing, spaces at the ends go."""
        ...

    def unknown(self, text: str) -> set[str]:
        """The characters of `text` that the vocabulary cannot write."""
        ...

    def files(self) -> Files:
        """The tokenizer's files in a model folder (`vocab.json` ...)."""
        ...


class CtcVocabulary(Vocabulary, Protocol):
    """A vocabulary for CTC: it has a blank, and every token writes a piece of text."""

    @property
    def blank(self) -> int:
        """The token that CTC writes between labels."""
        ...

    @property
    def unknown_token(self) -> int | None:
        """The token that stands for characters outside, if there is one."""
        ...

    def piece(self, token: int) -> str:
        """What `token` writes: a space ends a word; "" for the blank and other special tokens."""
        ...


def letters_of(vocabulary: CtcVocabulary) -> tuple[str, ...]:
    """Every character that the vocabulary can write, in code point order."""
    return tuple(sorted({letter for token in range(len(vocabulary)) for letter in vocabulary.piece(token)}))
