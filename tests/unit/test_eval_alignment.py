"""Words and characters are counted as the field counts them, and the silences of the field are refused."""

from __future__ import annotations

import unicodedata

import pytest

from orature.evaluate.alignment import Counts, EmptyReference, align_characters, align_words, confusions


def test_counts_of_words() -> None:
    found = align_words("the cat sat on the mat", "the cat sit on mat today")
    assert found.counts.reference == 6
    assert found.counts.errors == 3
    assert found.counts.hits == 4


def test_each_kind_of_edit_is_shown() -> None:
    found = align_words("a b c", "a x c d")
    assert [(edit.kind, edit.said, edit.heard) for edit in found.edits] == [
        ("equal", "a", "a"),
        ("substitute", "b", "x"),
        ("equal", "c", "c"),
        ("insert", "", "d"),
    ]
    assert align_words("a b", "a").edits[1].kind == "delete"


def test_composed_and_decomposed_letters_are_the_same() -> None:
    said = "Ọ̀rọ̀ àárọ̀"
    heard = unicodedata.normalize("NFD", said)
    assert said != heard
    assert align_words(said, heard).counts.errors == 0
    assert align_characters(heard, said).counts.errors == 0


def test_a_combining_mark_counts() -> None:
    """The vowel sign is all that differs: a wrong word, one wrong character of four."""
    found = align_characters("काकी", "काका")
    assert found.counts == Counts(hits=3, substitutions=1, deletions=0, insertions=0)
    assert align_words("काकी", "काका").counts.errors == 1


def test_spaces_between_words_are_characters_and_runs_of_them_are_one() -> None:
    found = align_characters(" ab  cd ", "abcd")
    assert found.counts.reference == 5
    assert found.counts.deletions == 1


@pytest.mark.parametrize("reference", ["", "   ", "\u00a0\n"])
def test_an_empty_reference_is_refused(reference: str) -> None:
    with pytest.raises(EmptyReference):
        align_words(reference, "three words heard")
    with pytest.raises(EmptyReference):
        align_characters(reference, "three words heard")


def test_an_empty_hypothesis_misses_everything() -> None:
    assert align_words("one two", "").counts == Counts(0, 0, 2, 0)
    assert align_characters("ab", "").counts.deletions == 2


def test_confusions_name_what_was_taken_for_what() -> None:
    pairs = confusions([align_characters("kaka", "gaka"), align_characters("ka", "k"), align_characters("k", "ka")])
    assert pairs["k", "g"] == 1
    assert pairs["a", ""] == 1
    assert pairs["", "a"] == 1
    assert pairs["a", "a"] == 2


def test_words_that_are_alike_are_laid_side_by_side() -> None:
    """jiwer's own choice here is three wrong words; one wrong, one missed and one added says more."""
    found = align_words("sat on the mat", "sit on mat today")
    assert [(edit.said, edit.heard) for edit in found.edits] == [
        ("sat", "sit"),
        ("on", "on"),
        ("the", ""),
        ("mat", "mat"),
        ("", "today"),
    ]
