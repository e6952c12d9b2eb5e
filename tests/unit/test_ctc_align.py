"""Forced alignment against every path; what cannot be aligned; words, times and confidences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from lm_samples import Pieces, random_logs

from orature.engines.ctc_align import Aligned, align, align_text, fold_silent, timed_words
from orature.engines.ctc_decode import collapse, decode

LETTERS = Pieces(["a", "b", " "])


def best_by_force(log_TV: np.ndarray, tokens: list[int]) -> float | None:
    scores = [
        sum(float(log_TV[step, token]) for step, token in enumerate(path))
        for path in itertools.product(range(log_TV.shape[1]), repeat=len(log_TV))
        if collapse(np.array(path)) == tokens
    ]
    return max(scores, default=None)


@pytest.mark.parametrize("tokens", [[], [2], [2, 3], [2, 2], [3, 4, 2], [2, 2, 2], [2, 3, 2, 3, 2], [4, 4, 4]])
def test_the_best_path_of_all(tokens: list[int]) -> None:
    for seed in range(4):
        log_TV = random_logs(5, len(LETTERS), seed)
        wanted, found = best_by_force(log_TV, tokens), align(log_TV, tokens, 0)
        assert (found is None) == (wanted is None)
        if found is None or wanted is None:
            continue
        assert found.score == pytest.approx(wanted, abs=1e-4)
        path = np.zeros(5, dtype=np.int64)
        for token, (first, last) in zip(tokens, found.spans, strict=True):
            path[first : last + 1] = token
        assert collapse(path) == tokens
        assert sum(float(log_TV[step, token]) for step, token in enumerate(path)) == pytest.approx(wanted, abs=1e-4)


def test_too_few_steps_or_an_impossible_label_is_none() -> None:
    log_TV = random_logs(2, len(LETTERS), 1)
    assert align(log_TV, [2, 2], 0) is None
    assert align(log_TV[:0], [2], 0) is None
    assert align(log_TV[:0], [], 0) == Aligned((), (), 0.0)
    log_TV[:, 2] = -np.inf
    assert align(log_TV, [2], 0) is None
    assert align_text(log_TV, "a", LETTERS, step_s=0.1) is None


def test_words_have_times_and_confidences() -> None:
    log_TV = np.log(np.full((8, 5), 0.02, dtype=np.float32))
    for step, (token, chance) in enumerate(
        [(0, 0.92), (2, 0.5), (2, 0.8), (3, 0.2), (0, 0.9), (4, 0.9), (3, 0.9), (0, 0.9)]
    ):
        log_TV[step, token] = np.log(chance)
    words = align_text(log_TV, "ab b", LETTERS, step_s=0.1, end_s=0.65)
    assert words is not None
    assert [(word.text, word.start_s, word.end_s) for word in words] == [("ab", 0.1, 0.4), ("b", 0.6, 0.65)]
    assert words[0].confidence == pytest.approx(np.sqrt(0.8 * 0.2), abs=1e-3)
    assert words[1].confidence == pytest.approx(0.9, abs=1e-3)


def test_the_best_path_aligned_to_itself_is_the_best_path() -> None:
    for seed in range(5):
        log_TV = random_logs(40, len(LETTERS), seed, sharpness=6.0)
        log_TV[:, 1] = -1e4
        greedy = decode(log_TV, LETTERS, step_s=0.02)
        tokens = collapse(log_TV.argmax(axis=1))
        found = align(log_TV, tokens, 0)
        assert found is not None
        assert timed_words(log_TV, found, LETTERS, step_s=0.02) == greedy.words


def test_silent_tokens_are_added_to_the_blank() -> None:
    log_TV = np.log(np.array([[0.1, 0.6, 0.2, 0.05, 0.05]], dtype=np.float32))
    folded = fold_silent(log_TV, LETTERS)
    assert np.exp(folded[0, 0]) == pytest.approx(0.7, abs=1e-6)
    assert np.exp(folded[0, 1]) == 0.0
    assert np.array_equal(folded[:, 2:], log_TV[:, 2:])
