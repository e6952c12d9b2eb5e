"""Batches by seconds, augmentation and the loader: every utterance once, little padding, the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.data import audio
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.train.augment import coloured_noise, mask_spans_of, perturb, spans
from orature.train.batches import padding_share, plan_epoch
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.loader import Example, Loader

STEPS = ConformerCtc(ConformerConfig.of_size("micro", vocabulary=5)).steps


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.1, 30.0), min_size=1, max_size=200),
    st.integers(0, 5),
    st.floats(5.0, 200.0),
)
def test_every_utterance_once_within_the_seconds(durations: list[float], epoch: int, batch_seconds: float) -> None:
    batches = plan_epoch(durations, seed=1, epoch=epoch, batch_seconds=batch_seconds, speeds=(0.9, 1.0, 1.1))
    assert sorted(item.index for batch in batches for item in batch) == list(range(len(durations)))
    for batch in batches:
        padded = len(batch) * max(item.duration_s for item in batch)
        assert len(batch) == 1 or padded <= batch_seconds + 1e-6


def test_epochs_differ_and_repeat() -> None:
    durations = list(np.random.default_rng(0).uniform(0.5, 12, 300))

    def plan(epoch: int) -> object:
        return plan_epoch(durations, seed=7, epoch=epoch, batch_seconds=60, speeds=(0.9, 1.0, 1.1))

    assert plan(0) == plan(0)
    assert plan(0) != plan(1)


def test_joined_utterances_count_both_lengths() -> None:
    batches = plan_epoch([1.0, 2.0, 4.0] * 10, seed=1, epoch=0, batch_seconds=40, join_probability=1.0)
    joined = [item for batch in batches for item in batch if item.then is not None]
    assert joined
    for item in joined:
        assert item.then != item.index
        assert item.duration_s == pytest.approx([1.0, 2.0, 4.0][item.index % 3] + [1.0, 2.0, 4.0][item.then % 3])


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["kichwa_killkan", "digits_fsdd", "yoruba_ogunlao"])
def test_padding_stays_below_five_percent_on_real_lengths(corpora: Path, name: str) -> None:
    lines = (corpora / name / "manifest.tsv").read_text("utf-8").splitlines()[1:]
    durations = [float(line.split("\t")[5]) for line in lines if line.split("\t")[4] == "train"]
    seconds = TrainConfig.for_scale("dev", hours=sum(durations) / 3600, mean_s=float(np.mean(durations))).batch_seconds
    for epoch in range(3):
        plan = plan_epoch(durations, seed=1, epoch=epoch, batch_seconds=seconds, speeds=(0.9, 1.0, 1.1))
        assert padding_share(plan) < 0.05


def make_examples(folder: Path, count: int = 12) -> list[Example]:
    examples = []
    for number in range(count):
        samples = np.random.default_rng(number).standard_normal(8_000 + 700 * number).astype("f4") * 0.1
        path = folder / f"{number}.flac"
        audio.save_flac(path, samples)
        examples.append(Example(f"u{number:02d}", str(path), 0.0, len(samples) / 16_000, "ab", (3, 4)))
    return examples


def test_loader_gives_the_same_batches_and_resumes_in_the_middle(tmp_path: Path) -> None:
    config = TrainConfig(batch_seconds=3.0, augment=AugmentConfig(join_probability=0.3))
    loader = Loader(make_examples(tmp_path), config, steps=STEPS, space=(2,))
    first = [planned.pieces[0][1] for planned in loader.epoch(2)]
    again = [p.pieces[0][1] for p in Loader(make_examples(tmp_path), config, steps=STEPS, space=(2,)).epoch(2, skip=2)]
    assert len(again) == len(first) - 2 > 0
    for one, two in zip(first[2:], again, strict=True):
        assert torch.equal(one.samples_BS, two.samples_BS)
        assert torch.equal(one.targets, two.targets)
        assert one.warps_B is not None and two.warps_B is not None and torch.equal(one.warps_B, two.warps_B)
        assert one.spans is not None and two.spans is not None and torch.equal(one.spans[0], two.spans[0])


def test_an_abandoned_epoch_leaves_no_thread_behind(tmp_path: Path) -> None:
    import threading

    loader = Loader(make_examples(tmp_path), TrainConfig(batch_seconds=3.0), steps=STEPS)
    before = threading.active_count()
    batches = loader.epoch(0)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_joined_targets_have_a_space_between(tmp_path: Path) -> None:
    config = TrainConfig(batch_seconds=30.0, augment=AugmentConfig(join_probability=1.0))
    loader = Loader(make_examples(tmp_path), config, steps=STEPS, space=(2,))
    batch = next(iter(loader.epoch(0))).pieces[0][1]
    assert set(batch.target_lengths_B.tolist()) <= {2, 5}
    assert 5 in batch.target_lengths_B.tolist()


def test_silence_joined_to_speech_adds_no_space(tmp_path: Path) -> None:
    config = TrainConfig(batch_seconds=30.0, augment=AugmentConfig(join_probability=1.0))
    examples = [replace(one, text="", tokens=()) if n % 2 else one for n, one in enumerate(make_examples(tmp_path))]
    lengths: set[int] = set()
    for epoch in range(4):
        for planned in Loader(examples, config, steps=STEPS, space=(2,)).epoch(epoch):
            lengths |= set(planned.pieces[0][1].target_lengths_B.tolist())
    assert lengths == {0, 2, 5}


def test_speed_never_makes_an_utterance_too_short_for_its_labels(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).standard_normal(6_800).astype("f4") * 0.1
    audio.save_flac(tmp_path / "x.flac", samples)
    tight = Example("x", str(tmp_path / "x.flac"), 0.0, len(samples) / 16_000, "abcdefghij", tuple(range(2, 12)))
    config = TrainConfig(augment=AugmentConfig(speeds=(1.3,)))
    batch = next(iter(Loader([tight], config, steps=STEPS).epoch(0))).pieces[0][1]
    assert int(batch.lengths_B[0]) == len(samples)


def test_noise_keeps_length_and_snr() -> None:
    rng = np.random.default_rng(0)
    samples = (0.1 * np.sin(np.arange(16_000) / 8)).astype("f4")
    noisy = perturb(samples, rng, AugmentConfig(noise_probability=1.0, snr_db=(10.0, 10.0), gain_db=0.0))
    noise = noisy - samples
    snr_db = 10 * np.log10(np.mean(samples**2) / np.mean(noise**2))
    assert noisy.shape == samples.shape and noisy.dtype == np.float32
    assert snr_db == pytest.approx(10.0, abs=0.2)
    pink = coloured_noise(16_000, 2.0, rng)
    spectrum = np.abs(np.fft.rfft(pink)) ** 2
    assert spectrum[10:100].mean() > 50 * spectrum[1000:].mean()


def test_spans_stay_inside_and_short() -> None:
    rng = np.random.default_rng(0)
    for length in (0, 1, 7, 100):
        drawn = spans(50, 20, length, rng)
        assert drawn.shape == (50, 2)
        assert (drawn[:, 0] >= 0).all() and (drawn[:, 1] <= length).all() and (drawn[:, 0] <= drawn[:, 1]).all()
    times, mels = mask_spans_of(30, 80, rng, AugmentConfig())
    assert (times[:, 1] - times[:, 0] <= 3).all() and mels.shape == (2, 2)
