"""Speech on the fly: the same draw the same samples, another epoch another speaker, resumed as undisturbed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from orature.engines.espeak_pipe import EspeakPipe
from orature.text.phones import phones_of
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.loader import Batch, Example, Loader
from orature.train.speech import Asked, SpeechSource, Spoken
from orature.train.speech_config import SpeechConfig
from orature.train.speech_effects import clipped, music_bed, with_bed

TEXTS = ["habari za asubuhi", "watoto wanasoma kitabu nyumbani", "chakula kizuri", "mwalimu anakuja jioni leo"]
NOISY = AugmentConfig(speeds=(1.0,), babble_probability=0.5, reverb_probability=0.3, codec_probability=0.3)


def _examples() -> list[Example]:
    with EspeakPipe() as espeak:
        said = espeak.phonemes_of(TEXTS, "bnt/sw")
    found = []
    for number, (text, ipa) in enumerate(zip(TEXTS, said, strict=True)):
        phones = phones_of(ipa, "bnt/sw")
        assert isinstance(phones, tuple)
        tokens = tuple(range(2, 2 + len(phones)))
        spoken = Spoken(text, "bnt/sw")
        found.append(Example(f"s{number}", "", 0.0, 0.3 + 0.075 * len(phones), " ".join(phones), tokens, spoken=spoken))
    return found


EXAMPLES = _examples()


@pytest.fixture
def source() -> Iterator[SpeechSource]:
    opened = SpeechSource(SpeechConfig(babble_pool=3))
    yield opened
    opened.close()


def _loader(source: SpeechSource, examples: list[Example] = EXAMPLES, **fields: Any) -> Loader:
    config = TrainConfig(batch_seconds=4.0, augment=NOISY, **fields)
    return Loader(examples, config, steps=lambda samples: samples // 640, speech=source)


def test_a_draw_depends_on_seed_epoch_and_utterance_alone(source: SpeechSource) -> None:
    asked = [Asked(example, index, 0) for index, example in enumerate(EXAMPLES)]
    first = source.speak(asked, count=4)
    again = source.speak(asked[2:], count=4)
    assert all(a is not None and b is not None and np.array_equal(a, b) for a, b in zip(first[2:], again, strict=True))
    later = source.speak([replace(one, epoch=1) for one in asked], count=4)
    copy = source.speak([replace(one, copy=1) for one in asked], count=4)
    for one, other, third in zip(first, later, copy, strict=True):
        assert one is not None and other is not None and third is not None
        assert not np.array_equal(one, other) and not np.array_equal(one, third)


def test_what_is_predicted_is_about_what_is_spoken(source: SpeechSource) -> None:
    loader = _loader(source)
    for epoch in range(3):
        wanted = [loader._lengths_s(epoch)[index] for index in range(4)]
        asked = [Asked(example, index, epoch) for index, example in enumerate(EXAMPLES)]
        for seconds, samples in zip(wanted, source.speak(asked, count=4), strict=True):
            assert samples is not None and 0.5 < len(samples) / 16_000 / seconds < 2.0


def test_dev_is_spoken_plainly_by_its_own_speakers_and_kept(source: SpeechSource) -> None:
    train, held = source.speakers()
    assert len(held) == 6 and not set(train) & set(held) and len(train) > 40
    fixed = [replace(one, spoken=Spoken(one.spoken.text, "bnt/sw", held[0])) for one in EXAMPLES if one.spoken]
    loader = _loader(source, fixed)
    once = list(loader.plain(20.0))
    assert source.heard.utterances == 4
    twice = list(loader.plain(20.0))
    assert source.heard.utterances == 4, "the second time nothing is spoken"
    assert all(_same(one, other) for one, other in zip(once, twice, strict=True))


def _same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.samples_BS, other.samples_BS) and torch.equal(one.targets, other.targets)


def test_a_resumed_epoch_hears_what_the_undisturbed_one_heard(source: SpeechSource) -> None:
    whole = [piece for planned in _loader(source).epoch(2) for _, piece in planned.pieces]
    other = SpeechSource(source.config, workers=2)
    rest = [piece for planned in _loader(other).epoch(2, skip=1) for _, piece in planned.pieces]
    other.close()
    assert len(whole) > 1 and len(rest) == len(whole) - 1
    assert all(_same(a, b) for a, b in zip(whole[1:], rest, strict=True))


def test_speech_that_is_far_off_or_refused_trains_on_silence_and_is_counted(source: SpeechSource) -> None:
    spoken = EXAMPLES[0].spoken
    assert spoken is not None
    bad = [
        replace(EXAMPLES[0], id="far", duration_s=40.0),
        replace(EXAMPLES[0], id="none", spoken=replace(spoken, voice="no/such")),
        EXAMPLES[1],
    ]
    loader = _loader(source, bad)
    batch = loader.build([item for items in loader.plan(0) for item in items], 0, augment=True)
    lengths = dict(zip((item.index for item in batch.items), batch.target_lengths_B.tolist(), strict=True))
    assert lengths[0] == lengths[1] == 0 and lengths[2] == len(EXAMPLES[1].tokens)
    assert source.heard.left_out["off-prediction"] >= 1 and source.heard.left_out["unknown-language"] >= 1
    assert "left out" in source.heard.told()


def test_effects_keep_the_length_and_do_what_they_say() -> None:
    rng = np.random.default_rng(4)
    speech = (0.3 * np.sin(np.arange(16_000) / 9)).astype(np.float32)
    cut = clipped(speech, rng)
    assert cut.shape == speech.shape and np.abs(cut).max() < 0.3 * 10 ** (-2.9 / 20)
    bed = music_bed(20_000, rng)
    assert bed.shape == (20_000,) and float(np.sqrt(np.mean(bed**2))) == pytest.approx(1.0, abs=1e-3)
    assert np.array_equal(music_bed(5000, np.random.default_rng(1)), music_bed(5000, np.random.default_rng(1)))
    under = with_bed(speech, (10.0, 10.0), rng) - speech
    assert 20 * np.log10(np.sqrt(np.mean(speech**2)) / np.sqrt(np.mean(under**2))) == pytest.approx(10.0, abs=0.1)


def test_settings_out_of_reach_are_refused() -> None:
    with pytest.raises(ValueError, match="tempos"):
        SpeechConfig(rate=(0.3, 1.0))
    with pytest.raises(ValueError, match="smaller one first"):
        SpeechConfig(pitch=(2.0, -2.0))
