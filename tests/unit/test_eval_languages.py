"""Rates by language, their plain means, and two systems language by language."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from orature.core.errors import BadInput
from orature.evaluate.languages import by_language, compare_languages
from orature.evaluate.rows import Row
from orature.evaluate.statistics import Part, interval, macro_difference, macro_interval, paired_difference
from orature.text.normalise import NORMALISER


def rows(language: str, wrong: int, count: int = 12, extra: str = "") -> list[Row]:
    """Rows of two words of four letters; in the first `wrong` of them one word is missed."""
    said = "wasi yaku" + extra
    return [
        Row(f"{language}{n:02}", said, "wasi" if n < wrong else said, f"{language}-{n % 6}", language, duration_s=3.0)
        for n in range(count)
    ]


def test_each_language_and_the_plain_mean_over_them() -> None:
    found = by_language(rows("qu", 7) + rows("sw", 3, count=40), NORMALISER)
    assert list(found["languages"]) == ["qu", "sw"]
    quechua, swahili = found["languages"]["qu"], found["languages"]["sw"]
    assert quechua["wer"]["value"] == round(7 / 24, 6) and swahili["wer"]["value"] == 3 / 80
    assert quechua["cer"]["value"] == pytest.approx(7 * 5 / (12 * 9), abs=1e-6)
    assert (swahili["utterances"], swahili["words"], swahili["speakers"]) == (40, 80, 6)
    assert quechua["wer"]["low"] < 7 / 24 < quechua["wer"]["high"] and quechua["wer"]["by"] == "speaker"
    macro = found["macro"]
    assert macro["languages"] == 2 and macro["wer"]["value"] == pytest.approx((7 / 24 + 3 / 80) / 2, abs=1e-6)
    micro = (7 + 3) / (24 + 80)
    assert abs(macro["wer"]["value"] - micro) > 0.01  # the plain mean, not the pooled rate
    assert macro["wer"]["low"] < macro["wer"]["value"] < macro["wer"]["high"]


def test_one_language_adds_nothing() -> None:
    assert by_language(rows("qu", 6), NORMALISER) == {}


def test_the_interval_of_the_mean_is_that_of_independent_parts() -> None:
    """Its half-width is about the root of the squared half-widths, divided by the number of parts."""
    draw = np.random.default_rng(3)
    parts = [Part(list(draw.integers(0, 4, 60)), [8] * 60, [None] * 60) for _ in range(4)]
    mean = macro_interval(parts)
    assert mean.low is not None and mean.high is not None and mean.by == "utterance"
    squares = []
    for part in parts:
        one = interval(part.errors, part.lengths, part.speakers)
        assert one.low is not None and one.high is not None
        squares.append(((one.high - one.low) / 2) ** 2)
    assert (mean.high - mean.low) / 2 == pytest.approx(sum(squares) ** 0.5 / 4, rel=0.15)
    same = Part(parts[0].errors, parts[0].lengths, parts[0].speakers)  # equal data, but drawn independently
    twice = macro_interval([same, same])
    assert twice.low is not None and twice.high is not None
    assert (twice.high - twice.low) / 2 == pytest.approx(squares[0] ** 0.5 / 2**0.5, rel=0.15)


def test_a_part_with_too_little_to_draw_from_leaves_no_interval() -> None:
    parts = [Part([1] * 20, [4] * 20, [None] * 20), Part([1, 0], [4, 4], [None, None], [0, 0])]
    assert macro_interval(parts).value == pytest.approx((0.25 + 0.125) / 2) and macro_interval(parts).low is None
    parts[0] = replace(parts[0], others=[2] * 20)
    assert macro_difference(parts).delta == pytest.approx((0.25 - 0.125) / 2) and macro_difference(parts).p is None


def test_the_difference_of_one_part_is_the_paired_difference() -> None:
    errors, others = [0, 1, 2, 1, 0, 1, 3, 1], [1, 1, 2, 2, 0, 2, 3, 3]
    part = Part(errors, [5] * 8, [None] * 8, others)
    assert macro_difference([part]) == paired_difference(errors, others, [5] * 8, [None] * 8)


def test_two_systems_by_language() -> None:
    alone = rows("qu", 12) + rows("sw", 0) + rows("yo", 4) + rows("zu", 1, count=3)
    pooled = rows("qu", 2) + rows("sw", 11) + rows("yo", 4) + rows("zu", 2, count=3)
    found = compare_languages(alone, pooled, NORMALISER)
    verdicts = {tag: one["difference"]["cer"]["verdict"] for tag, one in found["languages"].items()}
    assert verdicts == {"qu": "better", "sw": "worse", "yo": "not distinguishable", "zu": "too few to say"}
    assert found["languages"]["qu"]["cer"]["value"] == pytest.approx(60 / 108, abs=1e-6)
    assert found["languages"]["sw"]["difference"]["wer"]["delta"] == pytest.approx(11 / 24, abs=1e-6)
    deltas = [one["difference"]["wer"]["delta"] for one in found["languages"].values()]
    assert found["macro"]["difference"]["wer"]["delta"] == pytest.approx(sum(deltas) / 4, abs=1e-6)
    assert found["macro"]["difference"]["wer"]["verdict"] == "too few to say"


@pytest.mark.parametrize("change", [{"reference": "other words"}, {"language": "sw"}, {"id": "qu99"}])
def test_different_utterances_are_not_compared(change: dict[str, Any]) -> None:
    ours = rows("qu", 2)
    with pytest.raises(BadInput, match="different utterances"):
        compare_languages([replace(ours[0], **change), *ours[1:]], ours, NORMALISER)
