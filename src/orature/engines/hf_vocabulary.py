"""The vocabularies of published CTC checkpoints: `vocab.json` in any order, one vocabulary or one for each language.

The blank is the padding token; the word delimiter (`|`) is a space; tokens may be several characters long, and the
longest that fits is taken, as transformers' tokenizer does. Text is NFC; where a vocabulary holds base letters and
combining marks instead, a letter is taken apart into them.

Example::

    vocabulary = HfVocabulary.read(folder, outputs=32, pad=0)
    vocabulary.decode(vocabulary.encode("shuk wasi")) == "shuk wasi"
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from orature.core.errors import ModelError
from orature.engines.hf_folder import WHOLE, read_json
from orature.engines.native_folder import write_json
from orature.engines.vocabulary import Files

_LITERAL_BAR = "\u2502"
_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")
_DEFAULTS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
Nested = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class HfVocabulary:
    """Tokens of one output layer; `tokens[i]` is what `vocab.json` calls token `i`.

    `roles` maps bos_token, eos_token, unk_token and pad_token to tokens. `language` and `others` are those of a nested
    vocabulary: the language of `tokens`, and the vocabularies of all other languages, kept as they were read.
    """

    tokens: tuple[str, ...]
    roles: Mapping[str, str]
    delimiter: str | None = "|"
    lower_case: bool = False
    language: str | None = None
    others: Nested | None = None

    @classmethod
    def read(cls, folder: Path, *, outputs: int, pad: int | None, language: str | None = None) -> HfVocabulary:
        """The vocabulary of a folder for an output layer of `outputs` rows.

        `pad` is the config's padding token, the blank where the tokenizer names none; `language` picks one of a nested
        vocabulary. ModelError where it is missing, its numbers have gaps, or it does not fit the output layer.
        """
        table = vocabulary_table(folder)
        settings = read_json(folder / "tokenizer_config.json", optional=True)
        settings.update(read_json(folder / "special_tokens_map.json", optional=True))
        others: Nested | None = None
        if is_nested(table):
            others = {name: own for name, own in table.items() if name != language}
            table = dict(table.get(str(language), {}))
        roles = {role: _text(settings.get(role, _DEFAULTS[role])) for role in _ROLES}
        tokens = _ordered(table, _added(folder, settings), roles, outputs, folder)
        if roles["pad_token"] not in tokens and pad is not None and 0 <= pad < len(tokens):
            roles["pad_token"] = tokens[pad]
        found = cls(
            tokens=tokens,
            roles={role: token for role, token in roles.items() if token in tokens},
            delimiter=_delimiter(settings.get("word_delimiter_token", "|"), tokens),
            lower_case=bool(settings.get("do_lower_case", False)),
            language=language if others is not None else None,
            others=others,
        )
        if "pad_token" not in found.roles:
            raise ModelError(
                "the vocabulary names no padding token, which is CTC's blank",
                where=str(folder / "vocab.json"),
                next_step=WHOLE,
            )
        return found

    @classmethod
    def of_language(cls, folder: Path, language: str) -> HfVocabulary:
        """A vocabulary of special tokens for a language that the nested one of `folder` lacks; its own are all kept."""
        settings = read_json(folder / "tokenizer_config.json", optional=True)
        roles = {role: _text(settings.get(role, token)) or token for role, token in _DEFAULTS.items()}
        tokens = tuple(dict.fromkeys(roles[role] for role in ("pad_token", "bos_token", "eos_token", "unk_token")))
        delimiter = _text(settings.get("word_delimiter_token")) or "|"
        return cls(
            tokens=(*tokens, delimiter),
            roles=roles,
            delimiter=delimiter,
            lower_case=bool(settings.get("do_lower_case", False)),
            language=language,
            others={name: own for name, own in vocabulary_table(folder).items() if name != language},
        )

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def _pieces(self) -> tuple[str, ...]:
        silent = set(self.roles.values())
        return tuple("" if token in silent else self._written(token) for token in self.tokens)

    def _written(self, token: str) -> str:
        if token == self.delimiter:
            return " "
        if token == _LITERAL_BAR and self.delimiter == "|":
            return "|"
        return token.lower() if self.lower_case else token

    @cached_property
    def _by_text(self) -> dict[str, int]:
        """Number of each text that a token writes; the first token where two write the same."""
        found: dict[str, int] = {}
        for number, piece in enumerate(self._pieces):
            if piece:
                found.setdefault(piece, number)
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_text), default=1)

    @property
    def blank(self) -> int:
        """The padding token."""
        return self._number[self.roles["pad_token"]]

    @property
    def unknown_token(self) -> int | None:
        """The unknown token, if the vocabulary has one."""
        token = self.roles.get("unk_token")
        return None if token is None else self._number[token]

    def piece(self, token: int) -> str:
        """What `token` writes: a space ends a word; "" for blank, unknown and other special tokens."""
        return self._pieces[token]

    def encode(self, text: str) -> list[int]:
        """Token numbers of `text` after NFC; a character outside becomes the unknown token (nothing without one)."""
        text = unicodedata.normalize("NFC", text)
        text = text.lower() if self.lower_case else text
        tokens: list[int] = []
        at = 0
        while at < len(text):
            for size in range(min(self._longest, len(text) - at), 0, -1):
                number = self._by_text.get(text[at : at + size])
                if number is not None:
                    break
            else:
                size = 1
                tokens.extend(self._apart(text[at]))
            if number is not None:
                tokens.append(number)
            at += size
        return tokens

    def _apart(self, letter: str) -> list[int]:
        """A letter that is no token: its base letter and marks, else the unknown token."""
        parts = [self._by_text.get(part) for part in unicodedata.normalize("NFD", letter)]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            return known
        return [] if self.unknown_token is None else [self.unknown_token]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, NFC; special tokens write nothing, spaces at the ends go."""
        return unicodedata.normalize("NFC", "".join(self._pieces[token] for token in tokens)).strip()

    def unknown(self, text: str) -> set[str]:
        """The characters of `text` that the vocabulary cannot write."""
        text = unicodedata.normalize("NFC", text)
        lost: set[str] = set()
        for letter in set(text.lower() if self.lower_case else text):
            alone = self._by_text.get(letter)
            parts = unicodedata.normalize("NFD", letter)
            if alone is None and not all(part in self._by_text for part in parts):
                lost.add(letter)
        return lost

    def extended(self, texts: Iterable[str]) -> HfVocabulary:
        """The same tokens with the same numbers, then one for each character of `texts` that was missing."""
        lost = sorted(set().union(*(self.unknown(text) for text in texts)))
        delimiter = self.delimiter or "|"
        return replace(
            self, tokens=(*self.tokens, *(self._token(letter, delimiter) for letter in lost)), delimiter=delimiter
        )

    def _token(self, letter: str, delimiter: str) -> str:
        """How vocab.json names the token that writes `letter`."""
        if letter in (" ", delimiter):
            return delimiter if letter == " " else _LITERAL_BAR
        capital = letter.upper()
        return capital if self.lower_case and len(capital) == 1 and capital.lower() == letter else letter

    def files(self) -> Files:
        """`vocab.json` (nested where it was), `tokenizer_config.json` and `special_tokens_map.json`."""
        flat = {token: number for number, token in enumerate(self.tokens)}
        whole: object = flat if self.others is None else {**self.others, str(self.language): flat}
        roles = {role: self.roles.get(role) for role in _ROLES}
        settings: dict[str, Any] = {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "processor_class": "Wav2Vec2Processor",
            "word_delimiter_token": self.delimiter or "|",
            "replace_word_delimiter_char": " ",
            "do_lower_case": self.lower_case,
            **roles,
        }
        if self.others is not None:
            settings["target_lang"] = self.language
        return {
            "vocab.json": write_json(whole),
            "tokenizer_config.json": write_json(settings),
            "special_tokens_map.json": write_json({role: token for role, token in roles.items() if token}),
        }


