"""Comparison: like with like only, and a verdict that the interval carries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orature.core.errors import BadInput
from orature.evaluate.compare import CompareRefused, as_text, compare
from orature.evaluate.folder import ScoredFolder, open_scored
from orature.evaluate.rows import Row
from orature.evaluate.score import Drawing, score

FAST = Drawing(resamples=200)
PRINT = "ab" * 32


def scored(heard: dict[int, str], *, count: int = 40, fingerprint: str = PRINT, **more: str) -> ScoredFolder:
    rows = [
        Row(f"u{i:02}", "one two three", heard.get(i, "one two three"), speaker=f"s{i % 8}", duration_s=2.0)
        for i in range(count)
    ]
    found = score(rows, split_fingerprint=fingerprint, drawing=FAST, model=more.pop("model", "m"), **more)  # type: ignore[arg-type]
    return ScoredFolder(Path("a-folder"), found, rows)


def test_the_same_system_is_not_distinguishable() -> None:
    system = scored({i: "one two" for i in range(0, 40, 3)})
    outcome = compare(system, system, FAST)
    assert outcome["wer"]["delta"] == 0 and outcome["wer"]["p"] == 1.0
    assert outcome["wer"]["verdict"] == "not distinguishable"
    assert outcome["wer"]["equal"] == 40
    assert "not distinguishable" in as_text(outcome)


def test_a_much_better_system_is_named_with_its_direction() -> None:
    poor, good = scored({i: "won to tree" for i in range(0, 40, 2)}), scored({3: "one two"})
    outcome = compare(poor, good, FAST)
    assert outcome["wer"]["verdict"] == "B is better"
    assert outcome["wer"]["delta"] == pytest.approx(1 / 120 - 60 / 120, abs=1e-6)
    assert outcome["wer"]["low"] <= outcome["wer"]["delta"] <= outcome["wer"]["high"] < 0
    assert outcome["wer"]["by"] == "speaker"
    assert (outcome["wer"]["b_better"], outcome["wer"]["a_better"]) == (20, 1)
    assert compare(good, poor, FAST)["wer"]["verdict"] == "A is better"


def test_a_lucky_row_is_no_verdict() -> None:
    outcome = compare(scored({}), scored({3: "one two"}), FAST)
    assert outcome["wer"]["verdict"] == "not distinguishable"


def test_unlike_test_sets_are_refused_with_what_differs() -> None:
    first = scored({})
    with pytest.raises(CompareRefused, match="different test sets") as caught:
        compare(first, scored({}, fingerprint="cd" * 32))
    assert "split_fingerprint: abababababab… and cdcdcdcdcdcd…" in str(caught.value)
    assert caught.value.exit_code == 2
    with pytest.raises(CompareRefused, match="normaliser: orature-basic@1 and orature-none@1"):
        compare(first, scored({}, normaliser="orature-none@1"))
    with pytest.raises(CompareRefused, match="1 of 40 utterances are not in both"):
        compare(first, scored({}, count=39))


def test_too_few_utterances_are_no_verdict() -> None:
    outcome = compare(scored({}, count=3), scored({1: "one"}, count=3))
    assert outcome["wer"]["verdict"] == "too few utterances to say"
    assert "too few to say" in as_text(outcome)


def test_a_folder_that_is_no_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such report folder"):
        open_scored(tmp_path / "nothing")
    with pytest.raises(BadInput, match=r"holds no score\.json"):
        open_scored(tmp_path)
    (tmp_path / "score.json").write_text('{"wer": {}}')
    with pytest.raises(BadInput, match="not a score file: cer, normaliser"):
        open_scored(tmp_path)
    (tmp_path / "score.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read as JSON"):
        open_scored(tmp_path)
    (tmp_path / "score.json").write_text(json.dumps(scored({}).score))
    with pytest.raises(BadInput, match="cannot be read"):
        open_scored(tmp_path)
