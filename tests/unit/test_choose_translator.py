"""Which translator is taken: dev alone decides, all figures are told, and what could not be made has its reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import ConfigError
from orature.core.identity import digest_file, digest_json
from orature.flow import Ref, Resources, Run, Store
from orature.stages.choose_translator import Candidate, ChooseTranslator
from orature.stages.evaluate_translation import EvaluateTranslator, spread
from orature.stages.inputs import translator_ref
from orature.stages.train_dictionary import DictionaryConfig, TrainDictionary
from orature.stages.translation_score import SCORE_FILE, TRANSLATIONS_FILE, TranslatedRow, score_in, score_rows
from orature.testing.stage_contract import check_idempotent, check_identity, check_resumable
from orature.text.parallel import PAIRS, SUMMARY, Pair, ParallelCorpus, write_pairs
from tests.toy_language import toy_pairs

pytest.importorskip("sacrebleu")
QUIET = Resources(threads=1, progress=False)
SENTENCES = [target for _, target in toy_pairs(24)]


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing costs milliseconds a file and makes no difference here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def scored(folder: Path, right: int, split: str = "dev", rows: int = 24) -> Path:
    """A score folder of so many sentences of which the first `right` are translated as they should be."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [text if number < right else "zz zz" for number, text in enumerate(SENTENCES[:rows])]
    found = [TranslatedRow(str(n), "source", SENTENCES[n], text, "", 50.0) for n, text in enumerate(texts)]
    mark = digest_json([split, rows])
    score = score_rows(found, model="m", split=split, fingerprint=mark, languages=("es", "qu"), decoder={})
    (folder / SCORE_FILE).write_text(json.dumps(score), encoding="utf-8")
    lines = "".join(json.dumps(row.to_json()) + "\n" for row in found)
    (folder / TRANSLATIONS_FILE).write_text(lines, encoding="utf-8")
    return folder


def external(folder: Path) -> Ref:
    files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    return Ref(key="external", stage="test", digest=digest_json(files), path=str(folder))


def candidate(root: Path, kind: Any, *, dev: int, test: int = 12, split: str = "dev", rows: int = 24) -> Candidate:
    """A folder with what a stage that trains leaves, and its score on dev."""
    model = scored(root / kind, test, "test")
    facts = {
        "name": "toy",
        "kind": kind,
        "kind_said": f"a {kind}",
        "family": "marian" if kind == "transformer" else kind,
        "languages": ["es", "qu"],
        "licences": [],
        "train_pairs": 90,
        "told": {"Seed": "1"},
    }
    (model / "training.json").write_text(json.dumps(facts), encoding="utf-8")
    for name in ("weights.bin", "README.md", "report.html", "artefact.json", "train_log.jsonl"):
        (model / name).write_text("" if name.endswith("jsonl") else f"{name} of {kind}", encoding="utf-8")
    return Candidate(kind=kind, model=external(model), dev=external(scored(root / f"{kind}-dev", dev, split, rows)))


def chosen(root: Path, *candidates: Candidate, failed: dict[str, str] | None = None) -> Path:
    run = Run(Store(root / "store"), "test", "test")
    return run.path_of(run.do(ChooseTranslator(candidates=candidates, failed=failed or {}), on=QUIET))


def choice_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "training.json").read_text("utf-8"))
    return dict(found["choice"])


@pytest.mark.parametrize(("transformer", "dictionary", "taken"), [(6, 18, "dictionary"), (18, 6, "transformer")])
def test_dev_decides_where_test_says_the_opposite(
    tmp_path: Path, transformer: int, dictionary: int, taken: str
) -> None:
    folder = chosen(
        tmp_path,
        candidate(tmp_path, "transformer", dev=transformer, test=24 - transformer),
        candidate(tmp_path, "dictionary", dev=dictionary, test=24 - dictionary),
    )
    choice = choice_in(folder)
    assert choice["taken"] == taken and choice["split"] == "dev" and choice["rows"] == 24
    assert score_in(folder)["chrf"] == score_in(tmp_path / taken)["chrf"], "test is that of the one that was taken"
    reached = {kind: one["chrf"]["value"] for kind, one in choice["dev"].items()}
    other = next(kind for kind in reached if kind != taken)
    assert reached[taken] > reached[other] and choice["lead"]["delta"] == pytest.approx(
        reached[taken] - reached[other], abs=1e-3
    )
    assert choice["lead"]["low"] > 0 and "cannot be told" not in choice["sentence"]
    for name in ("training.json", "report.html", "README.md"):
        text = (folder / name).read_text("utf-8")
        assert all(f"{value:.1f} (" in text for value in reached.values()), f"{name} has both figures"
        assert "was taken, with chrF" in text


