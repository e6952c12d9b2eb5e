"""The stage that lays baselines beside a multilingual system, and the table that the report shows of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from orature.core.files import write_beside, write_json_lines
from orature.core.identity import digest_json
from orature.core.types import AudioSpan, Utterance
from orature.data.corpus import save_corpus
from orature.evaluate.html.languages import languages_section
from orature.evaluate.languages import by_language, compare_languages
from orature.evaluate.rows import Row
from orature.evaluate.score import score
from orature.flow import Ref, Resources, Run, Store
from orature.stages.languages import Baseline, CompareLanguages, train_hours
from orature.testing.stage_contract import check_stage
from orature.text.normalise import NORMALISER

QUIET = Resources(progress=False)
SAID = "wasi yaku"


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing costs milliseconds a file and makes no difference to a killed process."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def rows(wrong: dict[str, int], count: int = 12) -> list[Row]:
    """Rows by language; in the first so many of each a word is missed."""
    return [
        Row(f"{tag}{n:02}", SAID, "wasi" if n < missed else SAID, f"{tag}-{n % 6}", tag, duration_s=3.0)
        for tag, missed in wrong.items()
        for n in range(count)
    ]


def scored(folder: Path, heard: list[Row]) -> Ref:
    """A scored folder as an external input."""
    folder.mkdir(parents=True)
    whole = {**score(heard), **by_language(heard, NORMALISER)}
    (folder / "score.json").write_text(json.dumps(whole), encoding="utf-8")
    lines = [{"id": r.id, "reference": r.reference, "hypothesis": r.hypothesis, "speaker": r.speaker} for r in heard]
    both = [{**line, "language": r.language, "duration_s": 3.0} for line, r in zip(lines, heard, strict=True)]
    write_json_lines(folder / "hypotheses.jsonl", both)
    return Ref(key="external", stage="evaluate", digest=digest_json(both), path=str(folder))


def pool(folder: Path) -> Ref:
    folder.mkdir(parents=True)
    audio = [AudioSpan(f"{n}.flac", 0.0, 1800.0 * (1 + n), f"d{n}") for n in range(3)]
    tags, splits = ("qu", "sw", "sw"), ("train", "train", "test")
    utterances = [
        Utterance(f"u{n}", audio[n], SAID, tags[n], split=splits[n])  # type: ignore[arg-type]
        for n in range(3)
    ]
    summary = save_corpus(lambda name: write_beside(folder / name), utterances, [])
    return Ref(key="external", stage="corpus", digest=summary["digest"], path=str(folder))


def stage_of(tmp_path: Path) -> CompareLanguages:
    """Pooling helps qu, hurts sw, and leaves yo alone, for which there is no model of its own."""
    together = scored(tmp_path / "together", rows({"qu": 2, "sw": 11, "yo": 3}))
    parts = (scored(tmp_path / "qu", rows({"qu": 12})), scored(tmp_path / "sw", rows({"sw": 0})))
    alone = Baseline(name="alone", about="trained on the language alone", parts=parts)
    return CompareLanguages(scored=together, corpus=pool(tmp_path / "pool"), baselines=(alone,))


def test_baselines_stand_beside_the_score(tmp_path: Path) -> None:
    stage = stage_of(tmp_path)
    run = Run(Store(tmp_path / "store"), "test", "test")
    folder = run.path_of(run.do(stage, on=QUIET))
    whole = json.loads((folder / "score.json").read_text("utf-8"))
    hours = {tag: one["train_hours"] for tag, one in whole["languages"].items()}
    assert hours == {"qu": 0.5, "sw": 1.0, "yo": 0.0}
    (alone,) = whole["baselines"]
    verdicts = {tag: one["difference"]["cer"]["verdict"] for tag, one in alone["languages"].items()}
    assert verdicts == {"qu": "better", "sw": "worse"}
    delta = alone["macro"]["difference"]["wer"]["delta"]
    assert delta == pytest.approx(((2 - 12) / 24 + 11 / 24) / 2, abs=1e-6)  # yo, without a baseline, is no part of it
    before = json.loads((tmp_path / "together" / "score.json").read_text("utf-8"))
    assert whole["wer"] == before["wer"] and (folder / "hypotheses.jsonl").is_file()


def test_the_stage_contract(tmp_path: Path) -> None:
    check_stage(stage_of(tmp_path / "in"), tmp_path / "out", rows_in=36, resources=QUIET)


def whole_score(together: dict[str, int], alone: dict[str, int]) -> dict[str, Any]:
    ours = rows(together)
    found = {**score(ours), **by_language(ours, NORMALISER)}
    covered = [row for row in ours if row.language in alone]
    compared = compare_languages(rows(alone), covered, NORMALISER)
    return found | {"baselines": [{"name": "alone", "about": "trained on the language <alone>", **compared}]}


def test_languages_that_got_worse_are_named_in_red_and_in_words() -> None:
    page = languages_section(whole_score({"qu": 2, "sw": 11, "yo": 3}, {"qu": 12, "sw": 0, "yo": 4}))
    (sentence,) = re.findall(r'<p class="k-del-ink">(.*?)</p>', page)
    assert "Worse than when trained" in sentence and ">sw<" in sentence and ">qu<" not in sentence
    assert "50.9 points" in sentence  # 11 of 12 rows lost 5 of 9 characters
    assert page.count('<bdi class="k-del-ink">sw</bdi>') == 1 and '<bdi class="k-del-ink">qu' not in page
    assert "worse</small>" in page and "better</small>" in page and "may be chance</small>" in page
    assert "&lt;alone&gt;" in page and "<alone>" not in page
    assert page.count("<tr>") == 5  # the head, three languages, the macro average


def test_no_language_worse_and_languages_without_a_model_of_their_own() -> None:
    page = languages_section(whole_score({"qu": 2, "sw": 3}, {"qu": 12}))
    assert "No language is measurably worse" in page and "k-del-ink" not in page
    assert page.count("not trained") == 1


def test_one_language_has_no_table() -> None:
    assert languages_section(score(rows({"qu": 2}))) == ""
    assert "baseline" not in languages_section(
        score(rows({"qu": 2, "sw": 1})) | by_language(rows({"qu": 2, "sw": 1}), NORMALISER)
    )


def test_hours_by_language(tmp_path: Path) -> None:
    from orature.data.corpus import Corpus

    assert train_hours(Corpus.open(Path(pool(tmp_path / "p").path))) == {"qu": 0.5, "sw": 1.0}
