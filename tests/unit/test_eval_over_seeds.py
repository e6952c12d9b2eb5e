"""Several pairs of trainings: the mean difference, with an interval that knows both the test and the seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from orature.cli import evaluate
from orature.core.errors import BadInput
from orature.evaluate.compare import CompareRefused, compare
from orature.evaluate.folder import ScoredFolder
from orature.evaluate.html import pseudo_page, transfer_page, translation_page
from orature.evaluate.html.text import ONE_TRAINING
from orature.evaluate.over_seeds import compare_in_turn, compare_seeds, mean_difference, seeds_as_text
from orature.evaluate.rows import Row
from orature.evaluate.score import Drawing, score
from orature.evaluate.statistics import paired_difference, t_quantile, t_tail

FAST = Drawing(resamples=200)
PRINT = "ab" * 32


def scored(name: str, wrong: int, *, fingerprint: str = PRINT, count: int = 40) -> ScoredFolder:
    """The first `wrong` utterances are heard without their last word."""
    rows = [
        Row(f"u{i:02}", "one two three", "one two" if i < wrong else "one two three", speaker=None, duration_s=2.0)
        for i in range(count)
    ]
    return ScoredFolder(Path(name), score(rows, split_fingerprint=fingerprint, drawing=FAST, model=name), rows)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (30, 2.042)]
)
def test_student_for_few_degrees(degrees: int, quantile: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(quantile, abs=0.01 if degrees < 4 else 0.002)
    assert t_tail(quantile, degrees) == pytest.approx(0.025, abs=1e-4)
    assert t_tail(0.0, degrees) == 0.5


@pytest.mark.parametrize(("seeds", "least"), [(2, 0.86), (3, 0.9), (5, 0.92)])
def test_coverage_where_trainings_vary_more_than_the_test(seeds: int, least: float) -> None:
    """A pair of trainings alone is far too sure that the way of training differs."""
    rng, times, held, alone = np.random.default_rng(7), 300, 0, 0
    for _ in range(times):
        lengths = rng.poisson(6, 80).clip(1)
        hard = rng.beta(2, 4, 80)
        pairs = []
        for _ in range(seeds):
            lucky = rng.normal(0.0, 0.05, 2)
            pairs.append([rng.binomial(lengths, np.clip(hard + luck, 0, 1)).tolist() for luck in lucky])
        found, _ = mean_difference(pairs, lengths.tolist(), [None] * 80, FAST)
        held += (found.low or 0) <= 0.0 <= (found.high or 0)
        one = paired_difference(*pairs[0], lengths.tolist(), [None] * 80, resamples=200)
        alone += not one.distinguishable
    assert held / times >= least
    assert alone / times < 0.75


def test_equal_trainings_leave_the_variance_of_the_test() -> None:
    rng = np.random.default_rng(8)
    lengths = rng.poisson(6, 100).clip(1).tolist()
    a, b = rng.binomial(lengths, 0.4).tolist(), rng.binomial(lengths, 0.3).tolist()
    found, spread = mean_difference([[a, b]] * 4, lengths, [None] * 100)
    single = paired_difference(a, b, lengths, [None] * 100)
    assert spread == 0.0 and found.delta == pytest.approx(single.delta)
    assert found.low == pytest.approx(single.low, abs=0.01) and found.high == pytest.approx(single.high, abs=0.01)
    assert found.p is not None and single.p is not None and found.p < 0.05 and single.p < 0.05


def test_each_seed_and_their_mean_are_told() -> None:
    pairs = [(scored(f"a{n}", 20 + n), scored(f"b{n}", 2 * n)) for n in range(4)]
    outcome = compare_seeds(pairs, FAST)
    assert outcome["seeds"] == 4 and outcome["utterances"] == 40
    assert [one["wer"]["delta"] for one in outcome["pairs"]] == [compare(a, b, FAST)["wer"]["delta"] for a, b in pairs]
    deltas = [(2 * n - 20 - n) / 120 for n in range(4)]
    found = outcome["wer"]
    assert found["delta"] == pytest.approx(np.mean(deltas), abs=1e-6)
    assert found["spread"] == pytest.approx(np.std(deltas, ddof=1), abs=1e-6)
    assert found["a"] == pytest.approx(21.5 / 120, abs=1e-6) and found["b"] == pytest.approx(3 / 120, abs=1e-6)
    assert found["low"] < found["delta"] < found["high"] < 0 and found["verdict"] == "B is better"
    for unit in ("wer", "cer"):
        each = [one[unit]["delta"] for one in outcome["pairs"]]
        assert outcome[unit]["delta"] == pytest.approx(np.mean(each), abs=2e-6), unit
    assert outcome["cer"]["delta"] != outcome["wer"]["delta"]
    text = seeds_as_text(outcome)
    assert "4 pairs of trainings on the same 40 utterances (120 words)" in text and "over utterances and seeds" in text
    assert f"{100 * found['delta']:+.1f}" in text and "varies by 1.1 points between seeds, p 0.0" in text


def test_luck_of_one_seed_is_no_verdict() -> None:
    better, worse = (scored("a1", 20), scored("b1", 5)), (scored("a2", 10), scored("b2", 12))
    assert compare(*better, FAST)["wer"]["verdict"] == "B is better"
    outcome = compare_seeds([better, worse], FAST)
    assert outcome["wer"]["verdict"] == "not distinguishable" and outcome["wer"]["delta"] < 0


def test_what_is_no_pair_of_the_same_test_is_refused() -> None:
    first, second = (scored("a", 5), scored("b", 3)), (scored("c", 5), scored("d", 3))
    with pytest.raises(BadInput, match="3 reports are no pairs"):
        compare_in_turn([*first, second[0]])
    with pytest.raises(BadInput, match="no other seed"):
        compare_seeds([first])
    with pytest.raises(CompareRefused, match="named twice"):
        compare_in_turn([*first, first[0], second[1]])
    with pytest.raises(CompareRefused, match="different test sets"):
        compare_in_turn([*first, *(scored(name, 3, fingerprint="cd" * 32) for name in "ef")])
    with pytest.raises(CompareRefused, match="not in both"):
        compare_in_turn([*first, *(scored(name, 3, count=39) for name in "ef")])
    assert compare_in_turn(first).keys() == compare(*first).keys()


def test_the_command_takes_pairs(tmp_path: Path) -> None:
    names = []
    for index, wrong in enumerate((20, 3, 21, 2, 19, 4)):
        folder = tmp_path / str(index)
        folder.mkdir()
        made = scored(str(folder), wrong)
        (folder / "score.json").write_text(json.dumps(made.score))
        rows = [
            {"id": row.id, "reference": row.reference, "hypothesis": row.hypothesis, "duration_s": row.duration_s}
            for row in made.rows
        ]
        (folder / "hypotheses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        names.append(str(folder))
    app = typer.Typer()
    evaluate.register(app)
    result = CliRunner().invoke(app, ["compare", *names, "--json"])
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert outcome["seeds"] == 3 and outcome["wer"]["verdict"] == "B is better"
    assert "3 pairs of trainings" in CliRunner().invoke(app, ["compare", *names]).stdout
    odd = CliRunner().invoke(app, ["compare", *names[:3]])
    assert odd.exit_code == 2 and "no pairs" in odd.output and "Traceback" not in odd.output


def test_pages_with_arms_say_that_an_arm_is_one_training() -> None:
    assert "not what another seed might" in ONE_TRAINING
    assert ONE_TRAINING in translation_page._table({"arms": [], "notes": [], "chosen": ""})
    assert ONE_TRAINING in pseudo_page._rates([])
    assert ONE_TRAINING in transfer_page._table([])
