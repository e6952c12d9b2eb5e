"""Recordings in tars: Lhotse reads the shards, Orature the rows; equal samples give equal bytes; damage is told."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from data_samples import encoded, tone
from lhotse import CutSet
from speech_samples import reading, sentences, text_corpus

from orature.core.errors import AudioError, CorpusError
from orature.core.types import AudioSpan, Utterance
from orature.data.audio import Limits, audio_digest, decode, encode, load, to_int16
from orature.data.audio_quality import read_quality
from orature.data.corpus import Corpus
from orature.data.ogg import checksum, with_serial
from orature.data.shar import SharWriter, member_name, shar_name
from orature.data.tarspan import TarSpan, tar_span
from orature.flow import Resources, Run, Store

QUIET = Resources(progress=False)


def speech(folder: Path, **fields: object) -> Path:
    text = text_corpus(folder / "t", sentences(11))
    store = Store(folder / "s")
    return store.path_of(Run(store, "test", "test").do(reading(text, per_shard=4, **fields), on=QUIET))


@pytest.mark.parametrize("kind", ["flac", "opus"])
def test_lhotse_reads_what_orature_reads(tmp_path: Path, kind: str) -> None:
    folder = speech(tmp_path, audio_format=kind)
    ours = {row.id: row for row in Corpus.open(folder)}
    theirs = list(CutSet.from_shar(in_dir=str(folder / "shar")))
    assert sorted(cut.id for cut in theirs) == sorted(ours)
    for cut in theirs:
        row = ours[cut.id]
        samples = load(row.audio.path, row.audio.start_s, row.audio.duration_s)
        assert audio_digest(samples) == row.audio.digest
        assert cut.supervisions[0].text == row.text and cut.supervisions[0].speaker == row.speaker
        assert cut.custom["origin"] == "synthetic"
        np.testing.assert_allclose(cut.load_audio()[0], samples, atol=2e-4)


@pytest.mark.parametrize("kind", ["flac", "opus"])
def test_equal_samples_give_equal_bytes_and_lengths(kind: str) -> None:
    rng = np.random.default_rng(1)
    for count in (900, 16_000, 33_333):
        samples = (0.1 * rng.standard_normal(count)).astype(np.float32)
        data = encode(samples, kind)
        assert encode(samples, kind) == data and len(decode(data, limits=Limits(min_seconds=0))) == count
    assert encode(samples + 0.01, kind) != data


def test_ogg_pages_keep_their_checksums() -> None:
    data = encoded(tone(0.3), format="OGG", subtype="OPUS")
    changed = with_serial(data, 7)
    assert (
        struct.unpack("<I", changed[14:18])[0] == 7
        and with_serial(changed, struct.unpack("<I", data[14:18])[0]) == data
    )
    page = bytearray(data[: 27 + data[26] + sum(data[27 : 27 + data[26]])])
    expected = struct.unpack("<I", page[22:26])[0]
    page[22:26] = bytes(4)
    assert checksum(bytes(page)) == expected
    with pytest.raises(AudioError, match="no Ogg"):
        with_serial(b"RIFF" + data, 1)


def test_a_part_of_a_recording_inside_a_tar(tmp_path: Path) -> None:
    wave = tone(1.0)
    with SharWriter(tmp_path) as writer:
        place = writer.add(row("a.b/c"), encode(wave, "flac"), "flac", {})
    np.testing.assert_array_equal(to_int16(load(str(place), 0.25, 0.5)), to_int16(wave)[4000:12000])
    assert len(decode(Path(str(place)))) == 16_000
    assert tar_span(str(place)) == place and tar_span(tmp_path / "recording.tar") is None


def row(ident: str) -> Utterance:
    return Utterance(ident, AudioSpan("", 0.0, 1.0, "d"), "shuk")


def test_what_is_missing_from_a_tar_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"short")
    with pytest.raises(AudioError, match="ends before byte 110") as cut:
        load(str(TarSpan(str(tmp_path / "x.tar"), 10, 100)))
    assert cut.value.reason == "audio-truncated"
    with pytest.raises(AudioError, match="cannot be read") as gone:
        decode(tmp_path / "gone.tar::0+5")
    assert gone.value.reason == "audio-missing"


@pytest.mark.parametrize("ident", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0b"])
def test_ids_that_no_tar_can_hold(ident: str) -> None:
    with pytest.raises(CorpusError, match="name of a recording"):
        member_name(ident)


def test_long_and_foreign_ids_are_found_again(tmp_path: Path) -> None:
    names = ["ọ̀rọ̀/" + "x" * 150, "a.flac.b", "with space"]
    with SharWriter(tmp_path) as writer:
        for name in names:
            writer.add(row(name), encode(tone(), "flac"), "flac", {})
    for name in ("cuts.jsonl.gz", "recording.tar"):
        (tmp_path / name).rename(tmp_path / shar_name(name, 0))
    assert [cut.id for cut in CutSet.from_shar(in_dir=str(tmp_path))] == names


def test_the_quality_of_such_a_corpus_is_read(tmp_path: Path) -> None:
    report = read_quality(Corpus.open(speech(tmp_path)))
    assert report["measured"] == 11 and report["unreadable"]["count"] == 0 and report["bandwidth"]["median_hz"]
