"""Training targets, alphabets, look-alikes and language tags."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.core.errors import ConfigError
from orature.text.alphabet import Alphabet, TextPolicy, fold_rare, mixed_words, prepare
from orature.text.language import canonical_tag, is_tag, script_of

STRIP_KEEPING_CASE = TextPolicy(punctuation="strip")


def test_policies() -> None:
    text = "Ari,  Ñuka-wan 'don’t' ΟΔΟΣ!"
    assert prepare(text, TextPolicy()) == "Ari, Ñuka-wan 'don’t' ΟΔΟΣ!"
    assert prepare(text, TextPolicy(case="lower")) == "ari, ñuka-wan 'don’t' οδος!"
    assert prepare(text, TextPolicy.named("normalise")) == "ari ñuka-wan don't οδος"
    assert prepare(text, STRIP_KEEPING_CASE) == "Ari Ñuka-wan don't ΟΔΟΣ"
    assert prepare("ISI İz", TextPolicy.named("normalise", "tr")) == "ısı iz"
    assert prepare("ISI, İz", TextPolicy(punctuation="strip", turkic=True)) == "ISI İz"
    assert prepare("a é", TextPolicy(replace=(("é", "e"),))) == "a e"
    with pytest.raises(ConfigError):
        TextPolicy.named("lowercase")


def test_policy_survives_json() -> None:
    policy = TextPolicy("lower", "strip", True, (("é", "e"),))
    assert TextPolicy.from_json(policy.to_json()) == policy


policies = st.builds(TextPolicy, st.sampled_from(["keep", "lower"]), st.sampled_from(["keep", "strip"]), st.booleans())


@given(
    st.text(st.one_of(st.sampled_from("aAİIıßΣςẞ'’,.- \u0301की"), st.characters(codec="utf-8")), max_size=25), policies
)
@settings(max_examples=500, deadline=None)
def test_prepare_is_idempotent_and_composed(text: str, policy: TextPolicy) -> None:
    once = prepare(text, policy)
    assert normalize("NFC", once) == once
    assert prepare(once, policy) == once


def test_kept_case_scores_as_the_text_does() -> None:
    for text in ("Ari, kikinkuna!", "Áéi̇ 'X' y’Z", "Ahő:li. Jiɂő:li?", "(ΟΔΟΣ) ΑΣ'", "Don't — STOP 3.5"):
        kept = prepare(text, STRIP_KEEPING_CASE)
        assert prepare(kept, TextPolicy.named("normalise")) == prepare(text, TextPolicy.named("normalise"))


def test_an_alphabet_counts_and_reports_what_it_lacks() -> None:
    alphabet = Alphabet.of(["shuk wasi", normalize("NFD", "ñawi")])
    assert alphabet.characters == tuple(sorted(set("shuk wasiñ")))
    assert alphabet.counts["s"] == 2 and "ñ" in alphabet
    report = alphabet.outside([("d1", "wasi!"), ("d2", "x!!"), ("d3", "ñ")])
    assert [(o.character, o.count, o.examples) for o in report] == [("!", 3, ("d1", "d2")), ("x", 1, ("d2",))]
    assert report[0].name == "U+0021 EXCLAMATION MARK"


def test_rare_characters_are_folded_only_where_the_word_stays() -> None:
    alphabet = Alphabet.of(["eeee aaaa é ɂ ; ක්"])
    assert dict(fold_rare(alphabet, 2)) == {"é": "e", ";": " "}


def test_look_alikes_are_found() -> None:
    first, second = mixed_words([("a", "kаwsay ok ok日本"), ("b", "kаwsay, 東京へ")])
    assert (first.word, first.plain, first.scripts) == ("kаwsay", "kawsay", ("Cyrillic", "Latin"))
    assert (first.count, first.examples) == (2, ("a", "b"))
    assert second.scripts == ("Han", "Latin") and second.plain == ""


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("ENG", "eng"),
        ("que-ec", "que-EC"),
        ("uz_cyrl", "uz-Cyrl"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("", "und"),
        ("sl-rozaj-biske-1994", "sl-rozaj-biske-1994"),
        ("x-Mine", "x-mine"),
        ("es-419", "es-419"),
        ("nan-tw", "nan-TW"),
    ],
)
def test_tags(tag: str, expected: str) -> None:
    assert canonical_tag(tag) == expected
    assert canonical_tag(canonical_tag(tag)) == expected


@pytest.mark.parametrize("tag", ["e", "english language", "en--us", "123", "qu ec", "en-", "toolonglanguage"])
def test_bad_tags(tag: str) -> None:
    assert not is_tag(tag)
    with pytest.raises(ConfigError):
        canonical_tag(tag)


def test_scripts() -> None:
    assert script_of("नमस्ते ok") == "Devanagari"
    assert script_of("ʼ 12 !") == "Common"
    assert script_of("ꩻမာ") == "Myanmar"
    assert script_of("ᎣᏏᏲ") == "Cherokee"
    assert script_of("広州市") == "Han"
    assert script_of("ᐃᓄᒃᑎᑐᑦ") == "Canadian Aboriginal"
