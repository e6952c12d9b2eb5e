"""The report says what a run changed, and names in red what an old language lost."""

from __future__ import annotations

from typing import Any

from orature.evaluate.html.before_after import before_after_section


def rates(cer: float) -> dict[str, Any]:
    return {
        "cer": {"value": cer, "low": cer - 0.01, "high": cer + 0.01},
        "wer": {"value": 2 * cer, "low": None, "high": None},
    }


def difference(delta: float, verdict: str) -> dict[str, Any]:
    return {"delta": delta, "low": delta - 0.01, "high": delta + 0.01, "verdict": verdict}


def test_nothing_to_say_says_nothing() -> None:
    assert before_after_section(rates(0.2)) == ""


def test_all_three_parts_and_the_loss_in_red() -> None:
    lost = {"corpus": "old <b>", "split": "test", "before": rates(0.1), "after": rates(0.3)}
    score = {
        **rates(0.2),
        "zero_shot": rates(0.9),
        "language_model": {"without": rates(0.25), "cer": difference(-0.05, "B is better")},
        "guards": [{**lost, "cer": difference(0.2, "A is better")}, {**lost, "before": None}],
    }
    page = before_after_section(score)
    assert "90.0" in page and "25.0" in page and "-5.0" in page and "better" in page
    assert "old &lt;b&gt;" in page and "old <b>" not in page
    assert 'k-del-ink">+20.0' in page and "+19.0 to +21.0" in page and "worse" in page
    assert page.count("k-del-ink") == 1 and "–" in page and "too few to give an interval" in page
