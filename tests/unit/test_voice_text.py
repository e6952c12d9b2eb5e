"""Tokens are those of transformers' VitsTokenizer and of our own reader; vocabularies grow at their end."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from orature.core.errors import MissingExtra, ModelError
from orature.engines.vits_text import VitsReader
from orature.testing.checkpoints_voices import vits_folder
from orature.train.voice import text as text_module
from orature.train.voice.text import VoiceText


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vits_folder(tmp_path_factory.mktemp("voice"), " 'abcdeéẹ\u0300nɔ", language="yor")


def written(text: VoiceText, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in text.files().items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize("text", ["abba", "Dé bẹ\u0300", " a b ", "ea'b", "n"])
def test_tokens_are_those_of_the_tokenizer_and_the_reader(folder: Path, text: str) -> None:
    from transformers import VitsTokenizer

    ours = VoiceText.read(folder)
    assert ours.unknown(text) == []
    assert ours.encode(text) == VitsTokenizer.from_pretrained(folder)(text).input_ids
    assert ours.encode(text) == VitsReader.open(folder).read(text)


def test_a_fresh_vocabulary_is_read_alike_by_all_three(tmp_path: Path) -> None:
    from transformers import VitsTokenizer

    fresh = VoiceText.of(["ña wà", "bɛ"], language="ffm")
    where = written(fresh, tmp_path / "new")
    assert fresh.tokens["<pad>"] == 0 and fresh.tokens["<unk>"] == 1 and len(fresh) == 2 + len(set("ña wà" + "bɛ"))
    for text in ("wa bɛ", "ñàñ"):
        expected = VitsTokenizer.from_pretrained(where)(text).input_ids
        assert fresh.encode(text) == expected == VitsReader.open(where).read(text) == VoiceText.read(where).encode(text)
    assert fresh.encode("ab")[0] == fresh.encode("ab")[-1] == 0 and len(fresh.encode("ab")) == 5


def test_a_letter_with_a_mark_is_spelled_by_its_parts_where_the_vocabulary_has_these(folder: Path) -> None:
    text = VoiceText.read(folder)
    assert text.unknown("à") == [] and text.encode("à") == text.encode("a\u0300")
    assert text.unknown("ü x") == ["x", "ü"]


def test_extension_leaves_old_numbers_and_comes_after_them(folder: Path) -> None:
    old = VoiceText.read(folder)
    new = old.extended(["ŋaw", "Àx"])
    assert {name: new.tokens[name] for name in old.tokens} == dict(old.tokens)
    added = [name for name in new.tokens if name not in old.tokens]
    assert added == ["<unk>", "w", "x", "ŋ"] and sorted(new.tokens.values()) == list(range(len(new)))
    assert new.unknown("ŋaw") == [] and old.extended(["ab"]) is old


def test_broken_tokenizers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phonemes = vits_folder(tmp_path / "phonemes", phonemize=True)
    with pytest.raises(ModelError, match="reads phonemes"):
        VoiceText.read(phonemes)
    for raw, says in (('{"a": 1}', "from 0"), ('{"a": 0, "b": 0}', "each once"), ("[]", "names with values")):
        (phonemes / "vocab.json").write_text(raw, encoding="utf-8")
        with pytest.raises(ModelError, match=says):
            VoiceText.read(phonemes)
    roman = VoiceText.read(vits_folder(tmp_path / "roman", uroman=True))
    assert roman.encode("abc") == roman.encode("ABC")
    monkeypatch.setitem(__import__("sys").modules, "uroman", None)
    with pytest.raises(MissingExtra, match="uroman"):
        roman.encode("ሰላም")
    made = SimpleNamespace(Uroman=lambda: SimpleNamespace(romanize_string=lambda text: "Salam"))
    monkeypatch.setitem(__import__("sys").modules, "uroman", made)
    assert roman.encode("ሰላም") == roman.encode("salam") and roman.unknown("ሰላም") == []
    text_module._romaniser.cache_clear()


def test_files_are_json_with_all_that_the_tokenizer_asks() -> None:
    files = VoiceText.of(["ab"]).files()
    how = json.loads(files["tokenizer_config.json"])
    assert how["add_blank"] and not how["phonemize"] and how["pad_token"] == "<pad>"
