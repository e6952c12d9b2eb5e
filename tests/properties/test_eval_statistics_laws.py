"""Intervals hold their value, follow their seed, cover what they promise, and see no difference where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.core.errors import ConfigError
from orature.evaluate.statistics import interval, paired_difference, resampling_unit, t_quantile

ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 12), st.sampled_from([*"abcdefg", None])),
    min_size=1,
    max_size=40,
)


def columns(rows: list[tuple[int, int, int, str | None]]) -> tuple[list[int], list[int], list[int], list[str | None]]:
    a, b, lengths, speakers = zip(*rows, strict=True)
    return list(a), list(b), list(lengths), list(speakers)


@given(ROWS)
@settings(max_examples=80, deadline=None)
def test_the_interval_holds_the_value(rows: list[tuple[int, int, int, str | None]]) -> None:
    errors, _, lengths, speakers = columns(rows)
    found = interval(errors, lengths, speakers, resamples=60)
    assert found.value == pytest.approx(sum(errors) / sum(lengths))
    if found.low is None or found.high is None:
        assert len(rows) < 5 or len(set(speakers)) < 5
    else:
        assert 0 <= found.low <= found.value <= found.high


@given(ROWS, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_system_does_not_differ_from_itself(rows: list[tuple[int, int, int, str | None]], seed: int) -> None:
    errors, _, lengths, speakers = columns(rows)
    found = paired_difference(errors, errors, lengths, speakers, resamples=60, seed=seed)
    assert found.delta == 0
    assert not found.distinguishable
    assert found.p in (None, 1.0)


@given(ROWS, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_seed_means_the_same_and_swapping_turns_the_sign(
    rows: list[tuple[int, int, int, str | None]], seed: int
) -> None:
    a, b, lengths, speakers = columns(rows)
    first = paired_difference(a, b, lengths, speakers, resamples=60, seed=seed)
    assert first == paired_difference(a, b, lengths, speakers, resamples=60, seed=seed)
    turned = paired_difference(b, a, lengths, speakers, resamples=60, seed=seed)
    assert turned.delta == pytest.approx(-first.delta)
    if first.low is not None and turned.high is not None:
        assert turned.high == pytest.approx(-first.low, abs=1e-9)


def test_another_seed_draws_otherwise_and_the_stream_never_changes() -> None:
    errors, lengths = list(range(10)), [10] * 10
    first, second = (interval(errors, lengths, [None] * 10, resamples=200, seed=seed) for seed in (1, 2))
    assert first != second
    assert (round(first.low or 0, 4), round(first.high or 0, 4)) == PINNED


PINNED = (0.254, 0.636)


def clustered(rng: np.random.Generator, speakers: int, each: int) -> tuple[list[int], list[int], list[str | None]]:
    """Speakers who err at rates of their own around 30 %."""
    rates = rng.beta(6, 14, speakers)
    lengths = rng.poisson(6, (speakers, each)).clip(1)
    errors = rng.binomial(lengths, rates[:, None])
    return errors.ravel().tolist(), lengths.ravel().tolist(), [f"s{i}" for i in range(speakers) for _ in range(each)]


@pytest.mark.parametrize(("speakers", "least"), [(7, 0.89), (15, 0.90)])
def test_coverage_with_speakers_who_differ(speakers: int, least: float) -> None:
    """Drawing by utterance would cover about 60 % here: whole speakers have to be drawn, and the tails widened."""
    rng = np.random.default_rng(5)
    held = {"speaker": 0, "utterance": 0}
    times = 200
    for seed in range(times):
        errors, lengths, names = clustered(rng, speakers, 25)
        for by in held:
            found = interval(errors, lengths, names, by=by, resamples=300, seed=seed)
            held[by] += (found.low or 0) <= 0.3 <= (found.high or 0)
    assert held["speaker"] / times >= least
    assert held["utterance"] / times < 0.85


def test_a_real_difference_is_seen_and_a_false_alarm_is_rare() -> None:
    rng = np.random.default_rng(6)
    alarms = 0
    for seed in range(150):
        lengths = rng.poisson(6, 60).clip(1)
        a, b = rng.binomial(lengths, 0.3).tolist(), rng.binomial(lengths, 0.3).tolist()
        alarms += paired_difference(a, b, lengths.tolist(), [None] * 60, resamples=300, seed=seed).distinguishable
    assert alarms <= 14
    better = rng.binomial(lengths, 0.1).tolist()
    found = paired_difference(a, better, lengths.tolist(), [None] * 60)
    assert found.distinguishable and found.delta < 0 and (found.p or 1) < 0.01


@pytest.mark.parametrize(("degrees", "expected"), [(4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)])
def test_quantiles_of_student(degrees: int, expected: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(expected, abs=0.002)


def test_memory_stays_bounded_for_many_utterances() -> None:
    """20,000 utterances times 1,000 draws would be 160 MB at once; in blocks it is drawn alike."""
    errors, lengths = [1] * 20_000, [4] * 20_000
    found = interval(errors, lengths, [None] * 20_000, resamples=150)
    assert found.value == 0.25 and found.low == found.high == 0.25


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be drawn by 'word'"):
        resampling_unit(["a"], "word")
