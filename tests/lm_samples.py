"""A tiny vocabulary, random log-probabilities, and every path through them, for tests of decoding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orature.engines.arpa import ArpaModel
from orature.engines.ctc_decode import Floats, collapse
from orature.engines.kneser_ney import estimate
from orature.engines.vocabulary import Files


class Pieces:
    """A CtcVocabulary of given pieces; token 0 is the blank, token 1 the unknown character."""

    blank = 0
    unknown_token: int | None = 1

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = ["", "", *pieces]

    def __len__(self) -> int:
        return len(self._pieces)

    def piece(self, token: int) -> str:
        return self._pieces[token]

    def encode(self, text: str) -> list[int]:
        return [self._pieces.index(letter) if letter in self._pieces else 1 for letter in text]

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join("".join(self._pieces[token] for token in tokens).split())

    def unknown(self, text: str) -> set[str]:
        return {letter for letter in text if letter not in self._pieces}

    def files(self) -> Files:
        return {}


def random_logs(steps: int, size: int, seed: int, sharpness: float = 1.0) -> Floats:
    """Log-probabilities of shape (steps, size); the unknown token is next to impossible."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((steps, size))
    logits[:, 1] = -40.0
    logs: Floats = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    return logs


def all_texts(log_TV: Floats, vocabulary: Pieces) -> dict[str, float]:
    """ln P(text | audio) of every text, by going through every path; tokens that write nothing count as blank."""
    silent = {token for token in range(len(vocabulary)) if not vocabulary.piece(token)}
    sums: dict[str, float] = {}
    for path in itertools.product(range(log_TV.shape[1]), repeat=len(log_TV)):
        labels = collapse(np.array([0 if token in silent else token for token in path]))
        text = vocabulary.decode(labels)
        score = float(sum(log_TV[step, token] for step, token in enumerate(path)))
        sums[text] = float(np.logaddexp(sums.get(text, -np.inf), score))
    return sums


def small_lm(path: Path, lines: Sequence[str], *, characters: bool = False, order: int = 2) -> ArpaModel:
    """A model of a few lines, also left at `path`."""
    sentences = [list(line.replace(" ", "|")) if characters else line.split() for line in lines]
    estimate(sentences, path, order=order)
    return ArpaModel.load(path)
