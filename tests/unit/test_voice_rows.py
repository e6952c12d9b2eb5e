"""From rows to examples: silence, level, speakers, and the reason of each row that is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voice_data import LETTERS, MICRO, PITCHES, corpus, texts_of, tones, utterance

from orature.core.errors import ConfigError, CorpusError, LeakFound
from orature.core.files import write_beside
from orature.core.types import RATE_HZ
from orature.data.corpus import Corpus, save_corpus
from orature.stages.voice_material import HELD_OUT, dev_candidates, gather_voice, prepared_rows, spread, unasked
from orature.train.voice.architecture import from_nothing
from orature.train.voice.config import VoiceConfig
from orature.train.voice.data import VoiceLoader, level_gain, prepare, sounding
from orature.train.voice.data import texts_of as spelled
from orature.train.voice.spectrograms import SpectrogramShape
from orature.train.voice.text import VoiceText

SHAPE = SpectrogramShape(rate_hz=16_000, fft=1024, hop=256)
TEXT = VoiceText.of([LETTERS + " "])


def test_silence_is_trimmed_and_some_of_it_stays() -> None:
    silence = 0.0003 * np.random.default_rng(1).standard_normal(RATE_HZ).astype("f4")
    speech = tones("abc", silence_s=0.0)
    found = sounding(np.concatenate([silence, speech, silence]), trim_db=40, keep_s=0.1)
    assert found is not None
    first, past = found
    assert abs(first - 0.9 * RATE_HZ) < 400 and abs(past - (1.1 * RATE_HZ + len(speech))) < 400
    assert sounding(np.zeros(RATE_HZ, np.float32), trim_db=40, keep_s=0.1) is None


def test_level_is_that_of_what_is_not_silence() -> None:
    speech = tones("aaaa", silence_s=0.0)
    quiet = np.concatenate([0.02 * speech, np.zeros(3 * RATE_HZ, np.float32)]).astype("f4")
    gain = level_gain(quiet, -24.0, 40.0)
    loud = gain * quiet[: len(speech)]
    assert 20 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(-24.0, abs=1.0)
    spiky = quiet.copy()
    spiky[100] = 0.5
    assert np.abs(level_gain(spiky, -24.0, 80.0) * spiky).max() <= 0.951


def test_each_bad_row_is_rejected_with_its_reason(tmp_path: Path) -> None:
    noise = 0.2 * np.random.default_rng(2).standard_normal(3 * RATE_HZ).astype("f4")
    rows = [
        *(utterance(tmp_path, f"good{n}", text) for n, text in enumerate(texts_of(6))),
        utterance(tmp_path, "no-text", None, noise),
        utterance(tmp_path, "no-letters", "?!", noise),
        utterance(tmp_path, "strange", "abc ŋ", noise),
        utterance(tmp_path, "number", "abc 42", noise),
        utterance(tmp_path, "silence", "abc", np.zeros(RATE_HZ, np.float32)),
        utterance(tmp_path, "short", "a", noise[: RATE_HZ // 20]),
        utterance(tmp_path, "long", "abcd", np.tile(noise, 3)),
        utterance(tmp_path, "crowded", "abcdefgh" * 14, noise),
        utterance(tmp_path, "slow", "abcdefgh", np.tile(noise, 2)[: 5 * RATE_HZ]),
    ]
    lost = utterance(tmp_path, "lost", "abc", noise)
    Path(lost.audio.path).unlink()
    config = MICRO.model_copy(update={"longest_s": 6.0, "rate_factor": 3.0})
    found = prepare([*rows, lost], TEXT, ("",), SHAPE, config)
    assert {reject.id: reject.reason for reject in found.rejects} == {
        "no-text": "text-empty",
        "no-letters": "text-empty",
        "strange": "characters-unknown",
        "number": "digits",
        "silence": "silent",
        "short": "too-short",
        "long": "too-long",
        "crowded": "fewer-frames-than-tokens",
        "slow": "speaking-rate",
        "lost": "audio-missing",
    }
    assert [example.id for example in found.examples] == [f"good{n}" for n in range(6)]
    assert spelled([*rows, lost], config)[-1] == "abc" and not any("42" in text for text in spelled(rows, config))
    assert "ŋ" in next(reject.detail for reject in found.rejects if reject.id == "strange")


def test_a_speaker_whom_the_voice_does_not_have_is_rejected(tmp_path: Path) -> None:
    names = [*PITCHES, "other", None]
    rows = [utterance(tmp_path, f"u{n}", "abc d", speaker=name) for n, name in enumerate(names)]
    found = prepare(rows, TEXT, ("low", "high"), SHAPE, MICRO)
    assert [example.speaker for example in found.examples] == [0, 1]
    assert [reject.reason for reject in found.rejects] == ["other-speaker"] * 2
    everybody = prepare(rows, TEXT, ("",), SHAPE, MICRO)
    assert len(everybody.examples) == 4
    later = prepare(rows, TEXT, ("old", "high"), SHAPE, MICRO, allowed=("high",))
    assert [example.speaker for example in later.examples] == [1]


def test_batches_cover_each_row_once_an_epoch_and_go_on_anywhere(tmp_path: Path) -> None:
    rows = [utterance(tmp_path, f"u{n:02}", text) for n, text in enumerate(texts_of(11))]
    examples = prepare(rows, TEXT, ("",), SHAPE, MICRO).examples
    loader = VoiceLoader(examples, SHAPE, MICRO, several=False, cache_mb=0.05)
    whole = [batch.ids for batch in loader.epoch(0)]
    assert sorted(name for ids in whole for name in ids) == [row.id for row in rows] and len(whole) > 2
    assert [batch.ids for batch in loader.epoch(0, skip=2)] == whole[2:]
    assert [batch.ids for batch in loader.epoch(1)] != whole
    batch = next(iter(loader.epoch(0)))
    assert batch.samples_BS.shape[1] == batch.linear_BKF.shape[2] * SHAPE.hop
    assert batch.linear_BKF.shape[1] == 513 and batch.speakers_B is None


def test_a_voice_at_another_rate_hears_resampled_speech(tmp_path: Path) -> None:
    shape = SpectrogramShape(rate_hz=22_050, fft=1024, hop=256)
    examples = prepare([utterance(tmp_path, "u", "abcd")], TEXT, ("",), shape, MICRO).examples
    sound = VoiceLoader(examples, shape, MICRO, several=False).samples(examples[0])
    assert len(sound) == pytest.approx(examples[0].duration_s * 22_050, abs=2)


def test_material_has_the_speakers_of_train(tmp_path: Path) -> None:
    two = Corpus.open(corpus(tmp_path / "two", speakers=("low", "high")))
    assert gather_voice(two, [], MICRO).speakers == ("high", "low")
    assert gather_voice(two, [], VoiceConfig(speakers="one")).speakers == ("",)
    only = gather_voice(two, [], VoiceConfig(only_speaker="low"))
    assert only.speakers == ("low",) and len(only.texts) == 4
    with pytest.raises(ConfigError, match="did you mean 'high'"):
        gather_voice(two, [], VoiceConfig(only_speaker="hihg"))
    nobody = Corpus.open(corpus(tmp_path / "nobody"))
    assert gather_voice(nobody, [], MICRO).speakers == ("",)
    with pytest.raises(ConfigError, match="names 0 speakers"):
        gather_voice(nobody, [], VoiceConfig(speakers="several"))


def test_where_dev_has_none_of_the_speakers_rows_are_held_out_of_train(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "all", train=12, speakers=("low", "high"))
    rows = [replace(row, speaker="x") if row.split == "dev" else row for row in Corpus.open(folder)]
    (tmp_path / "mixed").mkdir()
    save_corpus(lambda name: write_beside(tmp_path / "mixed" / name), rows, [])
    material = gather_voice(Corpus.open(tmp_path / "mixed"), [], MICRO)
    found = prepared_rows(material, from_nothing(MICRO, TEXT, material.speakers), MICRO)
    held = {reject.id for reject in found.rejects if reject.reason == HELD_OUT}
    assert held == {example.id for example in found.dev} and len(held) == 1 and "held out" in found.dev_from
    assert len(found.train) + len(held) == 12 and not held & {example.id for example in found.train}
    own = gather_voice(Corpus.open(folder), [], MICRO)
    assert prepared_rows(own, from_nothing(MICRO, TEXT, own.speakers), MICRO).dev_from == "the dev split"


def test_the_embargo_stops_a_run(tmp_path: Path) -> None:
    sentence = "abc defg hab cde"
    (tmp_path / "leaky").mkdir()
    rows = [
        utterance(tmp_path, "t", sentence, split="train"),
        utterance(tmp_path, "u", "fgh abd", split="train"),
        utterance(tmp_path, "d", sentence, split="test", speaker="high"),
    ]
    save_corpus(lambda name: write_beside(tmp_path / "leaky" / name), rows, [])
    with pytest.raises(LeakFound, match="abc defg"):
        gather_voice(Corpus.open(tmp_path / "leaky"), [], MICRO)
    (tmp_path / "clean").mkdir()
    save_corpus(lambda name: write_beside(tmp_path / "clean" / name), rows[:2], [])
    gather_voice(Corpus.open(tmp_path / "clean"), [], MICRO)
    with pytest.raises(LeakFound):
        gather_voice(Corpus.open(tmp_path / "clean"), [Corpus.open(tmp_path / "leaky")], MICRO)
    (tmp_path / "none").mkdir()
    save_corpus(lambda name: write_beside(tmp_path / "none" / name), rows[2:], [])
    with pytest.raises(CorpusError, match="no train"):
        gather_voice(Corpus.open(tmp_path / "none"), [], MICRO)


def test_dev_rows_are_spread_evenly() -> None:
    assert spread(list(range(10)), 3) == [0, 3, 6] and spread([1, 2], 5) == [1, 2]


def test_rows_left_out_on_purpose_do_not_count_against_the_limit(tmp_path: Path) -> None:
    counts = {"other-speaker": 6, HELD_OUT: 1, "silent": 2}
    assert unasked(counts, VoiceConfig(only_speaker="low")) == 7 and unasked(counts, VoiceConfig()) == 1
    material = gather_voice(Corpus.open(corpus(tmp_path / "two", dev=4, speakers=("low", "high"))), [], MICRO)
    only = replace(material, speakers=("low",))
    assert [row.speaker for row in dev_candidates(only, MICRO)] == ["low"] * 2
    assert len(dev_candidates(replace(material, speakers=("",)), MICRO)) == 4
