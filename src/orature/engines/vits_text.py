"""From text to the tokens of a VITS checkpoint, as transformers' VitsTokenizer makes them, but nothing lost in silence.

VitsTokenizer drops every character that the vocabulary lacks, so a voice would leave out a letter or a number and the
transcript would say what the audio does not. Here letters, marks, digits and symbols that are lacking are named and
the text is refused; only punctuation is left out, which these voices were trained without.

Example::

    reader = VitsReader.open(Path("mms-tts-swh"))
    tokens = reader.read("Habari za asubuhi?")        # [0, 12, 0, 4, ...], or a Refusal
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orature.core.errors import MissingExtra, ModelError
from orature.core.types import Refusal
from orature.engines.hf_folder import WHOLE, read_json

VOCABULARY, TOKENIZER = "vocab.json", "tokenizer_config.json"
Rewrite = Callable[[str], str]

_APOSTROPHES = "'\u2019\u02bc\u2018\u02bb\u02b9\u00b4`\ua78c"
_HYPHENS = "-\u2010\u2011"
_ALIKE = {mark: group for group in (_APOSTROPHES, _HYPHENS) for mark in group}
_SPACES = re.compile(r"\s+")
_DOTTED = frozenset({"tur", "tr", "aze", "az", "azj", "azb", "crh", "tat", "tt"})
_INVISIBLE = frozenset({"\u00ad", "\u200b", "\u2060", "\ufeff", "\u200e", "\u200f"})


@dataclass(frozen=True)
class VitsReader:
    """The vocabulary of a checkpoint and how text is prepared for it."""

    tokens: Mapping[str, int]
    language: str = ""
    add_blank: bool = True
    normalize: bool = True
    romanise: Rewrite | None = None
    phonemise: Rewrite | None = None

    @classmethod
    def open(cls, folder: Path, *, phonemise: Callable[[str], Rewrite] | None = None) -> VitsReader:
        """The reader of a checkpoint folder.

        `phonemise` gives, for a language, the way from text to phonemes for checkpoints that read these. ModelError for
        broken files or a checkpoint of phonemes without such a way, MissingExtra where it needs the package uroman.
        """
        tokens = _vocabulary(folder)
        how = read_json(folder / TOKENIZER, optional=True)
        language = str(how.get("language") or "")
        phonemes = None
        if how.get("phonemize", True):
            if phonemise is None:
                raise ModelError(
                    "this checkpoint reads phonemes, and there is no way here from text to its phonemes",
                    where=str(folder / TOKENIZER),
                    next_step="take a checkpoint that reads letters (those of MMS-TTS do)",
                )
            phonemes = phonemise(language or "en-us")
        return cls(
            tokens=tokens,
            language=language,
            add_blank=bool(how.get("add_blank", True)),
            normalize=bool(how.get("normalize", True)),
            romanise=_uroman() if how.get("is_uroman", False) else None,
            phonemise=phonemes,
        )

    def read(self, text: str) -> list[int] | Refusal:
        """Numbers of the tokens of `text`, with token 0 around each where the checkpoint wants it; or a Refusal.

        Reasons: `unreadable-characters` with the characters that the vocabulary lacks, `empty-text`.
        """
        shown = unicodedata.normalize("NFC", text)
        if self.language == "ron":
            shown = shown.replace("\u021b", "\u0163")
        if self.normalize:
            shown = self._lowered(shown)
        if self.romanise is not None and not shown.isascii():
            shown = self._lowered(self.romanise(shown)) if self.normalize else self.romanise(shown)
        if self.phonemise is not None:
            shown = _SPACES.sub(" ", self.phonemise(shown))
        letters, lacking = self._letters(shown)
        if lacking:
            return Refusal(
                "unreadable-characters",
                "the vocabulary of the voice lacks "
                + ", ".join(f"{one!r} (U+{ord(one):04X})" for one in sorted(lacking)[:20]),
            )
        if not "".join(letters).strip():
            return Refusal("empty-text", "nothing in this text can be spoken")
        numbers = [self.tokens[letter] for letter in letters]
        return with_blanks(numbers) if self.add_blank else numbers

    def _lowered(self, text: str) -> str:
        """Lower case where the vocabulary does not hold the letter as it is; Turkic dotted and dotless i are kept."""
        if self.language in _DOTTED:
            text = "".join(one if one in self.tokens else {"I": "\u0131", "\u0130": "i"}.get(one, one) for one in text)
        return "".join(one if one in self.tokens else one.lower() for one in text)

    def _letters(self, text: str) -> tuple[list[str], set[str]]:
        """Tokens of `text` one by one, without spaces at its ends or two in a row, and the characters that it lacks."""
        found: list[str] = []
        lacking: set[str] = set()
        for place, letter in enumerate(text):
            before, after = text[place - 1 : place] if place else "", text[place + 1 : place + 2]
            for one in self._spelled(letter, before, after, lacking):
                if not (one == " " and (not found or found[-1] == " ")):
                    found.append(one)
        while found and found[-1] == " ":
            found.pop()
        return found, lacking

    def _spelled(self, letter: str, before: str, after: str, lacking: set[str]) -> str:
        """What is read for one character: itself, an equal one that the vocabulary has, a space, or nothing."""
        if letter in self.tokens and not letter.isspace():
            return letter
        if letter.isspace():
            return self._space()
        for other in _ALIKE.get(letter, ""):
            if other in self.tokens:
                return other
        parts = unicodedata.normalize("NFD", letter)
        if len(parts) > 1 and all(part in self.tokens for part in parts):
            return parts
        if letter in _INVISIBLE:
            return ""
        inside = before.isalnum() and after.isalnum()
        if letter in _APOSTROPHES and (inside or unicodedata.category(letter).startswith("L")):
            lacking.add(letter)  # within a word it may stand for a sound
            return ""
        if unicodedata.category(letter).startswith("P") and not (inside and before.isdigit() and after.isdigit()):
            return self._space() if inside or letter in "\u2013\u2014/" else ""
        lacking.add(letter)
        return ""

    def _space(self) -> str:
        return " " if " " in self.tokens else ""


def _vocabulary(folder: Path) -> dict[str, int]:
    raw: dict[str, Any] = read_json(folder / VOCABULARY)
    numbers = list(raw.values())
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers)
    if not numbers or not whole or len(set(numbers)) != len(numbers) or 0 not in numbers:
        raise ModelError(
            "vocab.json must number its tokens from 0, each once", where=str(folder / VOCABULARY), next_step=WHOLE
        )
    return {str(token): int(number) for token, number in raw.items()}


def _uroman() -> Rewrite:
    if find_spec("uroman") is None:
        raise MissingExtra(
            "this voice was trained on romanised text, which needs the package uroman",
            next_step="pip install 'orature[voices]', then run it again",
        )
    romaniser: list[Any] = []

    def romanised(text: str) -> str:
        if not romaniser:
            romaniser.append(import_module("uroman").Uroman())
        return str(romaniser[0].romanize_string(text))

    return romanised


def with_blanks(numbers: Sequence[int]) -> list[int]:
    """Token 0 between, before and after all others, as MMS-TTS reads them."""
    spaced = [0] * (2 * len(numbers) + 1)
    spaced[1::2] = numbers
    return spaced
