"""`orature transcribe`: files, standard input and every output format, with a micro model that was never trained."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny import LATIN, model_in
from typer.testing import CliRunner, Result

from orature.cli.main import build
from orature.core.types import RATE_HZ
from orature.data.audio import decode
from orature.engines.ctc_recogniser import CtcRecogniser

_SRT_TIMES = re.compile(r"^\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}$", re.M)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained: what it writes is nonsense, but there is something, and always the same."""
    return model_in(tmp_path_factory.mktemp("model"), LATIN, blank=-1.0)


def clip(path: Path, seconds: float, seed: int = 1, rate_hz: int = RATE_HZ, channels: int = 1) -> Path:
    """Bursts of noise with pauses, so that there is something to write now and then."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate_hz)
    loud = (np.arange(count) // (rate_hz // 4) % 2)[:, None]
    samples = 0.2 * rng.standard_normal((count, channels)) * loud + 1e-4
    soundfile.write(path, samples, rate_hz)
    return path


def transcribe(*arguments: str | Path, stdin: bytes = b"") -> Result:
    words = ["transcribe", "--device", "cpu", "--threads", "1", *map(str, arguments)]
    return CliRunner().invoke(build(), words, input=stdin, catch_exceptions=False)


def seconds_of(clock: str) -> float:
    hours, minutes, rest = clock.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def test_one_file_is_a_line_and_several_are_named(model: Path, tmp_path: Path) -> None:
    one, two = clip(tmp_path / "one.wav", 2), clip(tmp_path / "two.flac", 3, seed=2)
    alone = transcribe(model, one)
    assert alone.exit_code == 0 and alone.stdout.strip() and alone.stdout.count("\n") == 1
    both = transcribe(model, one, two).stdout.splitlines()
    assert [line.partition("\t")[0] for line in both] == [str(one), str(two)]
    assert both[0].partition("\t")[2] == alone.stdout.strip(), "the company of a recording changes nothing"


def test_standard_input(model: Path, tmp_path: Path) -> None:
    path = clip(tmp_path / "one.wav", 2)
    piped = transcribe(model, "-", stdin=path.read_bytes())
    assert piped.exit_code == 0 and piped.stdout == transcribe(model, path).stdout
    assert json.loads(transcribe(model, "-", "--json", stdin=path.read_bytes()).stdout)["file"] == "standard input"


@pytest.mark.parametrize("kind", ["txt", "json", "srt", "vtt"])
def test_every_format_into_a_folder(model: Path, tmp_path: Path, kind: str) -> None:
    files = [clip(tmp_path / "one.wav", 9), clip(tmp_path / "two.wav", 2, seed=2)]
    to = tmp_path / "new" / "folder"
    done = transcribe(model, *files, "--as", kind, "--to", to)
    assert done.exit_code == 0 and not done.stdout
    assert sorted(path.name for path in to.iterdir()) == [f"one.{kind}", f"two.{kind}"]
    text = (to / f"one.{kind}").read_text("utf-8")
    if kind == "txt":
        assert text.strip() and text.count("\n") == 1
    elif kind == "json":
        assert 0 <= json.loads(text)["words"][0]["start_s"] < json.loads(text)["words"][-1]["end_s"] <= 9
    elif kind == "srt":
        assert text.startswith("1\n") and _SRT_TIMES.search(text)
        spans = [tuple(map(seconds_of, line.split(" --> "))) for line in _SRT_TIMES.findall(text)]
        assert all(start < end for start, end in spans) and spans == sorted(spans)
    else:
        assert text.startswith("WEBVTT\n")


def test_one_bad_file_among_good_ones(model: Path, tmp_path: Path) -> None:
    good, late = clip(tmp_path / "good.wav", 2), clip(tmp_path / "late.wav", 2, seed=3)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(good.read_bytes()[:1000])
    done = transcribe(model, good, bad, late)
    assert done.exit_code == 2
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [str(good), str(late)]
    assert str(bad) in done.stderr and "1 of 3 recordings" in done.stderr and "Traceback" not in done.output
    machine = json.loads(transcribe(model, good, bad, late, "--json").stdout)
    assert [row["file"] for row in machine] == [str(good), str(bad), str(late)]
    assert "bytes more than the file has" in machine[1]["error"] and machine[2]["text"]
    assert transcribe(model, good, bad, late, "--as", "srt", "--to", tmp_path / "out").exit_code == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.srt", "late.srt"]


def test_a_long_file_is_decoded_in_windows(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest: list[int] = []
    real = CtcRecogniser._log_probabilities

    def seen(self: CtcRecogniser, recordings: list[Any]) -> Any:
        longest.extend(len(samples) for samples in recordings)
        return real(self, recordings)

    monkeypatch.setattr(CtcRecogniser, "_log_probabilities", seen)
    began = time.monotonic()
    found = json.loads(transcribe(model, clip(tmp_path / "long.flac", 95), "--json").stdout)
    assert time.monotonic() - began < 60
    assert len(longest) > 3 and max(longest) <= 30 * RATE_HZ
    assert found["duration_s"] == 95.0
    times = [word["start_s"] for word in found["words"]]
    assert times == sorted(times) and max(word["end_s"] for word in found["words"]) > 90


def test_stereo_mp3_at_44100_hz(model: Path, tmp_path: Path) -> None:
    path = clip(tmp_path / "talk.mp3", 4, rate_hz=44_100, channels=2)
    assert (soundfile.info(path).samplerate, soundfile.info(path).channels) == (44_100, 2)
    done = transcribe(model, path, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["duration_s"] == pytest.approx(4.0, abs=0.1) and found["text"]
    plain = io.BytesIO()
    soundfile.write(plain, decode(path), RATE_HZ, format="WAV", subtype="FLOAT")
    again = json.loads(transcribe(model, "-", "--json", stdin=plain.getvalue()).stdout)
    assert again["text"] == found["text"], "the same as what was converted before"


def test_two_recordings_of_one_name_do_not_overwrite_each_other(model: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    twins = [clip(tmp_path / "talk.wav", 1), clip(tmp_path / "b" / "talk.wav", 1, seed=2)]
    done = transcribe(model, *twins, "--to", tmp_path / "out")
    assert done.exit_code == 2 and "same name" in done.stderr and not (tmp_path / "out").exists()
    relatives = [twins[0], clip(tmp_path / "talk.flac", 1)]
    assert transcribe(model, *relatives, "--to", tmp_path / "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["talk.flac.txt", "talk.wav.txt"]
