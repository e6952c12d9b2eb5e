"""`up` from a model: zero-shot score, rehearsal and guards with their differences, a language model weighed on dev."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import BadInput
from orature.recipes.training import UpOptions
from orature.recipes.up import plan, up
from orature.testing.checkpoints import make_checkpoint
from orature.testing.checkpoints_seq2seq import whisper_folder
from tests.integration.test_up import FEW, ONE
from tests.integration.tones import make_corpus

TUNE = {"updates": 4, "evaluate_every": 2, "batch_seconds": 6.0, "accumulate": 1, "average": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one toy corpus, and that corpus as a corpus folder to rehearse."""
    import orature

    root = tmp_path_factory.mktemp("start")
    make_corpus(root / "old")
    up(root / "old", root / "first", train=FEW, resources=ONE)
    orature.ingest(root / "old", root / "old_corpus", store=root / "store")
    return root


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    return found


def test_a_language_model_of_the_transcripts_alone(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = make_corpus(tmp_path / "new", train=18, seed=5)
    options: dict[str, Any] = {"train": {**TUNE, "head": "extend"}, "start": place / "first" / "model"}
    up(new, tmp_path / "out", **options, resources=ONE)
    assert "--with lm makes one of the train transcripts" in capsys.readouterr().err
    assert "language_model" not in report_of(tmp_path / "out")
    shown = plan(new, tmp_path / "out", UpOptions(**{**options, "start": str(options["start"])}, extras=("lm",)))
    assert [one["stage"] for one in shown["steps"]].count("tune-decoder") == 1
    up(new, tmp_path / "out", **options, extras=("lm",), resources=ONE)
    found = report_of(tmp_path / "out")
    decoder = json.loads((tmp_path / "out" / "decoder" / "decoder.json").read_text())
    assert "without" in found["language_model"] and len(decoder["tuned"]["language_models"]) == 2
    said = capsys.readouterr().err
    assert "language model: WER" in said and "train: already done" in said and "language model: none" not in said


def test_from_a_model_with_guard_and_language_model(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = make_corpus(tmp_path / "new", train=18, seed=5)
    text = tmp_path / "text.txt"
    text.write_text("".join(f"ab ca b{letter}\n" for letter in "abc") * 4, encoding="utf-8")
    options: dict[str, Any] = {
        "train": {**TUNE, "head": "extend"},
        "start": place / "first" / "model",
        "guards": [place / "old_corpus"],
        "texts": [text],
        "resources": ONE,
    }
    result = up(new, tmp_path / "out", **options)
    found = report_of(tmp_path / "out")
    assert found["zero_shot"]["wer"]["value"] >= 0 and found["zero_shot"]["utterances"] == 6
    (guard,) = found["guards"]
    assert guard["corpus"] == "old_corpus" and {"before", "after", "wer", "cer"} <= guard.keys()
    assert guard["cer"]["delta"] == pytest.approx(guard["after"]["cer"]["value"] - guard["before"]["cer"]["value"])
    assert "without" in found["language_model"] and (tmp_path / "out" / "decoder" / "decoder.json").is_file()
    assert found["decoder"] and result.fresh
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Before and after" in page and "guard: old_corpus (test)" in page and "zero-shot" in page
    said = capsys.readouterr().err
    assert "zero-shot: WER" in said and "guard old_corpus: CER" in said and "language model: WER" in said
    log = [
        json.loads(line) for line in (tmp_path / "out" / "model" / "train_log.jsonl").read_text("utf-8").splitlines()
    ]
    assert log[0]["update"] == 0 and "dev_cer" in log[0]
    assert not up(new, tmp_path / "out", **options).fresh


def test_rehearsal_takes_its_share_and_its_dev_stands_guard(place: Path, tmp_path: Path) -> None:
    new = make_corpus(tmp_path / "new", train=18, seed=5, language="qu")
    up(
        new,
        tmp_path / "out",
        train={**TUNE, "head": "extend", "mix": {"rehearsal_share": 0.3}},
        start=place / "first" / "model",
        rehearse=[place / "old_corpus"],
        resources=ONE,
    )
    facts = json.loads((tmp_path / "out" / "model" / "training.json").read_text("utf-8"))
    assert facts["languages"] == ["qu", "und"] and facts["guard_languages"] == ["und"]
    assert set(facts["dev_cer_by_language"]) == {"qu", "und"} and facts["train_utterances"] == 18 + 24
    assert report_of(tmp_path / "out")["guards"][0]["corpus"] == "old_corpus"


def test_rehearsal_that_repeats_a_test_sentence_is_rejected_and_counted(place: Path, tmp_path: Path) -> None:
    """An old corpus whose train split holds what the new one is tested on."""
    import orature

    new = make_corpus(tmp_path / "new", train=18, seed=5)
    texts = [line.split("\t")[1] for line in (new / "manifest.tsv").read_text("utf-8").splitlines() if "test" in line]
    old = make_corpus(tmp_path / "old", train=12, seed=9)
    lines = (old / "manifest.tsv").read_text("utf-8").splitlines()
    lines[1] = lines[1].replace(lines[1].split("\t")[1], f"{texts[0]} {texts[1]}", 1)
    (old / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shared = (new / "manifest.tsv").read_text("utf-8").replace(texts[0], f"{texts[0]} {texts[1]}", 1)
    (new / "manifest.tsv").write_text(shared, encoding="utf-8")
    orature.ingest(old, tmp_path / "old_corpus", store=tmp_path / "store")
    options = {**TUNE, "head": "extend"}
    start, rehearse = place / "first" / "model", [tmp_path / "old_corpus"]
    up(new, tmp_path / "out", train=options, start=start, rehearse=rehearse, resources=ONE)
    rejects = (tmp_path / "out" / "model" / "rejects.jsonl").read_text("utf-8")
    assert rejects.count('"embargo-sentence"') == 1


def test_a_start_that_cannot_read_is_said_to_have_no_zero_shot_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = make_checkpoint(tmp_path / "start", "xls-r", head=False)
    up(make_corpus(tmp_path / "new"), tmp_path / "out", train=TUNE, start=start, resources=ONE)
    said = capsys.readouterr().err
    assert "no output layer for text yet" in said and "wav2vec 2.0" in said
    assert "zero_shot" not in report_of(tmp_path / "out")


def test_a_language_that_whisper_lacks_is_scored_before_and_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = whisper_folder(tmp_path / "start")
    up(make_corpus(tmp_path / "new", language="qvi"), tmp_path / "out", train=TUNE, start=start, resources=ONE)
    assert "does not know 'qvi'" in capsys.readouterr().err and "zero_shot" in report_of(tmp_path / "out")
    table = json.loads((tmp_path / "out" / "model" / "generation_config.json").read_text("utf-8"))
    assert any("qvi" in token for token in table["lang_to_id"])


def test_an_unknown_override_of_the_model_is_named(tmp_path: Path) -> None:
    start = make_checkpoint(tmp_path / "start", "xls-r", head=False)
    wrong = {**TUNE, "model_overrides": {"hiden_dropout": 0.1}}
    with pytest.raises(BadInput, match="hiden_dropout"):
        up(make_corpus(tmp_path / "new"), tmp_path / "out", train=wrong, start=start, resources=ONE)
