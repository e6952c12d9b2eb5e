"""The stage of preference self-training: pairs of train alone, every row accounted for, dev decides, resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import model_in, phone_model_in

from orature.core.errors import ConfigError, CorpusError, Interrupted, LeakFound, ModelError
from orature.data.corpus import Corpus
from orature.engines.recognisers import load_recogniser
from orature.flow import Ref, Resources, Run, Store
from orature.stages import prefer
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import model_ref
from orature.stages.prefer import N_BEST, Prefer
from orature.testing.checkpoints_seq2seq import speech2text_folder
from orature.train import loop
from orature.train.config import TrainConfig
from orature.train.ctc import CtcLearner
from orature.train.dev import Tally
from orature.train.loader import Example
from orature.train.preference_config import PreferenceConfig
from orature.train.preference_pairs import ALL_EQUAL, Lister
from tests.integration.tones import make_corpus

QUIET = Resources(threads=1, progress=False)
CONFIG = TrainConfig(updates=4, evaluate_every=2, batch_seconds=12.0, average=1, peak_lr=1e-3)
LISTS = PreferenceConfig(n_best=3, beams=8, unit="characters")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that have learned nothing and write letters all the time."""
    folder = tmp_path_factory.mktemp("starts")
    (folder / "ctc").mkdir()
    return {
        "MWER": model_in(folder / "ctc", ["abc"], blank=-3.0),
        "DPO": speech2text_folder(folder / "attention", texts=["abc cab bca"]),
    }


@pytest.fixture
def job(tmp_path: Path) -> Run:
    return Run(Store(tmp_path / "store"), "test", "test")


@pytest.fixture
def corpus(job: Run, tmp_path: Path) -> Ref:
    return job.do(ingest_stage(make_corpus(tmp_path / "source")), on=QUIET)


def listed(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / N_BEST).read_text("utf-8").splitlines()]


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "training.json").read_text("utf-8"))
    return facts


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return all(torch.equal(first[name].float(), second[name].float()) for name in first)


