"""Recordings of another corpus as untranscribed speech: every row accounted for, no text taken along, dev stays out."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import corpus_of

from orature.core.errors import CorpusError
from orature.core.files import write_beside
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Resources, Run, Store
from orature.stages.inputs import corpus_ref
from orature.stages.lend_speech import LendSpeech
from orature.testing.stage_contract import check_conserving, check_idempotent, check_identity

QUIET = Resources(progress=False)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def stage(tmp_path: Path) -> LendSpeech:
    """Own: two rows each of train, dev and test, one untranscribed. The other: nine rows; its first is our dev's."""
    own = Corpus.open(corpus_of(tmp_path / "own", ["shuk"] * 6, seconds=0.3))
    rows = list(own)
    free = replace(rows[0], id="free", text=None, split="unlabelled", audio=replace(rows[0].audio, digest="f" * 64))
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    save_corpus(lambda name: write_beside(mixed / name), [*rows, free], [])
    other = Corpus.open(corpus_of(tmp_path / "other", ["moja"] * 9, seconds=0.3, language="sw", speaker="asha"))
    given = [replace(row, audio=replace(row.audio, digest=f"{n:064x}")) for n, row in enumerate(other)]
    dev = next(row for row in rows if row.split == "dev")
    given[0] = replace(given[0], audio=replace(given[0].audio, digest=dev.audio.digest))
    lent = tmp_path / "lent"
    lent.mkdir()
    save_corpus(lambda name: write_beside(lent / name), given, [])
    return LendSpeech(corpus=corpus_ref(mixed), speech=corpus_ref(lent))


def test_recordings_are_lent_without_text_speaker_or_language(stage: LendSpeech, tmp_path: Path) -> None:
    run = Run(Store(tmp_path / "store"), "test", "test")
    ref = run.do(stage, on=QUIET)
    made = Corpus.open(run.path_of(ref))
    free = list(made.split("unlabelled"))
    assert [row.id for row in free] == ["lent/u03", "lent/u06"], "train rows, but for the recording that is in dev"
    assert {(row.text, row.speaker, row.language) for row in free} == {(None, None, "qu")}
    assert all(Path(row.audio.path).is_file() for row in made) and not made.verify()
    assert len(made.split("train")) == len(made.split("dev")) == len(made.split("test")) == 2
    lines = (run.path_of(ref) / "rejects.jsonl").read_text("utf-8").splitlines()
    rejects = {(row["id"], row["reason"]) for row in map(json.loads, lines)}
    assert ("free", "replaced") in rejects and ("u00", "embargo-audio") in rejects
    assert sum(reason == "other-split" for _, reason in rejects) == 6


def test_the_contract(stage: LendSpeech, tmp_path: Path) -> None:
    check_identity(stage)
    check_idempotent(stage, tmp_path / "twice")
    check_conserving(stage, tmp_path / "rows", rows_in=16, count_kept=lambda folder: len(Corpus.open(folder)))


def test_several_languages_and_nothing_to_lend_are_refused(stage: LendSpeech, tmp_path: Path) -> None:
    run = Run(Store(tmp_path / "store"), "test", "test")
    one, other = (Corpus.open(tmp_path / name) for name in ("own", "other"))
    several = tmp_path / "several"
    several.mkdir()
    rows = [*one, *(replace(row, id=f"o{row.id}") for row in other)]
    save_corpus(lambda name: write_beside(several / name), rows, [])
    with pytest.raises(CorpusError, match="lent to one language, not to qu, sw"):
        run.do(LendSpeech(corpus=corpus_ref(several), speech=stage.speech), on=QUIET)
    tested = tmp_path / "tested"
    tested.mkdir()
    save_corpus(lambda name: write_beside(tested / name), [replace(row, split="test") for row in other], [])
    with pytest.raises(CorpusError, match="lends no recording"):
        run.do(LendSpeech(corpus=stage.corpus, speech=corpus_ref(tested)), on=QUIET)
