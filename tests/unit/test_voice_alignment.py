"""Monotonic alignment search against all ways there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orature.train.voice.alignment import PAST, durations_of, monotonic_alignment


def all_ways(frames: int, tokens: int) -> list[list[int]]:
    """Every way to give each of `frames` frames a token, in order, none left out."""
    ways = []
    for cuts in itertools.combinations(range(1, frames), tokens - 1):
        edges = [0, *cuts, frames]
        ways.append([token for token in range(tokens) for _ in range(edges[token], edges[token + 1])])
    return ways


def best_of(score_FT: np.ndarray, frames: int, tokens: int) -> float:
    return max(sum(score_FT[f, t] for f, t in enumerate(way)) for way in all_ways(frames, tokens))


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_the_best_of_all_ways_in_a_ragged_batch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [(9, 4), (6, 6), (8, 1), (4, 3), (1, 1)]
    score_BFT = rng.standard_normal((len(sizes), 9, 6)) * 3
    frames_B, tokens_B = (np.array(side) for side in zip(*sizes, strict=True))
    place_BF = monotonic_alignment(score_BFT, frames_B, tokens_B)
    for row, (frames, tokens) in enumerate(sizes):
        way = place_BF[row, :frames].tolist()
        assert way in all_ways(frames, tokens)
        found = sum(score_BFT[row, f, t] for f, t in enumerate(way))
        assert found == pytest.approx(best_of(score_BFT[row], frames, tokens))
        assert (place_BF[row, frames:] == PAST).all()


def test_padding_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    score_BFT = rng.standard_normal((1, 12, 5))
    alone = monotonic_alignment(score_BFT, np.array([12]), np.array([5]))
    padded = np.full((2, 20, 9), 50.0)
    padded[0, :12, :5] = score_BFT[0]
    beside = monotonic_alignment(padded, np.array([12, 20]), np.array([5, 9]))
    assert (beside[0, :12] == alone[0]).all()


def test_durations_add_up_to_the_frames_and_give_each_token_one() -> None:
    score_BFT = np.random.default_rng(1).standard_normal((3, 30, 10))
    frames_B, tokens_B = np.array([30, 12, 10]), np.array([10, 7, 10])
    durations_BT = durations_of(monotonic_alignment(score_BFT, frames_B, tokens_B), 10)
    assert durations_BT.sum(1).tolist() == frames_B.tolist()
    for row, tokens in enumerate(tokens_B):
        assert (durations_BT[row, :tokens] >= 1).all() and (durations_BT[row, tokens:] == 0).all()


@pytest.mark.parametrize(("frames", "tokens"), [(3, 4), (5, 0), (11, 3)])
def test_what_cannot_be_aligned_is_refused(frames: int, tokens: int) -> None:
    with pytest.raises(ValueError, match="one frame a token"):
        monotonic_alignment(np.zeros((1, 10, 6)), np.array([frames]), np.array([tokens]))
