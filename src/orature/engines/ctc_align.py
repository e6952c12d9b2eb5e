"""Forced alignment of tokens to CTC log-probabilities: where each label, and so each word, was spoken.

The best path through the label sequence with blanks between (Graves et al. 2006, section 4.1, maximum instead of sum).
Shapes: T steps, V tokens, L labels, S = 2 L + 1 states.

Example::

    found = align(log_TV, vocabulary.encode("shuk wasi"), blank=0)
    if found is not None:
        words = timed_words(log_TV, found, vocabulary, step_s=0.02)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orature.core.types import Word
from orature.engines.vocabulary import CtcVocabulary

Floats = npt.NDArray[np.float32]
_NEVER = -1e30


@dataclass(frozen=True, slots=True)
class Aligned:
    """`spans[i]` are the first and last step of label `tokens[i]`; `score` is the log-probability of the whole path."""

    tokens: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    score: float


def align(log_TV: Floats, tokens: Sequence[int], blank: int) -> Aligned | None:
    """The most probable path that writes `tokens`; None where there are too few steps or it is impossible.

    Among equal paths the one that stays longest in the later state is taken.
    """
    steps, labels = len(log_TV), len(tokens)
    states_S = np.full(2 * labels + 1, blank, dtype=np.int64)
    states_S[1::2] = tokens
    skip_S = np.zeros(len(states_S), dtype=bool)
    skip_S[3::2] = states_S[3::2] != states_S[1:-2:2]
    if steps == 0:
        return Aligned((), (), 0.0) if labels == 0 else None
    emitted_TS = np.maximum(log_TV[:, states_S].astype(np.float64), _NEVER)
    best_S = np.full(len(states_S), _NEVER)
    best_S[:2] = emitted_TS[0, :2]
    back_TS = np.zeros((steps, len(states_S)), dtype=np.int8)
    candidates = np.full((3, len(states_S)), _NEVER)
    for step in range(1, steps):
        candidates[0] = best_S
        candidates[1, 1:] = best_S[:-1]
        candidates[2, 2:] = np.where(skip_S[2:], best_S[:-2], _NEVER)
        back_TS[step] = candidates.argmax(axis=0)
        best_S = candidates.max(axis=0) + emitted_TS[step]
    last = len(states_S) - 1
    if labels and best_S[last - 1] > best_S[last]:
        last -= 1
    score = float(best_S[last])
    if score < _NEVER / 2:
        return None
    path_T = np.empty(steps, dtype=np.int64)
    for step in range(steps - 1, -1, -1):
        path_T[step] = last
        last -= int(back_TS[step, last])
    return Aligned(tuple(int(token) for token in tokens), _spans(path_T, labels), score)


def _spans(path_T: npt.NDArray[np.int64], labels: int) -> tuple[tuple[int, int], ...]:
    wanted = 2 * np.arange(labels) + 1
    first = np.searchsorted(path_T, wanted, side="left")
    last = np.searchsorted(path_T, wanted, side="right") - 1
    return tuple(zip(first.tolist(), last.tolist(), strict=True))


def timed_words(
    log_TV: Floats, aligned: Aligned, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None = None
) -> tuple[Word, ...]:
    """Words with times from the first step of their first label to the last step of their last one.

    A word's confidence is the geometric mean of its labels' greatest posteriors within their spans. `end_s` caps the
    times at the recording's length.
    """
    words: list[Word] = []
    letters: list[tuple[str, int, int, float]] = []

    def flush() -> None:
        if not letters:
            return
        stop_s = (letters[-1][2] + 1) * step_s
        stop_s = stop_s if end_s is None else min(stop_s, end_s)
        confidence = float(np.exp(np.mean([log_p for *_, log_p in letters])))
        words.append(
            Word(
                text="".join(letter for letter, *_ in letters),
                start_s=round(min(letters[0][1] * step_s, stop_s), 3),
                end_s=round(stop_s, 3),
                confidence=round(min(confidence, 1.0), 4),
            )
        )
        letters.clear()

    for token, (first, last) in zip(aligned.tokens, aligned.spans, strict=True):
        log_p = float(log_TV[first : last + 1, token].max())
        for letter in vocabulary.piece(token):
            if letter.isspace():
                flush()
            else:
                letters.append((letter, first, last, log_p))
    flush()
    return tuple(words)


def align_text(
    log_TV: Floats, text: str, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None = None
) -> tuple[Word, ...] | None:
    """Times and confidences of the words of any prepared text; None where it cannot be aligned."""
    found = align(log_TV, vocabulary.encode(text), vocabulary.blank)
    return None if found is None else timed_words(log_TV, found, vocabulary, step_s=step_s, end_s=end_s)


def fold_silent(log_TV: Floats, vocabulary: CtcVocabulary) -> Floats:
    """Special tokens that write nothing (unknown, padding) count as blank: their probability is added to it."""
    silent = [token for token in range(log_TV.shape[1]) if not vocabulary.piece(token) and token != vocabulary.blank]
    if not silent:
        return log_TV
    folded = log_TV.copy()
    columns = [vocabulary.blank, *silent]
    folded[:, vocabulary.blank] = np.logaddexp.reduce(log_TV[:, columns], axis=1)
    folded[:, silent] = _NEVER
    return folded
