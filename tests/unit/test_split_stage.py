"""The stage that makes splits: nothing vanishes, no train row breaches the embargo, both counts are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import RejectLimitExceeded
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Split, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow.ref import Ref, Resources
from orature.flow.run import Run
from orature.flow.store import Store
from orature.stages.split import MakeSplits, describe, read_splits
from orature.testing.stage_contract import check_conserving, check_identity, check_resumable
from orature.text.leaks import EmbargoIndex

QUIET = Resources(progress=False)


def row(name: str, text: str | None, speaker: str | None, split: Split | None = None, digest: str = "") -> Utterance:
    audio = AudioSpan(f"audio/{name}.flac", 0.0, 1.5, digest or f"digest of {name}")
    return Utterance(name, audio, text, "que-EC", speaker, "real", "test", None, split)


def prompt(number: int) -> str:
    """A sentence unlike all others."""
    return " ".join(f"{letter}{chr(97 + number % 26)}{number * 7919 % 9973:04d}" for letter in "bdfg")


def make_corpus(folder: Path, rows: list[Utterance]) -> Ref:
    folder.mkdir(parents=True)
    extra: dict[str, Any] = {"quality": {"rms_dbfs": -20.0}}
    summary = save_corpus(lambda name: write_beside(folder / name), [(u, extra) for u in rows], [])
    return Ref(key="external", stage="corpus", digest=summary["digest"], path=str(folder))


def official(train: int = 20) -> list[Utterance]:
    rows = [row(f"tr{n}", prompt(n), f"a{n % 4}", "train") for n in range(train)]
    rows += [row(f"de{n}", prompt(100 + n), "b", "dev") for n in range(5)]
    return rows + [row(f"te{n}", prompt(200 + n), "c", "test") for n in range(5)]


def split(tmp_path: Path, rows: list[Utterance], **options: Any) -> tuple[Corpus, dict[str, Any], list[dict[str, str]]]:
    run = Run(Store(tmp_path / "store"), "test", "test")
    folder = run.path_of(run.do(MakeSplits(corpus=make_corpus(tmp_path / "corpus", rows), **options), on=QUIET))
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text("utf-8").splitlines()]
    return Corpus.open(folder), read_splits(folder), rejects


def test_given_splits_lose_only_what_breaches_the_embargo(tmp_path: Path) -> None:
    rows = [
        *official(),
        row("near", prompt(203) + " ari", "a1", "train"),
        row("same", prompt(101).upper() + "!", "a1", "train"),
        row("copy", "shuk ishkay", "a1", "train", digest="digest of te2"),
        row("yes", "ari", "a1", "train"),
        row("heard", "ari", "c", "test"),
        row("raw", None, None, "unlabelled", digest="digest of de1"),
        row("rare", None, None, "unlabelled"),
    ]
    corpus, facts, rejects = split(tmp_path, rows)
    assert {(r["id"], r["reason"]) for r in rejects} == {
        ("near", "embargo-near-duplicate"),
        ("same", "embargo-sentence"),
        ("copy", "embargo-audio"),
        ("raw", "embargo-audio"),
    }
    assert "te3" in next(r["detail"] for r in rejects if r["id"] == "near")
    assert len(corpus) + len(rejects) == len(rows) and facts["strategy"] == "given"
    assert facts["train"]["official"]["utterances"] == 24 and facts["train"]["made"]["utterances"] == 21
    assert facts["embargo"] == {"sentences": 10, "recordings": 11, "one_word_exempt": 1}
    assert all(corpus.fingerprint(name) == mark for name, mark in facts["fingerprints"].items())
    assert corpus.fingerprint("test") == Corpus.open(tmp_path / "corpus").fingerprint("test")
    assert EmbargoIndex.load(corpus.root / "embargo.json").sentence_breach(prompt(204)) is not None
    assert next(iter(corpus.cuts()))["custom"]["quality"] == {"rms_dbfs": -20.0}
    assert Path(next(iter(corpus)).audio.path) == tmp_path / "corpus" / "audio" / "tr0.flac"


def test_rebuild_takes_all_validated_clips_but_those_of_held_out_speakers(tmp_path: Path) -> None:
    rows = official(4) + [row(f"va{n}", prompt(300 + n), "c" if n % 5 == 0 else f"v{n}") for n in range(40)]
    rows.append(row("repeat", prompt(200), "v1"))
    _, facts, _ = split(tmp_path, rows)
    assert facts["strategy"] == "rebuild" and facts["train"]["official"]["utterances"] == 4
    assert facts["train"]["made"]["utterances"] == facts["train"]["could_hold"] == 36
    assert facts["rejected"] == {"speaker-in-dev-or-test": 8, "embargo-sentence": 1}
    text = "\n".join(describe(facts))
    assert "4 clips" in text and "36 clips" in text and facts["fingerprints"]["test"][:12] in text


def test_random_splits_are_disjoint_and_screened(tmp_path: Path) -> None:
    rows = [row(f"u{n}", prompt(n % 45), f"s{n % 9}") for n in range(90)] + [row("w", None, None, "unlabelled")]
    corpus, facts, rejects = split(tmp_path, rows, seed=3)
    held = {u.text for name in ("dev", "test") for u in corpus.split(name)}
    assert held and not held & {u.text for u in corpus.split("train")}
    assert not {u.text for u in corpus.split("dev")} & {u.text for u in corpus.split("test")}
    assert facts["disjoint_by"] == "speaker" and len(corpus) + len(rejects) == 91
    assert len(corpus.split("unlabelled")) == 1


def test_an_official_dev_inside_test_is_kept_and_said_aloud(tmp_path: Path) -> None:
    rows = [*official(), row("twin", prompt(201), "b", "dev")]
    corpus, facts, rejects = split(tmp_path, rows)
    assert not rejects and len(corpus.split("dev")) == 6
    assert any("1 rows of the official dev" in sentence for sentence in facts["warnings"])


def test_losing_nearly_all_rows_fails(tmp_path: Path) -> None:
    rows = official(0) + [row(f"x{n}", prompt(200), "a", "train") for n in range(90)]
    with pytest.raises(RejectLimitExceeded):
        split(tmp_path, rows, reject_limit=0.5)


def test_audio_of_an_artefact_in_the_same_store_is_named_relative_to_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run = Run(store, "test", "test")
    first = run.do(MakeSplits(corpus=make_corpus(tmp_path / "corpus", official())), on=QUIET)
    inside = [replace(u, audio=replace(u.audio, path=str(store.folder(first.key) / "a.flac"))) for u in official()]
    for name in ("cuts.jsonl.gz", "rejects.jsonl", "corpus.json"):
        (store.folder(first.key) / name).unlink()
    save_corpus(lambda name: write_beside(store.folder(first.key) / name), inside, [])
    second = run.do(MakeSplits(corpus=first, seed=5), on=QUIET)
    cut = next(Corpus.open(run.path_of(second)).cuts())
    assert cut["recording"]["sources"][0]["source"] == f"../{first.key}/a.flac"
    (tmp_path / "store").rename(tmp_path / "moved")
    moved = Corpus.open(Store(tmp_path / "moved").folder(second.key))
    assert (
        Path(next(iter(moved)).audio.path).resolve().parent == (tmp_path / "moved" / "artefacts" / first.key).resolve()
    )


def test_the_stage_holds_the_laws(tmp_path: Path) -> None:
    stage = MakeSplits(corpus=make_corpus(tmp_path / "corpus", [*official(6), row("same", prompt(101), "a1", "train")]))
    check_identity(stage)
    check_conserving(
        stage, tmp_path / "rows", rows_in=17, count_kept=lambda folder: sum(1 for _ in Corpus.open(folder))
    )
    check_resumable(stage, tmp_path / "kill", faults=["part-renamed:2:kill", "stage-ran:1:kill"])
