"""Labels of a recogniser: rows conserved, doubts and breaches rejected; probe texts: dev alone, each sentence once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orature.core.errors import CorpusError, RowsVanished
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Split, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Ref, Run, Store
from orature.stages.inputs import corpus_ref
from orature.stages.label_speech import LabelSpeech
from orature.stages.probe_text import ProbeText
from orature.testing.stage_contract import check_stage
from orature.text.text_corpus import TextCorpus

ROWS: list[tuple[str, Split, str | None]] = [
    ("t1", "train", "wasi yaku shuk"),
    ("d1", "dev", "kimsa chusku pichka"),
    ("d2", "dev", "kimsa chusku pichka"),
    ("d3", "dev", "sukta kanchis"),
    ("x1", "test", "pusak iskun chunka"),
    ("u1", "unlabelled", None),
    ("u2", "unlabelled", None),
    ("u3", "unlabelled", None),
    ("u4", "unlabelled", None),
    ("u5", "unlabelled", None),
]
HEARD: dict[str, tuple[str, float, Any]] = {
    "u1": ("yaku wasi kimsa", -0.1, None),
    "u2": ("kimsa chusku pichka", -0.1, None),
    "u3": ("", -0.1, None),
    "u4": ("shuk shuk shuk", -2.0, None),
    "u5": ("", 0.0, {"reason": "audio-silent", "detail": "silence"}),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    rng = np.random.default_rng(2)
    rows = []
    for name, split, text in ROWS:
        samples = (0.1 * rng.standard_normal(8000)).astype(np.float32)
        save_flac(folder / f"{name}.flac", samples)
        span = AudioSpan(str(folder / f"{name}.flac"), 0.0, 0.5, audio_digest(samples))
        rows.append(Utterance(name, span, text, "qu", f"speaker-{name}", split=split))
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


def heard(folder: Path, records: dict[str, tuple[str, float, Any]]) -> Ref:
    folder.mkdir()
    lines = [
        json.dumps({"id": name, "hypothesis": text, "score": score, "refusal": refusal, "reference": ""})
        for name, (text, score, refusal) in records.items()
    ]
    (folder / "hypotheses.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Ref(key="external", stage="transcribe", digest=folder.name, path=str(folder))


def test_labels_that_can_be_used_become_pseudo_rows(corpus: Path, tmp_path: Path) -> None:
    stage = LabelSpeech(corpus=corpus_ref(corpus), hypotheses=heard(tmp_path / "heard", HEARD))
    info = check_stage(stage, tmp_path / "contract", rows_in=10, count_kept=lambda folder: len(Corpus.open(folder)))
    assert info.rows is not None
    assert info.rows.rejected == {
        "embargo-sentence": 1,
        "other-split": 1,
        "recogniser-refused": 1,
        "text-empty": 1,
        "unsure": 1,
    }
    run = Run(Store(tmp_path / "store"), "test", "test")
    made = Corpus.open(run.path_of(run.do(stage)))
    assert {row.id: (row.origin, row.text) for row in made.split("train")} == {
        "t1": ("real", "wasi yaku shuk"),
        "u1": ("pseudo", "yaku wasi kimsa"),
    }
    assert len(made.split("dev")) == 3 and len(made.split("test")) == 0


def test_own_transcripts_of_train_are_not_used_where_train_is_labelled(corpus: Path, tmp_path: Path) -> None:
    found = heard(tmp_path / "heard", {"t1": ("wasi yaku", -0.1, None)})
    run = Run(Store(tmp_path / "store"), "test", "test")
    made = run.do(LabelSpeech(corpus=corpus_ref(corpus), hypotheses=found, split="train"))
    assert [(row.origin, row.text) for row in Corpus.open(run.path_of(made)).split("train")] == [
        ("pseudo", "wasi yaku")
    ]


def test_a_row_that_was_never_decoded_and_labels_of_nothing_stop(corpus: Path, tmp_path: Path) -> None:
    run = Run(Store(tmp_path / "store"), "test", "test")
    lost = heard(tmp_path / "lost", {name: one for name, one in HEARD.items() if name != "u4"})
    with pytest.raises(RowsVanished, match="u4"):
        run.do(LabelSpeech(corpus=corpus_ref(corpus), hypotheses=lost))
    nothing = heard(tmp_path / "nothing", {"t1": ("", -0.1, None)})
    with pytest.raises(CorpusError, match="no recording could be labelled"):
        run.do(LabelSpeech(corpus=corpus_ref(corpus), hypotheses=nothing, split="train"))


def test_a_probe_holds_each_sentence_of_dev_once_and_nothing_else(corpus: Path, tmp_path: Path) -> None:
    stage = ProbeText(corpus=corpus_ref(corpus))
    info = check_stage(stage, tmp_path / "contract", rows_in=3, count_kept=lambda folder: len(TextCorpus.open(folder)))
    assert info.rows is not None and info.rows.rejected == {"repeated": 1}
    run = Run(Store(tmp_path / "store"), "test", "test")
    text = TextCorpus.open(run.path_of(run.do(stage)))
    assert {sentence.text for sentence in text} == {"kimsa chusku pichka", "sukta kanchis"} and text.language == "qu"
    assert text.verify() == []
    fewer = TextCorpus.open(run.path_of(run.do(ProbeText(corpus=corpus_ref(corpus), most=1))))
    assert len(fewer) == 1
