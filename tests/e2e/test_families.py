"""A checkpoint folder of every family goes through fine-tuning, evaluation and transcription by the same commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import LATIN, corpus_of
from typer.testing import CliRunner, Result

from orature.cli.main import build
from orature.testing import checkpoints, checkpoints_seq2seq

FEW = "--set updates=2 --set evaluate_every=1 --set batch_seconds=4 --set accumulate=1 --set average=1"
ON = "--device cpu --threads 1"


def _ctc(name: str, **options: bool) -> Callable[[Path], Path]:
    return lambda folder: checkpoints.make_checkpoint(folder, name, **options)  # type: ignore[arg-type]


FAMILIES: dict[str, Callable[[Path], Path]] = {
    **{name: _ctc(name) for name in checkpoints.RECIPES if name != "mms"},
    "xls-r, pre-trained only": _ctc("xls-r", head=False),
    "wav2vec2-bert, pre-trained only": _ctc("wav2vec2-bert", head=False),
    "whisper": checkpoints_seq2seq.whisper_folder,
    "moonshine": checkpoints_seq2seq.moonshine_folder,
    "speech2text": checkpoints_seq2seq.speech2text_folder,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_of(tmp_path_factory.mktemp("corpora") / "corpus", LATIN)


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORATURE_STORE", str(tmp_path / "store"))


def orature(line: str, *more: object) -> Result:
    return CliRunner().invoke(build(), [*shlex.split(line), *map(str, more)])


@pytest.mark.parametrize("name", FAMILIES)
def test_fine_tune_evaluate_export_transcribe(name: str, corpus: Path, tmp_path: Path) -> None:
    start = FAMILIES[name](tmp_path / "start")
    model = tmp_path / "model"
    done = orature(f"train {FEW} {ON} --json --start", start, "--to", model, corpus)
    assert done.exit_code == 0, done.output
    facts = json.loads((model / "training.json").read_text("utf-8"))
    assert facts["start"]["name"] == "start" and facts["updates"] == 2
    scored = orature(f"evaluate {ON} --json --to {tmp_path / 'scores'}", model, corpus)
    assert scored.exit_code == 0, scored.output
    assert json.loads(scored.stdout)["utterances"] == 4
    exported = tmp_path / "exported"
    written = orature(f"export --as safetensors --threads 1 --json --to {exported}", model)
    assert written.exit_code == 0, written.output
    texts = []
    for folder in (model, exported):
        heard = orature(f"transcribe {ON} --json", folder, corpus / "0.flac")
        assert heard.exit_code == 0, heard.output
        assert json.loads(heard.stdout)["duration_s"] == 1.5
        texts.append(json.loads(heard.stdout)["text"])
    assert texts[0] == texts[1]
    assert not list(model.glob("*.bin")) and (model / "model.safetensors").is_file()


def test_an_adapter_for_a_new_language_leaves_the_others_alone(corpus: Path, tmp_path: Path) -> None:
    start = checkpoints.make_mms(tmp_path / "mms", {"eng": "abcdefgh'", "yor": "abdegikn"})
    before = (start / "adapter.yor.safetensors").read_bytes()
    line = f"train {FEW} {ON} --json --lang qvi --start"
    done = orature(line, start, "--to", tmp_path / "model", corpus)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "model" / "adapter.yor.safetensors").read_bytes() == before
    assert (tmp_path / "model" / "adapter.qvi.safetensors").is_file()
    heard = orature(f"transcribe {ON} --json --lang yor", tmp_path / "model", corpus / "0.flac")
    assert heard.exit_code == 0, heard.output


def test_lora_is_merged_into_plain_weights(corpus: Path, tmp_path: Path) -> None:
    start = checkpoints.make_checkpoint(tmp_path / "start", "xls-r")
    line = f"train {FEW} {ON} --json --set train_only=lora --set lora_rank=2 --start"
    done = orature(line, start, "--to", tmp_path / "model", corpus)
    assert done.exit_code == 0, done.output
    config = json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))
    assert config["model_type"] == "wav2vec2"
    assert orature(f"evaluate {ON} --to {tmp_path / 's'}", tmp_path / "model", corpus).exit_code == 0


def test_an_encoder_decoder_from_nothing(corpus: Path, tmp_path: Path) -> None:
    line = f"train {FEW} {ON} --json --set network=speech2text --set size=tiny"
    done = orature(line, "--to", tmp_path / "model", corpus)
    assert done.exit_code == 0, done.output
    assert orature(f"evaluate {ON} --to {tmp_path / 's'}", tmp_path / "model", corpus).exit_code == 0
    wrong = orature(f"{line} --set size=huge", "--to", tmp_path / "other", corpus)
    assert wrong.exit_code == 2 and "tiny, small" in wrong.output


@pytest.mark.parametrize("damage", checkpoints.DAMAGES)
def test_wrong_folders_get_one_clear_sentence(damage: str, corpus: Path, tmp_path: Path) -> None:
    whole = checkpoints.make_checkpoint(tmp_path / "whole", "xls-r")
    wrong = checkpoints.spoiled(whole, damage, tmp_path / "wrong")
    done = orature(f"transcribe {ON}", wrong, corpus / "0.flac")
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output and "next:" in done.output
    assert len(done.stderr.strip().splitlines()) <= 4


def test_the_plan_shows_the_recipe_and_where_it_is_from(corpus: Path, tmp_path: Path) -> None:
    start = checkpoints.make_checkpoint(tmp_path / "start", "xls-r", head=False)
    orature(f"train {FEW} {ON} --json --start", start, "--to", tmp_path / "model", corpus)
    line = f"train {ON} --json --dry-run --set peak_lr=0.0007 --start"
    done = orature(line, start, "--to", tmp_path / "other", corpus)
    assert done.exit_code == 0, done.output
    planned = json.loads(done.stdout)
    assert "fairseq" in planned["recipe"] or "wav2vec 2.0" in planned["recipe"]
    assert planned["config"]["peak_lr"] == 0.0007 and planned["config"]["freeze"] == ["features"]
    assert planned["config"]["schedule"] == "tri-stage" and "audio-s/s" in planned["cost"]
