"""Which translator a spec means, and the one for tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orature.core.errors import ConfigError
from orature.core.types import Refusal
from orature.engines.translator import TextSearch, TranslationRequest, Translator
from orature.engines.translators import open_translator, parse_translator, translator_engines, translator_files


def test_the_fake_translator_is_a_translator() -> None:
    with open_translator("fake") as translator:
        assert isinstance(translator, Translator)
        assert translator.card.licence and translator.card.revision
        assert translator_files("fake") == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("fak", "did you mean 'fake'"),
        ("nowhere/model", "no such folder"),
        ("", "there is no translator"),
    ],
)
def test_an_unknown_translator_is_told_with_the_nearest(spec: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_translator(spec)
    assert said in str(caught.value)


def test_a_folder_that_is_no_translator_says_of_what_type_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no config"):
        parse_translator(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}), encoding="utf-8")
    with pytest.raises(ConfigError, match="'wav2vec2' does not translate"):
        parse_translator(str(tmp_path))


def test_an_unknown_backend_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        open_translator("fake", backend="ctranslate")
    assert "did you mean 'ctranslate2'" in str(caught.value)


def test_each_engine_says_what_it_is() -> None:
    from importlib import import_module

    for name, where in translator_engines().items():
        module = import_module(where)
        assert module.ABOUT and callable(module.begin) and callable(module.files), name


def test_the_fake_translator_refuses_what_it_is_asked_to() -> None:
    texts = ["the house", "refuse the house", "an endless text", " "]
    with open_translator("fake") as translator:
        found = translator.translate([TranslationRequest(text, "en", "qu") for text in texts], TextSearch())
    assert not isinstance(found[0], Refusal)
    reasons = [one.reason for one in found[1:] if isinstance(one, Refusal)]
    assert reasons == ["translator-failed", "truncated", "empty-text"]
