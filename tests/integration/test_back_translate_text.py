"""Back-translation from text to report with the double of a voice: text, judgement, gate, synthesis, arms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orature.core.files import write_json_lines
from orature.core.types import Hypothesis
from orature.data.corpus import Corpus
from orature.engines.voice import SpeechRequest
from orature.engines.voices import open_voice
from orature.flow import Resources, StageContext, Store
from orature.recipes.back_translate import run
from orature.recipes.registry import Outcome, Request
from orature.recipes.training import UpOptions
from orature.recipes.up import plan, run_up
from orature.stages.transcribe import Transcribe, record_of

FEW: dict[str, Any] = {
    "size": "micro",
    "updates": 10,
    "evaluate_every": 5,
    "batch_seconds": 8.0,
    "overfit_clips": 0,
    "average": 2,
}
ONE = Resources(threads=1, device="cpu", progress=False)
TEXT_OPTIONS = {"language_check": "none", "near_duplicates": 0.0}
WORDS = "baba mama dada kaka saba tano nane kumi maji chai moto jiko".split()


def sentences(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(rng.choice(WORDS, size=4))] = None
    return list(found)


def make_spoken(folder: Path) -> Path:
    """A corpus of a dozen words, as the double of a voice says them."""
    (folder / "audio").mkdir(parents=True)
    lines = ["path\tsentence\tspeaker\tlang\tsplit"]
    said = iter(sentences(60, 1))
    with open_voice("fake") as voice:
        for split, count, speakers in (("train", 24, ["low", "middle"]), ("dev", 8, ["high"]), ("test", 8, ["high"])):
            for number in range(count):
                text = next(said)
                speech = voice.speak([SpeechRequest(text, "sw", speakers[number % len(speakers)], number)])[0]
                name = f"audio/{split}{number}.wav"
                soundfile.write(folder / name, speech, 16_000)
                lines.append(f"{name}\t{text}\t{split}-{number % 3}\tsw\t{split}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("btt")
    folder = make_spoken(root / "toy")
    held = [
        line.split("\t")[1] for line in (folder / "manifest.tsv").read_text("utf-8").splitlines()[1:] if "dev" in line
    ]
    lines = [*sentences(40, 2), held[0], "baba 7 mama", ""]
    (root / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def settings(root: Path, **more: Any) -> dict[str, Any]:
    return {**FEW, "text": str(root / "text.txt"), "voice": "fake", "text_options": TEXT_OPTIONS, "ratios": [1], **more}


def request(root: Path, to: str, **more: Any) -> Request:
    return Request(
        (str(root / "toy"),), root / to, settings=settings(root, **more), resources=ONE, command="orature test"
    )


@pytest.fixture(scope="module")
def done(toy: Path) -> Outcome:
    return run(request(toy, "out"))


def infos(root: Path, stage: str) -> list[Any]:
    store = Store(root / ".orature")
    return [info for info in map(store.info, store.keys()) if info.stage == stage]


def test_text_voice_judgement_and_arms_are_in_the_report(done: Outcome, toy: Path) -> None:
    score = done.facts["score"]
    made = score["synthetic"]
    assert made["judgement"]["norm_i"]["value"] > 0 and made["judgement"]["diversity"]
    assert made["text"]["sentences"] == made["facts"]["sentences"] > 20
    assert made["facts"]["kept"] <= made["facts"]["made"]
    assert {row["role"] for row in score["arms"]["rows"]} == {"real", "synthetic"}
    page = (toy / "out" / "report.html").read_text("utf-8")
    for said in ("Norm_I", "left out because", "How well it is understood", "Listen"):
        assert said in page


def test_a_sentence_of_dev_in_the_text_is_not_read_for_training(done: Outcome, toy: Path) -> None:
    reasons = done.facts["score"]["synthetic"]["text"]["reasons"]
    assert reasons["embargo-sentence"] >= 1
    store = Store(toy / "out" / ".orature")
    (split,) = infos(toy / "out", "split")
    corpus = Corpus.open(store.folder(split.key))
    held = {row.text for name in ("dev", "test") for row in corpus.split(name)}
    for info in infos(toy / "out", "pool"):
        train = Corpus.open(store.folder(info.key)).split("train")
        assert not held & {row.text for row in train}


def test_the_probe_is_dev_read_aloud_and_stays_out_of_training(done: Outcome, toy: Path) -> None:
    probes = [i for i in infos(toy / "out", "synthesise") if i.identity["fields"]["split"] == "dev"]
    assert len(probes) == 1
    trained = {i.identity["fields"]["corpus"]["ref"] for i in infos(toy / "out", "train")}
    assert probes[0].digest not in trained
    folder = Store(toy / "out" / ".orature").folder(probes[0].key)
    assert {row.split for row in Corpus.open(folder)} == {"dev"}


def test_below_the_threshold_no_synthetic_speech_is_trained_with(done: Outcome, toy: Path) -> None:
    stopped = run(request(toy, "out", threshold=1e6))
    arms = stopped.facts["score"]["arms"]
    assert [row["role"] for row in arms["rows"]] == ["real"]
    assert arms["verdict"]["helped"] is None and "below" in arms["verdict"]["sentences"][0]
    went_on = run(request(toy, "out", threshold=1e6, go_on=True))
    assert {row["role"] for row in went_on.facts["score"]["arms"]["rows"]} == {"real", "synthetic"}
    assert any("going on because" in note for note in went_on.facts["score"]["arms"]["notes"])


class HearsAll(Transcribe):
    """A recogniser that makes no error, so that a voice has something to learn from."""

    version = 99

    def run(self, ctx: StageContext) -> None:
        rows = Corpus.open(ctx.path_of(self.corpus)).split(self.split)
        with ctx.writing("hypotheses.jsonl") as part:
            write_json_lines(part, [record_of(row, Hypothesis(row.text or "")) for row in rows])


@pytest.mark.slow
def test_a_closed_loop_trains_a_voice_and_is_gated_on_dev(
    done: Outcome, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orature.recipes.closed_loop.Transcribe", HearsAll)
    voice = {"size": "tiny", "updates": 4, "evaluate_every": 2, "batch_seconds": 4.0, "samples": 1, "dev_rows": 2}
    given = {"loop_voice": voice, "min_score": -100.0, "speech": {"reject_limit": 1.0}, "filter": "none"}
    looped = run(request(toy, "out", loop=1, **given))
    arms = looped.facts["score"]["arms"]
    (one,) = arms["rounds"]
    assert one["said"] in arms["notes"]
    labels = infos(toy / "out", "label-speech")
    assert len(labels) == 1 and len(infos(toy / "out", "train_voice")) == 1
    made = [i for i in infos(toy / "out", "synthesise") if i.identity["fields"]["voice"]["fields"]["engine"] == "vits"]
    assert len(made) == 1
    assert ("loop" in {row["role"] for row in arms["rows"]}) is bool(one["kept"])
    assert "Closed loop" in (toy / "out" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_labels_that_nobody_can_use_end_the_loop_and_not_the_run(done: Outcome, toy: Path) -> None:
    given = {"min_score": 0.0, "loop_voice": {"updates": 2}, "speech": {"reject_limit": 1.0}, "filter": "none"}
    arms = run(request(toy, "out", loop=3, **given)).facts["score"]["arms"]
    (one,) = arms["rounds"]
    assert not one["kept"] and "could be labelled" in one["said"]


@pytest.mark.slow
def test_a_calibration_decides_the_gate_and_is_in_the_report(done: Outcome, toy: Path) -> None:
    few = {**FEW, "ladder": "clean,noise:-10", "seeds": 1, "probes": 8}
    outcome = run(request(toy, "out", calibrate=True, calibration=few, go_on=True))
    made = outcome.facts["score"]["synthetic"]
    assert made["calibration"]["verdict"] in ("always", "never", "crosses")
    assert any("calibration" in note for note in outcome.facts["score"]["arms"]["notes"])
    assert made["calibration"]["sentence"].split(".")[0][:40] in (toy / "out" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_up_with_both_extras_reports_arms_and_language_model(toy: Path) -> None:
    extra = {"ratios": [1], "text_options": TEXT_OPTIONS}
    options = UpOptions(
        train=FEW, texts=(str(toy / "text.txt"),), extras=("lm", "back_translation"), voice="fake", translation=extra
    )
    result = run_up(toy / "toy", toy / "up", options, resources=ONE)
    assert {row["role"] for row in result.score["arms"]["rows"]} == {"real", "synthetic"}
    assert "language_model" in result.score and (toy / "up" / "decoder" / "decoder.json").is_file()
    again = run_up(toy / "toy", toy / "up", options, resources=ONE)
    assert not again.fresh
    shown = plan(toy / "toy", toy / "up", options, on=ONE)
    assert {step["state"] for step in shown["steps"]} == {"done"}
    later = plan(toy / "toy", toy / "new", options, on=ONE)
    names = [step["stage"] for step in later["steps"]]
    assert {"text", "synthesise", "judge", "pool", "compare-arms", "lm", "tune-decoder"} <= set(names)
    assert json.dumps(later)
