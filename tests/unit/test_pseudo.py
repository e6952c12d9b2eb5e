"""slimIPL on tones as letters: its slots and cache, its labels, resuming bit for bit, collapse and the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import model_in
from tone_job import tone_job

from orature.core.errors import ConfigError, TrainingFailed
from orature.core.types import RATE_HZ
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.train import loop
from orature.train.checkpoint import Best, Progressed, candidate_path
from orature.train.ctc import CtcLearner
from orature.train.dev import DevReport
from orature.train.hearing import Hearer, lower_dropout, windows, with_weights
from orature.train.job import Job
from orature.train.launch import Place, Spread, train_job
from orature.train.loader import Loader
from orature.train.pseudo_cache import PseudoCache, PseudoState, probe_of
from orature.train.pseudo_config import PseudoConfig, WatchConfig
from orature.train.pseudo_watch import collapsed, roll_back

QUIET = WatchConfig(empty_share=None, length_ratio=None, probe_distance=None, labelled_loss=None, dev_loss=None)
PSEUDO = PseudoConfig(warmup_updates=3, cache=3, ratio=2.0, replace=0.5, probe_s=2.0, keep_empty=True, watch=QUIET)


def job_in(folder: Path, pseudo: PseudoConfig = PSEUDO, **fields: Any) -> Job:
    folder.mkdir(exist_ok=True)
    job = tone_job(folder, **{"updates": 12, "accumulate": 1, **fields})
    rest = tuple(replace(one, text="", tokens=(), id=f"free-{one.id}") for one in job.train[8:])
    return replace(job, train=job.train[:8], unlabelled=rest, pseudo=pseudo)


def talkative(job: Job) -> Any:
    """What the job makes, writing letters from the beginning."""
    made: Any = job.make()
    with torch.no_grad():
        made.network.head.bias[made.vocabulary.blank] -= 4.0
    return made


def trained(job: Job, state: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    torch.set_num_threads(1)
    made = talkative(job)
    ended = train_job(job, made, Spread(threads=1), Place(state, progress=False))
    return {name: value.clone() for name, value in made.network.state_dict().items()}, list(ended.outcome.log)


def cache_of(count: int, pseudo: PseudoConfig, folder: Path) -> PseudoCache:
    job = job_in(folder, pseudo)
    return PseudoCache(job.unlabelled[:count], job.config, pseudo)


def test_windows_hold_the_ratio_in_random_order(tmp_path: Path) -> None:
    cache = cache_of(4, PSEUDO.model_copy(update={"ratio": 2.5}), tmp_path)
    assert cache.pseudo.window == (2, 5)
    slots = [[cache.unlabelled_slot(7 * window + place) for place in range(7)] for window in range(20)]
    assert all(sum(window) == 5 for window in slots) and len({tuple(window) for window in slots}) > 5


def test_a_walk_uses_every_entry_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    cache = cache_of(6, PSEUDO, tmp_path)
    for _ in range(5):
        cache.put(None, cache.fresh(), update=1)
    walks = [[cache.next_entry() for _ in range(5)] for _ in range(6)]
    assert all(sorted(walk) == list(range(5)) for walk in walks) and len({tuple(walk) for walk in walks}) > 1
    share = sum(cache.replaces(slot) for slot in range(2000)) / 2000
    assert share == pytest.approx(0.5, abs=0.05)


def test_after_the_last_batch_a_new_pass_begins_in_another_order(tmp_path: Path) -> None:
    cache = cache_of(14, PSEUDO, tmp_path)
    count = len(cache.plan(0))
    first, second = ([tuple(item.index for item in cache.fresh()) for _ in range(count)] for _ in range(2))
    assert first != second
    assert sorted(i for batch in first for i in batch) == sorted(i for batch in second for i in batch)


def test_the_cache_is_filled_before_it_is_trained_on_and_labels_lie_in_the_checkpoint(tmp_path: Path) -> None:
    _, log = trained(job_in(tmp_path / "data"), tmp_path / "state")
    assert [row["update"] for row in log] == [4, 8, 12]
    assert log[-1]["cache"] == 3 and log[-1]["slot"] == 9 + 3, "nine updates after the warm-up, three slots that label"
    (folder,) = (tmp_path / "state").glob("checkpoint-*")
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text("utf-8").splitlines()]
    assert rows and all(row["id"].startswith("free-") and set(row["text"]) <= set(" abc") for row in rows)
    assert any(row["text"] for row in rows)
    assert {row["batch"] for row in rows if row["batch"] is not None} == {0, 1, 2}
    assert "label_churn" in log[-1] and "labelled_loss" in log[-1] and "pseudo_loss" in log[-1]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cache": 0},
        {"teacher": "ema", "ema_decay": 0.5},
        {"teacher": "top", "refresh_share": 0.5},
        {"teacher": "fixed"},
        {"temperature": 1.0, "crop_updates": 2, "crop_s": 1.1},
    ],
    ids=["cache", "naive", "ema", "top", "fixed", "sampled"],
)
def test_interrupted_anywhere_and_resumed_equals_undisturbed(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(tmp_path / "data", PSEUDO.model_copy(update=fields))
    whole, log = trained(job, tmp_path / "whole")
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    count = {"saves": 0, "stop": 3}
    save = loop.Trainer._save

    def stopping(self: Any) -> None:
        save(self)
        count["saves"] += 1
        if count["saves"] == count["stop"]:
            count["stop"] += 4
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "_save", stopping)
    for _ in range(20):
        try:
            cut, cut_log = trained(job, tmp_path / "cut")
            break
        except KeyboardInterrupt:
            continue
    assert count["stop"] > 8, "it was interrupted more than once"
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert log == cut_log


def test_labels_are_those_of_the_teacher_and_leave_no_trace(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    made = job.make()
    learner = made.learner
    assert isinstance(learner, CtcLearner)
    loader = Loader(job.train[:4], job.config, steps=made.steps)
    batch = next(loader.plain(100.0))
    learner.module.train()
    before = {name: value.clone() for name, value in learner.module.state_dict().items()}
    own = Hearer(learner).heard(batch)
    blank = {name: torch.zeros_like(value) if value.is_floating_point() else value for name, value in before.items()}
    blank["network.head.bias"] = blank["network.head.bias"].clone()
    blank["network.head.bias"][3] = 5.0
    with with_weights(learner.module, blank):
        others = Hearer(learner).heard(batch)
    assert {one.text for one in others} == {learner.vocabulary.decode([3])} != {one.text for one in own}
    after = learner.module.state_dict()
    assert learner.module.training and all(torch.equal(before[name], after[name]) for name in before)


def test_windows_cover_a_recording_and_join_to_what_the_whole_has_steps_for() -> None:
    assert windows(25 * RATE_HZ, 10.0) == [(0, 160_000), (160_000, 320_000), (320_000, 400_000)]
    assert windows(int(20.5 * RATE_HZ), 10.0) == [(0, 160_000), (160_000, 328_000)]
    assert windows(1000, 10.0) == [(0, 1000)]


def test_dropout_is_lowered_and_never_raised() -> None:
    network = ConformerCtc(ConformerConfig.of_size("micro", vocabulary=5, dropout=0.3))
    assert lower_dropout(network, 0.1) > 0 and lower_dropout(network, 0.2) == 0
    rates = {part.p for part in network.modules() if isinstance(part, torch.nn.Dropout)}
    assert rates == {0.1}


def test_labels_of_blanks_are_a_collapse_and_the_run_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = QUIET.model_copy(update={"empty_share": 0.3, "rollbacks": 1})
    job = job_in(tmp_path / "data", PSEUDO.model_copy(update={"watch": watch}))
    heard = Hearer.heard
    labels = iter(range(10_000))

    def emptied(self: Hearer, batch: Any, **options: Any) -> list[Any]:
        late = next(labels) > 1
        return [replace(one, text="" if late else "ab") for one in heard(self, batch, **options)]

    monkeypatch.setattr(Hearer, "heard", emptied)
    with pytest.raises(TrainingFailed, match="collapsed 2 times"):
        trained(job, tmp_path / "state")
    said = capsys.readouterr().err
    assert "pseudo-labels collapsed at update 4" in said or "pseudo-labels collapsed at update 8" in said
    assert "0.5 times the learning rate" in said


def test_a_probe_is_the_same_in_every_run_and_as_long_as_asked(tmp_path: Path) -> None:
    examples = job_in(tmp_path).unlabelled
    chosen = probe_of(examples, 1.0)
    assert chosen == probe_of(examples, 1.0) and 0 < len(chosen) < len(examples)
    assert sum(examples[i].duration_s for i in chosen) >= 1.0 > sum(examples[i].duration_s for i in chosen[:-1])


def test_published_settings_are_scaled_and_say_so() -> None:
    found = PseudoConfig.scaled("10h", updates=1000, batches=40)
    said = found.scaling_said("10h")
    assert (found.warmup_updates, found.cache, found.ratio, found.replace) == (200, 20, 10.0, 0.1)
    assert "warmup updates 200 (published 20000)" in said and "cache 20 (published 1000)" in said
    large = PseudoConfig.scaled("100h", updates=500_000, batches=10_000)
    assert (large.warmup_updates, large.cache) == (20_000, 100) and "as published" in large.scaling_said("100h")
    with pytest.raises(ValueError, match="choose one of"):
        PseudoConfig.scaled("1h", updates=1, batches=1)
    with pytest.raises(ValueError, match="nothing to refresh"):
        PseudoConfig(cache=0, refresh_share=0.5)


def test_shared_out_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orature.train.parallel import Parallel

    job = job_in(tmp_path / "data")
    made = job.make()
    parallel = Parallel(device="cpu", precision="fp32")
    parallel.sharded = True
    monkeypatch.setattr(Parallel, "wrap", lambda self, module: module)
    monkeypatch.setattr("orature.train.sharding.skips_layers", lambda module: False)
    train, dev = job.loaders(made)
    with pytest.raises(ConfigError, match="whole model"):
        loop.fit(
            made.learner,
            train,
            dev,
            job.config,
            job.freezing(made),
            state=tmp_path,
            watcher=loop.Watcher(),
            parallel=parallel,
            **job.pseudo_loop(made),
        )


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    start = model_in(tmp_path / "start", ["abc"], blank=-4.0)
    pseudo = PSEUDO.model_copy(update={"teacher": "ema", "ema_decay": 0.9})
    job = replace(job_in(tmp_path / "data", pseudo, accumulate=2, head="keep"), start=str(start))
    ended = {}
    for count in (1, 2):
        made: Any = job.make()
        spread = Spread(threads=count, processes=count)
        outcome = train_job(job, made, spread, Place(tmp_path / str(count), progress=False)).outcome
        ended[count] = (made.network.state_dict(), [row.get("label_characters_per_s") for row in outcome.log])
    assert ended[1][1] == ended[2][1] and max(rate for rate in ended[1][1] if rate) > 1
    for name, value in ended[1][0].items():
        assert torch.allclose(value, ended[2][0][name], atol=2e-3), name


def _held(*updates: int) -> Progressed:
    """A run at update 12 that holds these checkpoints, the best on dev first."""
    return Progressed(update=12, best=[Best(update=update, figure=0.1 * at) for at, update in enumerate(updates, 1)])


def test_the_way_back_is_to_the_best_checkpoint_that_did_not_collapse_itself(tmp_path: Path) -> None:
    """What dev likes best may be the very weights whose labels were just found to be nothing."""
    for update in (4, 8, 12):
        save_file({"at": torch.tensor(float(update))}, candidate_path(tmp_path, update))
    state = PseudoState()
    back = roll_back(tmp_path, _held(12, 8, 4), state, QUIET, "all labels are empty")
    assert back["at"].item() == 8.0 and state.rolled_back_at == [12]
    state.rolled_back_at = [8]
    assert roll_back(tmp_path, _held(12, 8, 4), state, QUIET, "again")["at"].item() == 4.0
    assert roll_back(tmp_path, _held(12), state, QUIET, "again")["at"].item() == 12.0, "nothing else is held"


def test_labels_that_were_empty_before_are_nothing_to_be_held_against() -> None:
    """A model that says nothing when the warm-up ends, and then learns to speak, has not collapsed."""
    report = DevReport(loss=1.0, cer=0.5, wer=0.5, blank_share=0.5, empty_share=0.0)
    row = {"probe_distance": 0.97, "label_empty_share": 0.1}
    watch = WatchConfig(labelled_loss=None, dev_loss=None)
    warm = {"empty_share": 1.0, "characters_per_s": 0.0, "labelled_loss": 1.0}
    assert collapsed(row, warm, _held(12), watch, "cer", report) is None
    found = collapsed(row, {**warm, "empty_share": 0.1}, _held(12), watch, "cer", report)
    assert found is not None and "97 % of the characters of fixed utterances" in found
