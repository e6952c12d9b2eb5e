"""What is said of transfer by translation, in words that fit the figures."""

from __future__ import annotations

from typing import Any

import pytest

from orature.evaluate.html.translation_page import _shares, translation_page
from orature.evaluate.translation_arms import shares_of, verdicts

LABELS = {
    "by": "trained on 500 pairs",
    "pairs": 500,
    "rows": 90,
    "kept": 80,
    "kept_hours": 0.5,
    "rejected": {"translation-empty": 10},
    "held_out": {"normalised": {"bleu": {"value": 3.0, "low": 2.0, "high": 4.0}, "chrf": {"value": 21.5, "low": None}}},
}


def row(name: str, cer: float, delta: float | None, verdict: str = "", **more: Any) -> dict[str, Any]:
    rate = {"value": cer, "low": cer - 0.01, "high": cer + 0.01}
    one = {"delta": delta, "low": -0.04, "high": 0.01, "relative": -0.1, "verdict": verdict}
    difference = None if delta is None else {"cer": one, "wer": one}
    rates = {"cer": rate, "wer": rate}
    common = {"about": f"about {name}", "updates": 9, "audio_hours": 0.1, "before": {"updates": 4, "audio_hours": 0.2}}
    filled = {"name": name, "against": "encoder", "difference": difference, "test": rates, "dev": rates, "labels": None}
    return {**common, **filled, "curve": [[1, 0.9], [2, 0.5]], **more}


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("better", "(st_good) helped: CER changes by -2.0 points"),
        ("worse", "(st_good) did harm"),
        ("not distinguishable", "told from chance"),
        ("too few to say", "too small to tell"),
    ],
)
def test_each_outcome_has_its_sentence(verdict: str, said: str) -> None:
    found = verdicts(
        [row("scratch", 0.6, 0.1, "worse"), row("encoder", 0.5, None), row("st_good", 0.48, -0.02, verdict)]
    )
    assert len(found) == 1 and said in found[0] and "95 % interval -4.0 to +1.0" in found[0], "scratch is no verdict"
    assert ("includes zero" in found[0]) == (verdict == "not distinguishable")


@pytest.mark.parametrize(("best", "said"), [(2.4, True), (0.93, True), (0.85, False)])
def test_models_that_have_learned_nothing_are_not_praised(best: float, said: bool) -> None:
    found = verdicts([row("encoder", 2.6, None), row("st_good", best, -0.2, "better")])
    assert ("No arm has learned to recognise yet" in found[0]) == said
    assert len(found) == 1 and ("helped" in found[0]) != said


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (
            {500: 0.60, 1000: 0.56, 2000: 0.52},
            "change CER by -4.0 points (a line through 3 trainings, one seed each): by",
        ),
        ({500: 0.60, 1000: 0.56, 2000: 0.52}, "some 2,800 pairs would be needed"),
        ({500: 0.60, 2000: 0.45}, "with 2,000 it is at the level of direct transfer or below"),
        ({500: 0.60, 2000: 0.60}, "more pairs alone would not make it as good"),
        ({500: 0.58, 2000: 0.60}, "change CER by +1.0 points"),
        ({500: 0.601, 2000: 0.599}, "more than 2,000,000 pairs would be needed"),
    ],
)
def test_a_curve_over_pairs_says_how_many_would_be_needed(rates: dict[int, float], said: str) -> None:
    rows = [row("encoder", 0.5, None)]
    rows += [row(f"st_{n}", cer, 0.01, "worse", labels={**LABELS, "pairs": n}) for n, cer in rates.items()]
    assert said in verdicts(rows)[-1]


def test_one_share_of_the_pairs_is_no_curve() -> None:
    labels = {"st_good": {**LABELS, "pairs": 500}, "st_human": {**LABELS, "pairs": None}}
    rows = [row("encoder", 0.5, None), *(row(name, 0.6, 0.1, "worse", labels=one) for name, one in labels.items())]
    assert len(verdicts(rows)) == 2


def test_of_two_that_have_learned_nothing_neither_is_praised_beside_one_that_has() -> None:
    found = verdicts(
        [row("scratch", 0.8, -1.8, "better"), row("encoder", 2.6, None), row("st_good", 2.4, -0.2, "better")]
    )
    assert len(found) == 1 and "neither it nor encoder has learned" in found[0] and "helped" not in found[0]
    found = verdicts([row("encoder", 1.2, None), row("st_good", 0.7, -0.5, "better")])
    assert len(found) == 1 and "(st_good) helped" in found[0], "one that has learned beside one that has not"