def test_all_that_is_not_written_anew_is_the_candidates_own_file(tmp_path: Path) -> None:
    folder = chosen(tmp_path, candidate(tmp_path, "transformer", dev=2), candidate(tmp_path, "dictionary", dev=20))
    own = tmp_path / "dictionary"
    assert {path.name for path in folder.iterdir()} == {path.name for path in own.iterdir()}
    for name in ("weights.bin", SCORE_FILE, TRANSLATIONS_FILE, "train_log.jsonl"):
        assert (folder / name).samefile(own / name)
    assert "artefact.json of" not in (folder / "artefact.json").read_text("utf-8")
    before = json.loads((own / "training.json").read_text("utf-8"))
    after = json.loads((folder / "training.json").read_text("utf-8"))
    assert after == {**before, "choice": after["choice"]}


def test_of_equals_the_transformer_is_taken_and_small_differences_are_called_that(tmp_path: Path) -> None:
    tie = choice_in(
        chosen(tmp_path / "a", *(candidate(tmp_path / "a", kind, dev=9) for kind in ("transformer", "dictionary")))
    )
    assert tie["taken"] == "transformer" and "of equals the Transformer is taken" in tie["sentence"]
    near = choice_in(
        chosen(
            tmp_path / "b",
            candidate(tmp_path / "b", "transformer", dev=9),
            candidate(tmp_path / "b", "dictionary", dev=10),
        )
    )
    assert near["taken"] == "dictionary" and "which cannot be told from chance" in near["sentence"]


def test_the_only_one_is_taken_and_why_the_other_is_none_is_told(tmp_path: Path) -> None:
    why = {"transformer": "all 90 pairs have more than 4 tokens on a side"}
    folder = chosen(tmp_path, candidate(tmp_path, "dictionary", dev=9), failed=why)
    choice = choice_in(folder)
    assert choice["taken"] == "dictionary" and choice["failed"] == why and choice["lead"] is None
    for name in ("report.html", "README.md"):
        assert f"a Transformer could not be made: {why['transformer']}" in (folder / name).read_text("utf-8")


@pytest.mark.parametrize(
    ("other", "said"), [({"split": "test"}, "chosen on dev, not on test"), ({"rows": 20}, "unlike dev rows")]
)
def test_scores_of_test_or_of_other_rows_choose_nothing(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    one = candidate(tmp_path, "transformer", dev=9)
    with pytest.raises(ConfigError, match=said):
        chosen(tmp_path, one, candidate(tmp_path, "dictionary", dev=9, **other))


def test_it_holds_what_every_stage_must_hold(tmp_path: Path) -> None:
    made = candidate(tmp_path, "transformer", dev=2), candidate(tmp_path, "dictionary", dev=20)
    stage = ChooseTranslator(candidates=made, failed={})
    check_identity(stage)
    check_idempotent(stage, tmp_path / "twice", QUIET)
    faults = ["part-written:1:kill", "part-renamed:5:kill", "artefact-described:1:kill", "committed:1:kill"]
    check_resumable(stage, tmp_path / "killed", QUIET, faults=faults)


def pairs_in(root: Path) -> Ref:
    """Ninety pairs to train on, thirty of dev and ten of test."""
    parts = ["train"] * 90 + ["dev"] * 30 + ["test"] * 10
    drawn = [Pair(str(n), one, two, parts[n], "") for n, (one, two) in enumerate(toy_pairs(130))]
    (root / "pairs").mkdir()
    summary = write_pairs(root / "pairs" / PAIRS, drawn).summary("es", "qu")
    (root / "pairs" / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
    return Ref(key="external", stage="pairs", digest=str(summary["digest"]), path=str(root / "pairs"))


def test_a_translator_is_scored_on_dev_rows_that_are_spread_evenly(tmp_path: Path) -> None:
    pairs, run = pairs_in(tmp_path), Run(Store(tmp_path / "store"), "test", "test")
    model = run.path_of(run.do(TrainDictionary(pairs=pairs, config=DictionaryConfig()), on=QUIET))
    asked = EvaluateTranslator(translator=translator_ref(str(model)), pairs=pairs)
    corpus = ParallelCorpus.open(Path(pairs.path))
    test, dev, few = (
        run.path_of(run.do(asked.model_copy(update=update), on=QUIET))
        for update in ({}, {"split": "dev"}, {"split": "dev", "most": 7, "model": "toy: dictionary"})
    )
    assert score_in(test)["chrf"] == score_in(model)["chrf"] and score_in(test)["split"] == "test"
    assert score_in(dev)["split_fingerprint"] == corpus.fingerprint("dev") and score_in(dev)["sentences"] == 30
    rows = [json.loads(line)["id"] for line in (few / TRANSLATIONS_FILE).read_text("utf-8").splitlines()]
    assert rows == [str(90 + place * 30 // 7) for place in range(7)] and score_in(few)["model"] == "toy: dictionary"
    assert score_in(few)["split"] == "dev" and score_in(few)["split_fingerprint"] != corpus.fingerprint("dev")
    assert [pair.id for pair in spread(corpus.split("test"), 99)] == [pair.id for pair in corpus.split("test")]
