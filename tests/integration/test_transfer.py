"""What a start brings: portions of the training speech, both arms of one shape, resumed and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import corpus_of, phone_model_in

from orature.core.errors import ConfigError, CorpusError
from orature.data.corpus import Corpus
from orature.flow import Resources, Run, Store
from orature.recipes.registry import Request, recipe_of
from orature.recipes.transfer import plan, read_settings_of, run
from orature.stages.inputs import corpus_ref
from orature.stages.portion import NOT_DRAWN, Portion

QUIET = Resources(threads=1, progress=False)
TEXTS = [f"{one} {two}" for one in ("shuk", "kimsa", "wasi", "yaku") for two in ("ishkay", "chusku", "pichka")]
TRAIN: dict[str, Any] = {"updates": 3, "evaluate_every": 1, "batch_seconds": 4.0, "average": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_of(tmp_path_factory.mktemp("c") / "qu", [f"{text} {n}" for n, text in enumerate(TEXTS * 2)])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phone_model_in(tmp_path_factory.mktemp("start"))


def _request(to: Path, corpus: Path, start: Path, **settings: Any) -> Request:
    given = {"start": str(start), "minutes": [0.1, 0], "train": TRAIN, **settings}
    return Request((str(corpus),), to, "smoke", settings=given, resources=QUIET)


def test_both_arms_at_equal_compute_with_their_difference(corpus: Path, start: Path, tmp_path: Path) -> None:
    outcome = run(_request(tmp_path / "out", corpus, start))
    rows = outcome.facts["rows"]
    assert [row["minutes"] for row in rows] == [0.1, 0.0]
    assert rows[0]["train_minutes"] <= 0.1 < rows[1]["train_minutes"]
    for row in rows:
        one, two = row["nothing"], row["start"]
        assert one["updates"] == two["updates"] == 3 and len(one["curve"]) == len(two["curve"]) - 1 == 3, (
            "a start has its figure at 0"
        )
        assert one["audio_hours_seen"] == two["audio_hours_seen"] and one["parameters"] == two["parameters"]
        assert row["difference"]["cer"]["delta"] == pytest.approx(two["cer"]["value"] - one["cer"]["value"], abs=1e-5)
    assert json.loads((tmp_path / "out" / "transfer.json").read_text("utf-8")) == outcome.facts
    assert outcome.facts["start"]["digest"] and any("points" in line for line in outcome.lines)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    for said in (*(f"{row['train_minutes']:.1f} min" for row in rows), "CER on dev", "orature run transfer"):
        assert said in page
    assert page.count("<polyline") == 4, "two arms, two amounts"


def test_run_again_it_does_nothing(corpus: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = _request(tmp_path / "out", corpus, start, minutes=[0], arms=["start"])
    first = run(request)
    monkeypatch.setattr("orature.stages.train.train_job", lambda *_: pytest.fail("trained again"))
    assert run(request).facts == first.facts and "nothing" not in first.facts["rows"][0]
    assert plan(request)["trainings"] == 1


def test_a_smaller_portion_is_part_of_a_larger_one_and_every_row_is_counted(corpus: Path, tmp_path: Path) -> None:
    job = Run(Store(tmp_path / "store"), "test", "test")
    ids: list[set[str]] = []
    for minutes in (0.06, 0.15):
        ref = job.do(Portion(corpus=corpus_ref(corpus), minutes=minutes), on=QUIET)
        made = Corpus.open(job.path_of(ref))
        info = job.store.info(ref.key)
        assert info.rows is not None and info.rows.total == 24 and set(info.rows.rejected) == {NOT_DRAWN}
        assert info.rows.kept + info.rows.rejected[NOT_DRAWN] == 24
        assert sum(row.audio.duration_s for row in made.split("train")) <= 60 * minutes
        assert len(list(made.split("dev"))) == len(list(made.split("test"))) == 8
        ids.append({row.id for row in made.split("train")})
    assert ids[0] < ids[1] and len(ids[0]) == 2 and len(ids[1]) == 6
    other = job.do(Portion(corpus=corpus_ref(corpus), minutes=0.06, seed=2), on=QUIET)
    assert {row.id for row in Corpus.open(job.path_of(other)).split("train")} != ids[0]
    with pytest.raises(CorpusError, match="no training utterance fits"):
        job.do(Portion(corpus=corpus_ref(corpus), minutes=0.001), on=QUIET)


def test_wrong_settings_are_refused_before_anything_is_read(corpus: Path, start: Path, tmp_path: Path) -> None:
    for wrong, said in [
        ({"updates": [3]}, "equally many"),
        ({"arms": ["start", "other"]}, "no arm 'other'"),
        ({"train": {"updates": 0}}, "updates"),
        ({"minuts": [3]}, "minuts"),
    ]:
        with pytest.raises(ConfigError, match=said):
            read_settings_of(_request(tmp_path / "out", corpus, start, **wrong))
    with pytest.raises(ConfigError, match="as much speech"):
        run(_request(tmp_path / "out", corpus, start, minutes=[90]))
    assert recipe_of("transfer").about == recipe_of("transfer").module().ABOUT