def facts_of(rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    common = {
        "target": {"name": "kichwa", "language": "que-EC"},
        "rich": {"name": "<spanish>", "language": "es", "hours_by_origin": {"real": 3.0, "synthetic": 1.0}},
        "scored": {"split_fingerprint": "f" * 64, "normaliser": "basic@1", "utterances": 1392, "words": 1886},
        "arms": rows,
        "search": {"beams": 5, "length_penalty": 1.0, "ctc_weight": None},
        "start": "none",
        "split": "test",
        "seed": 1,
        "verdicts": verdicts(rows),
        "missing": ["there is no <text>"],
        "chosen": "st_good",
        "notes": ["st_human is left out"],
    }
    return common | more


TWO = [row("encoder", 0.5, None), row("st_good", 0.48, -0.02, "better")]


def test_the_page_says_what_was_scored_and_that_the_rich_speech_was_synthetic() -> None:
    page = translation_page(facts_of(TWO))
    for said in (
        "test: 1,392 utterances, 1,886 words",
        "ffffffffffff<",
        "basic@1",
        "3.00\u202fh real, 1.00\u202fh synth",
    ):
        assert said in page
    assert "25 % of the speech of &lt;spanish&gt; is synthetic" in page
    people = {"name": "spanish", "language": "es", "hours_by_origin": {"real": 3.0}}
    assert "is synthetic" not in translation_page(facts_of(TWO, rich=people))
    assert "is synthetic" not in translation_page(facts_of(TWO, rich=None))


def test_the_page_of_up_says_which_model_was_published() -> None:
    usual = translation_page(facts_of(TWO, usual_dev_cer=0.312, published=False))
    assert "(published)" not in usual and "31.2\u202f% of the usual model" in usual
    assert "the usual model is published" in usual
    best = translation_page(facts_of(TWO, usual_dev_cer=0.9, published=True))
    assert best.count("(published)") == 1 and "st_good is published" in best


def test_the_table_of_arms_fits_on_a_page_and_the_curve_has_its_intervals() -> None:
    rows = [row("encoder", 0.5, None), row("st_low", 0.5, 0.0, "worse", labels=LABELS)]
    rows.append(row("st_good", 0.45, -0.05, "better", labels={**LABELS, "pairs": 2000}))
    page = translation_page(facts_of(rows))
    arms = page[page.index('id="arms"') : page.index('id="labels"')]
    assert arms.count("<th") - arms.count("<thead") == 8
    assert 'class="band band-a"' in page
    rows[2]["test"] = {unit: {"value": 0.45, "low": None, "high": None} for unit in ("cer", "wer")}
    assert 'class="band band-a"' not in translation_page(facts_of(rows)), "without an interval there is no shade"


def test_the_page_has_the_pairs_as_a_curve_and_says_what_is_missing() -> None:
    rows = [row("encoder", 0.5, None), row("st_low", 0.5, 0.0, "worse", labels=LABELS)]
    rows.append(row("st_good", 0.45, -0.05, "better", labels={**LABELS, "pairs": 2000}))
    facts = facts_of(rows)
    page = translation_page(facts, command="orature run speech_translation kichwa")
    for said in (
        "What more sentence pairs bring",
        "CTC as in training",
        "twice as many change CER by -2.5 points",
        "trained on 500 pairs",
        "translation-empty",
        "St_human is left out",
    ):
        assert said in page
    assert "&lt;spanish&gt;" in page and "<spanish>" not in page and "there is no &lt;text&gt;" in page
    assert (
        page.count("(published)") == 1
        and "21.5" in page
        and page == translation_page(facts, command="orature run speech_translation kichwa")
    )


def test_the_shade_of_the_curve_is_that_of_translated_speech_also_beside_joint_training() -> None:
    labels = {n: {**LABELS, "pairs": n} for n in (500, 2000)}
    shares = [row(f"st_{n}", cer, 0.01, "worse", labels=labels[n]) for n, cer in ((2000, 0.45), (500, 0.5))]
    joint = row("joint", 0.9, 0.4, "worse", labels=labels[2000])
    assert [(pairs, rate["value"], rate["high"]) for pairs, rate in shares_of([*shares, joint])] == [
        (500, 0.5, 0.51),
        (2000, 0.45, 0.46),
    ]
    alone, beside = (_shares([row("encoder", 0.4, None), *arms]) for arms in (shares, [*shares, joint]))
    assert "<svg" in alone and alone == beside
