"""Several corpora as one: nothing vanishes, the embargo holds across all, ids stay apart."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import CorpusError, RejectLimitExceeded
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Split, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Ref, Resources, Run, Store
from orature.stages.pool import OfLanguage, Pool
from orature.stages.split import MakeSplits
from orature.testing.stage_contract import check_stage
from orature.text.leaks import EmbargoIndex

QUIET = Resources(progress=False)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing costs milliseconds a file and makes no difference to a killed process."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def row(name: str, text: str | None, split: Split | None, language: str = "qu", digest: str = "") -> Utterance:
    audio = AudioSpan(f"audio/{name}.flac", 0.0, 1.5, digest or f"digest of {language} {name}")
    return Utterance(name, audio, text, language, f"{language}-speaker", "real", "test", None, split)


def corpus(folder: Path, rows: list[Utterance]) -> Ref:
    folder.mkdir(parents=True)
    extra: dict[str, Any] = {"quality": {"rms_dbfs": -20.0}}
    summary = save_corpus(lambda name: write_beside(folder / name), [(u, extra) for u in rows], [])
    return Ref(key="external", stage="corpus", digest=summary["digest"], path=str(folder))


def kichwa() -> list[Utterance]:
    return [
        row("k1", "shuk ishkay kimsa chusku", "train"),
        row("k2", "habari ya asubuhi mama yangu", "train"),  # a test sentence of the other corpus
        row("k3", "pichka sukta kanchis", "dev"),
        row("k4", "pusak iskun chunka wasi", "test"),
        row("both", "yaku wasi manta rini", "train"),
        row("k5", None, "unlabelled", digest="digest of sw s3"),
        row("k6", "mvua inanyesha sana leo jioni", "dev"),  # nearly a test sentence of the other
        row("k7", "pusak iskun chunka wasi", "dev"),  # its own test: said aloud by `split`, kept here
    ]


def swahili() -> list[Utterance]:
    return [
        row("both", "watoto wanasoma kitabu", "train", "sw"),
        row("s1", "pichka sukta kanchis", "train", "sw"),  # a dev sentence of the other corpus
        row("s2", "habari ya asubuhi mama yangu", "test", "sw"),
        row("s3", "leo ni siku njema", "dev", "sw"),
        row("s4", "mvua inanyesha sana leo", "test", "sw"),
        row("s5", "ndiyo", "test", "sw"),
    ]


def pooled(tmp_path: Path, **options: Any) -> tuple[Run, Ref, Corpus]:
    run = Run(Store(tmp_path / "store"), "test", "test")
    refs = (corpus(tmp_path / "k", kichwa()), corpus(tmp_path / "s", swahili()))
    ref = run.do(Pool(corpora=refs, names=("kichwa", "swahili"), **options), on=QUIET)
    return run, ref, Corpus.open(run.path_of(ref))


def rejects_of(folder: Path) -> dict[str, str]:
    lines = (folder / "rejects.jsonl").read_text("utf-8").splitlines()
    return {(r := json.loads(line))["id"]: r["reason"] for line in lines}


def test_the_embargo_holds_across_corpora_and_nothing_vanishes(tmp_path: Path) -> None:
    run, ref, corpus = pooled(tmp_path)
    rejects = rejects_of(corpus.root)
    assert rejects == {
        "k2": "embargo-sentence",
        "k5": "embargo-audio",
        "k6": "embargo-near-duplicate",
        "s1": "embargo-sentence",
    }
    assert len(corpus) + len(rejects) == len(kichwa()) + len(swahili()) and not corpus.verify()
    rows = run.store.info(ref.key).rows
    assert rows is not None and (rows.total, rows.kept) == (14, 10) and sum(rows.rejected.values()) == 4
    index = EmbargoIndex.load(corpus.root / "embargo.json")
    assert index.sentence_breach("mvua inanyesha sana leo") and index.sentence_breach("pichka sukta kanchis")
    facts = json.loads((corpus.root / "pool.json").read_text())["corpora"]
    assert [(one["name"], one["kept"], one["prefixed_ids"]) for one in facts] == [("kichwa", 5, 1), ("swahili", 5, 1)]


def test_ids_that_collide_are_led_by_their_corpus_and_audio_is_found(tmp_path: Path) -> None:
    _, _, corpus = pooled(tmp_path)
    found = {u.id: u for u in corpus}
    assert set(found) == {"k1", "k3", "k4", "k7", "kichwa/both", "swahili/both", "s2", "s3", "s4", "s5"}
    assert found["swahili/both"].text == "watoto wanasoma kitabu" and found["swahili/both"].language == "sw"
    assert Path(found["k1"].audio.path) == tmp_path / "k" / "audio" / "k1.flac"
    assert next(iter(corpus.cuts()))["custom"]["quality"] == {"rms_dbfs": -20.0}


def test_audio_in_the_same_store_is_named_relative_to_the_pool(tmp_path: Path) -> None:
    run = Run(Store(tmp_path / "store"), "test", "test")
    split = run.do(MakeSplits(corpus=corpus(tmp_path / "k", kichwa()), strategy="given"), on=QUIET)
    folder = run.path_of(split)
    inside = [replace(u, audio=replace(u.audio, path=str(folder / "a.flac"))) for u in swahili()]
    save_corpus(lambda name: write_beside(folder / name), inside, [])
    made = run.do(Pool(corpora=(split,), names=("k",)), on=QUIET)
    cut = next(Corpus.open(run.path_of(made)).cuts())
    assert cut["recording"]["sources"][0]["source"] == f"../{split.key}/a.flac"
    assert Path(next(iter(Corpus.open(run.path_of(made)))).audio.path).resolve() == (folder / "a.flac").resolve()


def test_without_collisions_the_order_of_corpora_does_not_matter(tmp_path: Path) -> None:
    run = Run(Store(tmp_path / "store"), "test", "test")
    one = corpus(tmp_path / "k", [u for u in kichwa() if u.id != "both"])
    two = corpus(tmp_path / "s", [u for u in swahili() if u.id != "both"])
    first = run.do(Pool(corpora=(one, two), names=("k", "s")), on=QUIET)
    second = run.do(Pool(corpora=(two, one), names=("s", "k")), on=QUIET)
    assert first.digest == second.digest and first.key != second.key


def test_one_language_of_a_pool(tmp_path: Path) -> None:
    run, ref, whole = pooled(tmp_path)
    alone = run.do(OfLanguage(corpus=ref, language="sw"), on=QUIET)
    corpus = Corpus.open(run.path_of(alone))
    assert (
        {u.id for u in corpus}
        == {"swahili/both", "s2", "s3", "s4", "s5"}
        == {u.id for u in whole if u.language == "sw"}
    )
    assert Path(next(iter(corpus)).audio.path) == tmp_path / "s" / "audio" / "both.flac"
    with pytest.raises(CorpusError, match="no rows in 'yo'"):
        run.do(OfLanguage(corpus=ref, language="yo"), on=QUIET)


def test_pools_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    run = Run(Store(tmp_path / "store"), "test", "test")
    one = corpus(tmp_path / "k", kichwa())
    with pytest.raises(CorpusError, match="hold the same rows"):
        run.do(Pool(corpora=(one, one), names=("a", "b")), on=QUIET)
    with pytest.raises(CorpusError, match="name of its own"):
        run.do(Pool(corpora=(one, one), names=("a", "a")), on=QUIET)
    with pytest.raises(RejectLimitExceeded):
        pooled(tmp_path / "more", reject_limit=0.1)


def test_the_stage_contract(tmp_path: Path) -> None:
    one = corpus(tmp_path / "k", kichwa()[:4])
    two = corpus(tmp_path / "s", [replace(u, id=f"x{u.id}") for u in swahili()])
    count = {"rows_in": 10, "count_kept": lambda folder: len(Corpus.open(folder)), "resources": QUIET}
    check_stage(Pool(corpora=(one, two), names=("k", "s")), tmp_path / "pool", **count)  # type: ignore[arg-type]
    count["rows_in"] = 4
    check_stage(OfLanguage(corpus=one, language="qu"), tmp_path / "of", **count)  # type: ignore[arg-type]
