"""The characters a CTC recogniser writes: token 0 is the blank (and padding), token 1 the unknown character.

On disk it is the `vocab.json` of the Hugging Face CTC tokenizers (blank `<pad>`, unknown `<unk>`, word delimiter `|`),
so that other tools read it.

Example::

    characters = Characters.of(["shuk wasi", "ishkay"])
    characters.decode(characters.encode("wasi")) == "wasi"
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from orature.core.errors import ModelError
from orature.engines.vocabulary import Files

BLANK = 0
UNKNOWN = 1
_BLANK_TOKEN, _UNKNOWN_TOKEN, _DELIMITER = "<pad>", "<unk>", "|"
_LITERAL_BAR = "\u2502"
_TOKENIZER = {
    "tokenizer_class": "Wav2Vec2CTCTokenizer",
    "processor_class": "Wav2Vec2Processor",
    "pad_token": _BLANK_TOKEN,
    "unk_token": _UNKNOWN_TOKEN,
    "bos_token": None,
    "eos_token": None,
    "word_delimiter_token": _DELIMITER,
    "replace_word_delimiter_char": " ",
    "do_lower_case": False,
}
"""How transformers' tokenizer class reads `vocab.json`."""


@dataclass(frozen=True)
class Characters:
    """An ordered inventory of characters (NFC code points); `letters[i]` is token `i + 2`."""

    letters: tuple[str, ...]
    blank: ClassVar[int] = BLANK
    unknown_token: ClassVar[int | None] = UNKNOWN

    @classmethod
    def of(cls, texts: Iterable[str]) -> Characters:
        """Every character of `texts` (training texts only), in code point order."""
        seen: set[str] = set()
        for text in texts:
            seen.update(unicodedata.normalize("NFC", text))
        return cls(tuple(sorted(seen)))

    def __len__(self) -> int:
        return len(self.letters) + 2

    @cached_property
    def _number(self) -> dict[str, int]:
        return {letter: index + 2 for index, letter in enumerate(self.letters)}

    def encode(self, text: str) -> list[int]:
        """Token numbers of `text` after NFC; a character outside the inventory becomes `UNKNOWN`."""
        return [self._number.get(letter, UNKNOWN) for letter in unicodedata.normalize("NFC", text)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Characters of token numbers; blank and unknown write nothing, spaces at the ends go."""
        return "".join(self.letters[t - 2] for t in tokens if t > UNKNOWN).strip()

    def unknown(self, text: str) -> set[str]:
        """The characters of `text` that the inventory lacks."""
        return {letter for letter in unicodedata.normalize("NFC", text) if letter not in self._number}

    def piece(self, token: int) -> str:
        """The character of `token`; "" for blank and unknown."""
        return self.letters[token - 2] if token > UNKNOWN else ""

    def files(self) -> Files:
        """`vocab.json` and what transformers' tokenizer needs to read it."""
        return {
            "vocab.json": self.save,
            "tokenizer_config.json": _write_tokenizer,
        }

    def save(self, path: Path) -> None:
        """Writes `vocab.json`."""
        table = {_BLANK_TOKEN: BLANK, _UNKNOWN_TOKEN: UNKNOWN}
        table.update({_to_disk(letter): index + 2 for index, letter in enumerate(self.letters)})
        path.write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Characters:
        """Reads `vocab.json`; refuses one whose blank is not token 0."""
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            ordered = sorted(table, key=lambda token: int(table[token]))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(
                f"the vocabulary cannot be read: {error}",
                where=str(path),
                next_step="copy the whole model folder again",
            ) from error
        if ordered[:2] != [_BLANK_TOKEN, _UNKNOWN_TOKEN] or [table[t] for t in ordered] != list(range(len(ordered))):
            raise ModelError(
                "the vocabulary must number its tokens 0, 1, 2 ... and begin with <pad> (the CTC blank) and <unk>",
                where=str(path),
                next_step="copy the whole model folder again",
            )
        return cls(tuple(_from_disk(token) for token in ordered[2:]))


def _write_tokenizer(path: Path) -> None:
    path.write_text(json.dumps(_TOKENIZER, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _to_disk(letter: str) -> str:
    if letter == " ":
        return _DELIMITER
    return _LITERAL_BAR if letter == _DELIMITER else letter


def _from_disk(token: str) -> str:
    if token == _DELIMITER:
        return " "
    return _DELIMITER if token == _LITERAL_BAR else token
