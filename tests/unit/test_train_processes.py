"""Several processes: the losses of one with the same batches, also sharded; resumed by another number of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tone_job import tone_job

from orature.core.errors import AudioError, ConfigError
from orature.train import checkpoint
from orature.train.batches import Item, divided
from orature.train.devices import checked_sharding, process_count
from orature.train.freezing import Freezing
from orature.train.job import Job
from orature.train.launch import Ended, Place, Spread, train_job
from orature.train.loader import Loader
from orature.train.parallel import Parallel

Run = tuple[dict[str, torch.Tensor], Ended]
TWO, SHARED = Spread(threads=2, processes=2), Spread(threads=2, processes=2, sharding="fsdp")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return tone_job(tmp_path_factory.mktemp("tones"), freeze_encoder_updates=2)


def run(job: Job, state: Path, spread: Spread) -> Run:
    torch.set_num_threads(1)
    made = job.make()
    ended = train_job(job, made, spread, Place(state, progress=False))
    return checkpoint.weights_of(made.network), ended


@pytest.fixture(scope="module")
def alone(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(job, tmp_path_factory.mktemp("alone"), Spread(threads=1))


def same(found: Run, expected: Run) -> None:
    for mine, theirs in zip(found[1].outcome.log, expected[1].outcome.log, strict=True):
        for name in ("loss", "dev_cer", "dev_loss", "grad_norm", "audio_h"):
            assert mine[name] == pytest.approx(theirs[name], abs=1e-4), name
    assert found[1].outcome.chosen == expected[1].outcome.chosen
    for name, value in expected[0].items():
        torch.testing.assert_close(found[0][name], value, atol=2e-3, rtol=0.0)


@contextmanager
def cut(job: Job, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A dev recording is not there: the run fails at its first evaluation, with a checkpoint of the update before."""
    monkeypatch.setenv("ORATURE_SAVE_EVERY_S", "0")
    monkeypatch.setattr("orature.train.loop._SAVE_EVERY_S", 0.0)
    path = Path(job.dev[0].path)
    away = path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(AudioError, match="no such file"):
            yield
    finally:
        away.rename(path)


def test_two_processes_learn_what_one_learns(job: Job, tmp_path: Path, alone: Run) -> None:
    same(run(job, tmp_path, TWO), alone)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_users_and_the_run_goes_on_alone(
    job: Job, tmp_path: Path, alone: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cut(job, monkeypatch):
        run(job, tmp_path, SHARED)
    assert not multiprocessing.active_children()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-00000003-000006"]
    same(run(job, tmp_path, Spread(threads=1)), alone)


@pytest.mark.slow
def test_begun_alone_and_gone_on_with_shared_weights(
    job: Job, tmp_path: Path, alone: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cut(job, monkeypatch):
        run(job, tmp_path, Spread(threads=1))
    same(run(job, tmp_path, SHARED), alone)


@pytest.mark.slow
def test_compiled_layers_learn_the_same(job: Job, tmp_path: Path, alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in names: checkpoints of compiled and of plain runs are alike (traced here, but not translated to C++)."""
    compiled, whole = [], torch.nn.Module.compile

    def traced(self: torch.nn.Module, **options: object) -> None:
        compiled.append(self)
        whole(self, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    faster = replace(job, config=job.config.model_copy(update={"compile": True}))
    same(run(faster, tmp_path, Spread(threads=1)), alone)
    assert {type(layer).__name__ for layer in compiled} == {"Block"}


def test_an_update_is_shared_out_evenly_and_whole(job: Job) -> None:
    for accumulate, processes, parts in ((1, 2, 2), (2, 2, 1), (3, 2, 2), (4, 8, 2), (20, 8, 2)):
        config = job.config.model_copy(update={"accumulate": accumulate})
        loader = Loader(job.train, config)
        plan = loader.plan(0)[:accumulate]
        shares = [loader._shares(items, place, processes) for place, items in enumerate(plan)]
        for items, by_process in zip(plan, shares, strict=True):
            assert sorted(i.index for share in by_process for _, piece in share for i in piece) == sorted(
                item.index for item in items
            )
            numbers = sorted(number for share in by_process for number, _ in share)
            assert numbers == list(range(min(parts, len(items)))), (accumulate, processes)


def test_parts_of_a_batch_have_equal_seconds() -> None:
    items = [Item(n, 1.0, None, 1.0 + 0.1 * n) for n in range(12)]
    shares = divided(items, 3)
    assert [item.index for share in shares for item in share] == list(range(12))
    seconds = [sum(item.duration_s for item in share) for share in shares]
    assert max(seconds) - min(seconds) < 2.0
    assert [len(share) for share in divided(items[:1], 3)] == [0, 1, 0], "more processes than utterances"


def test_what_a_machine_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="nobody to share"):
        Spread(sharding="fsdp").check()
    with pytest.raises(ConfigError, match="cannot run on 'cuda'"):
        Spread(device="cuda", processes=64).check()
    with pytest.raises(ConfigError, match="number of processes"):
        process_count("many", "cpu")
    with pytest.raises(ConfigError, match="no sharding"):
        checked_sharding("zero")
    assert (process_count("auto", "cpu"), process_count("3", "cpu")) == (1, 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert process_count("auto", "cuda") == 4


def test_two_trainings_in_one_process_may_differ_in_precision() -> None:
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with Parallel(device="cpu", precision=precision).autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_a_freezing_policy_follows_replaced_parameters(job: Job) -> None:
    made = job.make()
    policy, module = job.freezing(made), made.learner.module
    names = {id(p): name for name, p in module.named_parameters()}
    other = job.make().learner.module
    moved = policy.moved(names, other)
    assert isinstance(moved, Freezing) and moved.until == 2
    assert {id(p) for p in moved.trained} == {id(p) for p in other.parameters()}
    assert [p.shape for p in moved.waiting] == [p.shape for p in policy.waiting] and moved.waiting
