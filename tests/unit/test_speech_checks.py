"""Checks of what a voice made: each kind of fault is seen, and good speech passes."""

from __future__ import annotations

import numpy as np
import pytest
from data_samples import tone

from orature.core.types import AudioSpan, Utterance
from orature.data.audio import Samples
from orature.data.speech_checks import DurationBounds, bounds_of, fault_of, letters

RATE_HZ = 16_000
TEXT = "habari za asubuhi"


def faded(seconds: float = 1.0) -> Samples:
    wave = tone(seconds)
    wave[-800:] *= np.linspace(1, 0, 800, dtype=np.float32)
    return wave


def test_good_speech_passes() -> None:
    assert fault_of(faded(), RATE_HZ, TEXT, DurationBounds()) is None


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0, np.float32), "silent"),
        (np.zeros(16_000, np.float32), "silent"),
        (np.full(16_000, np.nan, np.float32), "not-finite"),
        (np.clip(4 * faded(), -1, 1), "clipped"),
        (faded(0.2), "too-fast"),
        (faded(10.0), "too-slow"),
        (tone(1.0), "cut-off"),
    ],
)
def test_each_fault_has_its_reason(samples: Samples, reason: str) -> None:
    found = fault_of(samples, RATE_HZ, TEXT, DurationBounds())
    assert found is not None and found.reason == reason


def test_the_length_that_a_voice_cannot_pass_is_a_truncation() -> None:
    found = fault_of(faded(2.0), RATE_HZ, "a" * 40, DurationBounds(), most_s=2.0)
    assert found is not None and found.reason == "truncated"


def test_a_fault_may_be_let_pass_and_the_next_one_is_seen() -> None:
    loud = tone(10.0)
    for passed, reason in ((), "too-slow"), (("too-slow",), "cut-off"), (("too-slow", "cut-off"), None):
        found = fault_of(loud, RATE_HZ, TEXT, DurationBounds(), unchecked=passed)
        assert (found and found.reason) == reason


def test_tempo_is_taken_out_before_the_bounds() -> None:
    tight = DurationBounds(slowest=10.0, fastest=20.0, pause_s=0.0)
    assert fault_of(faded(1.8), RATE_HZ, TEXT, tight) is not None
    assert fault_of(faded(1.8), RATE_HZ, TEXT, tight, rate=0.6) is None


def test_bounds_come_from_transcripts_where_there_are_enough() -> None:
    rows = [Utterance(str(n), AudioSpan("", 0, 1 + n / 100), "abcdefghijkl") for n in range(100)]
    bounds = bounds_of(rows)
    assert 3 < bounds.slowest < 12 / 1.99 and 12 < bounds.fastest < 19 and "100 train" in bounds.source
    assert bounds_of(rows[:20]) == DurationBounds()


def test_scripts_without_spaces_have_their_own_bounds() -> None:
    assert DurationBounds().seconds("你好吗" * 4)[1] > 8 > DurationBounds().seconds("a" * 12)[1]
    assert letters("ọ̀rọ̀ 12!") == 5
