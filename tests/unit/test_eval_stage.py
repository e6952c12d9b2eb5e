"""The stage: pinned to its corpus, no row lost, no time in its digest; the published folder can be read again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orature.core.errors import BadInput, ConfigError, RowsVanished
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import Corpus, save_corpus
from orature.evaluate.folder import open_scored
from orature.evaluate.score import stable_part
from orature.flow import Ref, Resources, Run, Store
from orature.stages.evaluate import Circumstances, Evaluate, Extras, lineage_rows, publish_results, report_from_folder
from orature.testing.stage_contract import check_idempotent, check_identity, check_resumable

QUIET = Resources(progress=False)


def make_corpus(folder: Path, count: int = 6) -> Corpus:
    folder.mkdir()
    tone = (0.1 * np.sin(np.arange(8000) / 20)).astype(np.float32)
    (folder / "audio").mkdir()
    utterances = []
    for i in range(count):
        path = folder / "audio" / f"{i}.flac"
        save_flac(path, tone)
        span = AudioSpan(str(path), 0.0, 0.5, audio_digest(tone))
        utterances.append(
            Utterance(
                f"u{i}", span, f"one two {i}", "und", f"s{i}", "real", "here", "CC BY 4.0", "test" if i else "dev"
            )
        )
    save_corpus(lambda name: write_beside(folder / name), utterances, [], root=folder)
    return Corpus.open(folder)


def write_hypotheses(folder: Path, corpus: Corpus, change: dict[str, Any] | None = None) -> None:
    folder.mkdir(exist_ok=True)
    lines = []
    for one in corpus.split("test"):
        row = {"id": one.id, "reference": one.text, "hypothesis": "one two 2", "speaker": one.speaker,
               "language": "und", "origin": "real", "duration_s": 0.5, "score": -0.1, "words": [], "refusal": None,
               "audio": {"path": one.audio.path, "start_s": 0.0, "duration_s": 0.5}}  # fmt: skip
        lines.append(json.dumps(row | ((change or {}).get(one.id) or {})))
    (folder / "hypotheses.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def given(tmp_path: Path) -> tuple[Store, Evaluate]:
    store = Store(tmp_path / "store")
    corpus = make_corpus(tmp_path / "corpus")
    write_hypotheses(tmp_path / "heard", corpus)
    stage = Evaluate(
        hypotheses=store.external(tmp_path / "heard", "transcribe", "ab" * 32),
        corpus=store.external(corpus.root, "corpus", corpus.digest),
        model="a-model",
        resamples=50,
    )
    return store, stage


def test_the_stage_keeps_the_contract(given: tuple[Store, Evaluate], tmp_path: Path) -> None:
    _, stage = given
    check_identity(stage)
    info = check_idempotent(stage, tmp_path / "again")
    assert info.rows is not None and (info.rows.total, info.rows.kept) == (5, 5)
    check_resumable(stage, tmp_path / "killed", faults=["part-written:1:kill", "committed:1:kill"])


def test_the_score_is_pinned_to_the_corpus(given: tuple[Store, Evaluate]) -> None:
    store, stage = given
    found = open_scored(store.path_of(Run(store, "test", "test").do(stage, on=QUIET)))
    corpus = Corpus.open(Path(stage.corpus.path))
    assert found.score["split_fingerprint"] == corpus.fingerprint("test")
    assert found.score["wer"]["value"] == pytest.approx(4 / 15, abs=1e-6)
    assert found.score["licences"] == ["CC BY 4.0"]
    assert found.score["model"] == "a-model"
    assert not {"rtf", "machine", "made_by"} & set(found.score)


def test_the_digest_forgets_paths_and_remembers_what_was_heard(given: tuple[Store, Evaluate], tmp_path: Path) -> None:
    store, stage = given
    corpus = Corpus.open(Path(stage.corpus.path))

    def digest(name: str, change: dict[str, Any]) -> str:
        write_hypotheses(tmp_path / name, corpus, change)
        ref = store.external(tmp_path / name, "transcribe", digest=(name * 64)[:64])
        return Run(store, "test", "test").do(stage.model_copy(update={"hypotheses": ref}), on=QUIET).digest

    first = digest("a", {})
    assert first == digest("b", {"u1": {"audio": {"path": "/moved/1.flac"}}})
    assert first != digest("c", {"u1": {"hypothesis": "one two 3"}})


def test_lost_foreign_and_old_rows_are_refused(given: tuple[Store, Evaluate], tmp_path: Path) -> None:
    store, stage = given
    corpus = Corpus.open(Path(stage.corpus.path))
    path = tmp_path / "heard" / "hypotheses.jsonl"
    whole = path.read_text(encoding="utf-8")

    def refuse(error: type[Exception], sentence: str) -> None:
        with pytest.raises(error, match=sentence):
            Run(store, "test", "test").do(stage, on=QUIET)

    path.write_text("\n".join(whole.split("\n")[1:]), encoding="utf-8")
    refuse(RowsVanished, r"1 of 5 utterances were never decoded \(u1\)")
    path.write_text(whole + whole.split("\n")[0].replace('"u1"', '"u9"') + "\n", encoding="utf-8")
    refuse(BadInput, r"1 hypotheses are of no utterance of this split \(u9\)")
    write_hypotheses(tmp_path / "heard", corpus, {"u2": {"reference": "an older transcript"}})
    refuse(BadInput, r"the transcripts have changed \(u2\)")
    write_hypotheses(tmp_path / "heard", corpus)
    with pytest.raises(ConfigError, match="nearest"):
        Run(store, "test", "test").do(stage.model_copy(update={"normaliser": "none"}), on=QUIET)


def test_the_published_folder_is_whole_and_can_be_moved(given: tuple[Store, Evaluate], tmp_path: Path) -> None:
    store, stage = given
    ref: Ref = Run(store, "test", "test").do(stage, on=QUIET)
    to = tmp_path / "results"
    whole = publish_results(
        to,
        scored=store.path_of(ref),
        circumstances=Circumstances("orature up here", "r1", 0.02, "a machine", "2026-03-01T10:00:00+00:00", "m/model"),
        extras=Extras(train_log=[{"update": 1, "loss": 2.0}], lineage=lineage_rows(store, ref)),
    )
    assert whole["made_by"]["command"] == "orature up here"
    assert stable_part(whole) == open_scored(store.path_of(ref)).score
    text = (to / "report.html").read_text(encoding="utf-8")
    for part in (
        "orature up here",
        "2026-03-01",
        "orature transcribe m/model",
        'id="training"',
        "<audio",
        ref.key[:12],
    ):
        assert part in text
    shutil.move(to, tmp_path / "moved")
    other = report_from_folder(tmp_path / "moved", tmp_path / "mail.html")
    assert other.read_text(encoding="utf-8") == text
