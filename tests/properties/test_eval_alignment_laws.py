"""Whatever is aligned: the edits spell both texts, and their number is that of jiwer."""

from __future__ import annotations

import jiwer
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.evaluate.alignment import align_characters, align_words, plain

WORDS = st.lists(st.sampled_from(["a", "b", "ka", "kay", "कि", "की", "شمس"]), max_size=9).map(" ".join)
SAID = WORDS.filter(lambda text: bool(text.strip()))


@given(SAID, WORDS)
@settings(max_examples=150, deadline=None)
def test_word_edits_spell_both_texts_and_are_as_few_as_possible(said: str, heard: str) -> None:
    found = align_words(said, heard)
    assert " ".join(edit.said for edit in found.edits if edit.kind != "insert") == plain(said)
    assert " ".join(edit.heard for edit in found.edits if edit.kind != "delete") == plain(heard)
    theirs = jiwer.process_words(plain(said), plain(heard))
    assert found.counts.errors == theirs.substitutions + theirs.deletions + theirs.insertions
    assert found.counts.hits >= theirs.hits
    assert found.counts.reference == len(said.split())


@given(st.text(min_size=1, max_size=30).filter(lambda text: bool(plain(text))), st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_character_edits_spell_both_texts(said: str, heard: str) -> None:
    found = align_characters(said, heard)
    assert "".join(edit.said for edit in found.edits) == plain(said)
    assert "".join(edit.heard for edit in found.edits) == plain(heard)
    assert found.counts.reference == len(plain(said))
    assert (found.counts.errors == 0) == (plain(said) == plain(heard))
