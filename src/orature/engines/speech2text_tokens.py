"""The tokenizer files of Speech2Text: vocab.json in fairseq's order and a sentencepiece model that splits the text.

A character vocabulary is fairseq's: ▁ for the space before a word, then the characters (its `--vocab-type char`).

Example::

    tokenizer = character_tokenizer(["shuk wasi"])
    extend_tokenizer(tokenizer, ["ñuka"])
"""

from __future__ import annotations

import json
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from orature.core.errors import ModelError
from orature.engines.language_codes import codes_of

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SPACE, LANGUAGE = "▁", "<lang:"
MODEL = "sentencepiece.bpe.model"


def language_names(languages: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """Tokens for `languages` (BCP-47) as this family writes them; [] for one alone where none is `known`."""
    wanted = sorted({tag.lower() for tag in languages if tag != "und"})
    held = {name[len(LANGUAGE) : -1] for name in known if name.startswith(LANGUAGE)}
    if len(wanted) < 2 and not held:
        return []
    return [f"{LANGUAGE}{tag}>" for tag in wanted if not held.intersection(codes_of(tag))]


def character_tokenizer(texts: Sequence[str], languages: Sequence[str] = ()) -> Any:
    """A tokenizer of every character of `texts`, in code point order after the special tokens, languages and ▁."""
    letters = _letters(texts)
    if not letters:
        raise ModelError(
            "the training texts hold no character", next_step="give a corpus with transcripts before a new vocabulary"
        )
    pieces = [SPACE, *letters]
    return _tokenizer([*SPECIAL, *language_names(languages), *pieces], _model(pieces))


def extend_tokenizer(tokenizer: Any, texts: Sequence[str], languages: Sequence[str] = ()) -> Any:
    """`tokenizer` with the characters of `texts` and the `languages` that it lacks after its own tokens; old texts
    split as before."""
    from sentencepiece import sentencepiece_model_pb2

    if getattr(tokenizer, "do_upper_case", False):
        texts = [text.lower() for text in texts]
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    unknown = tokenizer.unk_token_id
    known = {letter for letter in _letters(texts) if unknown not in _split(tokenizer, letter)}
    added = [letter for letter in _letters(texts) if letter not in known]
    spoken = language_names(languages, tokens)
    if not added and not spoken:
        return tokenizer
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(tokenizer.sp_model.serialized_model_proto())
    held = {piece.piece for piece in proto.pieces}
    lowest = min(piece.score for piece in proto.pieces)
    for letter in added:
        if letter not in held:
            proto.pieces.add(piece=letter, score=lowest - 1.0, type=proto.SentencePiece.NORMAL)
    settings = {"do_upper_case": tokenizer.do_upper_case, "lang_codes": tokenizer.init_kwargs.get("lang_codes")}
    return _tokenizer([*tokens, *spoken, *(a for a in added if a not in tokens)], proto.SerializeToString(), **settings)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder; ModelError where its files are broken."""
    from transformers import Speech2TextTokenizer

    try:
        return Speech2TextTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(
            f"the tokenizer cannot be read: {error}", where=str(folder), next_step="copy the whole folder again"
        ) from error


def _split(tokenizer: Any, text: str) -> list[int]:
    pieces = tokenizer.sp_model.encode(text, out_type=str)
    return [int(tokenizer.convert_tokens_to_ids(piece)) for piece in pieces]


def _letters(texts: Sequence[str]) -> list[str]:
    seen = {letter for text in texts for letter in unicodedata.normalize("NFC", text)}
    return sorted(letter for letter in seen if not letter.isspace() and letter != SPACE)


def _model(pieces: Sequence[str]) -> bytes:
    """A sentencepiece model that splits a text into `pieces`, written directly: training one adds nothing."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    kinds = proto.SentencePiece
    proto.pieces.add(piece="<unk>", score=0.0, type=kinds.UNKNOWN)
    proto.pieces.add(piece="<s>", score=0.0, type=kinds.CONTROL)
    proto.pieces.add(piece="</s>", score=0.0, type=kinds.CONTROL)
    for number, piece in enumerate(pieces):
        proto.pieces.add(piece=piece, score=-float(number), type=kinds.NORMAL)
    proto.trainer_spec.model_type = proto.trainer_spec.CHAR
    proto.trainer_spec.vocab_size = len(proto.pieces)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.remove_extra_whitespaces = True
    proto.normalizer_spec.escape_whitespaces = True
    return bytes(proto.SerializeToString())


def _tokenizer(tokens: Sequence[str], model: bytes, **settings: Any) -> Any:
    from transformers import Speech2TextTokenizer

    with tempfile.TemporaryDirectory() as folder:
        vocabulary, pieces = Path(folder) / "vocab.json", Path(folder) / MODEL
        table = {token: number for number, token in enumerate(tokens)}
        vocabulary.write_text(json.dumps(table, ensure_ascii=False, indent=1), encoding="utf-8")
        pieces.write_bytes(model)
        tokenizer = Speech2TextTokenizer(str(vocabulary), str(pieces), **settings)
    tokenizer.spm_file = MODEL  # the file is gone: what is saved comes from the model in memory
    return tokenizer
