"""The vocabulary of XTTS for a new language: nothing old changes, and the tokenizer cuts a text as it was learned."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest

from orature.engines.workers import xtts_vocabulary as vocabulary

TEXTS = ["habari za asubuhi", "habari za jioni", "asubuhi njema", "ŋombe za jioni", "habari njema ŋombe"] * 4


def table(*, whitespace: bool = True, as_lists: bool = False) -> dict[str, Any]:
    """A small BPE vocabulary in the form of XTTS's: control tokens first, letters, a few merges."""
    specials = ["[STOP]", "[UNK]", "[SPACE]", "[en]", "[zh-cn]", "[START]"]
    merges = [("h", "a"), ("a", "b"), ("ha", "b"), ("z", "a")]
    tokens = [*specials, *"abcdefghijklmnoprstuvwyz'", *("".join(pair) for pair in merges)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": n, "content": one, **flags} for n, one in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"} if whitespace else None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {one: n for n, one in enumerate(tokens)},
            "merges": [list(pair) if as_lists else " ".join(pair) for pair in merges],
        },
    }


@pytest.mark.parametrize("whitespace", [True, False])
@pytest.mark.parametrize("as_lists", [True, False])
def test_what_is_old_stays_and_new_tokens_follow(whitespace: bool, as_lists: bool) -> None:
    old = table(whitespace=whitespace, as_lists=as_lists)
    before = copy.deepcopy(old)
    found = vocabulary.extended(old, TEXTS, ["sw", "en"], most_pieces=6)
    assert old == before
    new = found.table
    assert {name: new["model"]["vocab"][name] for name in old["model"]["vocab"]} == old["model"]["vocab"]
    assert new["model"]["merges"][: len(old["model"]["merges"])] == old["model"]["merges"]
    assert new["added_tokens"][: len(old["added_tokens"])] == old["added_tokens"]
    first = len(old["model"]["vocab"])
    assert [token.number for token in found.new] == list(range(first, first + len(found.new)))
    assert [token.text for token in found.new[:2]] == ["[sw]", "ŋ"] and len(found.new) == 8
    assert vocabulary.tags_of(new) == {"en", "zh-cn", "sw"} and vocabulary.tags_of(old) == {"en", "zh-cn"}
    assert {type(merge) for merge in new["model"]["merges"]} == {list if as_lists else str}
    assert found.new[0].origins == (3, 4)  # the other tags
    numbers = new["model"]["vocab"]
    for token in found.new[2:]:
        assert "".join(_text(numbers, one) for one in token.origins) == token.text
    assert vocabulary.extended(old, TEXTS, ["sw", "en"], most_pieces=6) == found


def _text(numbers: dict[str, int], number: int) -> str:
    return next(name for name, other in numbers.items() if other == number)


def test_old_texts_are_cut_as_before_unless_new_merges_reach_them() -> None:
    old = table()
    found = vocabulary.extended(old, TEXTS, ["sw"], most_pieces=0)
    for text in ("habari za", "abc", "zaza h'a"):
        ids = vocabulary.encode(vocabulary.tokenizer_of(old), text, "en")
        assert vocabulary.encode(vocabulary.tokenizer_of(found.table), text, "en") == ids
    ids = vocabulary.encode(vocabulary.tokenizer_of(found.table), "ŋombe za", "sw")
    assert ids[0] == found.new[0].number and 1 not in ids and 2 in ids


@pytest.mark.parametrize("most", [1, 5, 12, 1000])
def test_the_tokenizer_cuts_words_as_they_were_cut_in_learning(most: int) -> None:
    old = table()
    letters = vocabulary.extended(old, TEXTS, ["sw"], most_pieces=0)
    words = vocabulary._words(letters.table, TEXTS)
    merges = vocabulary.learned(words, letters.table["model"]["vocab"], most)
    tokenizer = vocabulary.tokenizer_of(vocabulary.extended(old, TEXTS, ["sw"], most_pieces=most).table)
    for word in words:
        cut = list(word)
        for pair in merges:
            cut = vocabulary.merged(cut, pair)
        assert tokenizer.encode("".join(word)).tokens == cut


def test_pairs_are_found_by_count_then_by_letters() -> None:
    words = Counter({("a", "b", "c"): 3, ("b", "c"): 2, ("x", "y"): 3, ("q", "r"): 1})
    assert vocabulary.learned(words, "abcxyqr", 10) == [("b", "c"), ("a", "bc"), ("x", "y")]
    assert vocabulary.learned(words, "abcxyqr", 1) == [("b", "c")]
    assert vocabulary.learned(words, ["bc"], 10) == [("a", "b"), ("ab", "c"), ("x", "y")]  # "bc" is a token already
    assert vocabulary.merged(["a", "a", "a"], ("a", "a")) == ["aa", "a"]
    assert vocabulary.learned(Counter({("a", "a", "a", "a"): 2}), "a", 5) == [("a", "a"), ("aa", "aa")]


def test_what_it_lacks_and_what_is_no_vocabulary() -> None:
    assert vocabulary.lacking(table(), "ŋombe é za") == ["é", "ŋ"]
    for broken in ({}, {"model": {"type": "WordPiece", "vocab": {}}}, {"model": json.loads("[]")}):
        with pytest.raises(ValueError, match="no BPE"):
            vocabulary.tokenizer_of(broken)
