"""Every format in, 16 kHz mono out; every kind of bad recording has its reason."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from data_samples import encoded, tone

from orature.core.errors import AudioError
from orature.data.audio import Limits, Segment, audio_digest, decode, load, quality, save_flac, to_int16
from orature.data.containers import _mp3_frame_bytes, container, mp3_with_length

FORMATS = [
    *[("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE")],
    *[("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")],
    *[("AIFF", "PCM_16"), ("AU", "PCM_16")],
]


def reason(data: bytes | Path, limits: Limits | None = None, segment: Segment | None = None) -> str:
    with pytest.raises(AudioError) as caught:
        decode(data, "clip", limits=limits or Limits(), segment=segment or Segment())
    assert caught.value.what and caught.value.where == "clip" and caught.value.next_step
    return caught.value.reason


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_any_format_becomes_16_khz_mono(format: str, subtype: str, channels: int, tmp_path: Path) -> None:
    rate_hz = 48_000 if subtype == "OPUS" else 44_100
    wave = tone(2.0, rate_hz)
    data = encoded(wave if channels == 1 else np.stack([wave, 0.5 * wave], axis=1), rate_hz, format, subtype)
    samples = decode(data, "clip")
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert abs(len(samples) - 32_000) <= (4_800 if subtype == "OPUS" else 1)  # libsndfile's Opus writer drops a tail
    middle = samples[8_000:24_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) == 440
    assert np.abs(middle).max() == pytest.approx(0.5 if channels == 1 else 0.375, abs=0.03)
    (tmp_path / "clip").write_bytes(data)
    assert np.array_equal(decode(tmp_path / "clip"), samples)


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
@pytest.mark.parametrize("share", [0.95, 0.5])
def test_cut_off_files_are_found(format: str, subtype: str, share: float) -> None:
    rate_hz = 48_000 if subtype == "OPUS" else 44_100
    data = encoded(tone(3.0, rate_hz), rate_hz, format, subtype)
    assert reason(data[: int(len(data) * share)]) == "audio-truncated"


def test_wav_written_to_a_pipe_is_whole() -> None:
    data = encoded(tone())
    at = data.index(b"data") + 4
    for length in (0xFFFFFFFF, 0x7FFFFFFF + 1):
        assert len(decode(data[:at] + struct.pack("<I", length) + data[at + 4 :], "clip")) == 16_000


@pytest.mark.parametrize("rate_hz", [44_100, 24_000, 11_025])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_that_does_not_state_its_length_is_read_to_the_end(rate_hz: int, channels: int) -> None:
    wave = tone(3.0, rate_hz)
    wave[rate_hz:] *= (
        np.random.default_rng(1).normal(size=2 * rate_hz).astype(np.float32)
    )  # so that the bit rate varies
    data = encoded(wave if channels == 1 else np.stack([wave, wave], axis=1), rate_hz, "MP3", "MPEG_LAYER_III")
    bare = data[_mp3_frame_bytes(data[:4]) :]
    assert mp3_with_length(data) == data and b"Xing" in mp3_with_length(bare) and b"Xing" not in bare
    expected, found = decode(data, "clip"), decode(bare, "clip")
    assert 0 <= len(found) - len(expected) < 4 * 1152 * 16_000 / rate_hz  # the encoder's delay is not cut off
    part = decode(bare, "clip", segment=Segment(2.0, 0.5))
    assert np.abs(part).max() > 0.3 and abs(len(part) - 8_000) <= 1


def test_damaged_mp3_is_quiet_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(tone(3.0, 44_100), 44_100, "MP3", "MPEG_LAYER_III")
    decode(data[:3000] + bytes(200) + data[3200:], "clip")
    assert reason(b"\xff\xfb\x90\x00" + b"abc" * 3000) in ("audio-unreadable", "audio-too-short", "audio-empty")
    assert capfd.readouterr().err == ""
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "audio-empty"),
        (encoded(tone(0.0)), "audio-empty"),
        (b"not a sound at all, but long enough", "audio-unreadable"),
        (encoded(tone(0.02)), "audio-too-short"),
        (encoded(np.zeros(16_000, np.float32)), "audio-silent"),
        (encoded(0.001 * tone()), "audio-silent"),
        (encoded(np.where(np.arange(16_000) == 99, np.nan, tone()), subtype="FLOAT"), "audio-nan"),
        (encoded(np.where(np.arange(16_000) == 99, np.inf, tone()), subtype="FLOAT"), "audio-nan"),
        (encoded(20_000 * tone(), subtype="FLOAT"), "audio-overscaled"),
        (encoded(tone(1.0, 500), 500), "audio-unreadable"),
    ],
)
def test_bad_recordings_have_a_reason(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_missing_and_unreadable_paths(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(AudioError) as caught:
            decode(path)
        assert caught.value.reason in ("audio-missing", "audio-unreadable")
    assert reason(tmp_path) == "audio-unreadable"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3"])
def test_too_long_is_said_before_it_is_decoded(format: str) -> None:
    subtype = "MPEG_LAYER_III" if format == "MP3" else "PCM_16"
    data = encoded(tone(20.0), 16_000, format, subtype)
    assert reason(data, Limits(max_seconds=10)) == "audio-too-long"
    assert len(decode(data, "clip", segment=Segment(5.0, 2.0), limits=Limits(max_seconds=10))) == 32_000


def test_segments_and_channels() -> None:
    left, right = tone(2.0), 0.1 * tone(2.0, hertz=880)
    data = encoded(np.stack([left, right], axis=1))
    part = decode(data, "clip", segment=Segment(0.5, 1.0, 1))
    assert np.abs(part - right[8_000:24_000]).max() < 1e-4
    assert reason(data, segment=Segment(1.5, 1.0)) == "audio-truncated"
    assert reason(data, segment=Segment(channel=2)) == "audio-unreadable"


def test_resampling_in_blocks_is_resampling_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(tone(3.0, 44_100), 44_100)
    whole = decode(data, "clip")
    monkeypatch.setattr("orature.data.audio._BLOCK_FRAMES", 10_007)
    assert np.abs(decode(data, "clip") - whole).max() < 1e-5


def test_flac_round_trip_keeps_the_digest(tmp_path: Path) -> None:
    samples = np.concatenate([tone(), np.array([1.0, -1.0, 2.0, -2.0, 1 / 65536], np.float32)])
    save_flac(tmp_path / "a.flac", samples)
    again = load(tmp_path / "a.flac")
    assert audio_digest(again) == audio_digest(samples) and np.array_equal(to_int16(again), to_int16(samples))
    assert audio_digest(again[:-1]) != audio_digest(again)
    assert np.array_equal(load(tmp_path / "a.flac", 0.25, 0.5), again[4_000:12_000])


def test_load_takes_other_formats_and_explains_failure(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(encoded(tone(1.0, 44_100), 44_100, "MP3", "MPEG_LAYER_III"))
    assert abs(len(load(tmp_path / "a.mp3")) - 16_000) <= 1
    with pytest.raises(AudioError) as caught:
        load(tmp_path / "b.flac")
    assert caught.value.reason == "audio-missing"


def test_quality_counts_clipping() -> None:
    loud = np.clip(4 * tone(), -1, 1)
    assert quality(tone())["clipped_share"] == 0.0
    assert quality(loud)["clipped_share"] > 0.5
    assert quality(tone())["rms_dbfs"] == pytest.approx(-9.0, abs=0.1)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "mp4"),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 12, "matroska"),
        (b"\xff\xf1\x50\x80" + b"\0" * 12, "aac"),
        (b"\xff\xfb\x90\x00" + b"\0" * 12, "mp3"),
        (b"ID3\x04" + b"\0" * 12, "mp3"),
        (b"\0" * 16, ""),
    ],
)
def test_containers_by_their_first_bytes(head: bytes, kind: str) -> None:
    assert container(head) == kind


M4A = b"\0\0\0\x20ftypM4A " + b"\0" * 64


def test_m4a_without_ffmpeg_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="needs the ffmpeg program") as caught:
        decode(M4A, "talk.m4a")
    assert caught.value.next_step == "install ffmpeg" and caught.value.reason == "audio-unreadable"


@pytest.mark.parametrize(("body", "status"), [("tone", 0), ("", 1), ("nan", 0)])
def test_m4a_through_an_ffmpeg_double(body: str, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wave = tone() if body == "tone" else np.full(16_000, np.nan, np.float32)
    (tmp_path / "out.raw").write_bytes(wave.astype("<f4").tobytes())
    double = tmp_path / "ffmpeg"
    double.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n/bin/cat {tmp_path}/out.raw\nexit {status}\n')
    double.chmod(double.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if body == "tone":
        assert np.array_equal(decode(M4A, "talk.m4a"), tone())
        called = (tmp_path / "called").read_text()
        assert "-ac 1 -ar 16000" in called and "-i file:" in called
        assert len(decode(M4A, "talk.m4a", segment=Segment(1.0, 2.0))) == 16_000
        assert "-ss 1.000000" in (tmp_path / "called").read_text()
    else:
        assert reason(M4A) == ("audio-nan" if body == "nan" else "audio-unreadable")
