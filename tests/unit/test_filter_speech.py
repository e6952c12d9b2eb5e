"""The filter: bounds with their reasons, the capped share (only the worst go), what is lost, durations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tiny import corpus_of

from orature.core.errors import BadInput, ConfigError, CorpusError, RowsVanished
from orature.data.corpus import Corpus
from orature.flow import Ref, Resources, Run, Store
from orature.stages.filter_speech import FILTER_FILE, TEXTS_FILE, FilterSpeech
from orature.stages.inputs import corpus_ref
from orature.testing.stage_contract import check_conserving, check_identity, check_resumable

QUIET = Resources(progress=False)
TEXTS = [f"shuk ishkay {'abcdefghij'[n % 10]}{n}" for n in range(30)]


@pytest.fixture
def made(tmp_path: Path) -> Ref:
    fields: dict[str, Any] = {"split": "train", "origin": "synthetic", "speaker": "v"}
    return corpus_ref(corpus_of(tmp_path / "made", TEXTS, seconds=0.3, **fields))


def heard(folder: Path, corpus: Ref, wrong: dict[str, str | None]) -> Ref:
    """A judge that hears everything but what is in `wrong` (None: it refuses)."""
    folder.mkdir()
    lines = []
    for row in Corpus.open(Path(corpus.path)):
        said = wrong.get(row.id, row.text)
        refusal = {"reason": "too-short", "detail": "0.1 s"} if said is None else None
        record = {"id": row.id, "reference": row.text or "", "hypothesis": said or "", "refusal": refusal}
        lines.append(json.dumps(record))
    (folder / "hypotheses.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Ref(key="external", stage="transcribe", digest=folder.name * 8, path=str(folder))


def filtered(tmp_path: Path, stage: FilterSpeech) -> tuple[Path, dict[str, Any]]:
    store = Store(tmp_path / "store")
    folder = store.path_of(Run(store, "t", "t").do(stage, on=QUIET))
    assert not Corpus.open(folder).verify()
    return folder, json.loads((folder / FILTER_FILE).read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_is_not_understood_goes_and_is_told(made: Ref, tmp_path: Path) -> None:
    judge = heard(tmp_path / "heard", made, {"u03": "zzz", "u07": None, "u11": TEXTS[11] + " x"})
    folder, account = filtered(tmp_path, FilterSpeech(corpus=made, heard=judge, most_rejected=0.2))
    assert {row.id for row in Corpus.open(folder)} == {f"u{n:02}" for n in range(30)} - {"u03", "u07"}
    assert account["reasons"] == {"judge-refused": 1, "unintelligible": 1}
    assert (account["judged"], account["rejected"], account["spared"]) == (30, 2, 0)
    assert account["lost_words"] == [["d3", 1], ["h7", 1]] and account["lost_sentences"] == 2
    rejects = {one["id"]: one for one in lines(folder / "rejects.jsonl")}
    assert rejects["u03"]["detail"] == "CER 1.00, allowed 0.5" and rejects["u07"]["reason"] == "judge-refused"
    told = {one["id"]: one for one in lines(folder / TEXTS_FILE)}
    assert told["u03"]["text"] == TEXTS[3] and told["u03"]["heard"] == "zzz" and told["u03"]["cer"] == 1.0
    customs = {cut["id"]: cut["custom"] for cut in Corpus.open(folder).cuts()}
    assert customs["u00"]["judge_cer"] == 0.0 and 0.1 < customs["u11"]["judge_cer"] < 0.2


def test_at_most_the_allowed_share_goes_and_only_the_worst(made: Ref, tmp_path: Path) -> None:
    wrong: dict[str, str | None] = {f"u{n:02}": TEXTS[n][: 1 + n % 5] for n in range(20)}
    judge = heard(tmp_path / "heard", made, wrong)
    folder, account = filtered(tmp_path, FilterSpeech(corpus=made, heard=judge, most_rejected=0.1))
    assert (account["over_bound"], account["rejected"], account["spared"]) == (20, 3, 17)
    gone = {one["id"]: one["cer"] for one in lines(folder / TEXTS_FILE)}
    kept = [cut["custom"]["judge_cer"] for cut in Corpus.open(folder).cuts()]
    assert len(gone) == 3 and min(gone.values()) >= max(kept)
    folder, account = filtered(tmp_path, FilterSpeech(corpus=made, heard=judge, most_rejected=0.0))
    assert account["rejected"] == 0 and len(Corpus.open(folder)) == 30


def test_words_and_lengths_can_be_bounded_too(made: Ref, tmp_path: Path) -> None:
    judge = heard(tmp_path / "heard", made, {"u01": TEXTS[1] * 4, "u02": "s", "u04": "shuk ishkay e5"})
    bounds: dict[str, Any] = {"most_cer": None, "length_ratio": (0.5, 2.0), "most_rejected": 0.5}
    folder, account = filtered(tmp_path, FilterSpeech(corpus=made, heard=judge, **bounds))
    assert account["reasons"] == {"wrong-length": 2}
    assert "allowed 0.5 to 2" in lines(folder / "rejects.jsonl")[0]["detail"]
    bounds = {"most_cer": None, "most_wer": 0.2, "most_rejected": 0.5}
    assert filtered(tmp_path, FilterSpeech(corpus=made, heard=judge, **bounds))[1]["rejected"] == 3


def test_odd_durations_need_no_judge(tmp_path: Path) -> None:
    texts = ["wasi yaku " + "abcdefghij"[n % 10] for n in range(40)]
    texts[5] = "a"
    fields: dict[str, Any] = {"split": "train", "origin": "synthetic"}
    made = corpus_ref(corpus_of(tmp_path / "made", texts, seconds=0.3, **fields))
    stage = FilterSpeech(corpus=made, most_cer=None, duration_deviations=4.0)
    folder, account = filtered(tmp_path, stage)
    assert account["reasons"] == {"odd-duration": 1}
    assert lines(folder / "rejects.jsonl")[0]["id"] == "u05"
    assert "300 ms a character" in lines(folder / "rejects.jsonl")[0]["detail"]


def test_other_splits_are_left_alone(tmp_path: Path) -> None:
    made = corpus_ref(corpus_of(tmp_path / "made", TEXTS, seconds=0.3))  # a third in each split
    judge = heard(tmp_path / "heard", made, {f"u{n:02}": "zzz" for n in range(30)})
    folder, account = filtered(tmp_path, FilterSpeech(corpus=made, heard=judge, most_rejected=0.5))
    assert account["judged"] == 10 and account["rejected"] == 5
    assert {name: one["utterances"] for name, one in Corpus.open(folder).summary()["splits"].items()} == {
        "train": 5,
        "dev": 10,
        "test": 10,
    }


def test_rows_without_a_transcript_are_kept_and_counted(tmp_path: Path) -> None:
    texts = [*TEXTS[:12], "...", None]
    made = corpus_ref(corpus_of(tmp_path / "made", texts, seconds=0.3, split="train", origin="synthetic"))
    folder, account = filtered(tmp_path, FilterSpeech(corpus=made, heard=heard(tmp_path / "heard", made, {})))
    assert (account["judged"], account["without_transcript"], len(Corpus.open(folder))) == (12, 2, 14)


def test_what_cannot_be_filtered(made: Ref, tmp_path: Path) -> None:
    judge = heard(tmp_path / "heard", made, {})
    path = tmp_path / "heard" / "hypotheses.jsonl"

    def refuse(error: type[Exception], says: str, **fields: Any) -> None:
        with pytest.raises(error, match=says):
            filtered(tmp_path, FilterSpeech(corpus=made, **fields))

    refuse(ConfigError, "need what it heard")
    refuse(ConfigError, "no bound is set", heard=judge, most_cer=None)
    refuse(ConfigError, "two rising numbers", heard=judge, length_ratio=(2.0, 1.0))
    refuse(CorpusError, "no transcripts in split 'dev'", heard=judge, split="dev")
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[1:]), encoding="utf-8")
    refuse(RowsVanished, "1 of 30 utterances were never heard", heard=judge)
    path.write_text("{", encoding="utf-8")
    refuse(BadInput, "cannot be read", heard=judge)


def test_the_contract(made: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    judge = heard(tmp_path / "heard", made, {"u03": "zzz"})
    stage = FilterSpeech(corpus=made, heard=judge)
    check_identity(stage)
    check_conserving(stage, tmp_path / "a", rows_in=30, count_kept=lambda folder: len(Corpus.open(folder)))
    check_resumable(stage, tmp_path / "b", faults=["part-written:2:kill", "committed:1:kill"])
