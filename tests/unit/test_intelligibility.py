"""Norm_I: the published table, the floor, pairing by sentence, intervals that cover, the metric and its reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from orature.core.errors import BadInput, ConfigError
from orature.evaluate.alignment import Alignment, Counts, Edit
from orature.evaluate.intelligibility import (
    judge_groups,
    judge_rows,
    lowest_possible,
    norm_i,
    norm_i_draws,
    norm_i_interval,
    probe_of,
)
from orature.evaluate.rows import Row
from orature.evaluate.score import Drawing, Scored
from orature.text.normalise import NORMALISER

QUICK = Drawing(resamples=200)


def scored(text: str, errors: int, length: int, number: int, speaker: str | None = None) -> Scored:
    """An aligned row with so many errors, without aligning anything."""
    counts = Counts(length - errors, errors, 0, 0)
    alignment = Alignment((Edit("equal", text, text),), counts)
    return Scored(Row(f"{number:04}", text, text, speaker), alignment, alignment, counts, counts)


def row(number: int, said: str, heard: str, speaker: str | None = None, **fields: object) -> Row:
    return Row(f"{number:04}", said, heard, speaker, **fields)  # type: ignore[arg-type]


def sentences(count: int) -> list[str]:
    return [f"wimi{number} killka{number} runa shimi" for number in range(count)]


@pytest.mark.parametrize(
    ("ratio", "value"), [(1.0, 1.0), (1.5, 0.607), (2, 0.368), (3, 0.135), (4, 0.050), (5.6, 0.010)]
)
def test_the_published_table(ratio: float, value: float) -> None:
    assert round(norm_i(0.13, 0.13 * ratio), 3) == pytest.approx(value, abs=1e-9)
    assert norm_i(0.13, 0.13 * ratio) == pytest.approx(math.exp(1 - ratio))


def test_a_perfect_judge_is_held_by_the_floor() -> None:
    assert norm_i(0.0, 0.0) == 1.0
    assert norm_i(0.0, 0.02) == pytest.approx(math.exp(-2))
    assert norm_i(0.005, 0.0) == pytest.approx(math.exp(0.5))
    assert norm_i(0.0, 0.02, floor=0.02) == pytest.approx(math.exp(-1))
    with pytest.raises(ValueError, match="floor"):
        norm_i(0.1, 0.1, floor=0.0)
    found = judge_rows(
        [row(n, text, text) for n, text in enumerate(sentences(30))],
        [row(n, text, text + " x" if n < 3 else text) for n, text in enumerate(sentences(30))],
        normaliser=NORMALISER,
        drawing=QUICK,
    )
    assert found["floor"] == {"value": 0.01, "used": True}
    assert found["norm_i"]["value"] == pytest.approx(math.exp(-3 / 120 / 0.01), abs=1e-6)


def test_sides_with_the_same_sentences_are_paired_and_the_rest_is_counted() -> None:
    texts = sentences(40)
    real = [row(n, text, text.upper()) for n, text in enumerate(texts)]
    made = [row(n, text, "wimi0") for n, text in enumerate(texts[4:])] + [row(99, "shuk shimi", "shuk")]
    found = judge_rows(real, made, normaliser=NORMALISER, drawing=QUICK)
    assert found["probe"]["paired"] and found["norm_i"]["by"] == "sentence"
    assert (found["probe"]["left_out_real"], found["probe"]["left_out_syn"]) == (4, 1)
    assert found["size_real"]["utterances"] == found["size_syn"]["utterances"] == 36
    again = judge_rows(real[::-1], made[::-1], normaliser=NORMALISER, drawing=QUICK)
    assert again == found
    other = judge_rows(real[:-1], made, normaliser=NORMALISER, drawing=QUICK)
    assert other["probe"]["fingerprint"] != found["probe"]["fingerprint"]


def test_few_or_different_sentences_are_not_paired() -> None:
    real = [row(n, f"{n % 10} runa", f"{n % 9} runa", f"s{n % 6}") for n in range(60)]
    found = judge_rows(real, [row(n, f"{n % 10} runa", "runa", "v") for n in range(30)], normaliser=NORMALISER)
    assert not found["probe"]["paired"] and found["probe"]["shared"] == 10
    assert found["norm_i"]["by"] == "speaker (real), utterance (synthetic)"
    other = [row(n, text, text, "v") for n, text in enumerate(sentences(30))]
    assert judge_rows(real, other, normaliser=NORMALISER)["probe"]["shared"] == 0


def test_pairs_are_drawn_by_speaker_where_each_sentence_has_one() -> None:
    texts = sentences(30)
    made = [scored(text, 1, 4, n) for n, text in enumerate(texts)]

    def by(speakers: Sequence[str | None]) -> str:
        real = [scored(text, 1, 4, n, speakers[n % len(speakers)]) for n, text in enumerate(texts)]
        return str(norm_i_interval(probe_of(real, made), "wer", QUICK)["by"])

    assert by([f"s{n}" for n in range(5)]) == "speaker"
    assert by([f"s{n}" for n in range(4)]) == "sentence"
    assert by([*(f"s{n}" for n in range(5)), None]) == "sentence"
    twice = [scored(text, 1, 4, n + 30 * turn, f"s{n}-{turn}") for turn in range(2) for n, text in enumerate(texts)]
    assert norm_i_interval(probe_of(twice, made), "wer", QUICK)["by"] == "sentence"
    with pytest.raises(ConfigError, match="utterance"):
        norm_i_draws(probe_of(made, made), "wer", Drawing(by="word"))


def test_equal_sides_that_are_paired_have_no_spread_at_all() -> None:
    rng = np.random.default_rng(1)
    side = [scored(text, int(rng.integers(0, 4)), 4, n) for n, text in enumerate(sentences(40))]
    paired = norm_i_interval(probe_of(side, side), "wer", QUICK)
    assert (paired["value"], paired["low"], paired["high"]) == (1.0, 1.0, 1.0)
    others = [
        scored(f"{text} ñ", item.words.counts.errors, 4, n)
        for n, (text, item) in enumerate(zip(sentences(40), side, strict=True))
    ]
    apart = norm_i_interval(probe_of(side, others), "wer", QUICK)
    assert apart["low"] < 0.9 and apart["high"] > 1.1


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, texts = np.random.default_rng(5), sentences(50)
    truth, held = norm_i(0.2, 0.3), 0
    for _ in range(120):
        hard = rng.beta(2, 8, len(texts))  # mean 0.2: sentences differ, and both sides with them
        real = [scored(t, int(rng.binomial(10, p)), 10, n) for n, (t, p) in enumerate(zip(texts, hard, strict=True))]
        made = [
            scored(t, int(rng.binomial(10, 1.5 * p if p < 0.66 else 1)), 10, n)
            for n, (t, p) in enumerate(zip(texts, hard, strict=True))
        ]
        found = norm_i_interval(probe_of(real, made), "wer", QUICK)
        held += found["low"] <= truth <= found["high"]
    assert 0.88 <= held / 120 <= 0.995


def test_the_metric_and_why() -> None:
    texts = sentences(25)
    good = [row(n, text, text) for n, text in enumerate(texts)]
    bad = [row(n, text, "xx") for n, text in enumerate(texts)]
    assert judge_rows(good, bad, normaliser=NORMALISER, drawing=QUICK)["metric"] == "wer"
    found = judge_rows(bad, good, normaliser=NORMALISER, drawing=QUICK)
    assert found["metric"] == "cer" and "100 % of the words" in found["metric_because"]
    spaceless = [row(n, "ภาษาไทยไม่มีช่องว่างระหว่างคำ" + str(n), "ภาษา") for n in range(25)]
    assert judge_rows(spaceless, spaceless, normaliser=NORMALISER, drawing=QUICK)["metric"] == "cer"
    asked = judge_rows(bad, good, normaliser=NORMALISER, metric="wer", drawing=QUICK)
    assert asked["metric"] == "wer" and asked["norm_i"] == asked["norm_i_by_metric"]["wer"]
    with pytest.raises(ConfigError, match="choose wer, cer or auto"):
        judge_rows(good, bad, normaliser=NORMALISER, metric="mos")
    with pytest.raises(BadInput, match="synthetic side"):
        judge_rows(good, [row(1, "", "")], normaliser=NORMALISER)


def test_a_refused_recording_counts_as_missed() -> None:
    texts = sentences(25)
    good = [row(n, text, text) for n, text in enumerate(texts)]
    refused = [row(n, text, "", refusal={"reason": "too-short", "detail": ""}) for n, text in enumerate(texts)]
    found = judge_rows(good, refused, normaliser=NORMALISER, drawing=QUICK)
    assert found["wer_syn"]["value"] == 1.0 and found["size_syn"]["refused"] == 25


def test_each_voice_is_judged_beside_the_same_people() -> None:
    texts = sentences(24)
    real = [row(n, text, text if n % 4 else "x") for n, text in enumerate(texts)]
    made = [row(n, text, text if n % 4 else "x") for n, text in enumerate(texts)]
    made += [row(100 + n, text, "x") for n, text in enumerate(texts[:21])]
    groups = {one.id: "good" if one.id < "0100" else "bad" for one in made}
    found = judge_groups(real, made, groups, normaliser=NORMALISER, metric="wer", drawing=QUICK)
    assert [one["name"] for one in found] == ["good", "bad"]
    assert found[0]["norm_i"]["value"] == 1.0 and found[0]["paired"]
    assert found[1]["norm_i"]["value"] == pytest.approx(math.exp((6 / 21 - 1) / (6 / 21)), rel=0.15)


def test_the_lowest_value_that_a_judge_can_show() -> None:
    assert lowest_possible(0.1) == pytest.approx(math.exp(-9))
    assert lowest_possible(0.6) > 0.5 and lowest_possible(1.2) == 1.0
