"""The corpus folder: views, checks, and its agreement with Lhotse."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_samples import plain_writing, tone

from orature.core.errors import CorpusError
from orature.core.types import AudioSpan, Reject, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import CUTS, REJECTS, SUMMARY, Corpus, CorpusWriter, save_corpus
from orature.data.rows import canonical_row, cut_of, utterance_of


def row(number: int, **fields: Any) -> Utterance:
    audio = AudioSpan(f"audio/00000/{number}.flac", 0.0, 1.0 + number / 10, f"{number:064x}")
    base = Utterance(f"u{number}", audio, f"rimay {number}", "que-EC", f"s{number % 2}", source="x", licence="CC0-1.0")
    return replace(base, **fields)


def make(folder: Path, rows: list[Utterance]) -> Corpus:
    save_corpus(plain_writing(folder), rows, [Reject("bad", "audio-silent", "quiet", "m.tsv:3")])
    return Corpus.open(folder)


ROWS = [
    row(1, split="train"),
    row(2, split="train", speaker=None, licence=None),
    row(3, split="dev"),
    row(4, split="unlabelled", text=None, language="und"),
    row(5),
]


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    corpus = make(tmp_path, ROWS)
    root = str(tmp_path)
    expected = [replace(u, audio=replace(u.audio, path=f"{root}/{u.audio.path}")) for u in ROWS]
    assert list(corpus) == expected and len(corpus) == 5 and corpus.verify() == []
    assert json.loads((tmp_path / REJECTS).read_text()) == {
        "id": "bad", "reason": "audio-silent", "detail": "quiet", "where": "m.tsv:3"
    }  # fmt: skip


def test_summary_counts_every_split(tmp_path: Path) -> None:
    summary = make(tmp_path, ROWS).summary()
    assert summary["format"] == 1 and summary["utterances"] == 5
    assert {name: part["utterances"] for name, part in summary["splits"].items()} == {
        "train": 2, "dev": 1, "unlabelled": 1, "unassigned": 1
    }  # fmt: skip
    assert summary["splits"]["train"]["speakers"] == 1
    assert summary["hours"] == round((1.1 + 1.2 + 1.3 + 1.4 + 1.5) / 3600, 6)
    assert summary["languages"] == ["que-EC", "und"] and summary["licences"] == ["CC0-1.0"]
    assert summary == json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8"))


def test_views_are_corpora(tmp_path: Path) -> None:
    corpus = make(tmp_path, ROWS)
    train = corpus.split("train")
    assert [u.id for u in train] == ["u1", "u2"] and len(train) == 2 and len(corpus.split("test")) == 0
    kept, rejects = train.keep(lambda u: u.speaker is not None, because="no speaker")
    assert [u.id for u in kept] == ["u1"] and len(kept) == 1 and len(kept.split("dev")) == 0
    assert [(r.id, r.reason, r.where) for r in rejects] == [("u2", "no speaker", f"{CUTS}:2")]
    assert kept.summary()["utterances"] == 1 and kept.digest != corpus.digest
    assert kept.fingerprint("train") != corpus.fingerprint("train")
    assert train.fingerprint("train") == corpus.fingerprint("train")
    assert [u.id for u in corpus.split("unassigned")] == ["u5"]
    whole, none = corpus.keep(lambda u: True, because="x")
    assert whole.digest == corpus.digest and not none
    with pytest.raises(CorpusError, match="has no split"):
        corpus.fingerprint("test")
    with pytest.raises(CorpusError, match="no split 'training'"):
        corpus.split("training")


def test_same_rows_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, now_s in (("a", 1e9), ("b", 2e9)):
        monkeypatch.setattr("time.time", lambda now_s=now_s: now_s)
        make(tmp_path / name, ROWS)
    for name in (CUTS, REJECTS, SUMMARY):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "other"}, {"text": "x"}, {"text": None}, {"language": "qu"}, {"speaker": "z"}, {"origin": "synthetic"},
        {"source": "y"}, {"licence": None}, {"split": "test"},
        {"audio": AudioSpan("p", 0.0, 1.1, "f" * 64)}, {"audio": AudioSpan("p", 0.001, 1.1, f"{1:064x}")},
        {"audio": AudioSpan("p", 0.0, 1.101, f"{1:064x}")},
    ],
)  # fmt: skip
def test_every_field_is_in_the_digest(fields: dict[str, Any]) -> None:
    assert canonical_row(row(1, **fields)) != canonical_row(row(1))


def test_path_and_less_than_a_millisecond_are_not() -> None:
    moved = replace(row(1).audio, path="/elsewhere.flac", duration_s=1.1 + 4e-4)
    assert canonical_row(row(1, audio=moved)) == canonical_row(row(1))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"id": ""}, "id must be"), ({"origin": "dreamt"}, "origin"), ({"split": "holiday"}, "split"),
        ({"text": 7}, "text"), ({"speaker": 7}, "speaker"), ({"language": None}, "language"),
        ({"text": "\ud800"}, "UTF-8"), ({"id": "\ud800"}, "UTF-8"),
        ({"audio": AudioSpan("p", 0.0, 0.0, "")}, "times"), ({"audio": AudioSpan("p", -0.1, 1.0, "")}, "times"),
        ({"audio": AudioSpan("p", 0.0, float("nan"), "")}, "times"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused(fields: dict[str, Any], word: str, tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / CUTS) as writer, pytest.raises(CorpusError, match=word):
        writer.add(row(1, **fields))
    assert writer.summary()["utterances"] == 0


def test_a_second_row_of_an_id_is_refused(tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / CUTS) as writer:
        writer.add(row(1))
        with pytest.raises(CorpusError, match="there twice"):
            writer.add(row(1, text="other"))


def test_verify_names_what_was_tampered_with(tmp_path: Path) -> None:
    corpus = make(tmp_path, ROWS)
    lines = gzip.decompress((tmp_path / CUTS).read_bytes()).splitlines(keepends=True)
    (tmp_path / CUTS).write_bytes(gzip.compress(b"".join([*lines, lines[0]])))
    problems = "\n".join(corpus.verify())
    assert "'u1' is there twice" in problems and "digest" in problems and "utterances" in problems
    (tmp_path / CUTS).write_bytes(gzip.compress(lines[0].replace(b'"duration":1.1', b'"duration":-1', 1)))
    assert "times of 'u1' are wrong" in corpus.verify()[0]


@pytest.mark.parametrize("damage", ["cut", "json", "shape", "bytes"])
def test_a_damaged_corpus_is_an_error_and_no_traceback(damage: str, tmp_path: Path) -> None:
    corpus = make(tmp_path, ROWS)
    whole = (tmp_path / CUTS).read_bytes()
    bad = {"cut": whole[:-20], "json": gzip.compress(b"{\n"), "shape": gzip.compress(b"[1]\n"), "bytes": b"nonsense"}
    (tmp_path / CUTS).write_bytes(bad[damage])
    with pytest.raises(CorpusError) as caught:
        list(corpus)
    assert "cuts.jsonl.gz:" in caught.value.where and "orature ingest" in caught.value.next_step


def test_folders_that_hold_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus"):
        Corpus.open(tmp_path / "none")
    (tmp_path / SUMMARY).write_text('{"format": 99}')
    with pytest.raises(CorpusError, match="99"):
        Corpus.open(tmp_path)
    (tmp_path / SUMMARY).write_text("{")
    with pytest.raises(CorpusError, match="cannot be read"):
        Corpus.open(tmp_path)
    (tmp_path / SUMMARY).write_text('{"format": 1}')
    with pytest.raises(CorpusError, match="lost its"):
        Corpus.open(tmp_path)


def test_paths_inside_the_folder_are_stored_relative(tmp_path: Path) -> None:
    rows = [
        row(1, audio=AudioSpan(str(tmp_path / "audio/1.flac"), 0, 1, "")),
        row(2, audio=AudioSpan("/far/2.flac", 0, 1, "")),
    ]
    corpus = make(tmp_path, rows)
    stored = [cut["recording"]["sources"][0]["source"] for cut in corpus.cuts()]
    assert stored == ["audio/1.flac", "/far/2.flac"]
    assert [u.audio.path for u in corpus] == [str(tmp_path / "audio/1.flac"), "/far/2.flac"]


def test_extra_values_are_kept_and_never_count(tmp_path: Path) -> None:
    cut = cut_of(row(1, split="dev"), {"quality": {"rms_dbfs": -20.0}, "split": "train", "origin": "pseudo"})
    assert cut["custom"]["quality"] == {"rms_dbfs": -20.0}
    assert utterance_of(cut, "") == row(1, split="dev")


def test_lhotse_reads_and_rewrites_our_cuts_to_the_same_digest(tmp_path: Path) -> None:
    import lhotse

    (tmp_path / "audio/00000").mkdir(parents=True)
    rows = []
    for one in ROWS:
        samples = tone(one.audio.duration_s)
        save_flac(tmp_path / one.audio.path, samples)
        rows.append(replace(one, audio=replace(one.audio, digest=audio_digest(samples))))
    corpus = make(tmp_path, rows)
    cuts = lhotse.CutSet.from_file(tmp_path / CUTS)
    placed = list(cuts.with_recording_path_prefix(str(tmp_path)))
    assert [cut.load_audio().shape[1] for cut in placed] == [round(u.audio.duration_s * 16_000) for u in rows]
    assert placed[0].supervisions[0].text == "rimay 1" and placed[0].custom["split"] == "train"
    cuts.to_file(tmp_path / "again.jsonl.gz")
    (tmp_path / "again.jsonl.gz").rename(tmp_path / CUTS)
    assert corpus.verify() == [] and [u.id for u in corpus] == [u.id for u in rows]
