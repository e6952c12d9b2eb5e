"""Text to the tokens that a VITS checkpoint reads, as transformers' VitsTokenizer does it, and the growing of its
vocabulary.

Example::

    text = VoiceText.of(["ẹ kú àárọ̀"], language="yo")
    text.encode("ẹ kú")          # [0, 7, 0, 3, ...]: token 0 between all letters where `add_blank`
    larger = text.extended(["ṣé"])

A vocabulary from nothing is made of training transcripts alone. MMS-TTS puts token 0 between letters whatever letter it
stands for; so it is here. Letters outside the vocabulary, which the tokenizer drops in silence, are told by `unknown`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unicodedata import normalize

from orature.core.errors import MissingExtra, ModelError
from orature.engines.hf_folder import read_json
from orature.engines.vits_text import with_blanks

PAD, UNKNOWN = "<pad>", "<unk>"
VOCABULARY, TOKENIZER = "vocab.json", "tokenizer_config.json"
_WHOLE = "copy the whole checkpoint folder again"


@dataclass(frozen=True)
class VoiceText:
    """A vocabulary (token -> number) and how text is prepared for it."""

    tokens: Mapping[str, int]
    add_blank: bool = True
    normalize: bool = True
    is_uroman: bool = False
    pad: str = PAD
    unknown_token: str = UNKNOWN
    language: str = ""

    @classmethod
    def of(cls, texts: Iterable[str], *, language: str = "") -> VoiceText:
        """The vocabulary of training `texts`: blank and unknown, then all characters in code point order."""
        letters = sorted({letter for text in texts for letter in text})
        names = [PAD, UNKNOWN, *(letter for letter in letters if letter not in (PAD, UNKNOWN))]
        return cls({name: number for number, name in enumerate(names)}, language=language)

    @classmethod
    def read(cls, folder: Path) -> VoiceText:
        """The tokenizer of a checkpoint folder; ModelError where its files are broken or it reads phonemes."""
        raw, how = read_json(folder / VOCABULARY), read_json(folder / TOKENIZER, optional=True)
        tokens = {str(name): number for name, number in raw.items()}
        numbers = list(tokens.values())
        if not numbers or not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ModelError("vocab.json must number its tokens", where=str(folder), next_step=_WHOLE)
        if len(set(numbers)) != len(numbers) or 0 not in numbers:
            raise ModelError("vocab.json must number its tokens from 0, each once", where=str(folder), next_step=_WHOLE)
        if how.get("phonemize", True):
            raise ModelError(
                "this checkpoint reads phonemes, and there is no way here from text to its phonemes",
                where=str(folder / TOKENIZER),
                next_step="start from a checkpoint that reads letters (those of MMS-TTS do), or from nothing",
            )
        return cls(
            tokens,
            add_blank=bool(how.get("add_blank", True)),
            normalize=bool(how.get("normalize", True)),
            is_uroman=bool(how.get("is_uroman", False)),
            pad=_content(how.get("pad_token"), PAD),
            unknown_token=_content(how.get("unk_token"), UNKNOWN),
            language=str(how.get("language") or ""),
        )

    def __len__(self) -> int:
        return max(self.tokens.values()) + 1

    def prepared(self, text: str) -> str:
        """`text` as its letters are looked up: romanised where the checkpoint was trained so, in lower case."""
        if self.language == "ron":
            text = text.replace("\u021b", "\u0163")
        if self.is_uroman and not text.isascii():
            text = _romanised(text)
        if not self.normalize:
            return text
        return "".join(letter if letter in self.tokens else letter.lower() for letter in text)

    def unknown(self, text: str) -> list[str]:
        """The letters of `text` that the vocabulary lacks, each once, in the order of code points."""
        return sorted({letter for letter in self.prepared(text) if self._spelled(letter) is None})

    def encode(self, text: str) -> list[int]:
        """Tokens, token 0 between, before and after them where `add_blank`; letters outside are left out."""
        letters = "".join(self._spelled(letter) or "" for letter in self.prepared(text)).strip()
        numbers = [self.tokens[letter] for letter in letters]
        return with_blanks(numbers) if self.add_blank else numbers

    def _spelled(self, letter: str) -> str | None:
        """The letter, or its parts (a letter and its marks) where the vocabulary has these instead; None: neither."""
        if letter in self.tokens:
            return letter
        if letter.isspace():
            return ""
        parts = normalize("NFD", letter)
        return parts if len(parts) > 1 and all(part in self.tokens for part in parts) else None

    def extended(self, texts: Iterable[str]) -> VoiceText:
        """The same tokens with the same numbers, and after them what `texts` need beyond (and the unknown token)."""
        missing = sorted({letter for text in texts for letter in self.unknown(text)})
        if not missing:
            return self
        if self.unknown_token not in self.tokens:
            missing = [self.unknown_token, *missing]
        first = len(self)
        return replace(self, tokens={**self.tokens, **{name: first + place for place, name in enumerate(missing)}})

    def files(self) -> dict[str, str]:
        """The tokenizer's files as transformers' VitsTokenizer reads them, by name."""
        how: dict[str, Any] = {
            "tokenizer_class": "VitsTokenizer",
            "add_blank": self.add_blank,
            "normalize": self.normalize,
            "phonemize": False,
            "is_uroman": self.is_uroman,
            "language": self.language or None,
            "pad_token": self.pad,
            "unk_token": self.unknown_token,
        }
        return {VOCABULARY: _json(dict(self.tokens)), TOKENIZER: _json(how)}


def _content(token: object, default: str) -> str:
    """A special token as tokenizer files name it: plain, or as a table with its content."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else default


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _romanised(text: str) -> str:
    return str(_romaniser().romanize_string(text))


@cache
def _romaniser() -> Any:
    """The tables of uroman, read once."""
    try:
        return import_module("uroman").Uroman()
    except ImportError as error:
        raise MissingExtra(
            "this checkpoint was trained on romanised text, which needs the package uroman",
            next_step="pip install uroman",
        ) from error
