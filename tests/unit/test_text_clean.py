"""Cleaning: what carries no sound goes, what cannot be read has a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orature.core.types import Refusal
from orature.text.clean import clean, tidy

CLEANED = [
    ("• Kichwa shimi [3] (quechua) shimi!!!", "Kichwa shimi shimi!"),
    ("(He left.)", "He left."),
    ("1) First things", "First things"),
    ("2. Second things", "Second things"),
    ("– Come here", "Come here"),
    ("What ?  Yes .", "What? Yes."),
    ("wait . . . ok ....", "wait… ok…"),
    ("price (n30,000.00) paid", "price paid"),
    ("Good ☕ morning ♪", "Good morning"),
    ("a -- b", "a – b"),
    ("don't  o’clock ‘okina", "don't o’clock ‘okina"),
    ("tz'ij k'o!", "tz'ij k'o!"),
    ("በክብርና፡በመብትም፡ነው።", "በክብርና በመብትም ነው።"),
    ("नमस्ते [क] दुनिया।।", "नमस्ते दुनिया।"),
]
REFUSED = [
    ("see https://example.org now", "url"),
    ("see www.example.org", "url"),
    ("mail a.b@example.org", "e-mail"),
    ("thanks @someone for it", "e-mail"),
    ("half (open", "brackets-unbalanced"),
    ("*** --- ***", "few-letters"),
    ("| a | = | b | + | c", "few-letters"),
    ("{{left over", "markup"),
]


@pytest.mark.parametrize(("raw", "expected"), CLEANED)
def test_a_sentence_as_it_can_be_read(raw: str, expected: str) -> None:
    assert clean(raw) == expected


@pytest.mark.parametrize(("raw", "reason"), REFUSED)
def test_what_cannot_be_read_has_a_reason(raw: str, reason: str) -> None:
    found = clean(raw)
    assert isinstance(found, Refusal) and found.reason == reason


def test_a_german_ordinal_is_not_taken_for_the_mark_of_a_list() -> None:
    assert clean("3. Mai war es", "de") == "3. Mai war es"
    assert clean("3. May it be", "en") == "May it be"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("[[Quito|the city]] is '''big'''<ref>a book</ref> {{t|{{u}}}} here", "the city is big here"),
        ("x &amp; y&nbsp;z <b>w</b>", "x & y z w"),
        ("a\x07b\u200bc\u00add \u200e e", "a bcd e"),
        ("[https://example.org a label] follows", "a label follows"),
        ("e\u0323\u0300", "ẹ̀"),
        ("ሰላም፡ነው፡፡", "ሰላም፡ነው።"),
        ("كتـــاب", "كتاب"),
        ("क्\u200dष stays", "क्\u200dष stays"),
    ],
)
def test_lines_lose_markup_and_what_is_invisible(raw: str, expected: str) -> None:
    assert tidy(raw) == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("   ", "text-empty"),
        ("== History ==", "heading"),
        ("## History", "heading"),
        ("{| class=x", "markup"),
        ("<ref>only</ref>", "markup"),
        ("lost \ufffd letters", "text-undecodable"),
        ("cafÃ© au lait", "text-undecodable"),
    ],
)
def test_lines_that_are_no_text_have_a_reason(raw: str, reason: str) -> None:
    found = tidy(raw)
    assert isinstance(found, Refusal) and found.reason == reason


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_cleaning_twice_is_cleaning_once(raw: str) -> None:
    once = clean(raw)
    if isinstance(once, str):
        again = clean(once)
        assert isinstance(again, Refusal) or clean(again) == again
