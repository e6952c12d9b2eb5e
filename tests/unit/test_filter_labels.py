"""The filter of labels: each reason for itself, nothing lost, the same choice twice, silence kept on purpose."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import BadInput, CorpusError, RejectLimitExceeded, RowsVanished
from orature.core.types import AudioSpan, Utterance
from orature.data.corpus import Corpus
from orature.data.label_judge import LabelBounds
from orature.engines.characters import Characters
from orature.flow import Resources, Run, Store
from orature.stages.filter_labels import FilterLabels
from orature.stages.inputs import corpus_ref
from orature.stages.label_account import read_account, read_labels
from orature.stages.label_quotas import Candidate, Quotas, over_quota
from orature.testing.stage_contract import check_conserving, check_idempotent, check_identity, check_resumable
from orature.text.alphabet import TextPolicy
from orature.train.examples import examples_of

from label_samples import DEV, SPOKEN, TEST, heard, speech  # isort: skip

QUIET = Resources(progress=False)
WORD = {"text": "wasi", "start_s": 0.0, "end_s": 0.4}
GOOD = {f"u{n:02}": {"hypothesis": SPOKEN[100 + n]} for n in range(6)}
BAD: dict[str, dict[str, Any]] = {
    "recogniser-refused": {"hypothesis": "", "refusal": {"reason": "audio-missing", "detail": "it is gone"}},
    "text-empty": {"hypothesis": " "},
    "embargo-sentence": {"hypothesis": TEST},
    "embargo-near-duplicate": {"hypothesis": DEV.replace("rini", "rinki")},
    "too-long": {"hypothesis": SPOKEN[123]},
    "ctc-infeasible": {"hypothesis": " ".join(SPOKEN[110:116])},
    "too-fast": {"hypothesis": " ".join(SPOKEN[111:114])},
    "other-script": {"hypothesis": "шук ишкай кимса"},
    "unseen-characters": {"hypothesis": "xevöbß öxß död"},
    "repeated": {"hypothesis": "wasi wasi wasi wasi"},
    "other-language": {"hypothesis": "this man thinks that tiny ship must sink in many swamps"},
    "unsure": {"hypothesis": SPOKEN[120], "score": -1.4},
    "low-confidence": {"hypothesis": SPOKEN[121], "words": [{**WORD, "confidence": 0.2}, {**WORD, "confidence": 0.4}]},
    "models-disagree": {"hypothesis": SPOKEN[122]},
}


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def made_in(folder: Path, stage: FilterLabels) -> Path:
    run = Run(Store(folder), "test", "test")
    return run.path_of(run.do(stage, on=QUIET))


def stage_of(
    folder: Path, records: dict[str, dict[str, Any]], rows: list[dict[str, Any]], **fields: Any
) -> FilterLabels:
    corpus = corpus_ref(speech(folder / "corpus", rows))
    return FilterLabels(corpus=corpus, hypotheses=heard(folder / "heard", records), **fields)


@pytest.fixture
def stage(tmp_path: Path) -> FilterLabels:
    """Six good labels and one bad for each reason, judged by a second model too."""
    records = GOOD | {f"v-{reason}": record for reason, record in BAD.items()}
    lengths = {"v-other-language": 5.0, "v-too-long": 60.5}
    rows = [{"id": name, "speaker": name[:2], "seconds": lengths.get(name, 2.0)} for name in records]
    second = {name: {**record, "refusal": None} for name, record in records.items()}
    second["v-models-disagree"] = {"hypothesis": "pusak iskun"}
    return stage_of(tmp_path, records, rows, second=heard(tmp_path / "second", second), silence_share=0.0)


def test_each_reason_for_itself_and_good_labels_stay(stage: FilterLabels, tmp_path: Path) -> None:
    check_conserving(
        stage, tmp_path / "c", rows_in=102 + 6 + len(BAD), count_kept=lambda folder: len(Corpus.open(folder))
    )
    folder = made_in(tmp_path / "store", stage)
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {reject["id"]: reject["reason"] for reject in rejects} == {f"v-{reason}": reason for reason in BAD}
    assert all(reject["where"].startswith("cuts.jsonl.gz:") for reject in rejects)
    made = Corpus.open(folder)
    pseudo = {row.id: row for row in made.split("train") if row.origin == "pseudo"}
    assert {name: row.text for name, row in pseudo.items()} == {n: one["hypothesis"] for n, one in GOOD.items()}
    assert len(made.split("train")) == 106 and len(made.split("dev")) == 1 and len(made.split("test")) == 1
    assert not made.verify() and not len(made.split("unlabelled"))


def test_the_account_counts_and_shows(stage: FilterLabels, tmp_path: Path) -> None:
    account = read_account(made_in(tmp_path / "store", stage))
    assert (account["rows"], account["kept"], account["silent_kept"]) == (6 + len(BAD), 6, 0)
    assert account["rejected"] == dict.fromkeys(sorted(BAD), 1) == account["languages"]["qu"]["rejected"]
    assert account["speakers"]["u0"]["kept"] == 6 and account["speakers"]["v-"]["rows"] == len(BAD)
    assert account["kept_hours"] == pytest.approx(12 / 3600, abs=1e-6)
    shown = account["examples"]["low-confidence"][0]
    assert shown["text"] == SPOKEN[121] and shown["confidence"] == 0.3 and "at least 0.5" in shown["detail"]
    assert len(account["examples"]["kept"]) == 5
    facts = account["bounds"]["languages"]["qu"]
    assert (facts["transcripts"] == 40 and facts["language_check"]["method"] == "none") or facts["scripts"] == ["Latin"]
    assert account["bounds"]["settings"]["min_confidence"] == 0.5


def test_the_contract(stage: FilterLabels, tmp_path: Path) -> None:
    check_identity(stage)
    check_idempotent(stage, tmp_path / "twice")
    check_resumable(
        stage, tmp_path / "killed", faults=["part-written:1:kill", "part-written:4:kill", "committed:1:kill"]
    )


def test_each_filter_of_the_stage_can_be_switched_off(stage: FilterLabels, tmp_path: Path) -> None:
    off = {
        "longest_s": None,
        "step_ms": None,
        "min_score": None,
        "min_confidence": None,
        "most_disagreement": None,
        "most_same": None,
    }
    bounds = LabelBounds(
        rate_deviations=None, most_other_script=None, most_unseen=None, most_repeated=None, language_check="none"
    )
    account = read_account(made_in(tmp_path / "store", stage.model_copy(update={**off, "bounds": bounds})))
    assert set(account["rejected"]) == {
        "recogniser-refused",
        "text-empty",
        "embargo-sentence",
        "embargo-near-duplicate",
    }


def test_recordings_of_dev_are_out_whatever_their_label(tmp_path: Path) -> None:
    digest = next(iter(Corpus.open(speech(tmp_path / "known", [])).split("dev"))).audio.digest
    rows = [{"id": "u00"}, {"id": "u01", "digest": digest}, {"id": "u02", "digest": digest, "level": 0.0}]
    records = {"u00": GOOD["u00"], "u01": GOOD["u01"], "u02": {"hypothesis": ""}}
    account = read_account(made_in(tmp_path / "store", stage_of(tmp_path, records, rows, silence_share=0.9)))
    assert account["rejected"] == {"embargo-audio": 2}


def test_one_label_for_many_recordings(tmp_path: Path) -> None:
    records = {f"u{n:02}": {"hypothesis": SPOKEN[130] if n < 7 else SPOKEN[100 + n]} for n in range(12)}
    stage = stage_of(tmp_path, records, [{"id": name} for name in records])
    account = read_account(made_in(tmp_path / "store", stage))
    assert account["rejected"] == {"hallucinated": 7} and account["bounds"]["too_frequent"] == [[SPOKEN[130], 7]]
    assert not read_account(made_in(tmp_path / "store", stage.model_copy(update={"most_same": 7})))["rejected"]


def silence(count: int, **fields: Any) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    records = GOOD | {f"s{n}": {"hypothesis": ""} for n in range(count)}
    return records, [{"id": name, "level": 0.1 if name[0] == "u" else 0.0005, **fields} for name in records]


def test_a_share_of_silence_is_kept_as_such(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, *silence(4), silence_share=0.25)
    folder = made_in(tmp_path / "store", stage)
    account = read_account(folder)
    assert (account["kept"], account["silent_kept"], account["rejected"]) == (8, 2, {"silence-quota": 2})
    quiet = [row for row in Corpus.open(folder).split("train") if row.text == ""]
    assert len(quiet) == 2 and all(row.origin == "pseudo" for row in quiet)
    records, rows = silence(4)
    turned = made_in(tmp_path / "store", stage_of(tmp_path / "turned", records, rows[::-1], silence_share=0.25))
    assert {row.id for row in Corpus.open(turned).split("train") if row.text == ""} == {row.id for row in quiet}
    none = read_account(made_in(tmp_path / "store", stage.model_copy(update={"silence_share": 0.0})))
    assert none["rejected"] == {"text-empty": 4}
    loud = read_account(made_in(tmp_path / "store", stage.model_copy(update={"silence_dbfs": -90.0})))
    assert loud["rejected"] == {"text-empty": 4}, "quiet, but not silent by that bound"


def test_what_a_second_model_hears_in_silence_counts(tmp_path: Path) -> None:
    records, rows = silence(2)
    stage = stage_of(tmp_path, records, rows, silence_share=0.5)
    other = heard(tmp_path / "second", records | {"s0": {"hypothesis": "shuk"}})
    account = read_account(made_in(tmp_path / "store", stage.model_copy(update={"second": other})))
    assert (account["silent_kept"], account["rejected"]) == (1, {"text-empty": 1})


def test_silence_that_was_labelled_so_is_an_example_to_train_on() -> None:
    span = AudioSpan("a.flac", 0.0, 1.0)
    rows = [Utterance("a", span, "", "qu", origin="pseudo"), Utterance("b", span, "", "qu"), Utterance("c", span, None)]
    rows += [Utterance("d", span, "...", "qu", origin="pseudo")]
    examples, rejects = examples_of(rows, TextPolicy(punctuation="strip"), Characters.of(["a"]))
    assert [(one.id, one.text, one.tokens) for one in examples] == [("a", "", ())]
    assert [reject.id for reject in rejects] == ["b", "c", "d"]


def test_quotas_by_speaker_and_language() -> None:
    rows = [Candidate(f"r{n}", "qu" if n % 3 else "sw", f"s{n % 4}" if n % 4 else None, 36.0) for n in range(48)]
    assert over_quota(rows, Quotas(), 1) == {}
    over = over_quota(rows, Quotas(speaker_hours=0.05), 1)
    left = [row for row in rows if row.id not in over]
    assert {name: sum(row.speaker == name for row in left) for name in ("s1", "s2", "s3", None)} == {
        "s1": 5, "s2": 5, "s3": 5, None: 12
    }  # fmt: skip
    assert {found.reason for found in over.values()} == {"speaker-quota"}
    assert (
        over == over_quota(rows[::-1], Quotas(speaker_hours=0.05), 1) != over_quota(rows, Quotas(speaker_hours=0.05), 2)
    )
    half = over_quota(rows, Quotas(language_share=0.5), 1)
    assert len(half) == 8 and {found.reason for found in half.values()} == {"language-quota"}
    both = over_quota(rows, Quotas(language_hours=0.1, speaker_share=0.1), 1)
    assert {found.reason for found in both.values()} == {"language-quota", "speaker-quota"}


def test_quotas_of_the_stage_and_what_no_label_is_left_of(stage: FilterLabels, tmp_path: Path) -> None:
    tight = stage.model_copy(update={"quotas": Quotas(speaker_hours=5 / 3600)})
    account = read_account(made_in(tmp_path / "store", tight))
    assert account["kept"] == 2 and account["rejected"]["speaker-quota"] == 4
    nothing = stage.model_copy(update={"min_confidence": None, "min_score": -0.05})
    with pytest.raises(CorpusError, match=r"not one of 20 labels can be used.*unsure"):
        made_in(tmp_path / "store", nothing)
    with pytest.raises(RejectLimitExceeded):
        made_in(tmp_path / "store", stage.model_copy(update={"reject_limit": 0.1}))


def test_labels_of_train_stand_for_its_transcripts(tmp_path: Path) -> None:
    corpus = corpus_ref(speech(tmp_path / "corpus", [{"id": "u00"}], train=6))
    said = {f"t{n:03}": {"hypothesis": SPOKEN[110 + n]} for n in range(6)}
    stage = FilterLabels(corpus=corpus, hypotheses=heard(tmp_path / "heard", said), split="train", keep_test=False)
    folder = made_in(tmp_path / "store", stage)
    made = Corpus.open(folder)
    assert {row.text for row in made.split("train")} == {one["hypothesis"] for one in said.values()}
    assert len(made) == 7 and read_account(folder)["bounds"]["languages"]["qu"]["transcripts"] == 0
    reasons = [json.loads(line)["reason"] for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert reasons == ["other-split"] * 2


def test_rows_without_a_label_and_broken_hypotheses_stop(stage: FilterLabels, tmp_path: Path) -> None:
    fewer = {name: one for name, one in GOOD.items() if name != "u03"}
    with pytest.raises(RowsVanished, match="u03"):
        made_in(tmp_path / "store", stage.model_copy(update={"hypotheses": heard(tmp_path / "fewer", fewer)}))
    with pytest.raises(RowsVanished, match="v-"):
        made_in(tmp_path / "store", stage.model_copy(update={"second": heard(tmp_path / "few", GOOD)}))
    for number, line in enumerate(("{", "[]", '{"id": "a"}', '{"id": "a", "hypothesis": "b", "score": null}')):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(line + "\n", encoding="utf-8")
        with pytest.raises(BadInput, match="hypotheses cannot be read") as error:
            read_labels(path)
        assert error.value.where == f"{path}:1"
    with pytest.raises(CorpusError, match="no account"):
        read_account(tmp_path)


def test_labels_are_read_from_their_file_and_hardly_any_of_them_is_held(tmp_path: Path) -> None:
    """A hundred hours of speech are some 60,000 labels."""
    path, rows = tmp_path / "hypotheses.jsonl", 20_000
    with path.open("w", encoding="utf-8") as lines:
        for number in range(rows):
            record = {"id": f"u{number * 7919 % rows}", "hypothesis": f"wasi {number} ñan", "score": -0.1, "words": []}
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
    tracemalloc.start()
    with read_labels(path) as labels:
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(labels) == rows and held < 40 * rows
        assert labels["u7919"].text == "wasi 1 ñan" and labels["u0"].text == "wasi 0 ñan"
        assert labels.get("u20000") is None
        with pytest.raises(KeyError):
            labels["nobody"]
