"""`t5:FOLDER`: T5 checkpoints that are told the target by a token before the source: MADLAD-400 (`<2qu> la casa`).

Kudugunta et al. 2023; `madlad:FOLDER` is the same engine. The folder is in the layout of transformers: config.json,
model.safetensors and tokenizer.json or spiece.model. Only checkpoints with `<2xx>` tokens can be told a language.

Example::

    with open_translator("madlad:models/madlad400-3b-mt") as translator:
        found = translator.translate([TranslationRequest("la casa", "es", "qu")], TextSearch())[0]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orature.core.errors import ModelError
from orature.engines.neural_translator import NeuralTranslator, open_checkpoint
from orature.engines.neural_translator import checkpoint_files as _files
from orature.engines.seq2seq_folder import need_files
from orature.engines.translation_languages import LanguageCodes
from orature.engines.translator import TranslationRequest
from orature.engines.translator_vocabulary import reading, tokenizer_of
from orature.text.language import UNKNOWN

ABOUT = "MADLAD-400 (over 400 languages) and other T5 checkpoints with <2xx> tokens"
TOKENIZER = ("tokenizer.json", "spiece.model", "tokenizer_config.json", "special_tokens_map.json")
MOST_TOKENS = 512
"""T5 has no bound of its own; longer sources than those of its training are translated badly."""
_TOKEN = re.compile(r"<2([A-Za-z]{2,3}(?:[_-][A-Za-z]+)*)>")


class T5Vocabulary:
    """The tokenizer of a T5 checkpoint and its `<2xx>` tokens."""

    def __init__(self, folder: Path, config: Any) -> None:
        need_files(folder, ("tokenizer.json",), ("spiece.model",))
        with reading(folder):
            self._tokenizer = tokenizer_of(folder)
            tokens = self._tokenizer.numbers()
        found = {
            match[1]: number
            for token, number in tokens.items()
            if (match := _TOKEN.fullmatch(token)) and number < config.vocab_size
        }
        if not found:
            raise ModelError(
                "this T5 has no tokens for languages (<2qu>), so it cannot be told the target",
                where=str(folder),
                next_step="take a checkpoint of MADLAD-400, NLLB, M2M-100 or MarianMT",
            )
        self._codes = LanguageCodes(folder.name, found)
        self._silent = frozenset(found.values())
        self._end = int(config.eos_token_id)
        self.most_tokens = MOST_TOKENS
        self.languages = self._codes.tags

    def check(self, source: str, target: str) -> None:
        """ConfigError, with the nearest languages, for one without a token; an unknown source (`und`) is taken."""
        if source != UNKNOWN:
            self._codes.of(source, "read")
        self._codes.of(target, "write")

    def encode(self, requests: Sequence[TranslationRequest]) -> list[list[int]]:
        """The token of the target before the text, the end behind."""
        codes = [self._codes.of(request.target) for request in requests]
        texts = [f"<2{code}> {request.text.strip()}" for code, request in zip(codes, requests, strict=True)]
        return [[*row, self._end] for row in self._tokenizer.encode(texts)]

    def prompt(self, target: str) -> list[int]:
        """None: the target's token stands in the source."""
        return []

    def decode(self, tokens: Sequence[int]) -> str:
        """The text without special tokens."""
        return self._tokenizer.decode([token for token in tokens if token not in self._silent])


def begin(model: str, *, device: str = "cpu", threads: int | None = None, backend: str = "auto") -> NeuralTranslator:
    """Loads the checkpoint in a folder (or a hub id whose download is allowed)."""
    return open_checkpoint("t5", model, T5Vocabulary, files(model), device, threads, backend)


def files(model: str) -> list[Path]:
    """Config, tokenizer and weights of the checkpoint."""
    return _files("t5", model, TOKENIZER)
