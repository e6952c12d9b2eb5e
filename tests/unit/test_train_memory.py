"""What is computed at once: measured, bounded, and halved where memory runs out; the gradient stays the whole's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tone_job import tone_job

from orature.core.errors import TrainingFailed
from orature.train import checkpoint, memory
from orature.train.ctc import CtcLearner
from orature.train.freezing import Freezing
from orature.train.job import Job, Made
from orature.train.launch import Place, Spread, train_job
from orature.train.learner import Losses
from orature.train.loader import Batch, Loader, halves
from orature.train.memory import Footprint, MemoryRanOut
from orature.train.parallel import Parallel

ALONE = Parallel(device="cpu", precision="fp32")
needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return tone_job(tmp_path_factory.mktemp("tones"), updates=3, average=1, batch_seconds=8.0)


def ready(job: Job) -> tuple[Made, Loader, Freezing]:
    made = job.make()
    return made, job.loaders(made)[0], job.freezing(made)


def trained(job: Job, state: Path) -> dict[str, torch.Tensor]:
    torch.set_num_threads(1)
    made = job.make()
    train_job(job, made, Spread(threads=1), Place(state, progress=False))
    return checkpoint.weights_of(made.network)


def small_memory(monkeypatch: pytest.MonkeyPatch, most_s: float) -> list[float]:
    """A GPU that can hold so many seconds at once; the sizes that were tried."""
    tried: list[float] = []
    original = CtcLearner.loss

    def loss(self: CtcLearner, batch: Batch, module: torch.nn.Module | None = None) -> Losses:
        tried.append(memory.padded_seconds(batch))
        losses = original(self, batch, module)
        if tried[-1] > most_s:
            losses.total.backward(retain_graph=True)  # type: ignore[no-untyped-call]  # as when memory runs out half-way: some gradients are there
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses

    monkeypatch.setattr(CtcLearner, "loss", loss)
    return tried


def test_an_update_that_runs_out_of_memory_is_computed_in_halves(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(job, tmp_path / "whole")
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    tried = small_memory(monkeypatch, most_s=3.5)
    pieces = trained(job, tmp_path / "pieces")
    assert max(tried) > 3.5 and sum(seconds > 3.5 for seconds in tried) == 1, "the bound is kept afterwards"
    assert "memory ran out; from here on at most 2 s" in capsys.readouterr().err
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, atol=2e-4, rtol=0.0)


def test_one_utterance_that_does_not_fit_is_named(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    small_memory(monkeypatch, most_s=0.1)
    with pytest.raises(TrainingFailed, match="one utterance of") as caught:
        trained(job, tmp_path)
    assert "cut them up" in caught.value.next_step


def test_with_several_processes_all_begin_anew_with_half(job: Job) -> None:
    _, train, _ = ready(job)
    piece = next(iter(train.plain(4.0)))
    with pytest.raises(MemoryRanOut) as caught:
        memory.after_running_out([piece], float("inf"), torch.OutOfMemoryError(), alone=False)
    assert caught.value.most_s == pytest.approx(memory.padded_seconds(piece) / 2)


def test_halves_of_a_batch_are_the_batch(job: Job) -> None:
    made, train, _ = ready(job)
    batch = train.build(train.plan(0)[0], 0, augment=True, masks=True)
    parts = memory.small_enough(batch, 2.0)
    assert len(parts) > 2 and all(memory.padded_seconds(p) <= 2.0 or len(p.items) == 1 for p in parts)
    assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)
    assert [item for part in parts for item in part.items] == batch.items
    made.learner.module.eval()
    whole, split = made.learner.loss(batch), [made.learner.loss(part) for part in parts]
    assert sum(one.total.item() for one in split) == pytest.approx(whole.total.item(), rel=1e-4)
    assert sum(one.weight for one in split) == whole.weight
    assert halves(train.one(0))[0].items == train.one(0).items


@needs_proc
def test_memory_grows_with_seconds_and_what_fits_is_found(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, train, freezing = ready(job)
    before = checkpoint.weights_of(made.learner.module)
    state = torch.random.get_rng_state()
    batches = next(iter(train.plain(4.0))), next(iter(train.plain(30.0)))
    found = memory.footprint(made.learner, freezing, batches, ALONE)
    assert found is not None and 1e6 < found.per_second < 20e6, "a micro Conformer needs some MB a second"
    assert found.fits(found.of(12.0)) == pytest.approx(12.0) and found.of(12.0) > found.of(6.0)
    assert torch.equal(state, torch.random.get_rng_state()), "the probe draws nothing"
    assert all(p.grad is None for p in made.learner.module.parameters())
    assert memory.fitting_seconds(made.learner, train, freezing, ALONE) is None, "all fits on this machine"
    fixed = Footprint(fixed=10e6, per_second=5e6, optimiser=5e6)
    monkeypatch.setattr(memory, "footprint", lambda *rest: fixed)
    monkeypatch.setattr(memory, "free_bytes", lambda device: (10e6 + 5e6 + 5e6 * 3.0) / memory.MARGIN + 2e6)
    bounded = memory.fitting_seconds(made.learner, train, freezing, ALONE)
    assert bounded is not None and 2.5 < bounded < 3.5
    assert "at most 3 s are computed at once" in capsys.readouterr().err
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1e6)
    longest = max(item.duration_s for batch in train.plan(0) for item in batch)
    assert memory.fitting_seconds(made.learner, train, freezing, ALONE) == longest
    assert "memory is tight" in capsys.readouterr().err
    assert all(torch.equal(before[name], value) for name, value in checkpoint.weights_of(made.learner.module).items())


def test_where_memory_is_tight_only_the_small_batch_is_tried(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    made, train, freezing = ready(job)
    tried = []
    monkeypatch.setattr(memory, "_step", lambda learner, batch, *rest: tried.append(memory.padded_seconds(batch)))
    held = memory._table(memory._PROC / "status").get("VmRSS", 0.0)
    monkeypatch.setattr(memory, "peak_bytes", lambda work, device: (work(), held + 8e9)[1])
    monkeypatch.setattr(memory, "free_bytes", lambda device: 12e9)
    batches = train.one(0), next(iter(train.plain(30.0)))
    found = memory.footprint(made.learner, freezing, batches, ALONE)
    assert tried == [memory.padded_seconds(batches[0])]
    assert found is not None and found.per_second > 7e9 / tried[0]


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:  8000 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert memory.free_bytes(cpu) == 8000 * 1024
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert memory.free_bytes(cpu) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000000\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("3000000\n", encoding="ascii")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 400000\n", encoding="ascii")
    assert memory.free_bytes(cpu) == 2_400_000
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "nothing")
    (tmp_path / "memory.max").unlink()
    assert memory.free_bytes(cpu) is None, "nobody knows: no bound"


def test_on_a_gpu_the_size_is_tried_and_halved() -> None:
    tried = []

    def work(count: int) -> None:
        tried.append(count)
        if count > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert memory._tried(work, longest_s=2.0, seconds=29.0) == 6.0 and tried == [14, 7, 3]
    assert memory._tried(work, longest_s=2.0, seconds=5.0) == 5.0
    with pytest.raises(TrainingFailed, match="one utterance of 2 s"):
        memory._tried(lambda count: work(9), longest_s=2.0, seconds=5.0)
