"""What one label says of itself: each check refuses what it is for, and nothing that people say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tiny import LATIN

from orature.core.types import AudioSpan, Refusal, Utterance
from orature.data.label_judge import LabelBounds, LabelJudge
from orature.text.label_checks import (
    SameLabels,
    disagreement,
    is_phrase,
    other_script_share,
    outside_share,
    repeated_share,
)
from orature.text.language_check import LEAST_TRAINING

SPOKEN = [f"{one} {two}" for one in LATIN for two in LATIN]
"""144 sentences of four words."""
SENTENCE = "shuk ishkay kimsa chusku"


def rows(texts: Sequence[str], seconds: float = 2.0) -> list[Utterance]:
    return [Utterance(f"r{n}", AudioSpan("", 0.0, seconds), text, "qu") for n, text in enumerate(texts)]


def reason(found: Refusal | None) -> str | None:
    return None if found is None else found.reason


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0.0, 0.0),
        (SENTENCE, 0.0, 0.0),
        ("pole pole", 0.0, 0.0),
        ("wasi wasi wasi wasi", 0.75, 0.75),
        ("na" * 30, 0.9, 1.0),
        ("shuk " + "ishkay kimsa " * 6, 0.75, 1.0),
        ("你好吗" * 8, 0.8, 1.0),
        ("one two three four five. one two three four six. one two three four seven", 0.1, 0.3),
        ("yá yà ya", 0.0, 0.0),
    ],
)
def test_loops_and_repeated_ngrams(text: str, least: float, most: float) -> None:
    assert least <= repeated_share(text) <= most


def test_shares_of_letters_outside() -> None:
    assert outside_share("añas 12!", set("as")) == pytest.approx(2 / 5)  # n and its tilde
    assert outside_share("12 !", set("as")) == 0.0
    assert other_script_share("wasi дом", {"Latin"}) == pytest.approx(3 / 7)
    assert other_script_share("12", {"Latin"}) == 0.0


def test_disagreement_is_symmetric_and_blind_to_what_scoring_ignores() -> None:
    assert disagreement("Shuk, wasi!", "shuk wasi") == 0.0
    assert disagreement("shuk wasi", "shuk wasu") == disagreement("shuk wasu", "shuk wasi") == pytest.approx(1 / 9)
    assert disagreement("shuk", "") == 1.0 and disagreement("", "") == 0.0


def test_a_phrase_counts_where_it_is_half_of_the_label() -> None:
    known = {"thanks for watching"}
    assert is_phrase("Thanks for watching!", known) and is_phrase("oh thanks for watching", known)
    assert not is_phrase("many thanks for watching the children of my old neighbour", known)
    assert not is_phrase("thanksx for watching", known)


def test_a_label_of_many_recordings_is_made_up_unless_transcripts_explain_it() -> None:
    heard = [(SENTENCE, f"r{n}") for n in range(9)] + [(f"{text} yaku", f"o{n}") for n, text in enumerate(SPOKEN)]
    plain = SameLabels.of(heard, [], most=5)
    assert (
        reason(plain.refusal(SENTENCE.upper())) == "hallucinated" and "9 recordings" in plain.refusal(SENTENCE).detail
    )  # type: ignore[union-attr]
    assert plain.frequent() == [(SENTENCE, 9)] and plain.refusal(f"{SPOKEN[0]} yaku") is None
    assert SameLabels.of(heard, [], most=9).refusal(SENTENCE) is None
    read_by_five = SameLabels.of(heard, [SPOKEN[5]] * 5, most=5)
    assert read_by_five.refusal(SENTENCE) is None, "prompts that five speakers read"
    often_said = SameLabels.of(heard, [*[SENTENCE] * 3, *[f"{text} wasi" for text in SPOKEN[:40]]], most=5)
    assert often_said.refusal(SENTENCE) is None, "three of 43 transcripts are this sentence"
    once_said = SameLabels.of(heard, [SENTENCE, *SPOKEN[:5]], most=5)
    assert once_said.refusal(SENTENCE) is not None, "a sentence of train that the model has by heart"
    assert SameLabels.of([("yes", f"r{n}") for n in range(99)], [], most=5).refusal("yes") is None, "short ones recur"
    assert SameLabels.of([(SENTENCE, "same")] * 9, [], most=5).refusal(SENTENCE) is None, "one recording, nine rows"
    with pytest.raises(ValueError, match="gone through twice"):
        SameLabels.of(iter(heard), [], most=5)


@pytest.fixture(scope="module")
def judge() -> LabelJudge:
    return LabelJudge.of(rows(SPOKEN), "qu")


@pytest.mark.parametrize(
    ("text", "seconds", "wanted"),
    [
        (SENTENCE, 2.0, None),
        (SENTENCE, 0.4, "too-fast"),
        (SENTENCE, 60.0, None),
        ("шук ишкай", 2.0, "other-script"),
        ("xevöbß öxß", 2.0, "unseen-characters"),
        ("wasi wasi wasi wasi", 2.0, "repeated"),
    ],
)
def test_the_judge_by_labelled_speech(judge: LabelJudge, text: str, seconds: float, wanted: str | None) -> None:
    assert reason(judge.refusal(text, seconds)) == wanted


@pytest.mark.parametrize(
    ("bounds", "text", "seconds"),
    [
        ({"rate_deviations": None}, SENTENCE, 0.4),
        ({"most_letters_per_s": 99.0}, SENTENCE, 0.4),
        ({"most_other_script": None, "most_unseen": None}, "шук ишкай", 2.0),
        ({"most_unseen": None}, "xevöbß öxß", 2.0),
        ({"most_repeated": None}, "wasi wasi wasi wasi", 2.0),
    ],
)
def test_each_check_can_be_switched_off(bounds: dict[str, None], text: str, seconds: float) -> None:
    settings = LabelBounds(**{"language_check": "none", **bounds})  # type: ignore[arg-type]
    assert LabelJudge.of(rows(SPOKEN), "qu", settings).refusal(text, seconds) is None


def test_slow_labels_where_asked_and_a_rate_of_ones_own() -> None:
    slow = LabelJudge.of(rows(SPOKEN), "qu", LabelBounds(slow_deviations=4.0))
    assert reason(slow.refusal(SENTENCE, 60.0)) == "too-slow" and slow.refusal(SENTENCE, 2.0) is None
    own = LabelJudge.of([], "qu", LabelBounds(most_letters_per_s=5.0))
    assert reason(own.refusal(SENTENCE, 2.0)) == "too-fast"


def test_without_transcripts_the_published_rates_and_the_script_of_the_tag_stand() -> None:
    bare = LabelJudge.of([], "uz-Cyrl")
    assert bare.refusal("бир икки", 1.0) is None and reason(bare.refusal("bir ikki", 1.0)) == "other-script"
    assert reason(bare.refusal("бир" * 20, 1.0)) == "too-fast"
    assert reason(LabelJudge.of([], "th").refusal("ก" * 20, 1.0)) == "too-fast", "a letter is about a syllable"
    assert LabelJudge.of([], "und").refusal("шук ishkay", 2.0) is None
    assert bare.to_json()["letters_per_s_from"] == "published"


def test_transcripts_that_repeat_allow_as_much() -> None:
    digits = LabelJudge.of(rows(["five five five five"] * 30), "en", LabelBounds(language_check="none"))
    assert digits.refusal("five five five five", 2.0) is None


def test_phrases_and_the_language_by_spelling() -> None:
    known = LabelJudge.of(rows(SPOKEN), "qu", LabelBounds(phrases=("Kimsa Chusku!",)))
    assert reason(known.refusal("ah kimsa chusku", 2.0)) == "hallucinated"
    assert sum(map(len, SPOKEN)) > LEAST_TRAINING
    by_spelling = LabelJudge.of(rows(SPOKEN), "qu", LabelBounds(most_unseen=None))
    english = "the weather will be rather good tomorrow evening"
    assert reason(by_spelling.refusal(english, 4.0)) == "other-language"
    off = LabelJudge.of(rows(SPOKEN), "qu", LabelBounds(most_unseen=None, language_check="none"))
    assert off.refusal(english, 4.0) is None
    assert LabelJudge.of(rows(SPOKEN[:3]), "qu").check is None, "too few transcripts to compare with"
