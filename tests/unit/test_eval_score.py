"""The score file: figures worked out by hand, nothing dropped, pinned, and the same each time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import BadInput
from orature.evaluate.rows import Row, read_rows
from orature.evaluate.score import Drawing, duration_bucket, score, stable_part, with_circumstances

FAST = Drawing(resamples=100)


def row(name: str, said: str, heard: str, **more: Any) -> Row:
    return Row(id=name, reference=said, hypothesis=heard, **{"duration_s": 1.5, "speaker": "s1", **more})


def ten_rows(speakers: int = 2) -> list[Row]:
    """Ten utterances of four words, one wrong word in every second."""
    return [
        row(
            f"u{i}",
            "one two three four",
            "one two three four" if i % 2 else "one two tree four",
            speaker=f"s{i % speakers}",
        )
        for i in range(10)
    ]


def test_rates_are_fractions_of_sums() -> None:
    found = score([row("a", "one two three", "one two"), row("b", "four", "for")], drawing=FAST)
    assert found["wer"]["value"] == 0.5
    assert found["words"] == 4
    assert found["utterances"] == 2
    assert found["hours"] == pytest.approx(3 / 3600, abs=1e-6)
    assert found["errors"]["words"] == {"hits": 2, "substitutions": 1, "deletions": 1, "insertions": 0}


def test_raw_counts_case_and_punctuation_and_normalised_does_not() -> None:
    found = score([row("a", "Kayman, kayman!", "kayman kayman")], drawing=FAST)
    assert found["wer"]["value"] == 0.0
    assert found["raw"]["wer"]["value"] == 1.0
    assert found["normaliser"] == "orature-basic@1"


def test_a_refusal_counts_as_all_words_missed() -> None:
    rows = [row("a", "one two", "one two"), row("b", "three four", "", refusal={"reason": "too-short", "detail": "x"})]
    found = score(rows, drawing=FAST)
    assert found["wer"]["value"] == 0.5
    assert found["utterances"] == 2
    assert found["refusals"] == {"too-short": 1}
    assert any("refused 1 recording" in warning for warning in found["warnings"])


def test_rows_without_a_reference_are_counted_and_never_scored() -> None:
    rows = [row("a", "one two", "one two"), row("b", "", "three words heard"), row("c", "?!", "a")]
    found = score(rows, drawing=FAST)
    assert found["wer"]["value"] == 0.0
    assert found["utterances"] == 1
    assert found["refused"] == {"empty reference": 1, "reference without words": 1}
    with pytest.raises(BadInput, match="none of the 1 utterances"):
        score([row("b", "", "x")])


def test_interval_by_speaker_from_five_known_speakers_on() -> None:
    assert score(ten_rows(5), drawing=FAST)["wer"]["by"] == "speaker"
    few = score(ten_rows(4), drawing=FAST)
    assert few["wer"]["by"] == "utterance"
    assert any("Only 4 speakers" in warning for warning in few["warnings"])
    one_unknown = [*ten_rows(5)[:9], replace(ten_rows(5)[9], speaker=None)]
    assert score(one_unknown, drawing=FAST)["wer"]["by"] == "utterance"


def test_no_interval_from_four_utterances() -> None:
    found = score(ten_rows()[:4], drawing=FAST)
    assert found["wer"]["low"] is None and found["wer"]["high"] is None
    assert any("no interval" in warning for warning in found["warnings"])


def test_slices_cover_every_row_once() -> None:
    rows = [replace(one, duration_s=float(i * 3), language="a" if i < 5 else "b") for i, one in enumerate(ten_rows())]
    found = score(rows, drawing=FAST)
    names = {part["name"] for part in found["slices"]}
    assert names == {"duration_s", "speaker", "origin", "language"}
    for name in names:
        parts = [part for part in found["slices"] if part["name"] == name]
        assert sum(part["utterances"] for part in parts) == 10
        assert sum(part["words"] for part in parts) == 40
    buckets = [part["bucket"] for part in found["slices"] if part["name"] == "duration_s"]
    assert buckets == ["0-2", "2-5", "5-10", "10-20", "20-"]


@pytest.mark.parametrize(("seconds", "bucket"), [(0, "0-2"), (1.99, "0-2"), (2, "2-5"), (19.9, "10-20"), (500, "20-")])
def test_duration_buckets(seconds: float, bucket: str) -> None:
    assert duration_bucket(seconds) == bucket


def test_numbers_of_any_script_are_words_with_digits() -> None:
    found = score([row("a", "room 12 and ٢٥", "room 12 and ٢٤"), row("b", "no number", "7 no number")], drawing=FAST)
    assert found["entities"]["numbers"]["words"] == 2
    assert found["entities"]["numbers"]["missed"]["value"] == 0.5
    assert score([row("a", "one", "one")])["entities"]["numbers"] == {"words": 0, "missed": None}


def test_confusions_are_shares_of_what_was_said() -> None:
    found = score([row("a", "kaka", "gaka"), row("b", "kuku", "kuk")], drawing=FAST)["confusions"]
    assert {"said": "k", "heard": "g", "times": 1} in found["pairs"]
    assert {"said": "u", "heard": "", "times": 1} in found["pairs"]
    assert found["said"] == {"k": 4, "u": 2}


def test_the_worst_come_first() -> None:
    rows = [row("a", "kaman kaman", "kaman kaman"), row("b", "kaman", "kamun"), row("c", "kaman", "xxxxx")]
    assert [one["id"] for one in score(rows, drawing=FAST)["worst"]] == ["c", "b"]


def test_the_same_rows_give_the_same_file_in_any_order() -> None:
    rows = ten_rows(4)
    first = json.dumps(score(rows, drawing=FAST), sort_keys=True)
    assert first == json.dumps(score(rows[3:] + rows[:3], drawing=FAST), sort_keys=True)


def test_circumstances_are_no_part_of_the_stable_part() -> None:
    stable = score(ten_rows(), drawing=FAST)
    whole = with_circumstances(stable, rtf=0.02, machine="a machine", made_by={"command": "orature up", "run": "r"})
    assert whole["rtf"] == 0.02
    assert stable_part(whole) == stable
    assert whole != stable


def test_reading_rows_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "hypotheses.jsonl"
    good = {"id": "a", "reference": "x\u2028y", "hypothesis": "x"}
    path.write_text(json.dumps(good, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_rows(path)[0].reference == "x\u2028y"
    for text, sentence in (
        ("{broken\n", "line 1 is not JSON"),
        ("[1]\n", "not a JSON object"),
        ('{"id": "a", "hypothesis": "x"}\n', "no text under 'reference'"),
        (json.dumps(good) + "\n" + json.dumps(good) + "\n", "comes twice"),
        (json.dumps(good | {"duration_s": "long"}) + "\n", "not a number"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match=sentence):
            read_rows(path)
