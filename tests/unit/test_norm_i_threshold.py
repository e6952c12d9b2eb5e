"""Where synthetic speech starts to help: exact crossings, never and always, intervals that are open or closed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orature.evaluate.norm_i_threshold import Drawn, Rung, crossing, isotonic, threshold

LADDER = (1.0, 0.3, 0.1, 0.03, 0.01)


def test_isotonic_regression_by_hand() -> None:
    assert isotonic(np.array([1.0, 3.0, 2.0, 4.0])).tolist() == [1.0, 2.5, 2.5, 4.0]
    assert isotonic(np.array([3.0, 2.0, 1.0])).tolist() == [2.0, 2.0, 2.0]
    assert isotonic(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_a_crossing_lies_where_the_line_over_the_logarithm_does() -> None:
    assert crossing([0.01, 1.0], [-1.0, 1.0]) == pytest.approx(0.1)
    assert crossing([1.0, 0.01], [3.0, -1.0]) == pytest.approx(0.01 * 100**0.25)
    assert crossing([1e-300, 1.0], [-1.0, 1.0]) == pytest.approx(1e-3)


def test_never_and_always() -> None:
    assert math.isinf(crossing(LADDER, [0.0, -0.1, -0.1, -0.2, -0.3]))
    assert crossing(LADDER, [0.3, 0.2, 0.1, 0.05, 0.01]) == 0.0
    assert crossing(LADDER, [-0.1, 0.3, 0.2, 0.2, 0.1]) == 0.0, "a bad best rung among good ones is chance"


def drawn(value: float, spread: float, seed: int) -> Drawn:
    return Drawn(value, value + spread * np.random.default_rng(seed).standard_normal(400))


def ladder(errors: tuple[float, ...], spread: float = 0.002) -> list[Rung]:
    return [
        Rung(f"q{number}", Drawn(norm, norm * np.exp(drawn(0.0, 0.1, number).draws)), drawn(error, spread, 50 + number))
        for number, (norm, error) in enumerate(zip(LADDER, errors, strict=True))
    ]


def test_a_crossing_has_an_interval_around_it() -> None:
    found = threshold(ladder((0.20, 0.22, 0.28, 0.32, 0.34)), drawn(0.25, 0.002, 9), units=200)
    assert found["verdict"] == "crosses" and found["shares"]["crosses"] == 1.0
    one = found["threshold"]
    assert one["value"] == pytest.approx(0.1 * 3**0.5, rel=1e-3)
    assert 0.1 < one["low"] < one["value"] < one["high"] < 0.3
    verdicts = [row["difference"]["verdict"] for row in found["rungs"]]
    assert verdicts == ["helps", "helps", "hurts", "hurts", "hurts"]
    assert "starts to help at a Norm_I of about 0.173" in found["sentence"]
    assert found["rungs"][0]["difference"]["value"] == pytest.approx(-0.05)


def test_verdicts_in_plain_words_with_open_ends() -> None:
    never = threshold(ladder((0.26, 0.27, 0.28, 0.32, 0.34)), drawn(0.25, 0.001, 9), units=200)
    assert never["verdict"] == "never" and never["threshold"] == {"value": None, "low": None, "high": None}
    assert never["sentence"].startswith("Synthetic speech never helps here")
    always = threshold(ladder((0.2, 0.21, 0.22, 0.23, 0.24)), drawn(0.25, 0.001, 9), units=200)
    assert always["verdict"] == "always" and always["shares"]["always"] > 0.95
    assert always["sentence"].startswith("Synthetic speech always helps here")
    unsure = threshold(ladder((0.249, 0.25, 0.28, 0.32, 0.34), spread=0.01), drawn(0.25, 0.01, 9), units=200)
    assert unsure["threshold"]["high"] is None and unsure["shares"]["never"] > 0.1
    assert unsure["rungs"][0]["difference"]["verdict"] == "not distinguishable"


def test_few_units_give_a_value_and_no_interval() -> None:
    found = threshold(ladder((0.20, 0.22, 0.28, 0.32, 0.34)), drawn(0.25, 0.002, 9), units=4)
    assert found["threshold"]["value"] is not None and found["shares"] is None
    assert found["baseline"]["low"] is None
    assert {row["difference"]["verdict"] for row in found["rungs"]} == {"too few to say"}


def test_the_interval_of_the_threshold_covers_the_truth() -> None:
    rng, held = np.random.default_rng(3), 0
    truth = np.array([0.20, 0.22, 0.28, 0.32, 0.34])
    for _ in range(60):
        seen, alone = truth + 0.004 * rng.standard_normal(5), 0.25 + 0.004 * rng.standard_normal()
        rungs = [
            Rung(str(n), Drawn(norm, np.full(300, norm)), Drawn(error, error + 0.004 * rng.standard_normal(300)))
            for n, (norm, error) in enumerate(zip(LADDER, seen, strict=True))
        ]
        found = threshold(rungs, Drawn(alone, alone + 0.004 * rng.standard_normal(300)), units=300)["threshold"]
        held += (found["low"] or 0.0) <= 0.1 * 3**0.5 <= (found["high"] or math.inf)
    assert held / 60 >= 0.88
