"""The recipe `pseudo_label` on tones: every step, every row, dev decides, run again it does nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import model_in

from orature.core.errors import BadInput, ConfigError, CorpusError, ModelError, StoreError
from orature.data.corpus import Corpus
from orature.engines.recognisers import load_recogniser
from orature.evaluate.compare import compare
from orature.evaluate.folder import open_scored
from orature.flow import Resources, Run, Store
from orature.recipes import pseudo_label
from orature.recipes.pseudo_label import lines_of, plan, run
from orature.recipes.pseudo_report import POOLED
from orature.recipes.pseudo_settings import Trainings, settings_of
from orature.recipes.registry import Request, recipe_of
from orature.recipes.settings import override
from orature.recipes.training import UpOptions, split_stage
from orature.stages.ingest import ingest_stage
from orature.stages.portion import Portion
from orature.testing.checkpoints_seq2seq import speech2text_folder
from orature.train.pseudo_config import PseudoConfig
from tests.integration.tones import make_corpus
from tests.integration.two_languages import make_language

QUIET = Resources(threads=1, progress=False)
LOOSE = (
    *("min_score", "min_confidence", "most_same", "step_ms"),
    *("rate_deviations", "slow_deviations", "most_unseen", "most_repeated", "most_other_script"),
)
SMALL: dict[str, Any] = {
    "train": {"updates": 6, "evaluate_every": 3, "batch_seconds": 6.0, "average": 1, "peak_lr": 1e-5, "head": "keep"},
    "pseudo": {"cache": 2, "ratio": 1.0, "warmup_updates": 2, "probe_s": 1.0},
    "filters": dict.fromkeys(LOOSE, "none"),
    "tune": None,
}


def request_of(sources: list[Path], to: Path, start: Path, **settings: Any) -> Request:
    given = {**SMALL, "start": str(start), **settings}
    return Request(tuple(map(str, sources)), to, "smoke", settings=given, resources=QUIET)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing and writes letters all the time."""
    folder = tmp_path_factory.mktemp("start") / "start"
    folder.mkdir()
    return model_in(folder, ["abcñ"], blank=-3.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("pseudo") / "tones", language="sw")


