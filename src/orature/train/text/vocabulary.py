"""The tokens of a translator: a SentencePiece model for each language, made from training pairs alone.

Tokens are numbered as Marian does: `</s>`, `<unk>`, the pieces, `<pad>` last. With one vocabulary for both languages a
piece that both have is one token.

Example::

    text = TranslatorText.of(["la casa"], ["wasi"], config)
    text.source.tokens("la casa")            # numbers, `</s>` at the end
    text.target.text([5, 9, 0])
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orature.core.errors import ConfigError
from orature.text.normalise import RAW, normalise
from orature.train.text.config import CHARACTERS, TranslatorConfig

END, UNKNOWN, PAD = "</s>", "<unk>", "<pad>"
_MOST_SENTENCES = 200_000
"""Pieces are found in at most so many sentences, spread evenly."""
_LONGEST_BYTES = 1 << 16


def segmenter(texts: Sequence[str], config: TranslatorConfig) -> bytes:
    """A SentencePiece model of `texts`, the same bytes for the same texts; it keeps every character as it is."""
    import sentencepiece

    step = max(1, -(-len(texts) // _MOST_SENTENCES))
    letters = {letter for text in texts for letter in text if not letter.isspace()}
    if not letters:
        raise ConfigError("the training pairs hold no letter", next_step="look at the sentence pairs")
    least = len(letters) + 2
    whole = config.pieces == CHARACTERS
    size = least if isinstance(config.pieces, str) else max(config.pieces, least)
    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts[::step]),
            model_writer=made,
            model_type="char" if whole else config.segmentation,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=config.coverage,
            normalization_rule_name="identity",
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            max_sentence_length=_LONGEST_BYTES,
            minloglevel=3,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"no {config.pieces} pieces can be made from the training pairs: {str(error).splitlines()[-1]}",
            next_step="ask for fewer, or for --pieces characters",
        ) from error
    return made.getvalue()


class Side:
    """One language: its SentencePiece model as bytes, and the number of each token."""

    def __init__(self, model: bytes, numbers: dict[str, int]) -> None:
        import sentencepiece

        self.model, self.numbers = model, numbers
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._names = {number: token for token, number in numbers.items()}

    @property
    def end(self) -> int:
        return self.numbers[END]

    @property
    def pad(self) -> int:
        return self.numbers[PAD]

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text (NFC, single spaces) and the end."""
        unknown = self.numbers[UNKNOWN]
        pieces = self._processor.encode(normalise(text, RAW), out_type=str)
        return [*(self.numbers.get(piece, unknown) for piece in pieces), self.end]

    def text(self, tokens: Iterable[int]) -> str:
        """The text of tokens, without those that are no pieces."""
        pieces = [self._names.get(number, UNKNOWN) for number in tokens]
        return str(self._processor.decode_pieces([piece for piece in pieces if piece not in (END, UNKNOWN, PAD)]))


@dataclass(frozen=True, slots=True)
class TranslatorText:
    """Both sides of a translator; `shared`: they have one vocabulary."""

    source: Side
    target: Side
    shared: bool

    @classmethod
    def of(cls, sources: Sequence[str], targets: Sequence[str], config: TranslatorConfig) -> TranslatorText:
        """The tokens of training pairs; ConfigError where so many pieces cannot be made."""
        models = [segmenter(texts, config) for texts in (sources, targets)]
        pieces = [_pieces(model) for model in models]
        if config.share_embeddings:
            both = _numbered([*pieces[0], *pieces[1]])
            return cls(Side(models[0], both), Side(models[1], both), True)
        return cls(Side(models[0], _numbered(pieces[0])), Side(models[1], _numbered(pieces[1])), False)


def _pieces(model: bytes) -> list[str]:
    import sentencepiece

    found = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [found.id_to_piece(number) for number in range(found.vocab_size()) if not found.is_unknown(number)]


def _numbered(pieces: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys([END, UNKNOWN, *pieces, PAD]))}
