"""A judge that has learnt letters of tones: worse speech gets a lower Norm_I, and calibration finds where it helps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orature.core.errors import ConfigError, CorpusError, Interrupted
from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import save_corpus
from orature.evaluate.html.calibration_curve import calibration_page
from orature.flow import Resources, Run, Store, open_store
from orature.recipes.calibrate import plan, run
from orature.recipes.calibrate_settings import rung_of, settings_from
from orature.recipes.judging import judged, read_judgement
from orature.recipes.registry import Request
from orature.recipes.training import UpOptions, split_stage
from orature.stages.distort import Distort
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.train import Train
from orature.testing.faults import fault
from orature.train.config import AugmentConfig, TrainConfig
from tests.integration.tones import tones

ON = Resources(progress=False, device="cpu", threads=1)
PLAIN = AugmentConfig(warp=0, noise_probability=0, time_masks=0, mel_masks=0, speeds=(1.0,))
QUICK: dict[str, Any] = {"updates": 4, "evaluate_every": 2, "batch_seconds": 6.0, "ladder": "clean,bands:1"}


def texts_of(count: int, seed: int) -> list[str]:
    rng, found = np.random.default_rng(seed), dict[str, None]()
    while len(found) < count:
        found["".join(rng.choice(list("abc"), size=int(rng.integers(2, 6))))] = None
    return list(found)


def corpus_in(folder: Path, parts: dict[str, list[str]], origin: Any = "real") -> Path:
    """Tones for letters: `parts` holds the texts of each split."""
    folder.mkdir(parents=True)
    rows = []
    for split, texts in parts.items():
        for number, text in enumerate(texts):
            samples = tones(text, 1000 * len(split) + number, 0.9 + 0.1 * (number % 3))
            path = folder / f"{split}{number:03}.flac"
            save_flac(path, samples)
            span = AudioSpan(str(path), 0.0, len(samples) / RATE_HZ, audio_digest(samples))
            speaker = f"{origin}-{split}-{number % 3}"
            rows.append(Utterance(f"{split}{number:03}", span, text, "und", speaker, origin, split=split))  # type: ignore[arg-type]
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Little real speech, more synthetic speech, and a judge that knows the letters."""
    root, texts = tmp_path_factory.mktemp("tones"), texts_of(110, 3)
    dev, few, more = texts[:30], texts[30:36], texts[36:]
    corpus_in(root / "real", {"train": few, "dev": dev, "test": dev[:2]})
    corpus_in(root / "made", {"train": more, "dev": dev}, "synthetic")
    corpus_in(root / "school", {"train": more, "dev": few})
    config = TrainConfig(
        size="micro", updates=120, batch_seconds=12, peak_lr=3e-3, evaluate_every=120, average=1, overfit_clips=0,
        dropout=0.0, augment=PLAIN,
    )  # fmt: skip
    store = Store(root / "store")
    model = Run(store, "t", "t").do(Train(corpus=corpus_ref(root / "school"), config=config), on=ON)
    store.publish(model, root / "judge")
    return root


def asked(world: Path, to: Path, **settings: Any) -> Request:
    given = {"judge": str(world / "judge"), "synthetic": str(world / "made"), **QUICK, **settings}
    return Request((str(world / "real"),), to, "smoke", 1, given, ON, None, "orature judge --calibrate")


def test_the_judge_hears_worse_speech_as_worse(world: Path, tmp_path: Path) -> None:
    run_ = Run(Store(tmp_path / "store"), "t", "t")
    real, made = corpus_ref(world / "real"), corpus_ref(world / "made")
    values = []
    for rung in ("clean", "bands:4", "bands:1"):
        steps = rung_of(rung)
        heard = run_.do(Distort(corpus=made, steps=steps), on=ON) if steps else made
        ref = judged(run_, heard, real, model_ref(world / "judge"), synthetic_split="dev", metric="cer", on=ON)
        found = read_judgement(run_.path_of(ref))
        assert found["probe"]["paired"]
        values.append((found["cer_syn"]["value"], found["norm_i_by_metric"]["cer"]["value"]))
    errors = [error for error, _ in values]
    assert errors[0] < 0.05 and errors[0] + 0.05 < errors[1] < errors[2] and errors[2] > 0.5, values
    assert values[0][1] > 0.9 > values[1][1] >= values[2][1], values


