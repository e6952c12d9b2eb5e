"""Checks of one translation: each finds what it is for, and leaves a good translation alone."""

from __future__ import annotations

import random

import pytest

from orature.text.language_check import has_langid
from orature.text.translation_checks import (
    ALPHABET,
    COPIED,
    EMPTY,
    OFF,
    RATIO,
    REPEATED,
    ROUND_TRIP,
    SAME,
    SCRIPT,
    UNKNOWN_WORDS,
    UNSURE,
    Rendering,
    TranslationBounds,
    TranslationJudge,
    Usual,
)

SPANISH = "la mujer compró tres gallinas en el mercado del pueblo"
KICHWA = "warmika llaktapa katunapi kimsa atallpata rantirka"
TEXTS = [
    "warmika llaktapi kimsa atallpata rantirka",
    "ñukanchik wasika urkupi tiyan, yaku larka patapi",
    "wawakuna tamyapi pukllashpa kushilla purinkuna",
    "taytaka chakrapi sarata tarpushpa llamkan",
    "mamaka yanushpa mikunata karan, shinallatak takin",
    "kayaka punchalla llukshishpa karu llaktaman rishun",
]


def judged(source: str, text: str, texts: list[str] | None = None, **values: object) -> str:
    """The reason why the translation is refused, "" where it is not."""
    bounds = {name: values.pop(name) for name in list(values) if name in TranslationBounds.model_fields}
    one = Rendering(source, text, **values)  # type: ignore[arg-type]
    judge = TranslationJudge.of([one], TEXTS if texts is None else texts, "que-EC", TranslationBounds(**bounds))
    found = judge.refusal(one)
    return "" if found is None else found.reason


def test_a_good_translation_is_kept() -> None:
    assert judged(SPANISH, KICHWA, score=-0.4, round_trip=55.0) == ""


@pytest.mark.parametrize("text", ["", "...", "¿?", "   "])
def test_nothing_is_no_translation(text: str) -> None:
    assert judged(SPANISH, text) == EMPTY


def test_lengths_are_compared_both_ways() -> None:
    assert judged(SPANISH, "warmi kimsa") == RATIO
    assert judged("la casa", KICHWA) == RATIO
    assert judged("la casa", "wasika kaypimi") == "", "short sentences are not judged"
    assert judged(SPANISH, "warmi kimsa", most_ratio=None) == ""
    assert judged(SPANISH, KICHWA[:20], most_ratio=1.5) == RATIO, "a bound of one's own"


def test_words_are_compared_beside_letters() -> None:
    split_up = "wa r mi ka lla k ta pi ki m sa a ta ll pa ta ra n ti r ka wa wa"
    assert judged("warmikallaktapi kimsaatallpata rantirka wawamanta", split_up) == RATIO
    assert judged("warmikallaktapi kimsaatallpata rantirka wawamanta", split_up.replace(" ", "")) == ""


def test_what_is_usual_in_a_run_is_no_fault() -> None:
    chinese = "那位妇女在市集买了三只母鸡回家"
    english = "the woman bought three hens at the market of the village and then she went home again"
    pairs = [Rendering(english, chinese) for _ in range(30)]
    bounds = TranslationBounds(most_ratio=3.0, most_same=None)
    alone = TranslationJudge.of(pairs[:1], [], "zh", bounds).refusal(pairs[0])
    assert alone is not None and alone.reason == RATIO
    judge = TranslationJudge.of(pairs, [], "zh", bounds)
    assert judge.usual.letters == pytest.approx(15 / 69, abs=0.1) and judge.refusal(pairs[0]) is None
    cut = judge.refusal(Rendering(english, "母鸡"))
    assert cut is not None and cut.reason == RATIO and "times fewer than usual" in cut.detail


def test_the_usual_ratio_has_bounds() -> None:
    wild = [Rendering("la casa es grande y blanca", "ka " * 200) for _ in range(40)]
    assert Usual.of(wild).letters == 4.0 and Usual.of(wild[:19]).letters == 1.0


def test_letters_are_those_of_the_language() -> None:
    assert judged(SPANISH, "жена купила трёх кур на рынке в деревне") == SCRIPT
    assert judged(SPANISH, "žęňą đőůřý ţęžšț wąřęž ĝœž øæß þðđ žęňą") == ALPHABET
    assert judged(SPANISH, "žęňą đőůřý ţęžšț wąřęž ĝœž øæß þðđ žęňą", most_unseen=None) == ""
    assert judged(SPANISH, "жена купила трёх кур на рынке", texts=[]) == "", "without texts nothing is known"
    bounds = TranslationBounds()
    by_tag = TranslationJudge.of([], [], "qu-Latn", bounds).refusal(Rendering(SPANISH, "жена купила трёх кур на рынке"))
    assert by_tag is not None and by_tag.reason == SCRIPT


