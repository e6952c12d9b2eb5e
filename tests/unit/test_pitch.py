"""Pitch of tones, glides, noise, silence and people; how varied one side is beside the other."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from orature.data.audio import load
from orature.evaluate.diversity import Spoken, diversity, narrower
from orature.evaluate.pitch import Pitch, pitch_of, pitch_track

TIME = np.arange(16_000) / 16_000


def voice(hertz: np.ndarray | float, partials: int = 6) -> np.ndarray:
    """A buzz with falling partials, as a glottis makes."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, TIME.shape)) / 16_000
    return np.sum([np.sin(number * phase) / number for number in range(1, partials + 1)], axis=0)


@pytest.mark.parametrize("hertz", [70.0, 110.0, 143.7, 220.0, 310.0, 440.0])
def test_buzzes_without_octave_errors(hertz: float) -> None:
    track = pitch_track(voice(hertz))
    assert track.voiced.all()
    assert np.abs(12 * np.log2(track.hz / hertz)).max() < 0.05


def test_a_missing_fundamental_is_still_heard() -> None:
    telephone = np.sum([np.sin(2 * np.pi * 120 * number * TIME) for number in range(3, 12)], axis=0)
    assert np.nanmedian(pitch_track(telephone).hz) == pytest.approx(120, rel=0.01)


def test_a_glide_is_followed() -> None:
    track = pitch_track(voice(100 * 2**TIME))
    middle_s = (np.arange(len(track.hz)) * 160 + 300) / 16_000
    assert np.nanmax(np.abs(12 * np.log2(track.hz / (100 * 2**middle_s)))) < 0.3
    found = pitch_of(voice(100 * 2**TIME))
    assert found is not None and found.range_semitones == pytest.approx(0.9 * 12, abs=0.8)


def test_noise_silence_and_short_clips_have_no_pitch() -> None:
    assert pitch_track(np.random.default_rng(0).standard_normal(16_000)).voiced.mean() < 0.02
    assert pitch_of(np.zeros(16_000)) is None
    assert len(pitch_track(np.zeros(100)).hz) == 0
    with pytest.raises(ValueError, match="range of pitch"):
        pitch_track(TIME, low_hz=300, high_hz=200)


def test_quiet_stretches_count_as_no_voice() -> None:
    wave = voice(150.0)
    wave[8000:] *= 0.001
    track = pitch_track(wave)
    assert track.voiced[:40].all() and not track.voiced[55:].any()


def test_level_and_a_little_noise_change_nothing() -> None:
    noisy = voice(180.0) + 0.05 * np.random.default_rng(1).standard_normal(16_000)
    assert np.nanmedian(pitch_track(0.01 * noisy).hz) == pytest.approx(180, rel=0.005)


@pytest.mark.corpora
def test_people_speak_where_people_speak(corpora: Path) -> None:
    """The four speakers of digits_fsdd are men; the median of each lies in a man's range and differs by speaker."""
    folder, medians = corpora / "digits_fsdd", {}
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    for speaker in sorted({one["speaker"] for one in rows}):
        own = [one for one in rows if one["speaker"] == speaker][:30]
        found = [pitch_of(load(folder / one["path"])) for one in own]
        assert sum(one is not None for one in found) >= 28
        medians[speaker] = float(np.median([one.median_hz for one in found if one is not None]))
    assert all(80 < median < 180 for median in medians.values()), medians
    assert max(medians.values()) / min(medians.values()) > 1.1


def rows(count: int, speakers: int, spread: float) -> list[Spoken]:
    rng = np.random.default_rng(2)
    return [
        Spoken(f"s{n % speakers}", "", 2 * float(np.exp(spread * rng.standard_normal())), "kayman shamuy wasi",
               Pitch(150 * float(np.exp(spread * rng.standard_normal())), 10 * spread, 0.6))
        for n in range(count)
    ]  # fmt: skip


def test_variety_is_measured_and_compared() -> None:
    real, made = diversity(rows(200, 20, 0.3)), diversity(rows(200, 1, 0.05))
    assert real["speakers"] == 20 and real["effective_speakers"] > 18 and made["effective_speakers"] == 1.0
    assert real["pitch"]["between_semitones"] == pytest.approx(0.3 * 12 / np.log(2), rel=0.15)
    assert real["rate"]["spread"] > 0.25 and real["text"]["words"] == 600 and real["text"]["word_types"] == 3
    named = [one.split(":")[0] for one in narrower(made, real)]
    assert named[:2] == ["speakers", "speakers in effect"] and "spread of the speaking rate" in named
    assert narrower(real, real) == [] and narrower(real, made) == []
    assert narrower(diversity(rows(200, 12, 0.2)), real) == [], "a little less than real speech is no fault"


def test_what_cannot_be_measured_is_left_out() -> None:
    found = diversity([Spoken(None, "", 1.0, "")])
    assert found["speakers"] == 0 and found["effective_speakers"] is None
    assert found["pitch"] is None and found["rate"] is None
    assert narrower(found, diversity(rows(50, 5, 0.2))) == ["speakers: 0 against 5"]
