"""Training of other families, interrupted and resumed, equals training that was left alone, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import LATIN, corpus_of

from orature.data.corpus import Corpus
from orature.testing import checkpoints, checkpoints_seq2seq
from orature.train import checkpoint, loop
from orature.train.config import TrainConfig
from orature.train.examples import examples_of, policy_of, texts_of
from orature.train.job import Job
from orature.train.loop import Outcome, fit
from orature.train.watch import Watcher

CONFIG = TrainConfig(updates=5, batch_seconds=4.0, evaluate_every=2, average=2, peak_lr=1e-3)
STARTS: dict[str, Callable[[Path], Path]] = {
    "xls-r": lambda folder: checkpoints.make_checkpoint(folder, "xls-r", head=False),
    "wav2vec2-bert": lambda folder: checkpoints.make_checkpoint(folder, "wav2vec2-bert", head=False),
    "whisper": checkpoints_seq2seq.whisper_folder,
}


class PulledThePlug(BaseException):
    pass


def job_on(folder: Path, start: Path) -> Job:
    """Four clips to learn and four of dev."""
    corpus = Corpus.open(corpus_of(folder, LATIN))
    rows, dev = list(corpus.split("train")), list(corpus.split("dev"))
    policy = policy_of(CONFIG, "qu")
    job = Job(CONFIG, tuple(texts_of(rows, policy)), ("qu",), start=str(start), language="qu")
    vocabulary = job.make().vocabulary
    return job.with_examples(examples_of(rows, policy, vocabulary)[0], examples_of(dev, policy, vocabulary)[0])


def train(job: Job, state: Path) -> tuple[dict[str, torch.Tensor], Outcome]:
    torch.set_num_threads(1)
    state.mkdir(exist_ok=True)
    made = job.make()
    outcome = fit(made.learner, *job.loaders(made), job.config, job.freezing(made), state=state, watcher=Watcher())
    return checkpoint.weights_of(made.network), outcome


@pytest.mark.parametrize("name", STARTS)
def test_interrupted_and_resumed_equals_uninterrupted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_on(tmp_path / "corpus", STARTS[name](tmp_path / "start"))
    if name == "xls-r":
        overrides = {"layerdrop": 0.5, "hidden_dropout": 0.1}
        job = replace(job, config=CONFIG.model_copy(update={"model_overrides": overrides, "freeze": ("features",)}))
    expected, outcome = train(job, tmp_path / "whole")
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    original = loop.Trainer._update

    def stopping(self: loop.Trainer, batches: list[object]) -> None:
        if self.progressed.update >= 3:
            raise PulledThePlug
        original(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Trainer, "_update", stopping)
    with pytest.raises(PulledThePlug):
        train(job, tmp_path / "cut")
    monkeypatch.setattr(loop.Trainer, "_update", original)
    found, again = train(job, tmp_path / "cut")
    assert again.log == outcome.log and again.chosen == outcome.chosen
    assert all(torch.equal(found[name], value) for name, value in expected.items())