@pytest.mark.parametrize("method", ["MWER", "DPO"])
def test_pairs_come_from_train_alone_and_every_row_is_accounted_for(
    method: str, job: Run, corpus: Ref, starts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []
    choices = Lister.choices

    def watched(self: Lister, loader: Any, indices: Any) -> Any:
        searched.extend(loader.examples[index].id for index in indices)
        return choices(self, loader, indices)

    monkeypatch.setattr(Lister, "choices", watched)
    stage = Prefer(corpus=corpus, start=model_ref(starts[method]), config=CONFIG, preference=LISTS)
    model = job.do(stage, on=QUIET)
    folder, rows = job.path_of(model), job.store.info(model.key).rows
    train = {row.id for row in Corpus.open(job.path_of(corpus)).split("train")}
    made = listed(folder)
    assert sorted(searched) == sorted(train) == sorted(row["id"] for row in made)
    assert rows is not None and rows.total == len(train)
    usable = [row for row in made if row["reason"] is None]
    assert rows.kept == len(usable) > 0 and rows.rejected.get(ALL_EQUAL, 0) == sum(
        row["reason"] == ALL_EQUAL for row in made
    )
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert {row["id"] for row in rejects} == {row["id"] for row in made} - {row["id"] for row in usable}
    facts = facts_of(folder)["preference"]
    assert facts["method"] == method and facts["utterances"] == len(usable)
    assert (facts["pairs"] > 0) == (method == "DPO")
    assert f"preference self-training ({method}" in (folder / "README.md").read_text("utf-8")
    assert load_recogniser(folder).card.languages is not None
    log = [json.loads(line) for line in (folder / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert [row["update"] for row in log] == [0, 2, 4]


@pytest.mark.parametrize("gains", [True, False, None], ids=["better", "worse", "equal"])
def test_the_start_is_kept_unless_dev_gains(
    gains: bool | None, job: Run, corpus: Ref, starts: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dev is made to say that training helped, harmed, or changed nothing."""
    begun = load_file(starts["MWER"] / "model.safetensors")["head.bias"]
    right = {True: 1, False: 0, None: 2}[gains]

    def assess(self: CtcLearner, loader: Any, **_: Any) -> Tally:
        is_start = torch.equal(self.network.head.bias.detach().cpu(), begun)
        tally = Tally()
        heard = "ab" if right == 2 or is_start != bool(right) else "zz"
        tally.add(Example("d", "", 0.0, 1.0, "ab", ()), heard)
        return tally

    monkeypatch.setattr(CtcLearner, "assess", assess)
    start = model_ref(starts["MWER"])
    model = job.do(Prefer(corpus=corpus, start=start, config=CONFIG, preference=LISTS), on=QUIET)
    folder = job.path_of(model)
    facts, notes = facts_of(folder), job.store.info(model.key).notes
    kept = "trained" if gains else "start"
    assert facts["preference"]["kept"] == notes["kept"] == kept
    assert same_weights(folder, starts["MWER"]) == (kept == "start")
    assert facts["dev"]["cer"] == facts["preference"]["dev_trained" if gains else "dev_start"] == 0.0
    assert facts["preference"]["dev_start" if gains else "dev_trained"] == (0.0 if gains is None else 1.0)
    assert f"kept is the {kept} model" in (folder / "README.md").read_text("utf-8")
    assert (facts["chosen"] == "the start") == (kept == "start")


@pytest.mark.parametrize("method", ["MWER", "DPO"])
def test_interrupted_in_lists_and_in_training_equals_undisturbed(
    method: str, job: Run, corpus: Ref, starts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefer, "_CHUNK", 5)
    monkeypatch.setattr(prefer, "KEPT_START", "trained")  # the trained weights are compared, whatever dev says
    stage = Prefer(corpus=corpus, start=model_ref(starts[method]), config=CONFIG, preference=LISTS)
    whole = job.path_of(job.do(stage, on=QUIET))
    other = Run(Store(tmp_path / "other"), "test", "test")
    again = stage.model_copy(update={"corpus": other.do(ingest_stage(tmp_path / "source"), on=QUIET)})
    choices, update, done = Lister.choices, loop.Trainer._update, {"chunks": 0, "stop": 3}

    def stopping(self: Lister, loader: Any, indices: Any) -> Any:
        if done["chunks"] == done["stop"]:
            raise KeyboardInterrupt
        done["chunks"] += 1
        return choices(self, loader, indices)

    def stopping_update(self: Any, batches: Any) -> Any:
        if self.progressed.update == 3:
            raise KeyboardInterrupt
        return update(self, batches)

    monkeypatch.setattr(Lister, "choices", stopping)
    with pytest.raises(Interrupted):
        other.do(again, on=QUIET)
    done["stop"] = 100
    monkeypatch.setattr(loop.Trainer, "_update", stopping_update)
    with pytest.raises(Interrupted):
        other.do(again, on=QUIET)
    monkeypatch.setattr(loop.Trainer, "_update", update)
    made = other.do(again, on=QUIET)
    assert done["chunks"] == 5, "whole chunks are not made again"
    found = other.path_of(made)
    for name in (N_BEST, "model.safetensors", "train_log.jsonl", "training.json", "rejects.jsonl"):
        assert (found / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_training_row_that_repeats_dev_stops_it(job: Run, starts: dict[str, Path], tmp_path: Path) -> None:
    source = make_corpus(tmp_path / "leaky")
    shutil.copy(source / "audio/dev000.wav", source / "audio/copy.wav")
    with (source / "manifest.tsv").open("a", encoding="utf-8") as stream:
        stream.write("audio/copy.wav\tcab\ttrain-0\tund\ttrain\n")
    corpus = job.do(ingest_stage(source), on=QUIET)
    with pytest.raises(LeakFound):
        job.do(Prefer(corpus=corpus, start=model_ref(starts["MWER"]), config=CONFIG, preference=LISTS), on=QUIET)


def test_a_start_or_settings_that_give_nothing_are_refused(
    job: Run, corpus: Ref, starts: dict[str, Path], tmp_path: Path
) -> None:
    start = model_ref(starts["MWER"])
    deaf = LISTS.model_copy(update={"margin": 99})
    with pytest.raises(CorpusError, match=r"none of 24 training utterances.*pair-all-equal") as error:
        job.do(Prefer(corpus=corpus, start=start, config=CONFIG, preference=deaf), on=QUIET)
    assert "lower margin" in error.value.next_step
    (tmp_path / "phones").mkdir()
    phones = model_ref(phone_model_in(tmp_path / "phones"))
    with pytest.raises(ModelError, match="writes phones"):
        job.do(Prefer(corpus=corpus, start=phones, config=CONFIG, preference=LISTS), on=QUIET)
    current = LISTS.model_copy(update={"n_best_of": "current"})
    with pytest.raises(ConfigError, match="lists are those of the start"):
        job.do(Prefer(corpus=corpus, start=model_ref(starts["DPO"]), config=CONFIG, preference=current), on=QUIET)
    with pytest.raises(ValueError, match="start"):
        Prefer.model_validate({"corpus": corpus, "config": CONFIG})


def test_lists_of_the_current_model_leave_nobody_out(job: Run, corpus: Ref, starts: dict[str, Path]) -> None:
    current = LISTS.model_copy(update={"n_best_of": "current"})
    model = job.do(Prefer(corpus=corpus, start=model_ref(starts["MWER"]), config=CONFIG, preference=current), on=QUIET)
    rows = job.store.info(model.key).rows
    assert rows is not None and rows.kept == rows.total == 24
    assert not (job.path_of(model) / N_BEST).exists()
