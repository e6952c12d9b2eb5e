"""`m2m_100:FOLDER`: M2M-100 and NLLB-200 checkpoints (Fan et al. 2020; NLLB Team 2022) in the layout of transformers.

M2M-100 folders hold vocab.json and sentencepiece.bpe.model, NLLB folders tokenizer.json; config.json says `m2m_100` for
both. `nllb:FOLDER` is the same engine. A source begins with the token of its language (with NLLB's `legacy_behaviour`
it ends with it), a translation is forced to begin with that of the target.

Example::

    with open_translator("nllb:models/nllb-200-distilled-600M") as translator:
        found = translator.translate([TranslationRequest("la casa", "es", "quy")], TextSearch())[0]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError, ModelError
from orature.engines.hf_folder import WHOLE, read_json
from orature.engines.neural_translator import NeuralTranslator, open_checkpoint
from orature.engines.neural_translator import checkpoint_files as _files
from orature.engines.seq2seq_folder import need_files
from orature.engines.translation_languages import LanguageCodes
from orature.engines.translator import TranslationRequest
from orature.engines.translator_vocabulary import Tokenizer, reading, tokenizer_of
from orature.text.language import UNKNOWN

ABOUT = "M2M-100 (100 languages) and NLLB-200 (200 languages) checkpoints"
SENTENCEPIECE = "sentencepiece.bpe.model"
TOKENIZER = ("tokenizer.json", SENTENCEPIECE, "vocab.json", "tokenizer_config.json", "special_tokens_map.json")
_FLORES = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_M2M = re.compile(r"__([a-z]{2,3}(?:_[A-Za-z]+)?)__")


class M2mVocabulary:
    """The tokenizer of an M2M-100 or NLLB checkpoint and its language tokens."""

    def __init__(self, folder: Path, config: Any) -> None:
        settings = read_json(folder / "tokenizer_config.json", optional=True)
        need_files(folder, ("tokenizer.json",), (SENTENCEPIECE, "vocab.json"))
        is_m2m = not (folder / "tokenizer.json").is_file()
        with reading(folder):
            self._tokenizer: Tokenizer = _m2m_tokenizer(folder) if is_m2m else tokenizer_of(folder)
            numbers = self._tokenizer.numbers()
        pattern = _M2M if is_m2m else _FLORES
        self._tokens = {
            match[1] if is_m2m else match[0]: int(number)
            for token, number in numbers.items()
            if (match := pattern.fullmatch(token)) and number < config.vocab_size
        }
        if not self._tokens:
            raise ModelError("the tokenizer has no language tokens", where=str(folder), next_step=WHOLE)
        self._name, self._end = folder.name, int(config.eos_token_id)
        self._legacy = bool(settings.get("legacy_behaviour", False)) and not is_m2m
        self.most_tokens = int(config.max_position_embeddings)
        self._codes = LanguageCodes(folder.name, self._tokens)
        self.languages = self._codes.tags

    def check(self, source: str, target: str) -> None:
        """ConfigError, with the nearest languages, for one without a token."""
        if UNKNOWN in (source, target):
            raise ConfigError(
                f"the translator {self._name} has to be told both languages",
                where="language",
                next_step="name them by their BCP-47 tags (es, quy)",
            )
        self._codes.of(source, "read")
        self._codes.of(target, "write")

    def encode(self, requests: Sequence[TranslationRequest]) -> list[list[int]]:
        """Language token, text and end."""
        rows = self._tokenizer.encode([request.text for request in requests])
        found = []
        for request, row in zip(requests, rows, strict=True):
            token = self._tokens[self._codes.of(request.source)]
            found.append([*row, self._end, token] if self._legacy else [token, *row, self._end])
        return found

    def prompt(self, target: str) -> list[int]:
        """The token of the target language."""
        return [self._tokens[self._codes.of(target)]]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text without special tokens."""
        return self._tokenizer.decode(tokens)


class _M2mTokenizer:
    """transformers' M2M100Tokenizer, whose language tokens stand in no file."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._silent = {*tokenizer.lang_token_to_id.values(), *tokenizer.all_special_ids}

    def numbers(self) -> dict[str, int]:
        return dict(self._tokenizer.lang_token_to_id)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        rows: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return rows

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode([token for token in tokens if token not in self._silent])).strip()


def _m2m_tokenizer(folder: Path) -> _M2mTokenizer:
    from transformers import M2M100Tokenizer

    return _M2mTokenizer(M2M100Tokenizer.from_pretrained(folder, local_files_only=True))


def begin(model: str, *, device: str = "cpu", threads: int | None = None, backend: str = "auto") -> NeuralTranslator:
    """Loads the checkpoint in a folder (or a hub id whose download is allowed)."""
    return open_checkpoint("m2m_100", model, M2mVocabulary, files(model), device, threads, backend)


def files(model: str) -> list[Path]:
    """Config, tokenizer and weights of the checkpoint."""
    return _files("m2m_100", model, TOKENIZER)