@pytest.fixture(scope="module")
def done(source: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    to = tmp_path_factory.mktemp("done") / "out"
    outcome = run(request_of([source], to, start, speakers=["train-0"]))
    return to, outcome.facts


def test_one_language_is_measured_step_by_step_beside_labels_alone(done: tuple[Path, dict[str, Any]]) -> None:
    to, facts = done
    (row,) = facts["languages"]
    assert list(row["arms"]) == ["labels alone", "slimIPL", "student", "student, last pass"]
    assert row["arms"]["labels alone"]["updates"] == row["arms"]["slimIPL"]["updates"] == 6
    assert row["arms"]["slimIPL"]["unlabelled_hours"] > 0 == row["arms"]["labels alone"]["unlabelled_hours"]
    for name in ("slimIPL", "student", "student, last pass"):
        assert {"low", "high", "delta"} <= row["arms"][name]["difference"]["cer"].keys()
    best = min(arm["dev_cer"] for arm in row["arms"].values())
    assert row["arms"][row["kept"]]["dev_cer"] == best, "dev decides"
    assert (to / "models" / "tones" / "model.safetensors").is_file()
    scores = to / "scores" / "tones"
    assert sorted(one.name for one in scores.iterdir()) == ["labels-alone", "slimIPL", "student", "student-last-pass"]
    again = compare(open_scored(scores / "labels-alone"), open_scored(scores / "slimIPL"))
    assert again["cer"] == row["arms"]["slimIPL"]["difference"]["cer"]
    assert json.loads((to / "pseudo_label.json").read_text("utf-8")) == facts
    assert row["labels"] is not None
    slim = row["arms"]["slimIPL"]
    assert [one["update"] for one in slim["watch"]["rows"]] == [3, 6] and slim["watch"]["rollbacks"] == 0
    assert any(one.get("length_ratio") for one in slim["watch"]["rows"])
    assert slim["scaled"]["cache"] == {"published": 1000, "used": 2}
    page = (to / "report.html").read_text("utf-8")
    for words in ('id="rates"', 'id="labels"', 'id="watch"', 'id="scaled"', "<svg", "kept by dev"):
        assert words in page


def test_labels_that_no_student_can_learn_from_are_told_in_the_report(
    source: Path, start: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Two trainings fewer, and a reader of the page alone knows why."""
    request = request_of([source], tmp_path / "out", start, speakers=["train-0"])
    strict = {**request.settings, "filters": {**SMALL["filters"], "min_score": -1e-9}}
    outcome = run(replace(request, store=done[0] / ".orature", settings=strict))
    (row,) = outcome.facts["languages"]
    assert list(row["arms"]) == ["labels alone", "slimIPL"] and row["labels"] is None
    labels, student = row["remarks"]
    assert labels.startswith("no final labels (not one of") and student.startswith("no student")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Read with care" in page and labels in page and student in page
    assert done[1]["languages"][0]["remarks"] == []


def test_run_again_it_does_nothing(
    source: Path, start: Path, done: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orature.stages.train.train_job", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr("orature.stages.transcribe.load_recogniser", lambda *_, **__: pytest.fail("decoded again"))
    assert run(request_of([source], done[0], start, speakers=["train-0"])).facts == done[1]


def test_preferences_are_an_arm_of_their_own_from_the_best_model_so_far(
    source: Path, start: Path, done: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """All earlier steps are those of the run without it, which are not done again."""
    assert all("preference" not in row["arms"] for row in done[1]["languages"]), "off by default"
    prefer = {"n_best": 3, "beams": 8, "unit": "characters", "updates": 2, "evaluate_every": 1, "peak_lr": 1e-4}
    outcome = run(request_of([source], done[0], start, speakers=["train-0"], prefer=prefer))
    (row,), (before,) = outcome.facts["languages"], done[1]["languages"]
    arm = row["arms"]["preference"]
    assert list(row["arms"]) == [*before["arms"], "preference"] and arm["updates"] == 2
    assert {name: arm["preference"]["config"][name] for name in ("n_best", "unit")} == {
        "n_best": 3,
        "unit": "characters",
    }
    assert f"preferences of the model of {before['kept']!r}" in capsys.readouterr().err
    assert arm["preference"]["dev_start"] == pytest.approx(before["arms"][before["kept"]]["dev_cer"], abs=1e-5)
    assert arm["dev_cer"] <= before["arms"][before["kept"]]["dev_cer"] + 1e-9, "the gate"
    assert row["kept"] == (before["kept"] if arm["preference"]["kept"] == "start" else "preference")
    assert row["worse_by_pooling"] == before["worse_by_pooling"]


def test_a_language_that_gets_worse_is_named_and_keeps_its_own_model(done: tuple[Path, dict[str, Any]]) -> None:
    (row,) = done[1]["languages"]
    worse = {**row, "kept": "slimIPL", "worse_by_pooling": True}
    assert any("WORSE by the student on dev: tones keeps" in line for line in lines_of(worse))
    assert not any("WORSE" in line for line in lines_of({**row, "worse_by_pooling": False}))


def test_a_student_that_is_as_good_on_dev_is_not_called_worse(
    source: Path, start: Path, done: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equals the first is kept, and no language is named in red for it."""
    request = request_of([source], done[0], start, speakers=["train-0"])
    for cer, worse in ({}, False), ({"student": 0.6, "student, last pass": 0.6}, True):
        found = {"labels alone": 0.5, "slimIPL": 0.5, "student": 0.5, "student, last pass": 0.5, **cer}
        given = iter(found.values())
        monkeypatch.setattr("orature.recipes.pseudo_report.dev_cer", lambda *_, given=given: next(given))
        (row,) = run(replace(request, settings=request.settings)).facts["languages"]
        assert row["kept"] == "labels alone" and row["worse_by_pooling"] is worse


def test_a_plan_tells_the_trainings_that_come_and_what_they_take(
    source: Path, start: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """From the corpus alone, before anything is split or trained; after the run nothing is left."""
    job = Run(Store(tmp_path / ".orature"), recipe="test", command="")
    job.store.publish(job.do(ingest_stage(source), on=QUIET), tmp_path / source.name)
    request = request_of([tmp_path / source.name], tmp_path / "out", start, speakers=["train-0"])
    shown = plan(request)
    assert shown["steps"][0] == {"stage": "split", "state": "todo", "key": shown["steps"][0]["key"]}
    names = [step["stage"] for step in shown["steps"]]
    assert [names.count(name) for name in ("train", "train-pseudo", "filter-labels", "evaluate")] == [3, 1, 1, 4]
    arms = done[1]["languages"][0]["arms"]
    assert [one["model"] for one in shown["each"]] == list(arms)
    for one, arm in zip(shown["each"], arms.values(), strict=True):
        assert one["updates"] == arm["updates"], one
        assert 0.5 < one["audio_hours"] / arm["audio_hours_seen"] < 2 or one["audio_hours"] < 0.002, one
    assert shown["seconds"] > 0 and shown["cost"].startswith("4 trainings are left")
    assert not (tmp_path / "out").exists(), "a plan makes nothing"
    after = plan(request_of([source], done[0], start, speakers=["train-0"]))
    assert {step["state"] for step in after["steps"]} == {"done"} and after["seconds"] == 0
    assert {one["time"] for one in after["each"]} == {"done"}


def test_files_of_others_where_the_model_would_lie_are_refused_before_the_hours(
    source: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out" / "models" / "tones"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("mine")
    monkeypatch.setattr("orature.stages.train.train_job", lambda *_: pytest.fail("trained before it was said"))
    for does in (run, plan):
        with pytest.raises(StoreError, match="not Orature's"):
            does(request_of([source], tmp_path / "out", start))
    with pytest.raises(ConfigError, match="no training utterance of tones is by nobody"):
        run(request_of([source], tmp_path / "else", start, speakers=["nobody"]))


def test_slimipl_and_labels_alone_go_on_from_one_fine_tuned_model(source: Path, start: Path, tmp_path: Path) -> None:
    """At half of the learning rate, with the same updates, and without a warm-up."""
    given: dict[str, Any] = {"tune": {"updates": 4}, "final": "none", "speakers": ["train-0"]}
    request = request_of([source], tmp_path / "out", start, **given)
    (row,) = run(request).facts["languages"]
    arms = row["arms"]
    assert list(arms) == ["fine-tuned", "labels alone", "slimIPL"] and row["against"] == "labels alone"
    assert [arm["updates"] for arm in arms.values()] == [4, 6, 6]
    for name in ("labels alone", "slimIPL"):
        first = arms[name]["log"][0]
        assert first["update"] == 0 and first["dev_cer"] == pytest.approx(arms["fine-tuned"]["dev_cer"], abs=1e-6)
        assert max(entry.get("lr", 0.0) for entry in arms[name]["log"]) <= 0.5e-5 + 1e-12
    assert plan(request)["trainings"] == 3


def test_several_languages_have_a_common_model_and_one_student(start: Path, tmp_path: Path) -> None:
    """With slimIPL over all languages beside that of each; then over all of them alone, from the same common model."""
    sources = [make_language(tmp_path / name, name) for name in ("qu", "sw")]
    given: dict[str, Any] = {"minutes": 0.1, "last_pass": False, "alone": False}
    outcome = run(request_of(sources, tmp_path / "out", start, **given, slim_over="both"))
    rows = {row["corpus"]: row for row in outcome.facts["languages"]}
    assert rows.keys() == {"qu", "sw"}
    for row in rows.values():
        assert list(row["arms"]) == ["common model", "slimIPL", POOLED, "student"] and row["against"] == "common model"
        assert row["arms"][POOLED]["updates"] == 2 * row["arms"]["slimIPL"]["updates"] == 12, "equal compute"
        assert row["arms"][POOLED]["unlabelled_hours"] > row["arms"]["slimIPL"]["unlabelled_hours"] > 0
    both = sum(row["arms"]["slimIPL"]["unlabelled_hours"] for row in rows.values())
    assert rows["qu"]["arms"][POOLED]["unlabelled_hours"] == pytest.approx(both, abs=2e-4)
    assert (tmp_path / "out" / "models" / "qu").is_dir() and (tmp_path / "out" / "models" / "sw").is_dir()

    alone = run(request_of(sources, tmp_path / "out", start, **given, slim_over="all", final="none"))
    for row in alone.facts["languages"]:
        assert list(row["arms"]) == ["common model", POOLED] and row["labels"]["kept"] > 0
        assert row["arms"][POOLED]["cer"] == rows[row["corpus"]]["arms"][POOLED]["cer"], "the same model"


def test_another_corpus_stands_in_for_untranscribed_speech(source: Path, start: Path, tmp_path: Path) -> None:
    other = make_language(tmp_path / "other", "qu", train=10)
    given: dict[str, Any] = {"unlabelled": {"tones": str(other)}, "alone": False, "final": "none"}
    outcome = run(request_of([source], tmp_path / "out", start, speakers=["train-0"], **given))
    (row,) = outcome.facts["languages"]
    assert row["lent"] == "other" and row["labels"]["rows"] == 10 and list(row["labels"]["languages"]) == ["sw"]
    assert row["arms"]["slimIPL"]["unlabelled_hours"] == pytest.approx(row["labels"]["hours"], abs=1e-4)
    assert "untranscribed speech lent by other" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_where_nothing_would_be_trained_that_is_said(source: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no untranscribed speech"):
        run(request_of([source], tmp_path / "out", start, alone=False))


def test_final_labels_are_searched_with_a_language_model_of_given_text(
    source: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"a{'b' * (number % 5)} c ab\n" for number in range(40)))
    heard: list[Any] = []
    fused, kept = pseudo_label.fuse, pseudo_label.labelled
    monkeypatch.setattr(pseudo_label, "fuse", lambda *a, **how: heard.append((a, fused(*a, **how))) or heard[-1][1])
    monkeypatch.setattr(pseudo_label, "labelled", lambda *a, **how: heard.append(how) or kept(*a, **how))
    asked = request_of(
        [source], tmp_path / "out", start, final="none", alone=False, minutes=0.3, text={"tones": str(text)}
    )
    facts = run(asked).facts
    ((job, _, _, texts), decoder), asked = heard
    assert asked["listening"].decoder == decoder and texts == [text] and decoder is not None
    assert asked["filters"]["min_confidence"] == "none", "half of the words right is asked of no label here"
    tuned = json.loads((job.path_of(decoder) / "decoder.json").read_text())["tuned"]
    assert [one["unit"] for one in tuned["language_models"]] == ["word", "character"] and tuned["split"] == "dev"
    stages = [step.stage for step in job.record.steps]
    assert stages.count("language-model") == 2 and stages.count("tune-decoder") == 1
    decoders = [
        json.loads((job.path_of(job.store.get(step.key)) / "score.json").read_text())["decoder"]
        for step in job.record.steps
        if step.stage == "evaluate"
    ]
    assert decoders and not any(decoders), "figures are without it, in every arm"
    assert facts["languages"][0]["labels"] is not None and facts["languages"][0]["text"] == "text.txt"
    assert "language models of text.txt" in (tmp_path / "out" / "report.html").read_text()


def test_preferences_of_an_attention_model_are_dpo(source: Path, tmp_path: Path) -> None:
    attention = speech2text_folder(tmp_path / "attention", texts=["abc cab bca"])
    prefer = {"n_best": 3, "beams": 8, "unit": "characters", "updates": 2, "evaluate_every": 1, "peak_lr": 1e-3}
    given: dict[str, Any] = {"alone": False, "final": "none", "prefer": prefer, "speakers": ["train-0"]}
    outcome = run(request_of([source], tmp_path / "out", attention, **given))
    (row,) = outcome.facts["languages"]
    assert list(row["arms"]) == ["slimIPL", "preference"]
    found = row["arms"]["preference"]["preference"]
    assert found["method"] == "DPO" and found["pairs"] > 0 and found["kept"] in ("start", "trained")
    log = row["arms"]["preference"]["log"]
    assert [entry["update"] for entry in log] == [0, 1, 2]
    assert row["kept"] == ("slimIPL" if found["kept"] == "start" else "preference")
    assert load_recogniser(tmp_path / "out" / "models" / "tones").card.family == "speech2text"


def test_what_goes_on_from_a_model_of_the_run_keeps_its_letters(source: Path, start: Path, tmp_path: Path) -> None:
    job = Run(Store(tmp_path / "store"), "test", "test")
    splits = job.do(split_stage(job.do(ingest_stage(source), on=QUIET), UpOptions()), on=QUIET)
    train = {name: value for name, value in SMALL["train"].items() if name != "head"}
    request = request_of([source], tmp_path / "out", start, train=train)
    trainings = Trainings(job, settings_of(request), request)
    first = trainings.supervised(splits, "first", trainings.start(), {})
    assert first.config.head == "auto", "a start from elsewhere has letters of its own"
    model = job.do(first, on=QUIET)
    slim, _ = trainings.slim(splits, "slim", model)
    student = trainings.student(splits, "student", model)
    assert student is not None and student.config.head == slim.config.head == "keep"
    last = trainings.last(splits, "last", model, 30)
    made = job.path_of(job.do(last, on=QUIET))
    log = [json.loads(line) for line in (made / "train_log.jsonl").read_text("utf-8").splitlines()]
    facts = json.loads((job.path_of(model) / "training.json").read_text("utf-8"))
    assert last.config.head == "keep" and log[0]["update"] == 0
    assert log[0]["dev_cer"] == pytest.approx(facts["dev"]["cer"], abs=1e-6), "it begins where the model ended"


def test_the_rest_of_train_becomes_untranscribed(source: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    job = Run(store, "test", "test")
    splits = job.do(split_stage(job.do(ingest_stage(source), on=QUIET), UpOptions()), on=QUIET)
    whole = Corpus.open(store.path_of(splits))
    made = Corpus.open(
        store.path_of(job.do(Portion(corpus=splits, minutes=99, speakers=("train-1",), rest="unlabelled")))
    )
    assert len(made) == len(whole) and {row.speaker for row in made.split("train")} == {"train-1"}
    free = list(made.split("unlabelled"))
    assert len(free) == sum(row.speaker != "train-1" for row in whole.split("train"))
    assert all(row.text is None and row.speaker is None for row in free)
    with pytest.raises(CorpusError, match="of nobody"):
        job.do(Portion(corpus=splits, minutes=99, speakers=("nobody",)))


def test_wrong_settings_are_refused_before_anything_is_read(source: Path, start: Path, tmp_path: Path) -> None:
    request = request_of([source], tmp_path / "out", start)
    sentences, binary = tmp_path / "sentences.txt", tmp_path / "binary.txt"
    sentences.write_text("\n \n")
    binary.write_bytes(b"abc \xff\xfe\n")
    for wrong, said in (
        ({"preset": "7h"}, "choose of 10h"),
        ({"pseudo": {"cach": 3}}, "cach"),
        ({"filters": {"min_skore": 1}}, "min_skore"),
        ({"final": "bigger"}, "final"),
        ({"train": {"size": "giant"}}, "giant"),
        ({"prefer": {"bta": 0.2}}, "did you mean 'beta'"),
        ({"prefer": {"beams": 4}}, "a search of 4 beams cannot give 8 texts"),
        ({"prefer": {"updates": 0}}, "updates"),
        ({"start": str(tmp_path / "nowhere")}, "no such model folder"),
        ({"slim_over": "both"}, "nothing to be pooled with"),
        ({"slim_over": "none"}, "slim_over"),
        ({"split": "tset"}, "option 'split'"),
        ({"updates": 5}, "--set train.updates=..."),
        ({"slim": {"updates": "many"}}, "option 'slim.updates'"),
        ({"filters": {"min_confidence": 2}}, "option 'filters.min_confidence'"),
        ({"pseudo": {"cache": 0, "refresh_share": 0.5}}, "options of 'pseudo': without a cache"),
        ({"final": "larger", "train": {"size": "base"}}, "no size above 'base'"),
        ({"unlabelled": {"tone": str(source)}}, "did you mean 'tones'"),
        ({"unlabelled": {"tones": str(tmp_path / "nowhere")}}, "there is nothing at"),
        ({"text": {"tone": str(sentences)}}, "did you mean 'tones'"),
        ({"text": {"tones": str(tmp_path / "nowhere")}}, "there is nothing at"),
        ({"text": {"tones": str(sentences)}}, "no sentences are at the beginning of"),
        ({"text": {"tones": str(binary)}}, "UTF-8"),
    ):
        with pytest.raises((ConfigError, ModelError, BadInput)) as error:
            run(replace(request, settings={**SMALL, **wrong}))
        assert said in f"{error.value}{error.value.next_step}", wrong
    with pytest.raises(ConfigError, match="two corpora"):
        run(replace(request, sources=(str(source), str(source))))
    with pytest.raises(ConfigError, match="no such file or folder"):
        plan(replace(request, sources=(str(tmp_path / "nothing"),)))
    assert not (tmp_path / "out").exists()
    without = settings_of(replace(request, settings={**SMALL, "tune": "none", "prefer": "none"}))
    assert without.tune is None and without.prefer is None
    quiet = override(PseudoConfig(), {"dropout": "none", "watch": {"dev_loss": "none"}})
    assert quiet.dropout is None and quiet.watch.dev_loss is None
    shown = plan(request)
    more = plan(replace(request, settings={**SMALL, "prefer": {}}))
    assert shown["trainings"] == 4 and more["trainings"] == 5 and recipe_of("pseudo_label").module().plan is plan


def test_what_cannot_be_labelled_or_scored_is_refused_before_any_training(
    source: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orature.stages.train.train_job", lambda *_: pytest.fail("trained before it was said"))
    with pytest.raises(CorpusError, match="no untranscribed speech in tones") as error:
        run(request_of([source], tmp_path / "out", start))
    assert "--set unlabelled.NAME=CORPUS" in error.value.next_step
    lines = (source / "manifest.tsv").read_text("utf-8").splitlines()
    less = shutil.copytree(source, tmp_path / "no-train")
    kept = [line for line in lines if not line.endswith("\ttrain")]
    (less / "manifest.tsv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="no transcribed utterance in its split train"):
        run(request_of([less], tmp_path / "out", start))
