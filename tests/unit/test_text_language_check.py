"""Is a sentence in its language? Known languages, unknown ones, and what is not judged."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orature.core.errors import ConfigError, MissingExtra
from orature.core.types import Refusal
from orature.text import language_check as module
from orature.text.language_check import (
    BothChecks,
    LangidCheck,
    NgramCheck,
    best_method,
    langid_code,
    sample,
)
from orature.text.ngrams import CharacterModel
from orature.text.text_guide import Guide, Judge, Rules

ENGLISH = "The committee will meet again in the spring to decide what is to be done."
SWAHILI = "Serikali imetangaza kwamba shule zote zitafunguliwa wiki ijayo."
STEMS = "yaku wasi runa allpa sacha urku inti killa kucha mayu puyu tamya rumi muyu sara papa".split()
ENDINGS = ["ka", "kuna", "manta", "pak", "wan", "ta", "pi", "man"]


def made_up(number: int) -> str:
    """A sentence of a language that nobody knows."""
    words = [STEMS[(number * k + k * k) % 16] + ENDINGS[(number + 3 * k) % 8] for k in range(1, 8)]
    return " ".join(words)


def test_a_language_that_py3langid_knows() -> None:
    check = LangidCheck("swh")
    assert check.refusal(SWAHILI) is None
    found = check.refusal(ENGLISH)
    assert isinstance(found, Refusal) and found.reason == "other-language" and "en by" in found.detail
    assert check.refusal("The house.") is None, "short sentences are not judged"
    assert LangidCheck("hr").refusal("Vlada je objavila da će se škole otvoriti sledeće nedelje.") is None


def test_codes_are_those_of_py3langid_or_none() -> None:
    assert (langid_code("swh"), langid_code("que-EC"), langid_code("yo")) == ("sw", "qu", "yo")
    assert langid_code("chr") == "" and langid_code("und") == ""


def test_an_unknown_language_by_its_training_transcripts() -> None:
    check = NgramCheck.trained(made_up(number) for number in range(300))
    good = [made_up(number) for number in range(300, 400)]
    assert sum(check.refusal(text) is not None for text in good) <= 2
    for text in (ENGLISH, SWAHILI, "Слово о полку Игореве и другие древние тексты."):
        found = check.refusal(text)
        assert isinstance(found, Refusal) and "bits a character" in found.detail
    assert check.refusal("the house") is None
    assert check.to_json()["expected_loss"] == 0.005


def test_both_checks_keep_what_py3langid_is_sure_of() -> None:
    ngrams = NgramCheck.trained(made_up(number) for number in range(300))
    both = BothChecks(LangidCheck("sw"), ngrams)
    assert ngrams.refusal(SWAHILI) is not None and both.refusal(SWAHILI) is None
    assert both.refusal(ENGLISH) is not None
    assert both.to_json()["method"] == "both"


def test_the_method_is_chosen_by_what_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = ["runa"], [made_up(number) for number in range(100)]
    assert best_method("sw", few)[0] == "langid" and best_method("sw", many)[0] == "both"
    assert best_method("chr", many)[0] == "ngrams" and best_method("chr", few)[0] == "none"
    monkeypatch.setattr(module, "has_langid", lambda: False)
    method, why = best_method("sw", few)
    assert method == "none" and "not installed" in why and "not checked" in why
    assert best_method("sw", many)[0] == "ngrams"


def test_without_py3langid_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    module._identifier.cache_clear()
    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(MissingExtra, match="py3langid"):
        LangidCheck("sw")
    module._identifier.cache_clear()


def test_n_grams_without_transcripts_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs training transcripts"):
        Judge(Guide(), Rules(language_check="ngrams"), "chr")


def test_the_model_gives_probabilities_that_sum_to_one_and_know_what_they_saw() -> None:
    model = CharacterModel(["abab abab", "abba"], order=3)
    for context in ("", "a", "ab", "zz"):
        letters = ["a", "b", " ", "\x02"]
        known = sum(model._probability((context + letter)[-3:]) for letter in letters)
        assert known == pytest.approx(1 - model._probability((context + "?")[-3:]), abs=1e-9)
    assert model.bits("abab") < model.bits("bbbb") < model.bits("xyzw")


def test_the_model_is_that_of_witten_and_bell() -> None:
    """Of "ab": three unigrams of three kinds over four possible ones, each bigram seen once after a context of one."""
    unigram = (1 + 3 / 4) / (3 + 3)
    bigram = (1 + 1 * unigram) / (1 + 1)
    assert CharacterModel(["ab"], order=2).bits("ab") == pytest.approx(-math.log2(bigram))


def test_a_sample_does_not_depend_on_the_order() -> None:
    texts = [f"sentence {number}" for number in range(50)]
    assert sample(texts, 10) == sample([*reversed(texts), *texts], 10)
