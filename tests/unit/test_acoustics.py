"""Acoustics: what is measured is what was done to the sound, and matching brings speech nearer to its target."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from orature.core.errors import CorpusError
from orature.core.types import RATE_HZ
from orature.data.acoustics import PROPERTIES, Profile, distance, measure, measure_all, profile_of
from orature.data.acoustics_match import limited, low_passed, match, noise_like
from orature.data.audio import Samples, decode, resampled, through_codec
from orature.data.corpus import Corpus
from orature.data.rooms import Room, reverberate
from orature.engines.espeak import EspeakVoice, SpeakRequest
from orature.engines.fake_voice import begin
from orature.engines.voice import SpeechRequest

NEAR = {"level_db": 1.0, "noise_db": 1.0, "snr_db": 1.0, "bandwidth_hz": 200.0, "decay_s": 0.03, "holes": 0.01}
NEAR |= {"lead_s": 0.03, "trail_s": 0.03}
"""So near is as good as equal: what 200 clips of one corpus differ by from the other 200."""


def tones(text: str = "kayman shamuychik", seed: int = 1) -> Samples:
    made = begin("").speak([SpeechRequest(text, seed=seed)])[0]
    assert isinstance(made, np.ndarray)
    return made


def padded(samples: Samples, lead_s: float, trail_s: float) -> Samples:
    return np.pad(samples, (round(lead_s * RATE_HZ), round(trail_s * RATE_HZ)))


def test_level_noise_and_pauses_are_read_off() -> None:
    quiet = padded(tones(), 0.5, 0.8)
    noise = np.random.default_rng(1).standard_normal(quiet.size).astype("f4")
    found = measure(quiet + 0.01 * noise)
    assert abs(found.lead_s - 0.5) < 0.03 and abs(found.trail_s - 0.8) < 0.03
    assert abs(found.noise_db + 40) < 1.5
    louder = measure(2 * (quiet + 0.01 * noise))
    assert abs(louder.level_db - found.level_db - 6.02) < 0.05 and abs(louder.snr_db - found.snr_db) < 0.05


def test_reverberation_bandwidth_and_codecs_are_seen() -> None:
    dry = padded(tones(), 0.1, 0.6)
    rng = np.random.default_rng(2)
    noise = 3e-4 * rng.standard_normal(dry.size).astype("f4")
    decays = [measure(reverberate(dry, Room.draw(rng, (s, s)).response(rng)) + noise).decay_s for s in (0.2, 0.5)]
    assert measure(dry + noise).decay_s < decays[0] < decays[1]
    assert abs(measure(low_passed(dry + noise, 3000.0)).bandwidth_hz - 3100) < 150
    coded = through_codec(dry + 10 * noise, "MP3", "MPEG_LAYER_III", level=0.9)
    assert measure(coded).holes > 3 * measure(dry + 10 * noise).holes + 0.01


@pytest.mark.parametrize("count", [0, 1, 100, 5000])
def test_any_length_can_be_measured_and_matched(count: int) -> None:
    target = measure_all([padded(tones(), 0.3, 0.3)])
    samples = np.full(count, 0.1, np.float32)
    heard, _ = match(samples, target, np.random.default_rng(1)) if count else (samples, {})
    assert np.isfinite(heard).all() and (not count or np.isfinite(measure(heard).level_db))


def test_noise_has_the_colour_of_the_pauses() -> None:
    low = low_passed(np.random.default_rng(1).standard_normal(RATE_HZ).astype("f4"), 1000.0)
    made = noise_like(measure(low), 2 * RATE_HZ, np.random.default_rng(2))
    power = np.abs(np.fft.rfft(made)) ** 2
    assert power[: power.size // 6].sum() > 20 * power[power.size // 5 :].sum()
    assert abs(float(np.sqrt(np.mean(made**2))) - 1) < 1e-3


def test_the_limiter_leaves_what_is_below_the_knee_and_nothing_is_clipped() -> None:
    samples = np.linspace(-1.9, 1.9, 999, dtype=np.float32)
    bent = limited(samples)
    assert np.abs(bent).max() < 0.9995 and (np.diff(bent) >= 0).all()
    below = np.abs(samples) <= 0.6
    np.testing.assert_array_equal(bent[below], samples[below])


def test_a_match_depends_on_its_generator_alone() -> None:
    target = measure_all([padded(tones(seed=n), 0.1 * n, 0.2) for n in range(4)])
    one, done = match(tones(), target, np.random.default_rng(5))
    again, same = match(tones(), target, np.random.default_rng(5))
    np.testing.assert_array_equal(one, again)
    assert done == same
    others = [match(tones(), target, np.random.default_rng(seed))[1]["lead_s"] for seed in range(12)]
    assert len(set(others)) > 1, "always the same recording is drawn"


def test_a_profile_goes_through_json() -> None:
    profile = measure_all([tones(), padded(tones(), 0.2, 0.2)])
    assert Profile.from_json(profile.to_json()) == profile
    assert set(distance(profile, profile).values()) == {0.0}


def test_a_corpus_without_train_recordings_is_told(tmp_path: Path) -> None:
    from tiny import LATIN, corpus_of

    corpus = Corpus.open(corpus_of(tmp_path / "corpus", LATIN))
    assert profile_of(corpus).clips
    with pytest.raises(CorpusError, match="no train recording could be measured"):
        profile_of(corpus.split("unlabelled"))


@pytest.mark.corpora
@pytest.mark.parametrize(("name", "language"), [("kichwa_killkan", "qu"), ("digits_fsdd", "en-us")])
def test_matched_speech_is_closer_to_the_corpus(corpora: Path, name: str, language: str) -> None:
    """On every measured property, or as near as two halves of one corpus are to each other."""
    folder = corpora / name
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["split"] == "train"]
    step = len(rows) // 50
    target = measure_all(decode(folder / row["path"]) for row in rows[::step])
    with EspeakVoice() as voice:
        spoken = voice.speak([SpeakRequest(row["sentence"], voice=language) for row in rows[1::step]])
    clean = [resampled(samples, voice.rate_hz) for samples in spoken if isinstance(samples, np.ndarray)]
    assert len(clean) >= 50
    made = [match(samples, target, np.random.default_rng(n))[0] for n, samples in enumerate(clean)]
    before, after = distance(measure_all(clean), target), distance(measure_all(made), target)
    worse = {
        name: (before[name], after[name])
        for name in PROPERTIES
        if after[name] > NEAR[name] and after[name] > 0.95 * before[name]
    }
    assert not worse
    assert after["level_db"] < before["level_db"] / 2 and after["noise_db"] < before["noise_db"] / 2
    assert after["snr_db"] < before["snr_db"] / 1.5
