"""The phones that a CTC recogniser writes: token 0 is the blank, token 1 stands for phones outside of the inventory.

A text is phones separated by spaces, as Allosaurus and ZIPA write them. On disk it is a `vocab.json` like that of
`Characters`; `tokenizer_config.json` says that tokens are phones, by the name of transformers' class for them.

Example::

    phones = PhoneTokens(("a", "h", "iː"))
    phones.decode(phones.encode("h iː")) == "h iː"
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from unicodedata import normalize

from orature.core.errors import ModelError
from orature.engines.vocabulary import Files
from orature.text.phones import is_phone, simplified

BLANK, UNKNOWN = 0, 1
TOKENIZER = "tokenizer_config.json"
_CLASS = "Wav2Vec2PhonemeCTCTokenizer"
_CONFIG = {
    "tokenizer_class": _CLASS,
    "processor_class": "Wav2Vec2Processor",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "bos_token": None,
    "eos_token": None,
    "phone_delimiter_token": " ",
    "do_phonemize": False,
}


@dataclass(frozen=True)
class PhoneTokens:
    """An ordered inventory of phones (NFD); `phones[i]` is token `i + 2`.

    A phone that the inventory lacks is written with fewer modifiers, as far as there is such a one.
    """

    phones: tuple[str, ...]
    blank: ClassVar[int] = BLANK
    unknown_token: ClassVar[int | None] = UNKNOWN

    def __post_init__(self) -> None:
        wrong = [phone for phone in self.phones if not is_phone(phone)]
        if wrong or len(set(self.phones)) < len(self.phones):
            raise ValueError(f"phones must be different ones of the inventory; {wrong[:3]} are not")

    @classmethod
    def of(cls, texts: Iterable[str]) -> PhoneTokens:
        """Every phone of `texts` (of training), in code point order; ValueError for what is no phone."""
        return cls(tuple(sorted({phone for text in texts for phone in normalize("NFD", text).split()})))

    def __len__(self) -> int:
        return len(self.phones) + 2

    @cached_property
    def _number(self) -> dict[str, int]:
        return {phone: index + 2 for index, phone in enumerate(self.phones)}

    def units(self, text: str) -> list[str]:
        """What is counted as one in an error rate: the phones of a text."""
        return text.split()

    def encode(self, text: str) -> list[int]:
        """Token numbers of phones separated by spaces; `UNKNOWN` where not even the bare letter is known."""
        return [self._token(phone) for phone in normalize("NFD", text).split()]

    def _token(self, phone: str) -> int:
        while phone not in self._number and (shorter := simplified(phone)) != phone:
            phone = shorter
        return self._number.get(phone, UNKNOWN)

    def decode(self, tokens: Sequence[int]) -> str:
        """Phones of token numbers, separated by spaces; blank and unknown write nothing."""
        return " ".join(self.phones[token - 2] for token in tokens if token > UNKNOWN)

    def unknown(self, text: str) -> set[str]:
        """The phones of `text` that the inventory has in no simpler form."""
        return {phone for phone in normalize("NFD", text).split() if self._token(phone) == UNKNOWN}

    def piece(self, token: int) -> str:
        """The phone of `token` and a space, since every phone stands for itself; "" for blank and unknown."""
        return f"{self.phones[token - 2]} " if token > UNKNOWN else ""

    def files(self) -> Files:
        """`vocab.json` and `tokenizer_config.json`."""
        return {"vocab.json": self._save, TOKENIZER: _write_config}

    def _save(self, path: Path) -> None:
        table = {"<pad>": BLANK, "<unk>": UNKNOWN} | self._number
        path.write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PhoneTokens:
        """The phones of a model folder; ModelError where `vocab.json` is no list of phones."""
        path = folder / "vocab.json"
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            ordered = sorted(table, key=lambda token: int(table[token]))
            if ordered[:2] != ["<pad>", "<unk>"] or [table[token] for token in ordered] != list(range(len(ordered))):
                raise ValueError("its tokens are not numbered 0, 1, 2 ... from <pad> and <unk>")
            return cls(tuple(ordered[2:]))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"the phones cannot be read: {error}", where=str(path), next_step="copy the whole model folder again"
            ) from error


def writes_phones(folder: Path) -> bool:
    """Whether the tokens of a model folder are phones."""
    try:
        found = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("tokenizer_class") == _CLASS


def _write_config(path: Path) -> None:
    path.write_text(json.dumps(_CONFIG, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
