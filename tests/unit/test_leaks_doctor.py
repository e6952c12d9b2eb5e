"""The doctor: planted leaks in real corpora are found and named, clean corpora are clean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import CorpusError
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Split, Utterance
from orature.data.audio import load
from orature.data.audio_quality import bandwidth_hz, read_quality, silence_share
from orature.data.corpus import Corpus, save_corpus
from orature.data.doctor import examine, find_leaks, read_alphabet, read_sentences

REAL = ["digits_fsdd", "speech_commands"]


def manifest(folder: Path) -> Iterator[Utterance]:
    """The rows of a real corpus, straight from its manifest (the path stands for the audio digest)."""
    lines = (folder / "manifest.tsv").read_text("utf-8").splitlines()
    header = lines[0].split("\t")
    for line in lines[1:]:
        row = dict(zip(header, line.split("\t"), strict=True))
        span = AudioSpan(str(folder / row["path"]), 0.0, float(row["seconds"]), f"digest {row['path']}")
        text, split = row["sentence"] or None, row["split"]
        assert split in ("train", "dev", "test", "unlabelled")
        yield Utterance(row["path"], span, text, row["lang"], row["speaker"], "real", folder.name, None, split)  # type: ignore[arg-type]


def store(folder: Path, rows: list[Utterance]) -> Corpus:
    folder.mkdir()
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return Corpus.open(folder)


def small(
    name: str, text: str | None, split: Split | None, speaker: str | None = "s1", source: str = "one"
) -> Utterance:
    span = AudioSpan(f"{name}.flac", 0.0, 1.0, f"digest {name}")
    return Utterance(name, span, text, "und", speaker, "real", source, None, split)


@pytest.mark.corpora
@pytest.mark.parametrize("name", REAL)
def test_given_splits_of_real_corpora_are_clean(corpora: Path, tmp_path: Path, name: str) -> None:
    found = examine(store(tmp_path / name, list(manifest(corpora / name))))
    assert found.leaks == []
    assert any("one-word sentences" in warning for warning in found.warnings)


@pytest.mark.corpora
def test_kichwa_holds_one_near_duplicate_in_train_and_one_in_dev(corpora: Path, tmp_path: Path) -> None:
    leaks = find_leaks(store(tmp_path / "kichwa", list(manifest(corpora / "kichwa_killkan"))))
    assert sorted(leak.taken for leak in leaks) == [
        "dev utterance audio/ch10/10_225.opus",
        "train utterance audio/ch05/05_052.opus",
    ]
    assert {leak.kind for leak in leaks} == {"near-duplicate"}


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["kichwa_killkan", "cherokee_walc1"])
def test_planted_leaks_are_found_and_named(corpora: Path, tmp_path: Path, name: str) -> None:
    rows = list(manifest(corpora / name))
    known = {leak.sentence for leak in find_leaks(store(tmp_path / "as-given", rows))}
    long = [row for row in rows if row.split == "test" and row.text and len(row.text.split()) >= 5]
    first, second, third = long[0], long[3], long[5]
    assert second.text is not None
    planted = [
        replace(first, id="planted-sentence", split="train", speaker="new", audio=replace(first.audio, digest="new1")),
        replace(
            second,
            id="planted-near",
            split="train",
            speaker="new",
            text=f"Ari, {second.text}!!",
            audio=replace(second.audio, digest="new2"),
        ),
        replace(third, id="planted-audio", split="unlabelled", speaker="new", text=None),
        replace(first, id="planted-voice", split="train", text="shuk", audio=replace(first.audio, digest="new3")),
    ]
    leaks = [leak for leak in find_leaks(store(tmp_path / "planted", rows + planted)) if leak.sentence not in known]
    assert [(leak.kind, leak.reaches) for leak in leaks] == [
        ("sentence", first.id),
        ("near-duplicate", second.id),
        ("audio", third.id),
        ("speaker", "test"),
    ]
    assert "planted-near" in leaks[1].sentence and second.text in leaks[1].sentence
    assert first.speaker is not None and first.speaker in leaks[3].sentence


@pytest.mark.corpora
def test_a_speaker_moved_into_train_is_named(corpora: Path, tmp_path: Path) -> None:
    rows = list(manifest(corpora / "digits_fsdd"))
    own = [row for row in rows if row.speaker == "yweweler"]
    moved = [replace(row, split="train") if row in own[::10] else row for row in rows]
    leaks = find_leaks(store(tmp_path / "digits", moved))
    assert [leak.kind for leak in leaks] == ["speaker"] and "yweweler is in train (50 utterances) and in test" in leaks[
        0
    ].sentence


@pytest.mark.corpora
def test_text_against_test_sentences(corpora: Path, tmp_path: Path) -> None:
    rows = list(manifest(corpora / "yoruba_ogunlao"))
    corpus = store(tmp_path / "yoruba", rows)
    taken = next(row for row in rows if row.split == "test" and row.text and len(row.text.split()) > 6)
    lm = tmp_path / "lm.txt"
    lm.write_text(f"ọkan méjì mẹ́ta mẹ́rin\n\n{(taken.text or '').upper()}.\n", "utf-8")
    leaks = [leak for leak in find_leaks(corpus, text_files=[lm]) if leak.kind == "text"]
    assert [(leak.taken, leak.reaches) for leak in leaks] == [("lm.txt:3", taken.id)]
    assert any("one speaker only (yor-m01)" in warning for warning in examine(corpus).warnings)
    assert not [leak for leak in find_leaks(corpus) if leak.kind == "speaker"]


def test_between_corpora_both_ways(tmp_path: Path) -> None:
    one = store(
        tmp_path / "one",
        [small("a", "shuk ishkay kimsa", "test", "client-0123456789"), small("b", "chusku pichka", "train", "s1")],
    )
    two = store(
        tmp_path / "two",
        [
            small("c", "Shuk, ishkay kimsa.", "train", "client-0123456789", "other"),
            small("d", "chusku pichka", "test", "s1", "other"),
            small("e", "sukta kanchis", None, None, "other"),
        ],
    )
    leaks = find_leaks(one, [two])
    assert [(leak.kind, leak.taken, leak.reaches) for leak in leaks] == [
        ("sentence", "two/train utterance c", "a"),
        ("speaker", "two/train speaker client-0123456789", "test"),
        ("sentence", "train utterance b", "two/d"),
    ]


def test_rows_in_no_split_are_a_warning(tmp_path: Path) -> None:
    found = examine(store(tmp_path / "c", [small("a", "shuk ishkay", "test"), small("b", "shuk ishkay", None)]))
    assert not found.leaks and any("1 rows in no split" in warning for warning in found.warnings)


def test_alphabet_report(tmp_path: Path) -> None:
    rows = [small("a", "shuk wasi", "train"), small("b", "ñawi", "test"), small("c", "kаwsay \x92", "train")]
    report = read_alphabet(store(tmp_path / "c", rows))
    assert [(one.character, one.examples) for one in report.outside] == [("ñ", ("b",))]
    assert [word.plain for word in report.mixed] == ["kawsay"] and report.controls == ("c",)


def test_tables_and_texts_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\tsentence\n1\tshuk "ishkay\n2\t\n3\tkimsa\n', "utf-8")
    assert list(read_sentences(tmp_path / "a.tsv")) == [(2, 'shuk "ishkay'), (4, "kimsa")]
    (tmp_path / "b.csv").write_text('text,n\n"shuk, ishkay",1\n', "utf-8")
    assert list(read_sentences(tmp_path / "b.csv")) == [(2, "shuk, ishkay")]
    (tmp_path / "c.tsv").write_text("id\twords\n", "utf-8")
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe")
    for name in ("c.tsv", "d.txt", "missing.txt"):
        with pytest.raises(CorpusError):
            list(read_sentences(tmp_path / name))


@pytest.mark.corpora
def test_bandwidth_tells_telephone_speech(corpora: Path, tmp_path: Path) -> None:
    digits = store(tmp_path / "digits", list(manifest(corpora / "digits_fsdd"))[::50])
    report = read_quality(digits, sample=20)
    assert report["bandwidth"]["narrow_share"] == 1.0 and report["measured"] == 20
    assert any("nothing above 4 kHz" in sentence for sentence in report["sentences"])
    kichwa = read_quality(store(tmp_path / "kichwa", list(manifest(corpora / "kichwa_killkan"))[::200]), sample=10)
    assert kichwa["bandwidth"]["narrow_share"] == 0.0
    clip = load(corpora / "kichwa_killkan" / "audio" / "ch01" / "01_000.opus")
    assert bandwidth_hz(clip) > 7000


def test_measures_on_made_sound() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(16000).astype(np.float32) * 0.1
    assert bandwidth_hz(noise) > 7900 and silence_share(noise) == 0.0
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    assert 1000 <= bandwidth_hz(tone) < 1300
    assert silence_share(np.concatenate([noise, np.zeros(16000, np.float32)])) == pytest.approx(0.5, abs=0.05)
    assert (bandwidth_hz(np.zeros(10, np.float32)), silence_share(np.zeros(10, np.float32))) == (0.0, 1.0)


def test_check_exits_1_on_a_leak_and_0_without(tmp_path: Path) -> None:
    rows = [small("a", "shuk ishkay kimsa", "test", "t"), small("b", "chusku pichka", "train", "s1")]
    store(tmp_path / "clean", rows)
    store(tmp_path / "leaky", [*rows, small("c", "Shuk ishkay KIMSA", "train", "s2")])
    run = CliRunner()
    clean = run.invoke(build(), ["check", str(tmp_path / "clean"), "--audio", "0", "--json"])
    assert clean.exit_code == 0 and json.loads(clean.stdout)["leaks"] == []
    leaky = run.invoke(build(), ["check", str(tmp_path / "leaky"), "--audio", "0"])
    assert leaky.exit_code == 1 and "train utterance c" in leaky.stdout and "orature split" in leaky.stderr
    assert run.invoke(build(), ["check", str(tmp_path / "nothing")]).exit_code == 2


def test_split_command_makes_folds_and_refuses_wrong_options(tmp_path: Path) -> None:
    rows = [small(f"u{n}", f"word{n} tree{n * 7}", None, f"s{n % 6}") for n in range(24)]
    store(tmp_path / "corpus", rows)
    run = CliRunner()
    base = ["split", str(tmp_path / "corpus"), "--to", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    made = run.invoke(build(), [*base, "--kfold", "3", "--json"])
    assert made.exit_code == 0, made.stderr
    assert len({fold["fingerprints"]["test"] for fold in json.loads(made.stdout)["folds"]}) == 3
    assert len(Corpus.open(tmp_path / "out" / "fold-2").split("test")) == 8
    wrong = run.invoke(build(), [*base, "--strategy", "magic"])
    assert wrong.exit_code == 2 and "--strategy" in wrong.stderr and "Traceback" not in wrong.stderr
