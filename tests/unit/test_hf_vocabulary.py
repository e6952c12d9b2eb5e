"""Vocabularies of published checkpoints: any order, any names, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import ModelError
from orature.engines.hf_vocabulary import HfVocabulary
from orature.engines.word_pieces import WordPieces
from orature.testing.recogniser_contract import write


def folder(place: Path, vocabulary: dict[str, Any], **settings: Any) -> Path:
    place.mkdir(exist_ok=True)
    (place / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (place / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return place


def test_an_order_of_its_own_with_names_of_its_own(tmp_path: Path) -> None:
    place = folder(tmp_path, {"b": 0, "#": 1, "[PAD]": 3, "a": 2, "[UNK]": 4}, word_delimiter_token="#")
    roles = {"pad_token": {"content": "[PAD]"}, "unk_token": "[UNK]"}
    (place / "special_tokens_map.json").write_text(json.dumps(roles))
    vocabulary = HfVocabulary.read(place, outputs=5, pad=0)
    assert (vocabulary.blank, vocabulary.unknown_token) == (3, 4)
    assert vocabulary.encode("ab bx") == [2, 0, 1, 0, 4]
    assert vocabulary.decode([3, 2, 0, 1, 4, 1]) == "ab"
    assert vocabulary.unknown("ab xé") == {"x", "é"}


def test_special_tokens_beyond_the_vocabulary_have_rows(tmp_path: Path) -> None:
    place = folder(tmp_path, {"|": 0, "a": 1, "[PAD]": 2}, pad_token="[PAD]", unk_token="a")
    (place / "added_tokens.json").write_text(json.dumps({"<s>": 3, "</s>": 4}))
    vocabulary = HfVocabulary.read(place, outputs=5, pad=2)
    assert [vocabulary.piece(token) for token in (3, 4)] == ["", ""]
    assert HfVocabulary.read(place, outputs=3, pad=2).tokens == ("|", "a", "[PAD]")
    with pytest.raises(ModelError, match="3 tokens, the output layer has 2 rows"):
        HfVocabulary.read(place, outputs=2, pad=2)


def test_gaps_and_missing_blanks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="rows"):
        HfVocabulary.read(folder(tmp_path, {"<pad>": 0, "a": 2}), outputs=2, pad=0)
    with pytest.raises(ModelError, match="names no padding token"):
        HfVocabulary.read(folder(tmp_path, {"a": 0, "b": 1}), outputs=2, pad=None)
    with pytest.raises(ModelError, match="map tokens to numbers"):
        HfVocabulary.read(folder(tmp_path, {"a": "x"}), outputs=2, pad=None)


def test_capitals_long_tokens_and_marks(tmp_path: Path) -> None:
    tokens = ["<pad>", "<unk>", "|", "A", "N", "NG", "E", "\u0301", "'"]
    place = folder(tmp_path, {token: number for number, token in enumerate(tokens)}, do_lower_case=True)
    vocabulary = HfVocabulary.read(place, outputs=9, pad=0)
    assert vocabulary.encode("Anga né") == [3, 5, 3, 2, 4, 6, 7]
    assert vocabulary.decode(vocabulary.encode("Anga né")) == "anga né"
    assert vocabulary.unknown("né") == set()
    longer = vocabulary.extended(["ñandu |"])
    assert longer.tokens[:9] == vocabulary.tokens
    assert longer.decode(longer.encode("ñandu | na")) == "ñandu | na"


def test_extended_without_a_word_delimiter(tmp_path: Path) -> None:
    vocabulary = HfVocabulary.read(folder(tmp_path, {"<pad>": 0, "山": 1}), outputs=2, pad=0)
    assert vocabulary.encode("山 水") == [1]
    longer = vocabulary.extended(["山 水"])
    assert longer.decode(longer.encode("山 水")) == "山 水"


def test_what_is_written_is_read_by_transformers_and_by_us(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    place = folder(
        tmp_path / "old", {"<pad>": 3, "a": 1, "|": 2, "b": 0}, bos_token=None, eos_token=None, unk_token=None
    )
    vocabulary = HfVocabulary.read(place, outputs=4, pad=None).extended(["ñ"])
    saved = write(vocabulary.files(), tmp_path / "new")
    assert HfVocabulary.read(saved, outputs=5, pad=None) == vocabulary
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert tokenizer.decode([1, 3, 1, 2, 0, 0, 4]) == vocabulary.decode([1, 1, 2, 0, 4]) == "aa bñ"


def test_word_pieces_from_transcripts(tmp_path: Path) -> None:
    texts = ["shuk wasi", "ishkay wasi", "kimsa wasikuna", "añu"] * 3
    pieces = WordPieces.of(texts)
    one = write(pieces.files(), tmp_path / "a")
    assert (write(WordPieces.of(list(reversed(texts))).files(), tmp_path / "b") / "tokenizer.json").read_bytes() == (
        one / "tokenizer.json"
    ).read_bytes()
    read = WordPieces.read(one, outputs=len(pieces), blank=pieces.blank)
    for text in texts:
        assert read.decode(read.encode(text)) == text
        assert len(read.encode(text)) < len(text) / 2
    assert read.encode(" ") == []
    assert read.decode([*read.encode("shuk"), *read.encode("wasi")]) == "shuk wasi"
    assert read.unknown("wasi ŋ") == {"ŋ"}
    assert read.piece(read.blank) == "" == read.piece(read.encode("ŋ")[-1])
    assert read.piece(read.encode("wasi")[0]).startswith(" wa")
    with pytest.raises(ModelError, match="pieces, the output layer has"):
        WordPieces.read(one, outputs=len(pieces) + 2, blank=0)
    (one / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no vocabulary"):
        WordPieces.read(one, outputs=3, blank=0)
