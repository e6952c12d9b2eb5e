"""Confidences: fitted on dev, applied to words and utterances, judged in the report."""

from __future__ import annotations

import random
from typing import Any

import pytest

from orature.core.types import Hypothesis, Word
from orature.engines.confidence import Calibration, Line, cross_fitted, fit, utterance_confidence
from orature.evaluate.calibration import judged, reliability
from orature.evaluate.html.reliability import reliability_section
from orature.evaluate.rows import Row


def too_sure(number: int, seed: int = 1) -> tuple[list[float], list[float]]:
    """Raw confidences whose true chance is lower: their logit halved less one."""
    rng = random.Random(seed)
    raw = [rng.betavariate(6, 1) for _ in range(number)]
    line = Line(slope=0.5, offset=-1.0)
    return raw, [float(rng.random() < line(value)) for value in raw]


def test_the_line_that_made_the_data_is_found() -> None:
    line = fit(*too_sure(20_000))
    assert line.slope == pytest.approx(0.5, abs=0.06)
    assert line.offset == pytest.approx(-1.0, abs=0.12)


def test_calibration_error_falls_on_words_that_the_fit_never_saw() -> None:
    raw, right = too_sure(3000)
    before = reliability([(c, r > 0.5) for c, r in zip(raw, right, strict=True)])
    held_out = cross_fitted(raw, right, list(range(len(raw))))
    after = reliability([(c, r > 0.5) for c, r in zip(held_out, right, strict=True)])
    assert before is not None and after is not None
    assert before.error > 0.3 and after.error < 0.05


def test_little_or_one_sided_evidence_stays_tame() -> None:
    assert fit([], []) == Line()
    sure = fit([0.9, 0.8], [1.0, 1.0])
    assert 0.5 < sure(0.85) < 1.0
    upside_down = fit([0.9, 0.8, 0.2, 0.1] * 20, [0.0, 0.0, 1.0, 1.0] * 20)
    assert upside_down.slope == 0.0 and upside_down(0.9) == pytest.approx(0.5, abs=0.01)


def test_words_and_utterance_are_calibrated_together() -> None:
    heard = Hypothesis("shuk wasi", (Word("shuk", 0.0, 0.5, 0.8), Word("wasi", 0.5, 1.0, 0.6)))
    found = Calibration(word=Line(slope=1.0, offset=-1.0), utterance=Line(slope=0.0, offset=0.0)).apply(heard)
    assert utterance_confidence(heard) == pytest.approx(0.7)
    assert found.confidence == 0.5
    assert [word.confidence for word in found.words] == [
        pytest.approx(0.5954, abs=1e-4),
        pytest.approx(0.3556, abs=1e-4),
    ]
    assert found.text == heard.text
    assert Calibration().apply(Hypothesis("")).confidence is None


def words(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "confidence": confidence} for text, confidence in pairs]


def test_heard_words_are_judged_by_alignment() -> None:
    heard = words(("Shuk,", 0.9), ("yaku", 0.4), ("kan", 0.7), ("-", 0.1), ("x", None))
    assert judged("shuk wasi kan", heard, "orature-basic@1") == [(0.9, True), (0.4, False), (0.7, True)]
    assert judged("...", heard, "orature-basic@1") == []
    assert judged("shuk", [], "orature-basic@1") == []


def test_reliability_counts_every_word_once() -> None:
    found = reliability([(1.0, True), (0.95, False), (0.05, False), (0.12, True)])
    assert found is not None and found.words == 4 and [one.words for one in found.bins] == [1, 1, 2]
    assert found.error == pytest.approx((0.05 + 0.88 + 2 * 0.475) / 4)
    assert reliability([]) is None


def test_the_report_shows_it_only_where_there_are_confidences() -> None:
    row = Row("a", "shuk wasi", "shuk yaku", words=words(("shuk", 0.91), ("yaku", 0.42)))
    page = reliability_section([row], "orature-basic@1")
    assert 'id="confidence"' in page and page.count("<circle") == 2 and "25.5" in page
    assert reliability_section([Row("a", "shuk", "shuk")], "orature-basic@1") == ""
    same = Row("a", "shuk wasi", "shuk wasi", words=words(("shuk", 0.0), ("wasi", 0.0)))
    assert reliability_section([same], "orature-basic@1") == ""