def test_a_crash_costs_nothing_and_the_end_is_one(world: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    with fault("stage-ran:9:interrupt"), pytest.raises(Interrupted):
        run(asked(world, to))
    store = open_store(to / ".orature")
    before = {key: store.info(key).made.at for key in store.keys()}  # noqa: SIM118
    assert before and not (to / "report.html").exists()
    outcome = run(asked(world, to))
    assert outcome.fresh and all(store.info(key).made.at == at for key, at in before.items())
    facts = trainings(to)
    assert len(facts) == 3 and {one["updates"] for one in facts} == {4}
    assert sorted(one["train_utterances"] for one in facts)[0] == 6
    assert "everything was done before" not in "".join(outcome.lines) and not run(asked(world, to)).fresh
    page = (to / "report.html").read_text(encoding="utf-8")
    assert "bands:1" in page and "real speech alone" in page and "<svg" in page
    assert outcome.facts["about"]["judged_on_dev_sentences"] is True


def trainings(to: Path) -> list[dict[str, Any]]:
    """training.json of every model that a calibration made."""
    store = open_store(to / ".orature")
    models = [store.folder(key) for key in store.keys() if store.info(key).stage == "train"]  # noqa: SIM118
    return [json.loads((folder / "training.json").read_text(encoding="utf-8")) for folder in models]


def test_what_a_calibration_would_cost(world: Path, tmp_path: Path) -> None:
    request = asked(world, tmp_path / "out", seeds=2)
    found = plan(request)
    assert found["trainings"] == 6 and found["split"] == "todo" and not (tmp_path / "out").exists()
    assert "6 trainings of the same budget, each: train: will pass" in found["cost"]
    job = Run(open_store(tmp_path / "out" / ".orature"), "t", "t")
    job.do(split_stage(corpus_ref(world / "real"), UpOptions(seed=1)), on=ON)
    assert plan(request)["split"] == "done"
    whole = corpus_in(tmp_path / "whole", {"train": ["ab", "bc"]})
    assert plan(replace(request, sources=(str(whole),)))["cost"] == "known once the corpus has been split"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ladder": "clean"}, "two different qualities"),
        ({"ladder": "clean,clean"}, "two different qualities"),
        ({"ladder": "clean,mud:3"}, "no quality of synthetic speech"),
        ({"ladder": "clean,bands:0"}, "bands takes 1 to 64"),
        ({"ratios": 2}, "did you mean 'ratio'"),
        ({"ratio": 0}, "greater than 0"),
        ({"normaliser": "none"}, "nearest"),
        ({"judge": None}, "who judges"),
        ({"synthetic": None}, "either synthetic speech or a text"),
        ({"text": "x.txt"}, "either synthetic speech or a text"),
        ({"text": "nothing.txt", "synthetic": None}, "no such text"),
    ],
)
def test_settings_that_cannot_be(world: Path, tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        plan(asked(world, tmp_path / "out", **settings))


def test_corpora_that_cannot_be(world: Path, tmp_path: Path) -> None:
    only = corpus_in(tmp_path / "only", {"train": ["ab", "bc"]})
    with pytest.raises(CorpusError, match="calibration needs real speech in train and dev"):
        run(replace(asked(world, tmp_path / "a"), sources=(str(only),)))
    with pytest.raises(CorpusError, match="no utterances in split 'train'"):
        run(asked(world, tmp_path / "b", synthetic=str(corpus_in(tmp_path / "dev", {"dev": ["ab"]}, "synthetic"))))


def test_seeds_and_training_come_from_the_scale() -> None:
    assert settings_from({}, "full").seeds == 3 and settings_from({"seeds": 1}, "full").seeds == 1
    assert settings_from({"updates": 77}).train == {"updates": 77}
    assert [str(step) for step in rung_of("bands:2+shuffle:250")] == ["bands 2", "shuffle 250"]


@pytest.mark.slow
def test_speech_that_is_understood_helps_and_noise_does_not(world: Path, tmp_path: Path) -> None:
    """Six real utterances teach little; with tones read from text dev error falls, with destroyed ones it does not."""
    train: dict[str, Any] = {"updates": 120, "evaluate_every": 120, "batch_seconds": 8.0, "peak_lr": 3e-3}
    train |= {"augment": PLAIN.model_dump(), "dropout": 0.0, "average": 1}
    found = run(asked(world, tmp_path / "out", ladder="clean,bands:1+shuffle:300", metric="cer", **train)).facts
    assert {one["updates"] for one in trainings(tmp_path / "out")} == {120}
    assert found["about"]["hours_heard_most"] <= 1.06 * found["about"]["hours_heard_least"], "batches fill unevenly"
    clean, destroyed = found["rungs"]
    assert clean["difference"]["verdict"] == "helps" and clean["difference"]["value"] < -0.1
    assert destroyed["error"]["value"] > clean["error"]["value"] + 0.1
    assert destroyed["norm_i"]["value"] < 0.01 < clean["norm_i"]["value"]
    assert found["verdict"] in ("crosses", "always")


def test_the_page_of_any_calibration(tmp_path: Path) -> None:
    reach = {"value": 0.3, "low": 0.2, "high": 0.4}
    row = {"name": "<b>", "norm_i": reach, "error": reach, "difference": {**reach, "verdict": "hurts"}}
    found = {
        "metric": "wer", "rungs": [row, {**row, "name": "clean", "norm_i": {"value": 0.0, "low": None, "high": None}}],
        "baseline": reach, "threshold": {"value": 0.1, "low": None, "high": 0.5}, "warnings": ["<i>"], "about": {},
        "shares": {"always": 0.1, "never": 0.2, "crosses": 0.7}, "sentence": "It <helps>.", "split": "dev",
    }  # fmt: skip
    page = calibration_page(found, command="a <b>")
    assert "<b>It &lt;helps&gt;.</b>" in page and "&lt;i&gt;" in page and "open below to 0.5" in page
    assert ">&lt;b&gt;<" in page and "a &lt;b&gt;" in page
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
