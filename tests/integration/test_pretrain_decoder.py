"""A decoder that learns from text alone: it learns, the encoder stays, dev and test stay out, resumed = undisturbed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LATIN, corpus_of, model_in

from orature.core.errors import ConfigError
from orature.data.corpus import Corpus
from orature.engines.families import Start, family_of
from orature.flow import Resources, Run, Store
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.language_model import text_ref
from orature.stages.pretrain_decoder import PretrainDecoder
from orature.stages.train import Train
from orature.testing.checkpoints_seq2seq import speech2text_folder
from orature.train import loop
from orature.train.config import TrainConfig

QUIET = Resources(threads=1, progress=False)
CONFIG = TrainConfig(
    network="encoder-decoder", size="micro", updates=24, batch_seconds=30.0, evaluate_every=8, average=2, peak_lr=3e-3
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_of(tmp_path_factory.mktemp("c") / "qu", [f"{text} {n}" for n, text in enumerate(LATIN * 2)])


def stage_on(folder: Path, corpus: Path, **fields: Any) -> PretrainDecoder:
    """More text, with a test sentence and a doubled line in it."""
    held = next(row.text for row in Corpus.open(corpus).split("test"))
    text = folder / "more.txt"
    text.write_text(
        "\n".join([*(f"kay {one} tapuy" for one in LATIN), f"{held}", f"kay {LATIN[0]} tapuy", ""]), "utf-8"
    )
    common = {"texts": (text_ref(text),), "names": ("more.txt",), "kinds": ("lines",), "config": CONFIG}
    return PretrainDecoder(corpus=corpus_ref(corpus), **{**common, **fields})


def test_it_learns_to_write_and_leaves_the_encoder_as_it_was(corpus: Path, tmp_path: Path) -> None:
    start = model_in(tmp_path / "ctc", LATIN)
    run = Run(Store(tmp_path / "store"), "test", "test")
    made = run.do(stage_on(tmp_path, corpus, start=model_ref(start)), on=QUIET)
    folder = run.path_of(made)
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    log = [json.loads(line) for line in (folder / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert facts["dev_perplexity"] < 0.7 * log[0]["dev_perplexity"], "what it learned holds for dev"
    assert facts["rejected"] == {"duplicate": 1, "embargo-sentence": 1}
    info = run.store.info(made.key)
    assert info.rows is not None and info.rows.total == info.rows.kept + 2 == facts["sentences"] + 2
    old, new = family_of(start).module().load(start)[0], family_of(folder).module().load(folder)[0]
    for name, value in old.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(value, new.state_dict()[f"encoder.{name}"]), name
    tuned = CONFIG.model_copy(update={"head": "keep", "updates": 1, "evaluate_every": 1, "batch_seconds": 4.0})
    after = run.do(Train(corpus=corpus_ref(corpus), start=model_ref(folder), config=tuned), on=QUIET)
    begun = family_of(folder).module().begin(folder, [], Start(head="keep"))[0]
    assert all(torch.equal(begun.state_dict()[name], value) for name, value in new.state_dict().items())
    assert json.loads((run.path_of(after) / "training.json").read_text("utf-8"))["start"]["name"] == facts["name"]


class PulledThePlug(BaseException):
    pass


def test_interrupted_and_resumed_equals_uninterrupted(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_on(tmp_path, corpus)
    whole = Run(Store(tmp_path / "whole"), "test", "test").do(stage, on=QUIET)
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    original = loop.Trainer._update

    def stopping(self: loop.Trainer, batches: list[Any]) -> Any:
        if self.progressed.update >= 11:
            raise PulledThePlug
        return original(self, batches)

    monkeypatch.setattr(loop.Trainer, "_update", stopping)
    cut = Run(Store(tmp_path / "cut"), "test", "test")
    with pytest.raises(PulledThePlug):
        cut.do(stage, on=QUIET)
    monkeypatch.setattr(loop.Trainer, "_update", original)
    assert cut.do(stage, on=QUIET).digest == whole.digest


def test_other_families_are_refused(corpus: Path, tmp_path: Path) -> None:
    start = speech2text_folder(tmp_path / "s2t")
    with pytest.raises(ConfigError, match="cannot be trained on text alone"):
        Run(Store(tmp_path / "store"), "test", "test").do(stage_on(tmp_path, corpus, start=model_ref(start)), on=QUIET)