def vocabulary_table(folder: Path) -> dict[str, Any]:
    """`vocab.json` of a folder; ModelError where the tokenizer is missing or holds no numbers."""
    path = folder / "vocab.json"
    if not path.is_file():
        raise ModelError(
            "there is no tokenizer: vocab.json is missing",
            where=str(folder),
            next_step="copy the whole checkpoint folder again; a model that was only pre-trained has none: train it",
        )
    table = read_json(path)
    flat = [number for own in table.values() for number in (own.values() if isinstance(own, dict) else [own])]
    if not table or not all(isinstance(number, int) for number in flat):
        raise ModelError("vocab.json must map tokens to numbers", where=str(path), next_step=WHOLE)
    return table


def is_nested(table: Mapping[str, Any]) -> bool:
    """Whether `vocab.json` holds one vocabulary for each language."""
    return all(isinstance(own, dict) for own in table.values())


def _text(token: object) -> str:
    """A special token as text: written plainly, or as a table with its content."""
    if isinstance(token, dict):
        token = token.get("content")
    return "" if token is None else str(token)


def _delimiter(setting: object, tokens: Sequence[str]) -> str | None:
    token = _text(setting)
    return token if token in tokens else (" " if " " in tokens else None)


def _added(folder: Path, settings: Mapping[str, Any]) -> dict[str, int]:
    """Tokens that lie beside `vocab.json`: old and new spelling."""
    found = {name: number for name, number in read_json(folder / "added_tokens.json", optional=True).items()}
    for number, token in dict(settings.get("added_tokens_decoder") or {}).items():
        found.setdefault(_text(token), int(number))
    return {token: number for token, number in found.items() if isinstance(number, int)}


def _ordered(
    table: Mapping[str, int], added: Mapping[str, int], roles: Mapping[str, str], outputs: int, folder: Path
) -> tuple[str, ...]:
    """Tokens in the order of their numbers, which must be 0 to `outputs - 1`.

    Special tokens that vocab.json lacks count where the output layer has rows for them (the tokenizer adds them in the
    order of `_ROLES` when it is made).
    """
    whole = dict(table)
    if len(whole) < outputs:
        whole.update({token: number for token, number in added.items() if token not in whole and number < outputs})
        for token in roles.values():
            if token and len(whole) < outputs and token not in whole:
                whole[token] = len(whole)
    if sorted(whole.values()) != list(range(outputs)):
        raise ModelError(
            f"the vocabulary holds {len(whole)} tokens, the output layer has {outputs} rows",
            where=str(folder / "vocab.json"),
            next_step="vocab.json and the weights are of different models: " + WHOLE,
        )
    return tuple(sorted(whole, key=lambda token: whole[token]))
