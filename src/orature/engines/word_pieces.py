"""Word pieces for CTC families with long steps: `tokenizer.json` of a checkpoint, or new ones from transcripts.

Example::

    pieces = WordPieces.of(["shuk wasi", "ishkay wasi"])
    pieces.decode(pieces.encode("shuk wasi")) == "shuk wasi"
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from orature.core.errors import ModelError
from orature.engines.hf_folder import WHOLE, read_json
from orature.engines.native_folder import write_json
from orature.engines.vocabulary import Files

MOST_PIECES = 1024
FEWEST_MERGES = 32
WORDS_A_MERGE = 20
_SPACE = "\u2581"
_UNKNOWN, _PAD = "<unk>", "<pad>"


class WordPieces:
    """The pieces of a tokenizer of the tokenizers library, and a blank, which is its padding token or the row after."""

    def __init__(self, tokenizer: Any, blank: int, outputs: int) -> None:
        self.tokenizer = tokenizer
        self._blank = blank
        self._outputs = outputs

    @classmethod
    def read(cls, folder: Path, *, outputs: int, blank: int) -> WordPieces:
        """`tokenizer.json` of a folder; ModelError where it is missing, broken or does not fit the output layer."""
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError("there is no tokenizer: tokenizer.json is missing", where=str(folder), next_step=WHOLE)
        table = read_json(path)
        if not isinstance(table.get("model"), dict) or not table["model"].get("vocab"):
            raise ModelError("tokenizer.json holds no vocabulary", where=str(path), next_step=WHOLE)
        tokenizer = Tokenizer.from_str(json.dumps(table))
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        if size not in (outputs, outputs - 1) or not 0 <= blank < outputs:
            raise ModelError(
                f"the tokenizer holds {size} pieces, the output layer has {outputs} rows",
                where=str(path),
                next_step="tokenizer.json and the weights are of different models: " + WHOLE,
            )
        return cls(tokenizer, blank, outputs)

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordPieces:
        """New pieces for training texts by byte-pair encoding (Sennrich et al. 2016, section 3.2) over characters.

        Every character is a piece; merges are as many as there are 20 running words, at least 32 and no more than make
        1,024 pieces: a piece has to be seen to be learned. The blank comes last.
        """
        from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        letters = sorted(set(unicodedata.normalize("NFC", " ".join(texts))) - {" "})
        merges = max(FEWEST_MERGES, sum(len(text.split()) for text in texts) // WORDS_A_MERGE)
        tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN, fuse_unk=True))
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always")
        tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="always")
        trainer = trainers.BpeTrainer(
            vocab_size=max(len(letters) + 3, min(MOST_PIECES, len(letters) + merges)),
            special_tokens=[_UNKNOWN],
            initial_alphabet=[_SPACE, *letters],
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(texts), trainer)
        tokenizer.add_special_tokens([AddedToken(_PAD, special=True, normalized=False)])
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        return cls(tokenizer, size - 1, size)

    def __len__(self) -> int:
        return self._outputs

    @property
    def blank(self) -> int:
        """The token that CTC writes between labels."""
        return self._blank

    @property
    def unknown_token(self) -> int | None:
        """The unknown piece, if the tokenizer has one."""
        number: int | None = self.tokenizer.token_to_id(_UNKNOWN)
        return number

    @cached_property
    def _pieces(self) -> tuple[str, ...]:
        special = {number for number, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        special |= {self._blank, -1 if self.unknown_token is None else self.unknown_token}
        names = (self.tokenizer.id_to_token(number) for number in range(len(self)))
        return tuple(
            "" if number in special or name is None else name.replace(_SPACE, " ") for number, name in enumerate(names)
        )

    def piece(self, token: int) -> str:
        """What `token` writes: the space before a word belongs to its first piece; "" for special tokens."""
        return self._pieces[token]

    def encode(self, text: str) -> list[int]:
        """Pieces of `text`; what they cannot write becomes the unknown piece. A space alone is none: words carry it."""
        if not text.strip():
            return []
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of pieces; special ones write nothing, spaces at the ends go."""
        return "".join(self._pieces[token] for token in tokens).strip()

    def unknown(self, text: str) -> set[str]:
        """The characters of `text` that no piece can write."""
        letters = set(unicodedata.normalize("NFC", text))
        return {one for one in letters if not one.isspace() and self.unknown_token in self.encode(one)}

    def files(self) -> Files:
        """`tokenizer.json` and `tokenizer_config.json`."""
        names = {number: self.tokenizer.id_to_token(number) for number in (self._blank, self.unknown_token or 0)}
        settings = {
            "tokenizer_class": "ParakeetTokenizer",
            "processor_class": "ParakeetProcessor",
            "pad_token": names[self._blank] or _PAD,
            "unk_token": _UNKNOWN if self.unknown_token is not None else None,
            "clean_up_tokenization_spaces": False,
        }
        return {
            "tokenizer.json": write_json(json.loads(self.tokenizer.to_str())),
            "tokenizer_config.json": write_json(settings),
        }
