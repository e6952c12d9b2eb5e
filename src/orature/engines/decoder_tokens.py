"""What our encoder-decoder writes: characters, and a token for each language where it writes several.

The first tokens are padding (CTC's blank), the unknown character, the start and the end of a text; then come language
tokens and characters in the order in which they joined. A language token is the second token of the prompt: it tells
the decoder what to write, so that one model recognises one language and translates into another.

Example::

    tokens = DecoderTokens.of(["shuk wasi"], ["que-EC", "es"])
    tokens.prompt("es")                    # start, <lang:es>
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
from orature.engines.encoder_decoder import END, PAD, START, UNKNOWN
from orature.engines.language_codes import codes_of
from orature.engines.native_folder import WHOLE_FOLDER, write_json
from orature.engines.vocabulary import Files

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
_LANGUAGE, _SPACE, _LITERAL = "<lang:", "|", "\u2502"
UNKNOWN_LANGUAGE = "und"


@dataclass(frozen=True)
class DecoderTokens:
    """`names[i]` is token i: a special one, `<lang:xx>`, or a character; `language` is the prompt's own."""

    names: tuple[str, ...]
    language: str | None = None
    blank: ClassVar[int] = PAD
    unknown_token: ClassVar[int | None] = UNKNOWN
    end: ClassVar[int] = END

    @classmethod
    def of(cls, texts: Iterable[str], languages: Sequence[str] = ()) -> DecoderTokens:
        """Every character of `texts` (training texts only); language tokens where `languages` are several."""
        return cls(SPECIAL).extended(texts, languages)

    def extended(self, texts: Iterable[str], languages: Sequence[str] = ()) -> DecoderTokens:
        """The same tokens and, after them, those that are lacking, languages first, each in code point order.

        One language alone needs no token, unless there are tokens of others already.
        """
        wanted = sorted({tag.lower() for tag in languages if tag not in ("", UNKNOWN_LANGUAGE)})
        known = self.language_tokens()
        several = len(wanted) > 1 or bool(known)
        lacking = [tag for tag in wanted if several and not any(code in known for code in codes_of(tag))]
        letters = sorted({letter for text in texts for letter in unicodedata.normalize("NFC", text)} - set(self.names))
        own = wanted[0] if len(wanted) == 1 else None
        return DecoderTokens((*self.names, *(f"{_LANGUAGE}{tag}>" for tag in lacking), *letters), own)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    @property
    def letters(self) -> tuple[str, ...]:
        """The characters, in order."""
        return tuple(name for name in self.names[len(SPECIAL) :] if not name.startswith(_LANGUAGE))

    def encode(self, text: str) -> list[int]:
        """Token numbers of `text` after NFC, without prompt and end; other characters become the unknown one."""
        return [self._number.get(letter, UNKNOWN) for letter in unicodedata.normalize("NFC", text)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens; special ones and languages write nothing, spaces at the ends go."""
        return "".join(self.piece(int(token)) for token in tokens).strip()

    def unknown(self, text: str) -> set[str]:
        """The characters of `text` that the inventory lacks."""
        return {letter for letter in unicodedata.normalize("NFC", text) if letter not in self._number}

    def piece(self, token: int) -> str:
        """The character of `token`; "" for special tokens and languages."""
        name = self.names[token]
        return "" if token < len(SPECIAL) or name.startswith(_LANGUAGE) else name

    def prompt(self, language: str | None = None) -> list[int]:
        """Start, and the token of `language` where there are such; ModelError for a language without one."""
        known = self.language_tokens()
        if not known:
            return [START]
        wanted = self.language if language in (None, UNKNOWN_LANGUAGE) else language
        for code in codes_of(wanted or UNKNOWN_LANGUAGE):
            if code in known:
                return [START, known[code]]
        what = f"has no token for the language {wanted!r}" if wanted else "writes several languages, and none was named"
        raise ModelError(f"this model {what}", next_step="name one of its languages: " + ", ".join(sorted(known)))

    def language_tokens(self) -> dict[str, int]:
        """Token by language tag, lower case."""
        return {
            name[len(_LANGUAGE) : -1]: number for number, name in enumerate(self.names) if name.startswith(_LANGUAGE)
        }

    def files(self) -> Files:
        """`vocab.json`, with `|` for the space, as CTC vocabularies have it."""
        return {"vocab.json": write_json({_to_disk(name): number for number, name in enumerate(self.names)})}

    @classmethod
    def load(cls, folder: Path, language: str | None = None) -> DecoderTokens:
        """Reads `vocab.json`; ModelError where it is missing, broken, or lacks the special tokens."""
        path = folder / "vocab.json"
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            names = sorted(table, key=lambda name: int(table[name]))
            numbers = [int(table[name]) for name in names]
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"the vocabulary cannot be read: {error}", where=str(path), next_step=WHOLE_FOLDER
            ) from error
        if tuple(names[: len(SPECIAL)]) != SPECIAL or numbers != list(range(len(names))):
            raise ModelError(
                "the vocabulary must number its tokens 0, 1, 2 ... and begin with " + ", ".join(SPECIAL),
                where=str(path),
                next_step=WHOLE_FOLDER,
            )
        found = cls(tuple(_from_disk(name) for name in names), language)
        if language is not None:
            found.prompt(language)  # a language without a token is refused here
        return found


def _to_disk(name: str) -> str:
    if name == " ":
        return _SPACE
    return _LITERAL if name == _SPACE else name


def _from_disk(name: str) -> str:
    if name == _SPACE:
        return " "
    return _SPACE if name == _LITERAL else name
