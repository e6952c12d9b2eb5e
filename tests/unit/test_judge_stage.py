"""The judgement as a stage and as a page: its parts, its contract, warnings, nothing lost, nothing unescaped."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tiny import corpus_of, model_in

import orature
from orature.core.errors import BadInput, RowsVanished
from orature.data.corpus import Corpus
from orature.evaluate.html.intelligibility import chosen, judge_page
from orature.evaluate.intelligibility import judge_rows
from orature.evaluate.judge_warnings import JudgeFacts, cautions
from orature.evaluate.rows import Row
from orature.evaluate.score import align_rows
from orature.flow import Ref, Resources, Run, Store
from orature.recipes.judging import judgement_lines, publish_judgement
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.judge import Judge, read_judgement
from orature.testing.stage_contract import check_conserving, check_identity, check_resumable
from orature.text.normalise import NORMALISER

QUIET = Resources(progress=False)
TEXTS = [f"shuk {'abcdefghij'[n % 10]}{n} <b>wasi</b> & yaku" for n in range(25)]


def heard(folder: Path, corpus: Ref, every: int) -> Ref:
    """A judge that mishears every so many rows."""
    folder.mkdir()
    lines = []
    for number, row in enumerate(Corpus.open(Path(corpus.path))):
        said = "<script>alert(1)</script>" if number % every == 0 else row.text
        where = {"path": row.audio.path, "start_s": 0.0, "duration_s": row.audio.duration_s}
        record = {"id": row.id, "reference": row.text, "hypothesis": said, "speaker": row.speaker, "audio": where}
        lines.append(json.dumps({**record, "language": row.language, "origin": row.origin, "duration_s": 0.3}))
    (folder / "hypotheses.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Ref(key="external", stage="transcribe", digest=folder.name * 8, path=str(folder))


@pytest.fixture
def stage(tmp_path: Path) -> Judge:
    real = corpus_ref(corpus_of(tmp_path / "real", TEXTS, seconds=0.3, split="dev", speaker="a & b"))
    fields: dict[str, Any] = {"split": "train", "origin": "synthetic", "speaker": "v<1>"}
    made = corpus_ref(corpus_of(tmp_path / "made", TEXTS, seconds=0.3, **fields))
    return Judge(
        synthetic=made,
        synthetic_heard=heard(tmp_path / "heard_made", made, 4),
        reference=real,
        reference_heard=heard(tmp_path / "heard_real", real, 8),
        judge=model_ref(model_in(tmp_path / "judge", TEXTS)),
        resamples=100,
    )


def test_the_judgement_holds_all_its_parts(stage: Judge, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run = Run(store, "t", "t")
    ref = run.do(stage, on=QUIET)
    found = read_judgement(store.path_of(ref))
    assert found["probe"]["paired"] and found["norm_i"]["low"] < found["norm_i"]["value"] < found["norm_i"]["high"]
    assert found["norm_i"]["value"] == pytest.approx(2.718281828 ** ((4 - 7) / 4), abs=0.02)
    assert found["judge"] == "tried" and found["family"] == "conformer" and len(found["judge_digest"]) == 64
    assert {"wer_real", "wer_syn", "cer_real", "cer_syn", "floor", "diversity", "warnings"} <= found.keys()
    assert found["diversity"]["real"]["speakers"] == 1 and found["trained"] is None
    info = store.info(ref.key)
    assert info.rows is not None and (info.rows.total, info.rows.kept) == (50, 50)
    kin = run.do(stage.model_copy(update={"trained_family": "conformer"}), on=QUIET)
    assert any("both conformer" in one for one in read_judgement(store.path_of(kin))["warnings"])
    same = run.do(stage.model_copy(update={"trained": stage.judge}), on=QUIET)
    assert any("is the recogniser that is trained" in one for one in read_judgement(store.path_of(same))["warnings"])


def test_the_contract(stage: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    check_identity(stage)
    check_conserving(stage, tmp_path / "a", rows_in=50)
    check_resumable(stage, tmp_path / "b", faults=["shard-renamed:1:kill", "part-written:3:kill"])


def test_where_recordings_lie_is_no_part_of_the_digest(stage: Judge, tmp_path: Path) -> None:
    one = Run(Store(tmp_path / "one"), "t", "t").do(stage, on=QUIET)
    path = tmp_path / "heard_made" / "hypotheses.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"path": "', '"path": "/elsewhere'), encoding="utf-8")
    assert Run(Store(tmp_path / "two"), "t", "t").do(stage, on=QUIET).digest == one.digest


def test_a_lost_row_is_never_judged_on_the_rest(stage: Judge, tmp_path: Path) -> None:
    path = tmp_path / "heard_real" / "hypotheses.jsonl"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[1:]) + "\n", encoding="utf-8")
    with pytest.raises(RowsVanished, match="never decoded"):
        Run(Store(tmp_path / "store"), "t", "t").do(stage, on=QUIET)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.audio, self.scripts = 0, 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.audio += tag == "audio"
        self.scripts += tag == "script"
        if tag not in ("meta", "path", "line", "circle", "polyline", "polygon", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "line", "circle", "polyline", "polygon"):
            assert self.open.pop() == tag


def test_the_page_can_be_read_and_listened_to(stage: Judge, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run = Run(store, "judge", "orature judge <made>")
    found = publish_judgement(run, run.do(stage, on=QUIET), tmp_path / "out", title="<made>")
    text = (tmp_path / "out" / "judge.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert tags.open == [] and tags.scripts == 1 and tags.audio >= 15
    assert "<script>alert" not in text and "v&lt;1&gt;" in text and "<h1><bdi>&lt;made&gt;" in text
    assert "orature judge &lt;made&gt;" in text and 'src="http' not in text and 'href="http' not in text
    assert read_judgement(tmp_path / "out")["norm_i"] == found["norm_i"]
    lines = "\n".join(judgement_lines(found, groups=True))
    assert "Norm_I 0.4" in lines and "same sentences" in lines


def test_judging_from_python(stage: Judge, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("made", "real", "judge", "out")]
    found = orature.judge(*folders, store=tmp_path / "store", resources=QUIET, metric="cer")
    assert found["metric"] == "cer" and found == {
        k: v for k, v in read_judgement(tmp_path / "out").items() if k != "artefact"
    }


def test_folders_without_a_judgement(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no judgement"):
        read_judgement(tmp_path)
    (tmp_path / "judge.json").write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(BadInput, match="not a judgement"):
        read_judgement(tmp_path)


def test_examples_are_the_best_the_middle_and_the_worst() -> None:
    rows = [Row(f"{n:02}", "abcdefghij", "abcdefghij"[: 10 - n]) for n in range(10)]
    parts = dict(chosen(align_rows(rows, NORMALISER)[0], many=3))
    assert [one.row.id for one in parts["Best"]] == ["00", "01", "02"]
    assert [one.row.id for one in parts["Worst"]] == ["09", "08", "07"]
    assert [one.row.id for one in parts["Middle"]] == ["03", "04", "05"]
    assert [name for name, _ in chosen(align_rows(rows[:2], NORMALISER)[0])] == ["Worst", "Best"]


def found_for(wrong_real: int, wrong_made: int, count: int = 200) -> dict[str, Any]:
    """A judgement of `count` paired sentences with so many of them misheard on each side."""
    texts = [f"kayman shamuy wasi yaku{n}" for n in range(count)]
    sides = [
        [Row(f"{n:03}", text, "x" if n < wrong else text, f"s{n % 9}") for n, text in enumerate(texts)]
        for wrong in (wrong_real, wrong_made)
    ]
    return judge_rows(sides[0], sides[1], normaliser=NORMALISER)


def test_every_warning_has_its_reason() -> None:
    judge = JudgeFacts("w", "whisper", "j" * 8, trained_on="corpus", start="base")
    assert cautions(found_for(20, 30), judge) == []

    def said(found: dict[str, Any], part: str, **fields: Any) -> bool:
        return any(part in one for one in cautions(found, judge, **fields))

    calm = found_for(20, 30)
    assert said(calm, "both whisper", trained=JudgeFacts("m", "whisper", "other"))
    assert said(calm, "come from one model", trained=JudgeFacts("m", "conformer", "base"))
    assert said(calm, "come from one model", trained=JudgeFacts("m", "conformer", "x", start="j" * 8))
    assert said(calm, "is the recogniser that is trained", trained=JudgeFacts("m", "whisper", "j" * 8))
    assert not cautions(calm, judge, trained=JudgeFacts("m", "conformer", "x"))
    assert said(calm, "was trained on these real recordings", reference="corpus", reference_split="train")
    assert not said(calm, "was trained on these", reference="corpus", reference_split="dev")
    assert said(found_for(150, 160), "does not claim to know qu", unknown=["qu"])
    assert not said(calm, "does not claim to know", unknown=["qu"])
    assert said(found_for(150, 160), "even noise would get a Norm_I of")
    assert said(found_for(0, 2), "less than the floor of 1 %")
    assert said(found_for(5, 6, count=40), "Only 40 utterances")
    easy = found_for(30, 10) | {"diversity": {"real": {"speakers": 9}, "synthetic": {"speakers": 1}}}
    assert said(easy, "Easier than real speech (Norm_I 1.95) but less varied (speakers: 1 against 9)")
    hard = found_for(10, 30) | {"diversity": easy["diversity"]}
    assert not said(hard, "less varied")
    varied = easy | {"diversity": {"real": {"speakers": 9}, "synthetic": {"speakers": 9}}}
    assert not said(varied, "Easier than real speech")


def test_equal_arguments_give_equal_pages() -> None:
    found = found_for(20, 30) | {"judge": "j", "family": "whisper", "warnings": ["a < b"]}
    page = judge_page(found, [], [])
    assert page == judge_page(found, [], []) and "a &lt; b" in page and 'id="listen"' not in page
