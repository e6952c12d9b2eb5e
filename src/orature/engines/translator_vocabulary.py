"""What a neural translator asks of its tokenizer: texts to source tokens, target tokens to text, languages to tokens.

Example::

    vocabulary.encode([TranslationRequest("la casa", "es", "qu")])      # [[152, 7, 3, 0]]
    vocabulary.prompt("qu")                                             # what is forced after the start token
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from orature.core.errors import ModelError
from orature.engines.hf_folder import WHOLE, quiet
from orature.engines.seq2seq_folder import fast_tokenizer
from orature.engines.translator import TranslationRequest


class TranslatorVocabulary(Protocol):
    """Texts, languages and the tokens of one checkpoint."""

    languages: tuple[str, ...]
    """BCP-47 tags of all that it translates; () where nobody says."""
    most_tokens: int
    """The longest source, special tokens counted."""

    def check(self, source: str, target: str) -> None:
        """ConfigError, with the nearest languages, for a direction that it lacks."""
        ...

    def encode(self, requests: Sequence[TranslationRequest]) -> list[list[int]]:
        """Source tokens of each request, special ones too; languages were checked."""
        ...

    def prompt(self, target: str) -> list[int]:
        """The tokens that a translation is forced to begin with, after the decoder's start token."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of target tokens, without the special ones."""
        ...


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """ModelError for whatever goes wrong inside, where a tokenizer is read; transformers stays quiet."""
    try:
        with quiet():
            yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"the tokenizer cannot be read: {lines[0][:300]}", where=str(folder), next_step=WHOLE
        ) from error


class Tokenizer(Protocol):
    """Texts to tokens and back."""

    def numbers(self) -> dict[str, int]:
        """Tokens (all of them, or those of languages at least) with their numbers."""
        ...

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text, without those that a model wants around it."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text, without special tokens."""
        ...


class _FastTokenizer:
    """tokenizer.json, as it stands."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = fast_tokenizer(folder)

    def numbers(self) -> dict[str, int]:
        return dict(self._tokenizer.get_vocab())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        rows: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return rows

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()


class _Pieces:
    """A SentencePiece model whose numbers are the model's."""

    def __init__(self, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        self._model = SentencePieceProcessor(model_file=str(path))

    def numbers(self) -> dict[str, int]:
        return {self._model.id_to_piece(number): number for number in range(self._model.get_piece_size())}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        rows: list[list[int]] = self._model.encode(list(texts))
        return rows

    def decode(self, tokens: Sequence[int]) -> str:
        size = self._model.get_piece_size()
        return str(self._model.decode([token for token in tokens if token < size])).strip()


def tokenizer_of(folder: Path) -> Tokenizer:
    """tokenizer.json of a folder, else spiece.model."""
    if (folder / "tokenizer.json").is_file():
        return _FastTokenizer(folder)
    return _Pieces(folder / "spiece.model")


Open = Callable[[Path, Any], TranslatorVocabulary]
"""Reads the vocabulary of a folder whose config is given."""
