"""Vocabularies of encoder-decoders: text tokens, the prompt that a decoder begins with, and its end.

Example::

    vocabulary = WhisperVocabulary(tokenizer, generation_config, language="yo")
    vocabulary.prompt("que-EC")       # start of transcript, language, transcribe, no timestamps
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, Protocol

from orature.core.errors import ModelError
from orature.engines.language_codes import codes_of
from orature.engines.seq2seq_folder import saved_files
from orature.engines.vocabulary import Files, Vocabulary


class Seq2SeqVocabulary(Vocabulary, Protocol):
    """A vocabulary whose decoder begins with a prompt and stops at an end token."""

    @property
    def end(self) -> int:
        """The token that ends a text."""
        ...

    def prompt(self, language: str | None = None) -> list[int]:
        """The tokens a decoder begins with for `language` (BCP-47; None: the vocabulary's own), its start first."""
        ...

    def language_tokens(self) -> dict[str, int]:
        """Tokens by language code that a model may choose among where no language was given; {} otherwise."""
        ...


class TokenizerVocabulary:
    """A fast tokenizer of transformers; the prompt is its start token (Moonshine)."""

    lead = ""
    """What is put before a text so that its first word is written as those after it."""

    def __init__(self, tokenizer: Any, *, start: int, end: int) -> None:
        self.tokenizer, self.start, self._end = tokenizer, start, end

    def __len__(self) -> int:
        return len(self.tokenizer)

    @property
    def end(self) -> int:
        return self._end

    def encode(self, text: str) -> list[int]:
        """Tokens of a text after NFC, without prompt and end."""
        text = unicodedata.normalize("NFC", text).strip()
        if not text:
            return []
        return list(self.tokenizer.encode(self.lead + text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens; special tokens and unfinished characters write nothing."""
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).replace("�", "").strip()

    def unknown(self, text: str) -> set[str]:
        """Nothing: what has no token of its own is written in bytes."""
        return set()

    def prompt(self, language: str | None = None) -> list[int]:
        return [self.start]

    def language_tokens(self) -> dict[str, int]:
        return {}

    def files(self) -> Files:
        return saved_files(self.tokenizer.save_pretrained)


class WhisperVocabulary(TokenizerVocabulary):
    """Whisper's byte-level BPE with its language, task and timestamp tokens (Radford et al. 2022, section 2.3).

    `language` is the tag that `prompt()` takes where none is given. Texts begin with a space, as in Whisper's own
    training, and timestamps are not asked for.
    """

    lead = " "

    def __init__(self, tokenizer: Any, generation: Any, language: str | None = None) -> None:
        numbers = tokenizer.convert_tokens_to_ids
        super().__init__(tokenizer, start=int(numbers("<|startoftranscript|>")), end=int(numbers("<|endoftext|>")))
        self.generation, self.language = generation, language
        if language is not None and self.multilingual:
            self.prompt(language)  # an unknown language is refused here

    @property
    def multilingual(self) -> bool:
        """Whether the checkpoint has language tokens (`whisper-*.en` has not)."""
        return bool(getattr(self.generation, "is_multilingual", True))

    def language_tokens(self) -> dict[str, int]:
        """Token by code as Whisper spells it ("yo", "haw")."""
        if not self.multilingual:
            return {}
        return {name[2:-2]: int(token) for name, token in self.generation.lang_to_id.items()}

    def prompt(self, language: str | None = None) -> list[int]:
        """Start, language, transcribe, no timestamps; ModelError for a language without a token."""
        numbers = self.tokenizer.convert_tokens_to_ids
        silent = int(numbers("<|notimestamps|>"))
        if not self.multilingual:
            return [self.start, silent]
        wanted = self.language if language in (None, "und") else language
        if wanted is None:
            raise ModelError(
                "this Whisper model writes many languages, and none was chosen",
                next_step="name the language by its BCP-47 tag (--language sw)",
            )
        known = self.language_tokens()
        for code in codes_of(wanted):
            if code in known:
                return [self.start, known[code], int(numbers("<|transcribe|>")), silent]
        raise ModelError(
            f"this Whisper model has no token for the language {wanted!r}",
            next_step="train it with this language (a token is added), or choose one of " + ", ".join(sorted(known)),
        )


class CharacterVocabulary(TokenizerVocabulary):
    """Speech2Text's vocab.json with a sentencepiece model; a multilingual one forces a language token first."""

    def __init__(self, tokenizer: Any, *, start: int, end: int, language: str | None = None) -> None:
        super().__init__(tokenizer, start=start, end=end)
        self.language = language

    def encode(self, text: str) -> list[int]:
        """Tokens of a text after NFC; what the vocabulary lacks becomes the unknown token."""
        text = unicodedata.normalize("NFC", text).strip()
        if getattr(self.tokenizer, "do_upper_case", False):
            text = text.lower()
        pieces = self.tokenizer.sp_model.encode(text, out_type=str)
        return [int(self.tokenizer.convert_tokens_to_ids(piece)) for piece in pieces]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens; special tokens and the unknown one write nothing."""
        special = set(self.tokenizer.all_special_ids)
        pieces = [self.tokenizer.convert_ids_to_tokens(int(token)) for token in tokens if int(token) not in special]
        text = "".join(piece for piece in pieces if not piece.startswith("<lang:")).replace("▁", " ").strip()
        return text.upper() if getattr(self.tokenizer, "do_upper_case", False) else text

    def unknown(self, text: str) -> set[str]:
        """The characters that the vocabulary cannot write."""
        unknown = self.tokenizer.unk_token_id
        letters = {letter for letter in unicodedata.normalize("NFC", text) if not letter.isspace()}
        return {letter for letter in letters if unknown in self.encode(letter)}

    def prompt(self, language: str | None = None) -> list[int]:
        """Start, and the language's token where the model has such; ModelError for a language without one."""
        known = self.language_tokens()
        if not known:
            return [self.start]
        wanted = self.language if language in (None, "und") else language
        for code in codes_of(wanted or "und"):
            if code in known:
                return [self.start, known[code]]
        raise ModelError(
            f"this model has no token for the language {wanted or 'und'!r}",
            next_step="name one of its languages: " + ", ".join(sorted(known)),
        )

    def language_tokens(self) -> dict[str, int]:
        named = self.tokenizer.lang_code_to_id
        if named:
            return {name: int(token) for name, token in named.items()}
        vocabulary = self.tokenizer.get_vocab()
        return {name[6:-1]: int(number) for name, number in vocabulary.items() if name.startswith("<lang:")}
