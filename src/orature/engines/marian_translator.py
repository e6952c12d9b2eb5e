"""`marian:FOLDER`: MarianMT checkpoints (OPUS-MT and what `orature train-translator` makes), by transformers' layout.

A folder holds config.json, model.safetensors, source.spm, target.spm and vocab.json (target_vocab.json where the two
sides have vocabularies of their own). A checkpoint into several languages has tokens `>>que<<` in vocab.json; one into
a single language says its direction in orature.json (`source`, `target`, BCP-47) or in tokenizer_config.json
(`source_lang`, `target_lang`); where nobody says, any direction is taken at your word.

SentencePiece models are used as they are: no punctuation is normalised before, whatever else is installed.

Example::

    with open_translator("marian:models/opus-mt-es-qu") as translator:
        found = translator.translate([TranslationRequest("la casa", "es", "qu")], TextSearch())[0]
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
from orature.engines.translation_languages import LanguageCodes, same_language, tag_of
from orature.engines.translator import TranslationRequest
from orature.engines.translator_vocabulary import reading

ABOUT = "MarianMT checkpoints: OPUS-MT, and those of `orature train-translator`"
TOKENIZER = ("source.spm", "target.spm", "vocab.json", "target_vocab.json", "tokenizer_config.json", "orature.json")
_TOKEN = re.compile(r">>(?!id)([A-Za-z]{2,3}(?:[_-][A-Za-z]+)*)<<")
_GROUPS = frozenset(
    "aav afa alg alv apa art ath aus awd azc bad bai bat ber bih bnt btk cau cba ccn ccs cdc cdd cel cmc cpe cpf cpp "
    "crp csu cus day dmn dra egx esx euq fiu fox gem gme gmq gmw grk hmx hok hyx iir ijo inc ine ira iro itc jpx kar "
    "kdo khi kro map mkh mno mul mun myn nah nai ngf nic nub omq omv oto paa phi plf poz pqe pqw pra qwe roa sai sal "
    "sdv sem sgn sio sit sla smi son sqj ssa syd tai tbq trk tup tut tuw urj wak wen xgn xnd ypk zhx zle zls zlw "
    "znd".split()
)
"""ISO 639-5: codes of groups of languages, which say little of what a checkpoint reads."""


class MarianVocabulary:
    """Two SentencePiece models and the numbers of their pieces."""

    def __init__(self, folder: Path, config: Any) -> None:
        from sentencepiece import SentencePieceProcessor

        need_files(folder, TOKENIZER[:3])
        self._folder = folder
        with reading(folder):
            self._source = SentencePieceProcessor(model_file=str(folder / "source.spm"))
            self._target = SentencePieceProcessor(model_file=str(folder / "target.spm"))
        self._settings = read_json(folder / "tokenizer_config.json", optional=True)
        self._numbers = _numbers(folder / "vocab.json", config.vocab_size)
        written = self._numbers
        if (folder / "target_vocab.json").is_file() and self._settings.get("separate_vocabs", True):
            written = _numbers(folder / "target_vocab.json", config.decoder_vocab_size or config.vocab_size)
        unknown, self._end = str(self._settings.get("unk_token", "<unk>")), int(config.eos_token_id)
        if unknown not in self._numbers:
            raise ModelError(f"vocab.json has no {unknown}", where=str(folder / "vocab.json"), next_step=WHOLE)
        self._unknown = self._numbers[unknown]
        self._tokens = {
            match[1]: number for token, number in self._numbers.items() if (match := _TOKEN.fullmatch(token))
        }
        self._codes = LanguageCodes(folder.name, self._tokens)
        silent = {unknown, str(self._settings.get("eos_token", "</s>")), str(self._settings.get("pad_token", "<pad>"))}
        self._pieces = {n: piece for piece, n in written.items() if piece not in silent and not _TOKEN.fullmatch(piece)}
        self._direction = self._directions()
        self.most_tokens = int(config.max_position_embeddings)
        named = [*self._direction, *sorted(self._tokens)]
        self.languages = tuple(dict.fromkeys(tag_of(code) for code in named if code and code not in _GROUPS))

    def _directions(self) -> tuple[str, str]:
        """Source and target as the folder tells them; "" for what it does not tell."""
        facts = read_json(self._folder / "orature.json", optional=True)
        source = facts.get("source") or self._settings.get("source_lang") or ""
        target = facts.get("target") or self._settings.get("target_lang") or ""
        source, target = str(source), "" if self._tokens else str(target)
        return (source, target)

    def check(self, source: str, target: str) -> None:
        """ConfigError for another direction than the folder tells, or a target without a token."""
        name = self._folder.name
        if self._tokens:
            self._codes.of(target, "write")
        for asked, has, verb in ((source, self._direction[0], "read"), (target, self._direction[1], "write")):
            if has and has not in _GROUPS and not same_language(asked, has):
                raise ConfigError(
                    f"the translator {name} does not {verb} the language {asked!r}",
                    where="language",
                    next_step=f"the nearest that it has: {tag_of(has)}; or take a checkpoint of {asked}",
                )

    def encode(self, requests: Sequence[TranslationRequest]) -> list[list[int]]:
        """Pieces of the source model by their numbers in vocab.json, the token of the target before, the end behind."""
        pieces = self._source.encode([request.text for request in requests], out_type=str)
        rows = []
        for request, row in zip(requests, pieces, strict=True):
            first = []
            if self._tokens:
                first = [self._tokens[self._codes.of(request.target)]]
            rows.append([*first, *(self._numbers.get(piece, self._unknown) for piece in row), self._end])
        return rows

    def prompt(self, target: str) -> list[int]:
        """None: the target's token stands in the source."""
        return []

    def decode(self, tokens: Sequence[int]) -> str:
        """Pieces joined by the target model."""
        pieces = [self._pieces[token] for token in tokens if token in self._pieces]
        return str(self._target.decode_pieces(pieces)).replace("▁", " ").strip()


def _numbers(path: Path, size: int) -> dict[str, int]:
    numbers = read_json(path)
    if not all(isinstance(number, int) and 0 <= number < size for number in numbers.values()):
        raise ModelError(
            f"{path.name} has numbers beyond the {size} tokens of config.json", where=str(path), next_step=WHOLE
        )
    return {str(piece): int(number) for piece, number in numbers.items()}


def begin(model: str, *, device: str = "cpu", threads: int | None = None, backend: str = "auto") -> NeuralTranslator:
    """Loads the checkpoint in a folder (or a hub id whose download is allowed)."""
    return open_checkpoint("marian", model, MarianVocabulary, files(model), device, threads, backend)


def files(model: str) -> list[Path]:
    """Config, tokenizer and weights of the checkpoint."""
    return _files("marian", model, TOKENIZER)
