"""`orature pretrain` as a whole: it learns from speech alone, accounts for every row, and gives a start as before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import corpus_of
from typer.testing import CliRunner
from untranscribed import phone_model, speech_in

from orature.cli.main import build
from orature.core.errors import ConfigError, CorpusError, Interrupted, RejectLimitExceeded
from orature.data.audio import load
from orature.data.corpus import Corpus
from orature.engines.conformer_family import load as load_model
from orature.engines.recognisers import load_recogniser
from orature.flow import Resources, Run, Store
from orature.recipes.pretrain import PretrainOptions, pretrain_stage
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.pretrain import Pretrain
from orature.stages.pretrain_material import gather
from orature.stages.train import Train
from orature.testing.stage_contract import check_conserving, check_identity
from orature.train import loop
from orature.train.config import TrainConfig
from orature.train.masked_config import MaskedConfig

QUIET = Resources(threads=1, progress=False)
SPLITS: list[Any] = ["train"] * 12 + ["unlabelled"] * 8 + ["dev"] * 4 + ["test"] * 3 + [None] * 2
SMALL: dict[str, Any] = {"codes": 32, "updates": 6, "evaluate_every": 3, "batch_seconds": 12.0, "average": 2}


def stage_of(corpora: list[Path], start: Path, **settings: Any) -> Pretrain:
    options = PretrainOptions(start=str(start), scale="smoke", settings={**SMALL, **settings})
    return pretrain_stage([corpus_ref(corpus) for corpus in corpora], options)


def made(stage: Pretrain, root: Path) -> Path:
    store = Store(root)
    return store.path_of(Run(store, "test", "test").do(stage, on=QUIET))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phone_model(tmp_path_factory.mktemp("start") / "start")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech_in(tmp_path_factory.mktemp("speech") / "radio", SPLITS)


@pytest.fixture(scope="module")
def adapted(start: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(stage_of([speech], start), tmp_path_factory.mktemp("adapted") / "store")


def test_the_loss_falls_and_masked_steps_are_predicted_better_than_by_chance(start: Path, tmp_path: Path) -> None:
    corpus = speech_in(tmp_path / "c", ["unlabelled"] * 60 + ["dev"] * 8, seed=3)
    settings = {"updates": 100, "evaluate_every": 50, "batch_seconds": 20.0, "peak_lr": 2e-3, "keep_weight": 0.0}
    model = made(stage_of([corpus], start, codes=16, **settings), tmp_path / "store")
    log = [json.loads(line) for line in (model / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert log[0]["update"] == 0 and log[-1]["update"] == 100
    assert log[-1]["dev_masked_loss"] < log[0]["dev_masked_loss"] - 0.5
    assert log[-1]["masked_loss"] < log[1]["masked_loss"]
    assert log[-1]["dev_masked_accuracy"] > 1.5 * log[-1]["dev_chance"] > 0


def test_what_is_kept_of_the_phones_depends_on_the_weight(start: Path, speech: Path, tmp_path: Path) -> None:
    settings = {"updates": 30, "evaluate_every": 15, "peak_lr": 2e-3, "average": 1}
    found = {}
    for weight in (0.0, 10.0):
        model = made(stage_of([speech], start, keep_weight=weight, **settings), tmp_path / f"{weight}")
        found[weight] = json.loads((model / "training.json").read_text("utf-8"))["dev"]
        before, after = load_file(start / "model.safetensors"), load_file(model / "model.safetensors")
        assert torch.equal(before["head.weight"], after["head.weight"]) == (weight == 0.0)
    assert found[10.0]["dev_divergence"] < 0.3 * found[0.0]["dev_divergence"]
    assert found[10.0]["dev_phones_kept"] >= found[0.0]["dev_phones_kept"]


def test_every_row_is_accounted_for(adapted: Path, speech: Path, start: Path, tmp_path: Path) -> None:
    facts = json.loads((adapted / "training.json").read_text("utf-8"))
    assert facts["rows_heard"] == 20 and not facts["dev_held_out_of_train"]
    assert facts["rows_not_heard"] == {"dev-only-measured": 4, "split-unassigned": 2, "test-never-heard": 3}
    rejects = [json.loads(line) for line in (adapted / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert len(rejects) == 9 and {row["id"] for row in rejects} == {f"u{number:03}" for number in range(20, 29)}
    stage = stage_of([speech], start, updates=1, evaluate_every=1)
    check_conserving(stage, tmp_path, rows_in=len(SPLITS))
    check_identity(stage)


def test_test_is_never_opened_and_dev_is_no_part_of_training(
    speech: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orature.data import audio

    opened: set[str] = set()
    real = audio.load

    def noting(path: str, *span: float) -> Any:
        opened.add(Path(path).stem)
        return real(path, *span)

    monkeypatch.setattr(audio, "load", noting)
    made(stage_of([speech], start, updates=3, evaluate_every=3), tmp_path / "store")
    assert opened and opened <= {f"{number:03}" for number in range(24)}
    heard = gather([Corpus.open(speech)], [], MaskedConfig(), seed=1)
    assert {example.id for example in heard.train} == {f"0:u{number:03}" for number in range(20)}
    assert {example.id for example in heard.dev} == {f"0:u{number:03}" for number in range(20, 24)}
    assert not any(example.text or example.tokens for example in (*heard.train, *heard.dev))


def test_embargoed_recordings_short_rows_and_copies_are_left_out(tmp_path: Path) -> None:
    first = speech_in(tmp_path / "a", ["train", "train", "test", "unlabelled", "train", "train"])
    other = speech_in(tmp_path / "b", ["test", "dev", "train", "train"])  # the same sounds as in a
    short = speech_in(tmp_path / "c", ["train", "train"], seed=9, seconds=0.5)
    corpora = [Corpus.open(folder) for folder in (first, other, short)]
    heard = gather(corpora, [], MaskedConfig(), seed=1)
    reasons = {"embargo-audio": 3, "recording-twice": 1, "too-short-to-mask": 2}
    assert heard.reasons == reasons | {"dev-only-measured": 1, "test-never-heard": 2}
    assert heard.total == 12 and heard.rows == 3 and [example.id for example in heard.dev] == ["1:u001"]
    embargoed = gather(corpora[:1], corpora[1:2], MaskedConfig(), seed=1)
    assert embargoed.reasons["embargo-audio"] == 2 and embargoed.total == 6, "rows of the embargo are no rows of it"
    with pytest.raises(RejectLimitExceeded, match="2 too-short-to-mask"):
        gather(corpora[:1] + corpora[2:], [], MaskedConfig(), seed=1, reject_limit=0.1)


def test_without_dev_whole_speakers_are_held_out_and_long_recordings_are_cut(tmp_path: Path) -> None:
    rows: list[Any] = ["unlabelled"] * 10
    corpus = Corpus.open(speech_in(tmp_path / "a", rows, seconds=5.0))
    config = MaskedConfig(longest_s=2.0, held_out=0.2)
    heard = gather([corpus], [], config, seed=1)
    assert heard.held_out and heard.reasons == {"held-out-for-dev": 2} and heard.rows == 8
    assert len(heard.train) == 24 and {round(example.duration_s, 3) for example in heard.train} == {1.667}
    parts = sorted(e.start_s for e in heard.train if e.path == heard.train[0].path)
    assert np.allclose(parts, [0.0, 5 / 3, 10 / 3])
    assert {e.path for e in heard.train}.isdisjoint(e.path for e in heard.dev)
    assert gather([corpus], [], config, seed=1) == heard != gather([corpus], [], config, seed=2)
    little = config.model_copy(update={"dev_s": 4.0})
    assert sum(e.duration_s for e in gather([corpus], [], little, seed=1).dev) <= 4.0
    with pytest.raises(CorpusError, match="no speech to learn from: 1 held-out"):
        gather([Corpus.open(speech_in(tmp_path / "b", ["train"]))], [], config, seed=1)


def test_the_folder_has_the_layout_of_its_start_and_is_a_start_itself(
    adapted: Path, start: Path, tmp_path: Path
) -> None:
    assert {path.name for path in start.iterdir()} <= {path.name for path in adapted.iterdir()}
    for name in ("config.json", "vocab.json", "tokenizer_config.json", "preprocessor_config.json"):
        assert (adapted / name).read_bytes() == (start / name).read_bytes()
    before, after = load_file(start / "model.safetensors"), load_file(adapted / "model.safetensors")
    assert {k: (v.dtype, v.shape) for k, v in before.items()} == {k: (v.dtype, v.shape) for k, v in after.items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)
    recogniser = load_recogniser(adapted)
    assert recogniser.card.name == "start-adapted" and recogniser.card.languages == ("sw", "it")
    card = (adapted / "README.md").read_text("utf-8")
    for said in ("BEST-RQ", "CC0 1.0", "seed | 1", "test-never-heard", "6 updates", "held to what the start says"):
        assert said in card
    assert "/tmp" not in card and str(adapted) not in (adapted / "training.json").read_text("utf-8")
    transcribed = corpus_of(tmp_path / "c", ["shuk ishkay", "kimsa", "chusku pichka"] * 3)
    config = TrainConfig(updates=2, evaluate_every=2, batch_seconds=6.0, average=1)
    for name, folder in (("before", start), ("after", adapted)):
        stage = Train(corpus=corpus_ref(transcribed), start=model_ref(folder), config=config)
        store = Store(tmp_path / name)
        model = store.path_of(Run(store, "test", "test").do(stage, on=QUIET))
        assert set(load_model(model)[1].letters) == set("shukiay ")  # type: ignore[union-attr]
    row = next(iter(Corpus.open(transcribed)))
    assert hasattr(load_recogniser(model).transcribe([load(row.audio.path)])[0], "text")


def test_a_second_run_gives_the_same_bytes_and_another_seed_others(
    adapted: Path, start: Path, speech: Path, tmp_path: Path
) -> None:
    again = made(stage_of([speech], start), tmp_path / "again")
    for name in ("model.safetensors", "train_log.jsonl", "training.json", "README.md"):
        assert (again / name).read_bytes() == (adapted / name).read_bytes()
    options = PretrainOptions(start=str(start), scale="smoke", seed=2, settings=SMALL)
    other = made(pretrain_stage([corpus_ref(speech)], options), tmp_path / "other")
    assert (other / "model.safetensors").read_bytes() != (adapted / "model.safetensors").read_bytes()


@pytest.mark.parametrize("stop_at", [2, 5])
def test_interrupted_and_resumed_equals_undisturbed(
    adapted: Path, start: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    update = loop.Trainer._update

    def stopping(self: loop.Trainer, batches: Any) -> None:
        if self.progressed.update == stop_at:
            raise KeyboardInterrupt
        update(self, batches)

    monkeypatch.setattr(loop.Trainer, "_update", stopping)
    with pytest.raises(Interrupted):
        made(stage_of([speech], start), tmp_path / "store")
    monkeypatch.setattr(loop.Trainer, "_update", update)
    resumed = made(stage_of([speech], start), tmp_path / "store")
    for name in ("model.safetensors", "train_log.jsonl", "training.json"):
        assert (resumed / name).read_bytes() == (adapted / name).read_bytes()


@pytest.mark.slow
def test_killed_and_run_again_it_gives_the_same_bytes(
    start: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that is killed is one of its own; the others, which only have to come to their end, are this one."""
    settings = {"codes": 32, "updates": 16, "evaluate_every": 8, "batch_seconds": 12.0}
    command = ["pretrain", str(speech), "--start", str(start), "--threads", "1"]
    command += ["--device", "cpu", *(part for name, value in settings.items() for part in ("--set", f"{name}={value}"))]
    environment = {**os.environ, "ORATURE_SAVE_EVERY_S": "0"}
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    for name in ("calm", "shaken"):
        line = [*command, "--to", str(tmp_path / name), "--store", str(tmp_path / f"store-{name}")]
        if name == "shaken":
            killed = [sys.executable, "-m", "orature", *line]
            child = subprocess.Popen(killed, env=environment, stderr=subprocess.DEVNULL)
            state = tmp_path / "store-shaken" / "work"
            while not [f for f in state.glob("*/state/training/checkpoint-*") if int(f.name.split("-")[1]) >= 5]:
                assert child.poll() is None, "it ended before it could be killed"
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL and not (tmp_path / name).exists()
        done = CliRunner().invoke(build(), line, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    for name in ("model.safetensors", "train_log.jsonl", "training.json", "README.md", "rejects.jsonl"):
        assert (tmp_path / "calm" / name).read_bytes() == (tmp_path / "shaken" / name).read_bytes()


def test_the_command_plans_and_works(start: Path, speech: Path, tmp_path: Path) -> None:
    sets = " ".join(f"--set {name}={value}" for name, value in SMALL.items())
    line = f"pretrain {speech} --start {start} --to {tmp_path}/new --store {tmp_path}/s --threads 1 --device cpu {sets}"
    plan = CliRunner().invoke(build(), [*line.split(), "--dry-run", "--json"], catch_exceptions=False)
    found = json.loads(plan.stdout)
    assert found["pretrain"] == "todo" and "audio-s/s" in found["cost"] and found["rows_heard"] == 20
    assert found["masked"]["codes"] == 32 and not (tmp_path / "new").exists()
    done = CliRunner().invoke(build(), line.split(), catch_exceptions=False)
    assert done.exit_code == 0 and "of masked steps right" in done.stdout, done.output
    again = CliRunner().invoke(build(), [*line.split(), "--dry-run", "--json"], catch_exceptions=False)
    assert json.loads(again.stdout)["pretrain"] == "done" and load_recogniser(tmp_path / "new").card.name


def test_options_that_mean_nothing_here_are_refused(start: Path, speech: Path) -> None:
    for settings, message in (
        ({"updtaes": 3}, "did you mean 'updates'|no option 'updtaes'"),
        ({"head": "new"}, "no option 'head'"),
        ({"lid_weight": 0.1}, "no option 'lid_weight'"),
        ({"augment": {"time_masks": 3}}, "masks of its own"),
        ({"keep_weight": -1}, "keep_weight"),
        ({"mask_start": 0.5}, "would cover all"),
    ):
        with pytest.raises(ConfigError, match=message):
            stage_of([speech], start, **settings)