def test_a_source_that_was_copied_is_found() -> None:
    assert judged(SPANISH, SPANISH) == COPIED
    assert judged(SPANISH, SPANISH.upper() + ".") == COPIED, "case and punctuation do not make a translation"
    assert judged(SPANISH, SPANISH.replace("compró", "compra")) == COPIED
    assert judged("Rumiñahui", "Rumiñahui") == "", "a name stays what it is"
    near = "a casa da mulher é muito grande", "la casa de la mujer es muy grande"
    assert judged(*near, texts=[]) == "" and judged(*near, texts=[], least_changed=0.5) == COPIED
    assert judged(SPANISH, SPANISH, least_changed=0.0) == COPIED, "an equal text is a copy under any bound"
    assert judged(SPANISH, SPANISH, least_changed=None, texts=[]) == ""


def test_loops_are_found_and_followed_where_the_source_loops() -> None:
    assert judged(SPANISH, "warmika " * 8) == REPEATED
    assert judged("toca toca toca toca toca toca", "takay takay takay takay takay takay") == ""


def test_one_translation_for_many_sentences_is_no_translation() -> None:
    pairs = [Rendering(f"{SPANISH} {number}", "mana yachanichu imatachi nin") for number in range(7)]
    judge = TranslationJudge.of(pairs, TEXTS, "que-EC", TranslationBounds())
    found = judge.refusal(pairs[0])
    assert found is not None and found.reason == SAME and found.detail.startswith("7 different sentences")
    fewer = TranslationJudge.of(pairs[:5], TEXTS, "que-EC", TranslationBounds())
    assert fewer.refusal(pairs[0]) is None
    short = [Rendering(f"{word} claro", "ari") for word in SPANISH.split()]
    assert TranslationJudge.of(short, TEXTS, "que-EC", TranslationBounds()).refusal(short[0]) is None


def test_another_language_is_found_by_the_spelling_of_its_own_texts() -> None:
    words, draw = " ".join(TEXTS).replace(",", "").split(), random.Random(1)
    many = [" ".join(draw.sample(words, 6)) for _ in range(90)]
    english = "this young woman goes to their church with the quick brown fox"
    assert judged(SPANISH, english, texts=many, most_unseen=None, language_check="ngrams") == "other-language"
    assert judged(SPANISH, " ".join(draw.sample(words, 7)), texts=many, language_check="ngrams") == ""
    assert judged(SPANISH, english, texts=TEXTS[:1], most_unseen=None, language_check="ngrams") == "", "too few texts"


@pytest.mark.skipif(not has_langid(), reason="py3langid is not installed")
def test_another_language_is_found_by_the_identifier() -> None:
    bounds = TranslationBounds(language_check="langid")
    judge = TranslationJudge.of([], [], "sw", bounds)
    swahili = "mwanamke alinunua kuku watatu sokoni kijijini leo asubuhi"
    assert judge.refusal(Rendering(SPANISH, swahili)) is None
    found = judge.refusal(Rendering("the woman bought hens", SPANISH))
    assert found is not None and found.reason == "other-language"


def test_doubts_of_the_translator_count_where_asked() -> None:
    assert judged(SPANISH, KICHWA, score=-3.0) == ""
    assert judged(SPANISH, KICHWA, score=-3.0, min_score=-2.0) == UNSURE
    assert judged(SPANISH, KICHWA, score=-1.9, min_score=-2.0) == ""
    assert judged(SPANISH, KICHWA, known=0.4) == UNKNOWN_WORDS
    assert judged(SPANISH, KICHWA, known=0.5) == "" and judged(SPANISH, KICHWA, known=0.4, min_known=None) == ""


def test_a_round_trip_that_does_not_come_back_is_found() -> None:
    assert judged(SPANISH, KICHWA, round_trip=12.0) == ROUND_TRIP
    assert judged(SPANISH, KICHWA, round_trip=30.0) == "" and judged(SPANISH, KICHWA, round_trip=None) == ""
    assert judged(SPANISH, KICHWA, round_trip=12.0, min_round_trip=None) == ""


def test_all_of_it_can_be_switched_off() -> None:
    judge = TranslationJudge.of([], TEXTS, "que-EC", OFF)
    bad = Rendering(SPANISH, "жена " * 90, score=-9.0, known=0.0, round_trip=0.0)
    assert judge.refusal(bad) is None and judge.refusal(Rendering(SPANISH, SPANISH)) is None
    assert judge.refusal(Rendering(SPANISH, "")) is not None, "but nothing stays nothing"
    assert judge.to_json()["language_check"] == {"method": "none"}
