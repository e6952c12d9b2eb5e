"""Laws of the scoring normalisers over all scripts, from random text."""

from __future__ import annotations

import sys
from collections import defaultdict
from unicodedata import category, normalize

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from orature.text.language import script_of_character
from orature.text.normalise import NORMALISER, NORMALISERS, RAW, TURKIC, get, normalise

ALPHABETS: dict[str, list[str]] = defaultdict(list)
MARKS: list[str] = []
for _point in range(0x20, sys.maxunicode + 1):
    _character = chr(_point)
    _kind = category(_character)
    if _kind[0] == "M":
        MARKS.append(_character)
    if _kind[0] in "LM" and len(ALPHABETS[script_of_character(_character)]) < 400:
        ALPHABETS[script_of_character(_character)].append(_character)
SCRIPTS = sorted(script for script, letters in ALPHABETS.items() if len(letters) >= 10)

any_text = st.text(st.characters(codec="utf-8"), max_size=40)
awkward = st.text(st.sampled_from("aBßΣςİıI'‘’ʼ-‐.,:!|·^‚1٣ \u200c\u200d\u00ad\u0301\u093f\ufe0f❤か。字ക്ാ"), max_size=24)
texts = st.one_of(any_text, awkward, st.text(st.sampled_from(MARKS + list("aकக ")), max_size=20))
SELECTORS = "\ufe0e\ufe0f"


def marks(text: str) -> list[str]:
    """The combining marks of the decomposed text; emoji selectors are the one documented exception."""
    return sorted(c for c in normalize("NFD", text) if category(c)[0] == "M" and c not in SELECTORS)


def letters(text: str) -> str:
    return "".join(c for c in normalize("NFD", text) if category(c)[0] in "LN")


@given(texts, st.sampled_from(sorted(NORMALISERS)))
@example("'a 'b c' d'", NORMALISER)
@example("e\u200b\u0301", NORMALISER)
@example("ΑΣ. 'ΑΣ'", NORMALISER)
@settings(max_examples=600, deadline=None)
def test_twice_is_once_and_the_result_is_nfc(text: str, name: str) -> None:
    once = normalise(text, name)
    assert normalise(once, name) == once
    assert normalize("NFC", once) == once
    assert once == " ".join(once.split())


@given(texts)
@settings(max_examples=600, deadline=None)
def test_no_mark_and_no_letter_is_lost(text: str) -> None:
    done = normalise(text)
    assert marks(done) == marks(text.lower())
    assert letters(done) == letters(normalize("NFC", normalize("NFC", text).lower()))


@given(texts, st.sampled_from(sorted(NORMALISERS)))
@settings(max_examples=300, deadline=None)
def test_composed_and_decomposed_are_one(text: str, name: str) -> None:
    assert normalise(normalize("NFD", text), name) == normalise(normalize("NFC", text), name)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_text_with_a_letter_is_never_empty(text: str) -> None:
    assume(any(category(c)[0] == "L" for c in text))
    assert normalise(text)


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_two_words_of_an_alphabet_stay_two(data: st.DataObject) -> None:
    script = data.draw(st.sampled_from(SCRIPTS))
    word = st.text(st.sampled_from(ALPHABETS[script] + ["'", "-", "ʼ"]), min_size=1, max_size=4)
    first, second = (_word(data.draw(word)) for _ in range(2))
    assume(first and second)
    if normalise(first) == normalise(second):
        assert _cases(first) & _cases(second)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_two_letters_of_an_alphabet_are_made_equal(script: str) -> None:
    """Every pair of letters in one alphabet, by grouping: letters with one result are one letter but for case."""
    base = next((c for c in ALPHABETS[script] if category(c) in ("Lo", "Ll")), "a")
    groups: dict[str, set[str]] = defaultdict(set)
    for letter in ALPHABETS[script]:
        groups[normalise(base + letter + base)].add(normalize("NFC", letter))
    for same in groups.values():
        assert len({normalize("NFC", c.lower()) for c in same}) == 1, sorted(same)


def _word(text: str) -> str:
    """`text` as a word: signs only inside."""
    return normalize("NFC", text).strip("'-")


def _cases(word: str) -> set[str]:
    return {normalize("NFC", form) for form in (word, word.lower(), word.upper(), word.title(), word.swapcase())}


def test_the_turkic_normaliser_keeps_dotless_i_apart() -> None:
    assert normalise("ISPARTA'DA ISI, İZMİR", TURKIC) == "ısparta'da ısı izmir"
    assert normalise("ısı", TURKIC) != normalise("isi", TURKIC)


def test_raw_changes_nothing_but_composition_and_space() -> None:
    assert get(RAW)(" Ahő:li,\u00a0\u200cWHY?\n") == "Ahő:li, \u200cWHY?"
