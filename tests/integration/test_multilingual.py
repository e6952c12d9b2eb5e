"""The recipe `multilingual` on two toy languages: pooled, alone, with and without language identification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import ConfigError, CorpusError
from orature.data.corpus import Corpus
from orature.engines.characters import Characters
from orature.flow import Resources, Store
from orature.recipes.multilingual import plan, run, sources_of
from orature.recipes.registry import Outcome, Request, recipe_of
from orature.testing.checkpoints import make_checkpoint
from tests.integration.two_languages import make_language

ONE = Resources(threads=1, device="cpu", progress=False)
TINY: dict[str, Any] = {"updates": 4, "evaluate_every": 2, "batch_seconds": 5.0}


def request(root: Path, to: str = "out", **fields: Any) -> Request:
    settings = fields.pop("settings", {})
    given = {"sources": (str(root / "kichwa"), str(root / "swahili")), "to": root / to, "scale": "smoke"}
    return Request(**{**given, **fields}, settings=settings, resources=ONE)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multilingual")
    make_language(folder / "kichwa", "qu")
    make_language(folder / "swahili", "sw")
    return folder


@pytest.fixture(scope="module")
def done(root: Path) -> Outcome:
    """At scale smoke as it is, with both kinds of training."""
    return run(request(root, settings={"with_lid": "both"}))


def trainings(root: Path) -> list[dict[str, Any]]:
    store = Store(root / "out" / ".orature")
    infos = map(store.info, store.keys())
    return [json.loads((store.folder(one.key) / "training.json").read_text()) for one in infos if one.stage == "train"]


def test_every_language_is_scored_together_and_alone(root: Path, done: Outcome) -> None:
    score = json.loads((root / "out" / "score.json").read_text("utf-8"))
    assert list(score["languages"]) == ["qu", "sw"] and score["macro"]["languages"] == 2
    assert sum(one["utterances"] for one in score["languages"].values()) == score["utterances"] == 16
    assert all(one["train_hours"] > 0 for one in score["languages"].values())
    for language in score["languages"].values():
        assert language["cer"]["low"] <= language["cer"]["value"] <= language["cer"]["high"]
    assert [one["name"] for one in score["baselines"]] == ["without-lid", "alone"]
    for baseline in score["baselines"]:
        for tag, one in baseline["languages"].items():
            delta = score["languages"][tag]["cer"]["value"] - one["cer"]["value"]
            assert one["difference"]["cer"]["delta"] == pytest.approx(delta, abs=2e-6)
        assert set(baseline["macro"]["difference"]) == {"wer", "cer"}
    page = (root / "out" / "report.html").read_text("utf-8")
    assert 'id="languages"' in page and "trained on the language alone" in page
    assert any("macro" in line for line in done.lines) and done.fresh


def test_baselines_have_the_same_budget_and_their_own_characters(root: Path, done: Outcome) -> None:
    by_name = {one["name"]: one for one in trainings(root)}
    assert set(by_name) == {"multilingual-micro", "multilingual-micro-without-lid", "qu-micro", "sw-micro"}
    together = by_name["multilingual-micro"]["config"]
    assert (together["lid_weight"], together["select"], together["loss_scale"]) == (1.0, "macro-cer", "sqrt-length")
    for name, one in by_name.items():
        changed = {field for field, value in one["config"].items() if value != together[field]}
        allowed = {"multilingual-micro": set(), "multilingual-micro-without-lid": {"lid_weight"}}
        assert changed == allowed.get(name, {"lid_weight", "select"})
    assert by_name["sw-micro"]["languages"] == ["sw"]
    assert Characters.load(root / "out" / "model" / "vocab.json").letters == (" ", "a", "b", "c", "ñ")
    log = [json.loads(line) for line in (root / "out" / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert all(0.0 <= row["lid_accuracy"] <= 1.0 and set(row["dev_cer_by_language"]) == {"qu", "sw"} for row in log)


def test_the_second_time_it_does_nothing(root: Path, done: Outcome) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root / "out").glob("*.*")}
    assert not run(request(root, settings={"with_lid": "both"})).fresh
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_plan_knows_what_is_done(root: Path, done: Outcome) -> None:
    known = plan(request(root, settings={"with_lid": "both"}))
    assert {step["state"] for step in known["steps"]} == {"done"} and len(known["steps"]) == 6
    assert (
        known["train"]["lid_weight"] == 1.0
        and "4 trainings" in known["cost"]
        and set(known["languages"]) == {"qu", "sw"}
    )
    other = plan(request(root, settings={"network": "transformer", "lid_weight": 0, "baselines": False}))
    assert other["steps"][-1]["state"] == "todo" and "1 trainings" in other["cost"]
    fresh = plan(request(root, to="elsewhere"))
    assert [step["state"] for step in fresh["steps"]] == ["todo", "todo"] and "known once" in fresh["cost"]
    assert not (root / "elsewhere" / "model").exists()


def test_the_transformer_without_baselines(root: Path, done: Outcome) -> None:
    settings = {**TINY, "network": "transformer", "with_lid": False, "baselines": False, "select": "language:sw"}
    run(request(root, to="plain", settings=settings, store=root / "out" / ".orature"))
    score = json.loads((root / "plain" / "score.json").read_text("utf-8"))
    assert score["baselines"] == [] and list(score["languages"]) == ["qu", "sw"]
    assert json.loads((root / "plain" / "model" / "config.json").read_text())["model_type"] == "orature-transformer-ctc"
    assert "lid_accuracy" not in (root / "plain" / "train_log.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"with_ldi": True}, "did you mean 'with_lid'"),
        ({"lid_wieght": 0}, "did you mean 'lid_weight'"),
        ({"with_lid": "perhaps"}, "with_lid"),
        ({"split": {"strategie": "given"}}, "strategy"),
        ({"augment": {"wrap": 0.1}}, "warp"),
        ({"with_lid": "both", "lid_weight": 0}, "leave one of them out"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_read(tmp_path: Path, settings: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(Request(sources=("nowhere", "else"), to=tmp_path / "out", settings=settings, resources=ONE))
    assert said in str(caught.value) and not (tmp_path / "out" / ".orature").exists()


def test_languages_must_be_several_and_known(tmp_path: Path, root: Path) -> None:
    one = (str(root / "kichwa"),)
    with pytest.raises(CorpusError, match="one language"):
        run(request(root, sources=one, to="one", store=tmp_path / "store"))
    make_language(tmp_path / "nameless", "sw", column="und")
    two = (str(root / "kichwa"), str(tmp_path / "nameless"))
    with pytest.raises(CorpusError, match="state no language"):
        run(request(root, sources=two, to="two", store=tmp_path / "store"))
    with pytest.raises(CorpusError, match="same rows"):
        run(request(root, sources=one * 2, to="twice", store=tmp_path / "store"))


def test_sources_have_names_and_languages_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    given = ("x/cv.tar.gz", "yo=y/cv.tar.gz", str(tmp_path / "a=b"))
    found = sources_of(Request(sources=given, to=tmp_path))
    assert [(one.name, one.language) for one in found] == [("cv", None), ("cv-2", "yo"), ("a=b", None)]
    assert found[1].path == Path("y/cv.tar.gz")
    with pytest.raises(ConfigError, match="which corpora"):
        sources_of(Request(sources=(), to=tmp_path))


def test_recipes_are_found_by_name_or_listed() -> None:
    found = recipe_of("multilingual")
    assert found.about == found.module().ABOUT
    result = CliRunner().invoke(build(), ["run", "multilingal", "a", "--to", "b"])
    assert result.exit_code == 2
    assert "did you mean 'multilingual'" in result.output and "several languages" in result.output
    assert CliRunner().invoke(build(), ["run", "multilingual", "a"]).exit_code == 2


def test_the_command_prints_the_plan(root: Path, done: Outcome) -> None:
    command = ["run", "multilingual", str(root / "kichwa"), str(root / "swahili"), "--to", str(root / "out"), "--scale"]
    command += ["smoke", "--set", "with_lid=both", "--set", "updates=9", "--dry-run", "--json", "--threads", "1"]
    result = CliRunner().invoke(build(), command)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["train"]["updates"] == 9 and shown["settings"]["with_lid"] == "both"
    assert [step["state"] for step in shown["steps"]] == ["done"] * 5 + ["todo"]


def test_the_pool_kept_every_row(root: Path, done: Outcome) -> None:
    store = Store(root / "out" / ".orature")
    pool = next(info for info in map(store.info, store.keys()) if info.stage == "pool")
    corpus = Corpus.open(store.folder(pool.key))
    assert pool.rows is not None and pool.rows.total == len(corpus) == 64  # one-word sentences are exempt
    assert all(Path(row.audio.path).is_file() for row in corpus)
    assert not corpus.verify()


def test_all_models_start_from_the_same_checkpoint(root: Path, tmp_path: Path) -> None:
    start = make_checkpoint(tmp_path / "start", "xls-r", head=False)
    settings = {**TINY, "start": str(start), "accumulate": 1, "average": 1}
    run(request(root, to="started", settings=settings))
    store = Store(root / "started" / ".orature")
    infos = map(store.info, store.keys())
    made = [json.loads((store.folder(one.key) / "training.json").read_text()) for one in infos if one.stage == "train"]
    assert len(made) == 3 and {one["start"]["name"] for one in made} == {"start"}
    assert {one["family"] for one in made} == {"wav2vec2"}
