"""The run of XTTS's transformer: it learns, dev chooses, cut anywhere it ends as undisturbed, checkpoints are whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from xtts_double import TUNING, latents_by, make_gpt, some_rows

from orature.engines.workers import training, xtts_loop


@pytest.fixture(autouse=True)
def plain_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xtts_loop, "SAVE_EVERY_S", 600.0)


def run_in(state: Path, *, tuning: Any = TUNING, seed: int = 3) -> xtts_loop.Run:
    state.mkdir(parents=True, exist_ok=True)
    gpt = make_gpt(seed=seed)
    return xtts_loop.Run(gpt, some_rows(10), some_rows(3, seed=9, first=20), tuning, latents_by(gpt), state=state)


def weights(run: xtts_loop.Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.gpt.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_and_dev_chooses(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    before = weights(run)
    outcome = run.fit()
    log = outcome["log"]
    assert outcome["updates"] == run.total == 24 and [row["update"] for row in log] == list(range(0, 25, 4))
    assert log[-1]["audio"] < 0.7 * log[1]["audio"]
    best = min(log, key=lambda row: row["dev_audio"])
    assert outcome["chosen"] == best["update"] > 0
    assert run.assess()["dev_audio"] == pytest.approx(best["dev_audio"], abs=1e-5)
    after = weights(run)
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("conditioning_encoder."), name
    assert [path.name for path in tmp_path.glob("best-*")] == [f"best-{best['update']:08d}.safetensors"]


class Cut(Exception):
    pass


@pytest.mark.parametrize("at", [1, 3, 4, 11])
def test_cut_after_any_update_it_ends_as_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    tuning = replace(TUNING, epochs=5)
    whole = run_in(tmp_path / "whole", tuning=tuning)
    outcome = whole.fit()
    monkeypatch.setattr(xtts_loop, "SAVE_EVERY_S", -1.0)
    cut = run_in(tmp_path / "cut", tuning=tuning)
    real = cut._save

    def save_and_die() -> None:
        real()
        if cut.progress["update"] == at:
            raise Cut

    monkeypatch.setattr(cut, "_save", save_and_die)
    with pytest.raises(Cut):
        cut.fit()
    torch.manual_seed(99)
    again = run_in(tmp_path / "cut", tuning=tuning, seed=3)
    assert again.progress["update"] == at
    assert again.fit() == outcome
    assert same(weights(again), weights(whole))


def test_asked_to_stop_it_saves_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_in(tmp_path / "whole")
    outcome = whole.fit()
    run = run_in(tmp_path / "stopped")
    monkeypatch.setattr(xtts_loop, "stopping", lambda: run.progress["update"] >= 6)
    with pytest.raises(xtts_loop.Stopped):
        run.fit()
    monkeypatch.setattr(xtts_loop, "stopping", lambda: False)
    again = run_in(tmp_path / "stopped")
    assert again.progress["update"] == 6 and again.fit() == outcome and same(weights(again), weights(whole))
    assert run_in(tmp_path / "stopped").fit() == outcome  # finished work is not done again


def test_the_size_of_a_batch_changes_an_update_by_rounding_alone(tmp_path: Path) -> None:
    plain = replace(TUNING, updates=1, evaluate_every=1)
    found = []
    for batch, accumulation in ((1, 4), (2, 2), (4, 1)):
        state = tmp_path / f"{batch}"
        state.mkdir()
        gpt = make_gpt(dropout=0.0)
        tuning = replace(plain, batch=batch, accumulation=accumulation)
        rows = some_rows(10)
        found.append(xtts_loop.Run(gpt, rows, rows[:2], tuning, latents_by(gpt), state=state).fit()["log"][1])
    for one in found[1:]:
        assert one["audio"] == pytest.approx(found[0]["audio"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(found[0]["grad_norm"], rel=1e-4)


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    outcome = run_in(tmp_path, tuning=replace(TUNING, lr=0.5, patience=2, epochs=20)).fit()
    assert outcome["updates"] < 60 and outcome["chosen"] == min(outcome["log"], key=lambda r: r["dev_audio"])["update"]


def test_a_gradient_that_is_no_number_is_left_out_and_told(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    before = weights(run)
    run.latents = lambda rows, prompt: torch.full((1, 4, 32), float("nan"))
    with pytest.raises(xtts_loop.Trouble, match="10 times in a row") as caught:
        for _ in range(10):
            run._update([[0, 1]])
    assert "lr" in caught.value.next_step and same(before, weights(run))


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training.save(tmp_path, {"a": torch.ones(2)}, {"update": 3})

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "no space left")

    import safetensors.torch

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        training.save(tmp_path, {"a": torch.zeros(2)}, {"update": 4})
    monkeypatch.undo()
    found = training.restore(tmp_path)
    assert found is not None and found[1] == {"update": 3} and torch.equal(found[0]["a"], torch.ones(2))
    training.save(tmp_path, {"a": torch.zeros(2)}, {"update": 4})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000004"]
    assert load_file(tmp_path / "checkpoint-00000004" / "tensors.safetensors")["a"].sum() == 0


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run_in(tmp_path).fit()
    place = next(tmp_path.glob("checkpoint-*"))
    progress = json.loads((place / "progress.json").read_text("utf-8"))
    training._remove(place)
    training.save(tmp_path, {"weights.other": torch.ones(1)}, progress)
    with pytest.raises(xtts_loop.Trouble, match="other weights"):
        run_in(tmp_path)
