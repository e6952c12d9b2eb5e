"""`orature train-voice` from the command to the folder: voice, report, card, the same after a crash."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import model_in
from typer.testing import CliRunner, Result
from voice_data import LETTERS, MICRO, corpus

from orature.cli.main import build
from orature.core.types import Refusal
from orature.engines.voice import SpeechRequest
from orature.engines.voices import open_voice
from orature.flow import Resources
from orature.flow.run import Run
from orature.flow.store import Store
from orature.recipes.train_voice import VoiceOptions, voice_config, voice_stage
from orature.stages.inputs import corpus_ref
from orature.stages.train_voice import TrainVoice
from orature.testing.checkpoints_voices import vits_folder
from orature.testing.stage_contract import check_identity, check_resumable
from orature.train.voice import loop

CPU = Resources(device="cpu", threads=1, progress=False)
SETTINGS = {name: value for name, value in MICRO.model_dump().items() if value != type(MICRO)().model_dump()[name]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voices")
    corpus(root / "corpus", speakers=("low", "high"))
    vits_folder(root / "start", " abcdefg", seed=6)
    model_in(root / "judge", [LETTERS])
    return root


def stage_of(place: Path, **more: Any) -> TrainVoice:
    options = VoiceOptions(start=str(place / "start"), settings={**SETTINGS, "seed": 1}, language="sw", **more)
    return voice_stage(corpus_ref(place / "corpus"), options, name="tones")


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    run = Run(Store(place / "store"), recipe="test", command="")
    return run.path_of(run.do(stage_of(place, judge=str(place / "judge")), on=CPU))


def test_the_folder_speaks_with_its_speakers(done: Path) -> None:
    from transformers import VitsModel, VitsTokenizer

    model = VitsModel.from_pretrained(done)
    tokens = VitsTokenizer.from_pretrained(done)("abch", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.isfinite(model(tokens, speaker_id=1).waveform).all()
    with open_voice(f"vits:{done}") as voice:
        assert voice.speakers("sw")[1:] == ["high", "low"]
        found = voice.speak([SpeechRequest("abc h", language="sw", speaker="high", seed=1)])[0]
    assert not isinstance(found, Refusal), found
    assert voice.card.licence and "CC BY 4.0" in voice.card.licence


def test_facts_card_and_report_tell_what_was_done(done: Path) -> None:
    facts = json.loads((done / "training.json").read_text("utf-8"))
    assert facts["new_letters"] == ["<unk>", "h"] and facts["speakers"] == ["", "high", "low"]
    assert facts["train_utterances"] == 8 and facts["dev_from"] == "the dev split"
    assert facts["licences"] == ["CC BY 4.0", "cc-by-nc-4.0"]
    assert facts["dev"]["dev_judge_cer"] >= 0 and "dev_judge_cer" in facts["dev_at_start"]
    card = (done / "README.md").read_text("utf-8")
    assert "CC BY 4.0; cc-by-nc-4.0" in card and "CER of the judge" in card and "fine-tuned from start" in card
    page = (done / "report.html").read_text("utf-8")
    assert page.count("<audio") >= 4 and "read aloud, update 0" in page and "the recording" in page
    assert not re.search(r"(src|href)=\"https?:", page) and str(done.parents[2]) not in page
    log = [json.loads(line) for line in (done / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert [row["update"] for row in log] == [0, 3, 6]
    assert not {"time", "date", "seconds"} & set(log[-1])


def test_the_key_holds_all_that_matters(place: Path) -> None:
    check_identity(stage_of(place))
    assert stage_of(place).version == 1


def test_killed_at_any_point_of_writing_it_ends_as_undisturbed(place: Path, tmp_path: Path) -> None:
    stage = stage_of(place).model_copy(update={"config": MICRO.model_copy(update={"updates": 2, "evaluate_every": 1})})
    check_resumable(stage, tmp_path, CPU, faults=["part-written:6:kill"])


def cli(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner().invoke(build(), line.split())


FLAGS = "--device cpu --threads 1 --store store --json " + " ".join(
    f"--set {name}={json.dumps(value).replace(' ', '')}" for name, value in SETTINGS.items()
)


def test_the_command_makes_a_voice_and_a_plan(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = cli(f"train-voice corpus --to out --start start --dry-run {FLAGS}", place, monkeypatch)
    assert planned.exit_code == 0, planned.output
    plan = json.loads(planned.stdout)
    assert plan["train_voice"] == "todo" and plan["cost"]["seconds"] > 0 and plan["config"]["updates"] == 6
    assert not (place / "out").exists()
    made = cli(f"train-voice corpus --to out --start start {FLAGS}", place, monkeypatch)
    assert made.exit_code == 0, made.output
    facts = json.loads(made.stdout)
    assert facts["updates"] == 6 and (place / "out" / "report.html").is_file()
    monkeypatch.setattr(loop.VoiceTrainer, "run", lambda self: pytest.fail("it was made before"))
    assert cli(f"train-voice corpus --to out --start start {FLAGS}", place, monkeypatch).exit_code == 0


def test_settings_by_scale_and_start() -> None:
    nothing, tuned = voice_config(VoiceOptions()), voice_config(VoiceOptions(start="x"))
    assert nothing.adversarial_from > 0 and tuned.lr < nothing.lr and tuned.discriminator_warmup > 0
    full = voice_config(VoiceOptions(scale="full", size="base"))
    assert (full.lr, full.betas, full.lr_decay) == (2e-4, (0.8, 0.99), 0.999875)
    assert (full.segment, full.mel_weight, full.weight_decay) == (8192, 45, 0.01)
    assert full.adversarial_from == 0 and full.discriminator_shrink == 1
    words = voice_config(VoiceOptions(), mean_s=0.5)
    assert words.segment < nothing.segment and words.batch_seconds < nothing.batch_seconds
