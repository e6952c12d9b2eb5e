"""Distortions: worse with more of it (a spectral measure, on people), the same each time, refused when impossible."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from tiny import LATIN, corpus_of

from orature.core.errors import CorpusError
from orature.core.types import Utterance
from orature.data.audio import load
from orature.data.corpus import Corpus
from orature.data.distortions import KINDS, Kind, distort
from orature.flow import Ref, Resources, Run, Store
from orature.stages.distort import Distort, Distortion, DrawRows
from orature.stages.inputs import corpus_ref
from orature.testing.stage_contract import check_conserving, check_idempotent, check_identity, check_resumable

QUIET = Resources(progress=False)
LADDERS: dict[Kind, tuple[float, ...]] = {
    "noise": (20, 5, -10),
    "bands": (16, 4, 1),
    "smear": (1, 4, 16),
    "shuffle": (20, 80, 300),
}


def envelopes(samples: np.ndarray) -> np.ndarray:
    """Levels (dB, at most 40 below the loudest) in 20 bands of the mel scale every 16 ms, each without its mean."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float64), 512)[::256]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(512), axis=1)))
    edges = 700 * (10 ** (np.linspace(150, 2840, 21) / 2595) - 1) / 16_000 * 512
    bands = np.array([power[:, int(a) : max(int(b), int(a) + 1)].sum(axis=1) for a, b in zip(edges, edges[1:])])  # noqa: B905, RUF007
    levels = 10 * np.log10(np.maximum(bands, bands.max() * 1e-4))
    return levels - levels.mean(axis=1, keepdims=True)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the envelopes of two recordings: 1 for the same speech."""
    x, y = envelopes(a), envelopes(b)
    return float((x * y).sum() / np.sqrt(np.square(x).sum() * np.square(y).sum()))


@pytest.fixture(scope="module")
def people(corpora: Path) -> list[np.ndarray]:
    folder = corpora / "kichwa_killkan"
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        rows = [one for one in csv.DictReader(lines, delimiter="\t") if 2 < float(one["seconds"]) < 4]
    return [load(folder / one["path"]) for one in rows[:8]]


@pytest.mark.corpora
@pytest.mark.parametrize("kind", LADDERS)
def test_the_more_the_worse(people: list[np.ndarray], kind: Kind) -> None:
    found = []
    for amount in LADDERS[kind]:
        done = [distort(one, kind, amount, np.random.default_rng(1)) for one in people]
        found.append(float(np.mean([likeness(a, b) for a, b in zip(people, done, strict=True)])))
    assert 0.995 > found[0] > found[1] + 0.05 > found[2] + 0.1, found


@pytest.mark.corpora
@pytest.mark.parametrize("semitones", [-4.0, 3.0])
def test_a_shift_moves_the_pitch_and_nothing_in_time(people: list[np.ndarray], semitones: float) -> None:
    from orature.evaluate.pitch import pitch_of

    for one in people[:3]:
        before, after = pitch_of(one), pitch_of(distort(one, "shift", semitones, np.random.default_rng(1)))
        assert before is not None and after is not None
        assert 12 * np.log2(after.median_hz / before.median_hz) == pytest.approx(semitones, abs=0.8)
        assert abs(lag_ms(one, distort(one, "shift", semitones, np.random.default_rng(1)))) <= 3


def lag_ms(a: np.ndarray, b: np.ndarray) -> int:
    """Milliseconds by which the loudness of `b` follows that of `a`."""
    x, y = (np.sqrt(np.convolve(np.square(one), np.ones(160) / 160, "same"))[::16] for one in (a, b))
    x, y = x - x.mean(), y - y.mean()
    return int(np.argmax([(x[60:-60] * y[60 + step : len(y) - 60 + step]).sum() for step in range(-50, 51)])) - 50


@pytest.mark.parametrize("kind", KINDS)
def test_length_level_and_the_same_each_time(kind: Kind) -> None:
    time = np.arange(12_345) / 16_000
    wave = (0.2 * np.sin(2 * np.pi * 300 * time) * (1 + np.sin(2 * np.pi * 4 * time))).astype(np.float32)
    amount = {"noise": 3, "bands": 4, "smear": 4, "shuffle": 60, "shift": 3}[kind]
    one, two = (distort(wave, kind, amount, np.random.default_rng(7)) for _ in range(2))
    assert one.dtype == np.float32 and one.shape == wave.shape and np.abs(one).max() <= 1.0
    assert np.array_equal(one, two)
    assert not np.array_equal(one, wave)
    assert np.sqrt(np.mean(one**2)) == pytest.approx(np.sqrt(np.mean(wave**2)), rel=0.35)
    silence = np.zeros(500, np.float32)
    assert np.array_equal(distort(silence, kind, amount, np.random.default_rng(1)), silence)


@pytest.mark.parametrize(
    ("kind", "amount"), [("bands", 0), ("bands", 2.5), ("shuffle", 1), ("smear", 0), ("shift", 40)]
)
def test_impossible_amounts(kind: Kind, amount: float) -> None:
    with pytest.raises(ValueError, match=kind):
        distort(np.ones(10, np.float32), kind, amount, np.random.default_rng(1))
    with pytest.raises(ValidationError, match="takes"):
        Distortion(kind=kind, amount=amount)


@pytest.fixture
def made(tmp_path: Path) -> Ref:
    return corpus_ref(corpus_of(tmp_path / "made", LATIN, seconds=0.3, split="train", origin="synthetic", speaker="v"))


def rows_of(store: Store, ref: Ref) -> dict[str, Utterance]:
    corpus = Corpus.open(store.path_of(ref))
    assert not corpus.verify()
    return {row.id: row for row in corpus}


def test_the_stage_keeps_texts_and_draws_by_id_alone(made: Ref, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run, steps = Run(store, "t", "t"), (Distortion(kind="noise", amount=0), Distortion(kind="bands", amount=3))
    whole = rows_of(store, run.do(Distort(corpus=made, steps=steps), on=QUIET))
    before = {row.id: row for row in Corpus.open(Path(made.path))}
    assert {name: (row.text, row.split, row.speaker, row.origin) for name, row in whole.items()} == {
        name: (row.text, row.split, row.speaker, row.origin) for name, row in before.items()
    }
    assert all(whole[name].audio.digest != before[name].audio.digest for name in whole)
    few = run.do(DrawRows(corpus=made, most=4), on=QUIET)
    part = rows_of(store, run.do(Distort(corpus=few, steps=steps), on=QUIET))
    assert len(part) == 4 and all(part[name].audio.digest == whole[name].audio.digest for name in part)
    other = rows_of(store, run.do(Distort(corpus=made, steps=steps, seed=2), on=QUIET))
    assert all(other[name].audio.digest != whole[name].audio.digest for name in whole)


def test_rows_are_drawn_by_seed_and_bounded(made: Ref, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run = Run(store, "t", "t")
    draws = [set(rows_of(store, run.do(DrawRows(corpus=made, most=5, seed=seed), on=QUIET))) for seed in (1, 2)]
    assert len(draws[0]) == len(draws[1]) == 5 and draws[0] != draws[1]
    more = set(rows_of(store, run.do(DrawRows(corpus=made, most=8, seed=1), on=QUIET)))
    assert draws[0] < more
    hours = rows_of(store, run.do(DrawRows(corpus=made, most_hours=1.0 / 3600, as_split="dev"), on=QUIET))
    assert len(hours) == 3 and {row.split for row in hours.values()} == {"dev"}
    with pytest.raises(CorpusError, match="no utterances in split 'dev'"):
        run.do(DrawRows(corpus=made, split="dev"), on=QUIET)


def test_the_contract_of_both_stages(made: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    stage = Distort(corpus=made, steps=(Distortion(kind="bands", amount=2),))
    check_identity(stage)
    check_idempotent(stage, tmp_path / "a")
    check_conserving(stage, tmp_path / "b", rows_in=12, count_kept=lambda folder: len(Corpus.open(folder)))
    check_resumable(stage, tmp_path / "c", faults=["shard-renamed:1:kill", "part-written:2:kill"])
    draw = DrawRows(corpus=made, most=5)
    check_identity(draw)
    check_conserving(draw, tmp_path / "d", rows_in=12, count_kept=lambda folder: len(Corpus.open(folder)))
    check_resumable(draw, tmp_path / "e", faults=["part-written:1:kill"])
