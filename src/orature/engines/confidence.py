"""Confidences that mean what they say: Platt's scaling of word and utterance scores, fitted on dev.

Raw confidences are posteriors of a network that is too sure of itself. The calibrated one is the logistic function of
a line over the logit of the raw one (Platt 1999, with his smoothed targets); two numbers can be fitted on few words.
For an utterance the target is its share of right words, so its confidence is the share of right words to expect.

Example::

    calibration = Calibration(word=fit(raw, right), utterance=fit(raw_utterances, shares))
    hypothesis = calibration.apply(hypothesis)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from orature.core.types import Hypothesis

_FLOOR = 1e-4
_RIDGE = 1e-3
_ROUNDS = 50


class Line(BaseModel, frozen=True, extra="forbid"):
    """Slope and offset over the logit of a raw confidence."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, raw: float) -> float:
        return 1.0 / (1.0 + math.exp(-max(min(self.slope * _logit(raw) + self.offset, 30.0), -30.0)))


class Calibration(BaseModel, frozen=True, extra="forbid"):
    """The lines of words and of utterances."""

    word: Line = Line()
    utterance: Line = Line()

    def apply(self, hypothesis: Hypothesis) -> Hypothesis:
        """`hypothesis` with calibrated confidences of its words and its own; an empty one keeps None."""
        if not hypothesis.words:
            return hypothesis
        raw = utterance_confidence(hypothesis)
        words = tuple(replace(word, confidence=round(self.word(word.confidence), 4)) for word in hypothesis.words)
        return replace(hypothesis, words=words, confidence=round(self.utterance(raw), 4))


def utterance_confidence(hypothesis: Hypothesis) -> float:
    """Raw confidence of a whole utterance: the mean of its words' raw confidences; 0 for an empty one."""
    if not hypothesis.words:
        return 0.0
    return sum(word.confidence for word in hypothesis.words) / len(hypothesis.words)


def _logit(raw: float) -> float:
    kept = min(max(raw, _FLOOR), 1.0 - _FLOOR)
    return math.log(kept / (1.0 - kept))


def fit(raw: Sequence[float], right: Sequence[float]) -> Line:
    """The line that makes `raw` confidences the chance (or share, in [0, 1]) of being `right`; Newton's method.

    With no or uniform evidence it stays close to the prior share; the slope is never negative.
    """
    if not raw:
        return Line()
    x_M = np.array([_logit(value) for value in raw])
    y_M = np.array(right, dtype=np.float64)
    good, bad = float(y_M.sum()), float(len(y_M) - y_M.sum())
    target_M = y_M * (good + 1) / (good + 2) + (1 - y_M) / (bad + 2)
    line = _newton(np.stack([x_M, np.ones_like(x_M)], axis=1), target_M, np.array([1.0, 0.0]))
    if line[0] < 0:
        flat = _newton(np.ones((len(x_M), 1)), target_M, np.array([0.0]))
        return Line(slope=0.0, offset=round(float(flat[0]), 6))
    return Line(slope=round(float(line[0]), 6), offset=round(float(line[1]), 6))


def _newton(
    x_MD: npt.NDArray[np.float64], target_M: npt.NDArray[np.float64], prior_D: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Logistic regression with a weak ridge towards `prior_D`, by damped Newton steps."""
    weights_D = prior_D.copy()
    for _ in range(_ROUNDS):
        p_M = 1.0 / (1.0 + np.exp(-np.clip(x_MD @ weights_D, -30, 30)))
        slope_D = x_MD.T @ (p_M - target_M) + _RIDGE * (weights_D - prior_D)
        curve_DD = (x_MD * (p_M * (1 - p_M))[:, None]).T @ x_MD + _RIDGE * np.eye(len(weights_D))
        step_D = np.linalg.solve(curve_DD, slope_D)
        weights_D = weights_D - step_D * min(1.0, 2.0 / max(float(np.abs(step_D).max()), 1e-12))
        if float(np.abs(step_D).max()) < 1e-9:
            break
    return weights_D


def cross_fitted(raw: Sequence[float], right: Sequence[float], group: Sequence[int], folds: int = 5) -> list[float]:
    """Calibrated confidences where each was fitted on the other folds: an honest look at what calibration gains.

    `group` keeps what belongs together (the words of one utterance) in one fold.
    """
    found = [0.0] * len(raw)
    for fold in range(folds):
        others = [i for i in range(len(raw)) if group[i] % folds != fold]
        line = fit([raw[i] for i in others], [right[i] for i in others])
        for i in range(len(raw)):
            if group[i] % folds == fold:
                found[i] = line(raw[i])
    return found
