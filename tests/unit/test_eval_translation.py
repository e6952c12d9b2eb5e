"""BLEU and chrF: sacrebleu's own figures, intervals that mean something, traps of normal forms and of emptiness."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from orature.core.errors import MissingExtra
from orature.evaluate import translation
from orature.evaluate.alignment import EmptyReference
from orature.evaluate.statistics import drawn_rates, drawn_sums
from orature.evaluate.translation import chrf, compare_translations, corpus_chrf, score_translations

SAID = [
    f"the {what} is in the {where}" for what in ("cat", "dog", "cup", "key") for where in ("house", "box", "garden")
]
HEARD = [text.replace("dog", "cow").replace("is in the", "stands in a") for text in SAID[:6]] + SAID[6:]


def test_the_figures_are_those_of_sacrebleu_with_its_signature() -> None:
    found = score_translations(HEARD, SAID, language="en")
    bleu, characters = BLEU(), CHRF()
    assert found.bleu.value == pytest.approx(bleu.corpus_score(HEARD, [SAID]).score)
    assert found.chrf.value == pytest.approx(characters.corpus_score(HEARD, [SAID]).score)
    assert found.bleu.signature == str(bleu.get_signature())
    assert found.chrf.signature == str(characters.get_signature())
    assert chrf(HEARD[0], SAID[0]) == pytest.approx(characters.sentence_score(HEARD[0], [SAID[0]]).score)
    assert corpus_chrf(HEARD, SAID) == found.chrf.value
    assert (found.sentences, found.words, found.empty) == (12, 72, 0)


def test_the_interval_holds_the_value_and_shrinks_with_more_sentences() -> None:
    few, many = score_translations(HEARD, SAID), score_translations(HEARD * 20, SAID * 20)
    for name in ("bleu", "chrf"):
        one, two = getattr(few, name), getattr(many, name)
        assert one.low < one.value < one.high and two.low < two.value < two.high
        assert two.high - two.low < 0.5 * (one.high - one.low)
        assert one.by == "utterance"
    assert score_translations(HEARD[:4], SAID[:4]).chrf.low is None, "too little to draw from"
    assert score_translations(HEARD, SAID) == few, "the same draws each time"


def test_speakers_are_drawn_as_wholes() -> None:
    speakers = [f"s{number % 6}" for number in range(12)]
    found = score_translations(HEARD, SAID, speakers=speakers)
    assert found.chrf.by == "speaker" and found.chrf.value == score_translations(HEARD, SAID).chrf.value
    assert found.chrf.low != score_translations(HEARD, SAID).chrf.low


def test_two_systems_are_compared_over_the_same_draws() -> None:
    same = compare_translations(HEARD, HEARD, SAID)
    assert all((one.delta, one.low, one.high) == (0.0, 0.0, 0.0) for one in same.values())
    better = compare_translations(HEARD, SAID, SAID)
    for name, found in better.items():
        assert found.delta == pytest.approx(100 - getattr(score_translations(HEARD, SAID), name).value)
        assert found.distinguishable and found.low is not None and found.low > 0
    worse = compare_translations(SAID, HEARD, SAID)
    assert worse["chrf"].delta == -better["chrf"].delta
    alone = score_translations(HEARD, SAID).bleu
    twin = compare_translations(HEARD, [*HEARD[:-1], "the key"], SAID)["bleu"]
    assert twin.low is not None and twin.high is not None and alone.low is not None and alone.high is not None
    assert twin.high - twin.low < alone.high - alone.low, "paired draws leave out what both share"
    assert compare_translations(HEARD[:4], SAID[:4], SAID[:4])["chrf"].p is None


def test_normal_forms_and_case_are_no_errors_where_they_must_not_be() -> None:
    said = ["Ñuka wasíka sumakmi kan.", "Kanka ñañami kanki!"] * 4
    heard = [unicodedata.normalize("NFD", text) for text in said]
    assert score_translations(heard, said).chrf.value == 100.0
    lower = score_translations([text.lower().strip(".!") for text in said], said, language="qu")
    assert lower.chrf.value < 95
    assert lower.normalised["chrf"].value == lower.normalised["bleu"].value == 100.0
    assert lower.normaliser == "orature-basic@1"


def test_empty_sides() -> None:
    found = score_translations(["", *HEARD[1:]], SAID)
    assert found.empty == 1 and found.chrf.value < score_translations(HEARD, SAID).chrf.value
    assert chrf("", "a word") == 0.0
    with pytest.raises(EmptyReference):
        chrf("a word", " ")
    with pytest.raises(EmptyReference):
        score_translations(HEARD, [" ", *SAID[1:]])
    with pytest.raises(ValueError, match="1 translations for 2"):
        score_translations(["a"], ["a", "b"])


def test_a_script_without_spaces_is_counted_by_characters() -> None:
    said, heard = ["我们明天去学校"] * 6, ["我们今天去学校"] * 6
    found = score_translations(heard, said)
    assert "tok:char" in found.bleu.signature and found.bleu.value > 20
    assert "tok:13a" in score_translations(HEARD, SAID).bleu.signature


def test_sums_are_drawn_as_rates_are() -> None:
    errors, lengths, speakers = [1, 0, 3, 2, 5, 1, 2], [4, 3, 9, 5, 8, 2, 7], ["a", "b", "c", "d", "e", "a", "f"]
    for by in ("speaker", "utterance"):
        rates, units = drawn_rates(errors, lengths, speakers, by=by, resamples=50)  # type: ignore[arg-type]
        table = np.array([errors, lengths]).T
        sums, others = drawn_sums(table, speakers, by=by, resamples=50)  # type: ignore[arg-type]
        assert units == others and np.array_equal(sums[:, 0] / sums[:, 1], rates)


def test_without_sacrebleu_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtra, match=r"orature\[translate\]"):
        translation.require_metrics()
