"""The whole way on a toy corpus: results are there, a second run does nothing, another place gives equal digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from orature.core.errors import ConfigError, LeakFound, TrainingFailed
from orature.data.corpus import Corpus
from orature.engines.recognisers import load_recogniser
from orature.flow import Ref, Resources, Run, Store
from orature.flow.run import read_runs
from orature.recipes.up import UpOptions, plan, up
from orature.stages.ingest import ingest_stage
from orature.stages.split import MakeSplits
from orature.stages.train import Train
from orature.train.config import TrainConfig
from tests.integration.tones import make_corpus, tones

FEW: dict[str, Any] = {
    "size": "micro",
    "updates": 6,
    "evaluate_every": 3,
    "batch_seconds": 6.0,
    "overfit_clips": 0,
    "average": 2,
}
ONE = Resources(threads=1, device="cpu", progress=False)


def digests(store: Path) -> dict[str, str]:
    """Content digest of each stage's artefact."""
    found = Store(store)
    infos = map(found.info, found.keys())
    return {info.stage: info.digest for info in infos}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("up")
    make_corpus(root / "toy")
    up(root / "toy", root / "out", train=FEW, resources=ONE)
    return root


def test_all_that_was_promised_is_there(done: Path) -> None:
    out = done / "out"
    score = json.loads((out / "report.json").read_text("utf-8"))
    assert score["utterances"] == 6 and score["split"] == "test"
    for name in ("wer", "cer"):
        assert score[name]["low"] is None or score[name]["low"] <= score[name]["value"] <= score[name]["high"]
    assert score["normaliser"] == "orature-basic@1" and score["split_fingerprint"]
    assert score["made_by"]["command"].startswith("orature up")
    assert "<html" in (out / "report.html").read_text("utf-8")
    model = load_recogniser(out / "model")
    assert model.card.languages == ("und",)
    assert (out / "model" / "README.md").is_file()
    log = [json.loads(line) for line in (out / "model" / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert [row["update"] for row in log] == [3, 6]


def test_the_second_time_it_does_nothing_and_says_so(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done / "out").rglob("*") if path.is_file()}
    result = up(done / "toy", done / "out", train=FEW, resources=ONE)
    assert not result.fresh
    assert "done before" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before
    states = [[step.state for step in record.steps] for record in read_runs(Store(done / "out" / ".orature"))]
    assert states == [["done"] * 5, ["cached"] * 5]


def test_results_that_were_not_published_whole_are_published_again(done: Path, tmp_path: Path) -> None:
    """Killed between the score and the end, or between one set of options and another: never the old report."""
    out = tmp_path / "out"
    first = up(done / "toy", out, train=FEW, resources=ONE)
    other = up(done / "toy", out, train={**FEW, "updates": 3}, resources=ONE)
    assert other.fresh and other.score["artefacts"] != first.score["artefacts"]
    again = up(done / "toy", out, train=FEW, resources=ONE)
    assert again.fresh and again.score["artefacts"] == first.score["artefacts"]
    log = (again.model / "train_log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["update"] for line in log] == [3, 6]
    for lost in (out / "report.json", out / "report.html", out / "model" / "model.safetensors"):
        lost.unlink()
        assert up(done / "toy", out, train=FEW, resources=ONE).fresh
        assert lost.is_file()


def test_another_place_and_other_workers_give_the_same_digests(done: Path, tmp_path: Path) -> None:
    make_corpus(tmp_path / "toy")
    on = ONE.model_copy(update={"workers": 2})
    up(tmp_path / "toy", tmp_path / "elsewhere", train=FEW, resources=on)
    assert digests(tmp_path / "elsewhere" / ".orature") == digests(done / "out" / ".orature")


def test_another_seed_gives_another_model_from_the_same_corpus(done: Path, tmp_path: Path) -> None:
    up(done / "toy", tmp_path / "out", seed=2, train=FEW, resources=ONE)
    one, two = digests(done / "out" / ".orature"), digests(tmp_path / "out" / ".orature")
    assert one["ingest"] == two["ingest"] and one["train"] != two["train"]


def test_dry_run_says_what_it_would_do_and_does_nothing(done: Path, tmp_path: Path) -> None:
    planned = plan(done / "toy", tmp_path / "new", UpOptions(train=FEW))
    assert [step["state"] for step in planned["steps"]] == ["todo"] * 5
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new").rglob("*.flac"))
    known = plan(done / "toy", done / "out", UpOptions(train=FEW))
    assert [step["state"] for step in known["steps"]][:3] == ["done"] * 3
    assert known["train"]["updates"] == 6 and "audio-s/s" in known["cost"]


def test_options_that_do_not_exist_are_refused_with_the_nearest(done: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        up(done / "toy", tmp_path / "x", train={**FEW, "udpates": 3}, resources=ONE)
    assert "updates" in caught.value.next_step
    with pytest.raises(ConfigError, match=r"augment\.warp"):
        up(done / "toy", tmp_path / "x", train={**FEW, "augment": {"warp": 7}}, resources=ONE)
    with pytest.raises(ConfigError, match="scale"):
        up(done / "toy", tmp_path / "x", scale="huge", resources=ONE)  # type: ignore[arg-type]


def ready(folder: Path, tmp_path: Path) -> tuple[Run, Ref, Path]:
    """A run and the ingested corpus of a toy folder."""
    run = Run(Store(tmp_path / "store"), recipe="test", command="test")
    corpus = run.do(ingest_stage(folder), on=ONE)
    return run, corpus, run.path_of(corpus)


def test_a_test_sentence_among_the_training_rows_stops_training(tmp_path: Path) -> None:
    """Law 5: the same words by another speaker in another recording are enough."""
    folder = make_corpus(tmp_path / "toy")
    soundfile.write(folder / "audio" / "leak.wav", tones("ab ca", 77), 16_000)
    soundfile.write(folder / "audio" / "held.wav", tones("ab ca", 78), 16_000)
    with (folder / "manifest.tsv").open("a", encoding="utf-8") as manifest:
        manifest.write("audio/leak.wav\tab ca\ttrain-9\tund\ttrain\naudio/held.wav\tab ca\ttest-9\tund\ttest\n")
    run, corpus, _ = ready(folder, tmp_path)
    with pytest.raises(LeakFound, match="ab ca"):
        run.do(Train(corpus=corpus, config=TrainConfig(**FEW)), on=ONE)
    split = run.do(MakeSplits(corpus=corpus), on=ONE)
    model = run.do(Train(corpus=split, config=TrainConfig(**FEW)), on=ONE)
    assert run.store.info(split.key).rows is not None
    assert (run.path_of(model) / "model.safetensors").is_file()


def test_the_alphabet_never_sees_dev_or_test(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "toy")
    soundfile.write(folder / "audio" / "odd.wav", tones("abñ", 79), 16_000)
    with (folder / "manifest.tsv").open("a", encoding="utf-8") as manifest:
        manifest.write("audio/odd.wav\tabñ\ttest-9\tund\ttest\n")
    run, corpus, _ = ready(folder, tmp_path)
    model = run.do(Train(corpus=corpus, config=TrainConfig(**FEW)), on=ONE)
    assert "ñ" not in (run.path_of(model) / "vocab.json").read_text("utf-8")


def test_rows_that_cannot_be_learnt_are_counted_with_their_reason(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "toy")
    soundfile.write(folder / "audio" / "short.wav", tones("a", 80), 16_000)
    soundfile.write(folder / "audio" / "dots.wav", tones("b", 81), 16_000)
    with (folder / "manifest.tsv").open("a", encoding="utf-8") as manifest:
        manifest.write(
            f"audio/short.wav\t{'abc' * 20}\ttrain-9\tund\ttrain\naudio/dots.wav\t...\ttrain-9\tund\ttrain\n"
        )
    run, corpus, path = ready(folder, tmp_path)
    assert len(Corpus.open(path).split("train")) == 26
    model = run.do(Train(corpus=corpus, config=TrainConfig(**{**FEW, "subsampling": 4})), on=ONE)
    rows = run.store.info(model.key).rows
    assert rows is not None
    assert (rows.total, rows.kept, rows.rejected) == (26, 24, {"ctc-infeasible": 1, "text-empty": 1})
    reasons = [json.loads(line) for line in (run.path_of(model) / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert {row["id"] for row in reasons} == {"audio/short", "audio/dots"}


def test_mostly_hopeless_rows_stop_before_training(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "toy")
    text = (folder / "manifest.tsv").read_text("utf-8").splitlines()
    stuffed = [
        "\t".join([c[0], c[1] * 40, *c[2:]]) if c[4] == "train" else line for line in text for c in [line.split("\t")]
    ]
    (folder / "manifest.tsv").write_text("\n".join(stuffed) + "\n", encoding="utf-8")
    run, corpus, _ = ready(folder, tmp_path)
    with pytest.raises(TrainingFailed, match="too short"):
        run.do(Train(corpus=corpus, config=TrainConfig(**FEW)), on=ONE)
