"""`orature transcribe --phones`: IPA with times, with a micro model of phones that was never trained."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import soundfile
from tiny import LATIN, model_in, phone_model_in

from orature.core.errors import ModelError
from orature.core.types import Hypothesis, Word
from orature.data.transcripts import Transcript, render
from orature.engines import hub, shipped
from orature.text.phones import is_phone
from tests.e2e.test_transcribe import clip, transcribe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phone_model_in(tmp_path_factory.mktemp("phones"))


@pytest.fixture
def as_base(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The micro model in the place of the one that comes with the package."""
    monkeypatch.setattr(hub, "shipped", lambda name: model)
    return model


def test_a_line_a_phone_with_its_times(model: Path, as_base: Path, tmp_path: Path) -> None:
    path = clip(tmp_path / "one.wav", 3)
    done = transcribe(path, "--phones")
    assert done.exit_code == 0
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert head == ["start_s", "end_s", "text", "confidence"] and len(rows) >= 3
    assert all(is_phone(phone) and 0 <= float(start) < float(end) <= 3 for start, end, phone, _ in rows)
    starts = [float(row[0]) for row in rows]
    assert starts == sorted(starts)
    assert transcribe("base", path, "--phones").stdout == done.stdout == transcribe(model, path, "--phones").stdout


def test_every_other_format(as_base: Path, tmp_path: Path) -> None:
    path = clip(tmp_path / "one.wav", 3)
    line = transcribe(path, "--phones", "--as", "txt").stdout.split()
    found = json.loads(transcribe(path, "--phones", "--json").stdout)
    assert line == [one["text"] for one in found["phones"]] and "words" not in found and found["language"] == "und"
    done = transcribe(path, "--phones", "--as", "TextGrid", "--to", tmp_path / "praat")
    assert done.exit_code == 0
    text = (tmp_path / "praat" / "one.TextGrid").read_text("utf-8")
    assert 'name = "phones"' in text and "xmax = 3.000" in text
    assert [part for part in _texts(text) if part] == line
    assert transcribe(path, "--phones", "--as", "srt").exit_code == 0


def test_standard_input_and_several_files(as_base: Path, tmp_path: Path) -> None:
    one, two = clip(tmp_path / "one.wav", 2), clip(tmp_path / "two.flac", 2, seed=2)
    piped = transcribe("-", "--phones", stdin=one.read_bytes())
    assert piped.exit_code == 0 and piped.stdout == transcribe(one, "--phones").stdout
    both = transcribe(one, two, "--phones", "--as", "txt").stdout.splitlines()
    assert [row.partition("\t")[0] for row in both] == [str(one), str(two)]


def test_what_cannot_be_done_is_said(as_base: Path, tmp_path: Path) -> None:
    path, letters = clip(tmp_path / "one.wav", 2), model_in(tmp_path / "letters", LATIN)
    for words, said in [
        ([letters, path, "--phones"], "writes letters, not phones"),
        ([tmp_path / "nowhere", path, "--phones"], "no such model folder"),
        ([path], "no recording is named"),
        ([tmp_path / "nothing.wav", "--phones"], "nothing.wav"),
        ([path, "--phones", "--as", "elan"], "no transcript format"),
    ]:
        done = transcribe(*words)
        assert done.exit_code == 2 and said in done.stderr and "Traceback" not in done.output, words


def test_an_installation_without_the_model_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="lacks the model 'base'"):
        hub.model_folder("base")


def test_a_text_grid_covers_the_recording_without_gaps_or_overlaps() -> None:
    heard = Hypothesis("a ki k", (Word("a", 0.2, 0.5, 1.0), Word('k"i', 0.4, 0.6, 0.5), Word("k", 0.6, 0.6, 0.1)))
    text = render(Transcript(heard, duration_s=1.0, unit="phones"), "TextGrid")
    spans = [(float(line.split("=")[1])) for line in text.splitlines() if "xmin" in line or "xmax" in line][4:]
    pairs = list(zip(spans[::2], spans[1::2], strict=True))
    assert pairs[0][0] == 0 and pairs[-1][1] == 1.0
    assert all(one[1] == two[0] for one, two in itertools.pairwise(pairs))
    assert all(start < end for start, end in pairs)
    assert _texts(text) == ["", "a", 'k""i', "k", ""] and f"intervals: size = {len(pairs)}" in text
    silent = render(Transcript(Hypothesis(""), duration_s=2.0), "TextGrid")
    assert _texts(silent) == [""] and 'name = "words"' in silent


def test_a_table_keeps_its_columns() -> None:
    heard = Hypothesis("a\tb", (Word("a\tb", 0.0, 0.25, 0.5),))
    assert render(Transcript(heard), "tsv").splitlines()[1] == "0.000\t0.250\ta b\t0.5000"


def test_sound_of_another_rate_is_heard_alike(as_base: Path, tmp_path: Path) -> None:
    path = clip(tmp_path / "talk.flac", 2, rate_hz=44_100, channels=2)
    assert soundfile.info(path).samplerate == 44_100
    assert transcribe(path, "--phones").exit_code == 0


def _texts(grid: str) -> list[str]:
    return [line.split(" = ", 1)[1].strip()[1:-1] for line in grid.splitlines() if line.strip().startswith("text = ")]
