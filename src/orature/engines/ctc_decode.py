"""From CTC log-probabilities to text, word times and confidences by the best path (Graves et al. 2006, section 3.2).

Shapes: T steps, V tokens.

Example::

    hypothesis = decode(log_probabilities_TV, vocabulary, step_s=0.04)
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from orature.core.types import Hypothesis, Word
from orature.engines.vocabulary import CtcVocabulary

Floats = npt.NDArray[np.float32]


def collapse(path_T: npt.NDArray[np.int64], blank: int = 0) -> list[int]:
    """Tokens of a best path: repeats merged, blanks removed."""
    if path_T.size == 0:
        return []
    fresh = np.concatenate([[True], path_T[1:] != path_T[:-1]])
    return [int(token) for token in path_T[fresh] if token != blank]


def steps_needed(tokens: list[int]) -> int:
    """CTC feasibility: one step a label and one more between equal neighbours."""
    return len(tokens) + sum(a == b for a, b in itertools.pairwise(tokens))


def decode(log_TV: Floats, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None = None) -> Hypothesis:
    """Best-path text with words timed by their first and last label step.

    A word's confidence is the geometric mean of its labels' probabilities. `end_s` caps the times at the recording's
    length. An empty input gives an empty hypothesis.
    """
    if log_TV.shape[0] == 0:
        return Hypothesis(text="")
    return decode_path(log_TV.argmax(axis=1), log_TV.max(axis=1), vocabulary, step_s=step_s, end_s=end_s)


def decode_path(
    path_T: npt.NDArray[np.int64], best_T: Floats, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None
) -> Hypothesis:
    """As `decode`, from the best token of each step and its log-probability."""
    if path_T.size == 0:
        return Hypothesis(text="")
    words: list[Word] = []
    letters: list[tuple[str, int, int, float]] = []
    for token, first, last, log_p in _runs(path_T, best_T, vocabulary.blank):
        for letter in vocabulary.piece(token):
            if letter.isspace():
                _flush(letters, words, step_s, end_s)
            else:
                letters.append((letter, first, last, log_p))
    _flush(letters, words, step_s, end_s)
    text = " ".join(word.text for word in words)
    return Hypothesis(text=text, words=tuple(words), score=float(best_T.mean()))


def _runs(path_T: npt.NDArray[np.int64], best_T: Floats, blank: int) -> list[tuple[int, int, int, float]]:
    """(token, first step, last step, best log-probability) of each run of one label."""
    edges = np.flatnonzero(np.concatenate([[True], path_T[1:] != path_T[:-1]]))
    ends = np.concatenate([edges[1:], [path_T.size]])
    return [
        (int(path_T[a]), int(a), int(b) - 1, float(best_T[a:b].max()))
        for a, b in zip(edges, ends, strict=True)
        if path_T[a] != blank
    ]


def _flush(letters: list[tuple[str, int, int, float]], words: list[Word], step_s: float, end_s: float | None) -> None:
    if not letters:
        return
    start_s = letters[0][1] * step_s
    stop_s = (letters[-1][2] + 1) * step_s
    if end_s is not None:
        stop_s = min(stop_s, end_s)
        start_s = min(start_s, stop_s)
    confidence = float(np.exp(np.mean([log_p for *_, log_p in letters])))
    text = "".join(letter for letter, *_ in letters)
    words.append(Word(text=text, start_s=round(start_s, 3), end_s=round(stop_s, 3), confidence=round(confidence, 4)))
    letters.clear()
