"""Laws of text corpora for any text: nothing crashes, no letter is lost in splitting, what is kept can be read."""

from __future__ import annotations

from unicodedata import category, is_normalized

from hypothesis import given, settings
from hypothesis import strategies as st

from orature.core.types import Refusal
from orature.text.clean import clean, tidy
from orature.text.split_sentences import split_sentences
from orature.text.spoken import Reader
from orature.text.text_guide import Guide, Judge, Kept, Rules

WORDS = (
    "Dr. e.g. 3. 3.5 1,000 2020 5% $5 £2.50 10-12 5 km II & / ( ) [1] ... … ! ? ?! 。 । ። « » “ ” ' - – • # @ "
    "https://a.b a@b.cd = {{ }} [[a|b]] <b> ' '' naïve Ọ̀rọ̀ नमस्ते 你好 สวัสดี ሰላም ខ្មែរ الكتاب кот ꦲ ა 𞤀 ² ½ ٣ ５"
)
PIECES = st.sampled_from([*WORDS.split(), "\u200b", "\u200d", "\u0301"])
TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80),
    st.lists(st.one_of(PIECES, st.text(alphabet="abc ABC.!?1,", max_size=5)), max_size=14).map(" ".join),
)
READERS = {code: Reader(code) for code in ("en", "de", "cs", "ru", "th", "ja", "yo", "fr")}
JUDGE = Judge(Guide(), Rules(), "en")


def dense(text: str) -> str:
    return "".join(text.replace("\u200b", "").replace("\ufeff", "").split())


@given(TEXTS, st.sampled_from(["en", "de", "th", "am", "und", "el", "bo"]))
@settings(max_examples=150, deadline=None)
def test_splitting_loses_nothing(text: str, language: str) -> None:
    pieces = split_sentences(text, language)
    assert dense("".join(pieces)) == dense(text)
    assert all(piece.strip() for piece in pieces)


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_tidied_and_cleaned_text_is_plain_and_stays_as_it_is(text: str) -> None:
    tidied = tidy(text)
    if isinstance(tidied, Refusal):
        return
    assert is_normalized("NFC", tidied) and "  " not in tidied
    assert not any(category(letter) in ("Cc", "Cs", "Co", "Zl", "Zp") for letter in tidied)
    cleaned = clean(tidied)
    if isinstance(cleaned, str):
        assert any(map(str.isalnum, cleaned)) and not set("[]{}()") & set(cleaned)


@given(TEXTS, st.sampled_from(sorted(READERS)))
@settings(max_examples=200, deadline=None)
def test_what_is_read_holds_no_figure_and_no_symbol(text: str, language: str) -> None:
    found = READERS[language].spoken(" ".join(text.split()))
    if isinstance(found, Refusal):
        assert found.reason in ("digits-unreadable", "symbol-unreadable", "roman-numeral")
        return
    assert not any(letter.isdigit() or category(letter) in ("No", "Nl", "Sc", "So") for letter in found)
    assert is_normalized("NFC", found)
    again = READERS[language].spoken(found)
    assert again == found or isinstance(again, Refusal)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_a_judgement_is_a_sentence_or_a_reason(text: str) -> None:
    found = JUDGE.judge(text)
    assert isinstance(found, Kept | Refusal)
    if isinstance(found, Kept):
        assert found.text and found.spoken
