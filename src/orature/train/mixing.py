"""Which utterances an epoch holds, and how often: languages, corpora, origins and rehearsal in chosen proportions.

Example::

    config = MixConfig(language_exponent=0.5, corpus_exponent=0.5, origin_weights={"pseudo": 0.5})
    indices = draw_epoch(durations_s, groups, config, seed=1, epoch=0)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, model_validator

from orature.core.types import Origin

Role = Literal["target", "rehearsal"]
"""What the run is to learn, and old languages that it must not forget."""
_STREAM = 5
"""Sets these random draws apart from the others of the same seed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Utterances that are drawn alike."""

    language: str = "und"
    corpus: str = ""
    origin: Origin = "real"
    role: Role = "target"


class MixConfig(BaseModel, frozen=True, extra="forbid"):
    """In which proportions the training data are drawn; as it stands, every utterance once an epoch.

    A language of n seconds gets a share proportional to n ** language_exponent, and within it a corpus one proportional
    to n ** corpus_exponent: 1 leaves the natural proportions, 0 makes all equal, and lower values repeat small ones
    (Omnilingual ASR takes 0.5 and 0.5; Lugosch et al. 2022 found no balancing best for supervised languages, since
    small ones are soon known by heart). An utterance whose origin has weight w is then seen w times as often, against
    the others, as it would be otherwise; origins that are not named weigh 1.
    """

    language_exponent: float = Field(default=1.0, ge=0.0, le=1.0)
    corpus_exponent: float = Field(default=1.0, ge=0.0, le=1.0)
    origin_weights: dict[Origin, float] = Field(default_factory=dict)
    rehearsal_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Of the audio of an epoch, where there are rehearsal utterances; 0 leaves them out."""
    epoch_s: float = Field(default=0.0, ge=0.0)
    """Seconds of target audio in an epoch; 0: as many as the target utterances have. A small corpus is then repeated, a
    large one passed over in several epochs, and runs on corpora of different sizes see the same seconds an epoch."""

    @model_validator(mode="after")
    def _weights_can_be_drawn(self) -> Self:
        for origin, weight in self.origin_weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of {origin} is {weight:g}; it must be 0 or more")
        return self


def expected_counts(
    durations_s: Sequence[float], groups: Sequence[Group], config: MixConfig
) -> npt.NDArray[np.float64]:
    """How often each utterance is drawn in an epoch on average, shape (utterances,).

    Without rehearsal an epoch is as long as all utterances together, or `epoch_s`. With it the target utterances make
    up that many seconds, and the rehearsal comes on top. ValueError where weights of 0 leave nothing to draw.
    """
    seconds: dict[Group, float] = defaultdict(float)
    for duration_s, group in zip(durations_s, groups, strict=True):
        seconds[group] += duration_s
    target = {group: n for group, n in seconds.items() if group.role == "target"}
    rehearsal = {group: n for group, n in seconds.items() if group.role == "rehearsal"}
    budget_s = config.epoch_s or sum(target.values()) or sum(rehearsal.values())
    rates = _rates(target or rehearsal, budget_s, config)
    if target and rehearsal and config.rehearsal_share:
        extra_s = budget_s * config.rehearsal_share / (1 - config.rehearsal_share)
        rates |= _rates(rehearsal, extra_s, config)
    return np.array([rates.get(group, 0.0) for group in groups])


def _rates(seconds: dict[Group, float], budget_s: float, config: MixConfig) -> dict[Group, float]:
    """Draws an utterance and epoch of each group, such that together they fill `budget_s` seconds."""
    languages: dict[str, float] = defaultdict(float)
    corpora: dict[tuple[str, str], float] = defaultdict(float)
    for group, n in seconds.items():
        languages[group.language] += n
        corpora[group.language, group.corpus] += n
    within: dict[str, float] = defaultdict(float)
    for (language, _), n in corpora.items():
        within[language] += n**config.corpus_exponent
    wanted = {}
    for group, n in seconds.items():
        corpus = corpora[group.language, group.corpus]
        share = languages[group.language] ** config.language_exponent
        share *= corpus**config.corpus_exponent / within[group.language] * n / corpus
        wanted[group] = share * config.origin_weights.get(group.origin, 1.0)
    total = sum(wanted.values())
    if seconds and total <= 0:
        raise ValueError("every origin that these data have weighs 0: nothing is left to train on")
    return {group: round(wanted[group] / total * budget_s / n, 9) for group, n in seconds.items()}


def draw_epoch(
    durations_s: Sequence[float], groups: Sequence[Group], config: MixConfig, seed: int, epoch: int
) -> list[int]:
    """Indices of the utterances of `epoch`, in ascending order, each as often as it is seen.

    The number of times is the expected one (see `expected_counts`) rounded up or down; over epochs the rounding makes
    up for itself, so that after k epochs every utterance has been seen k times the expected number, give or take one:
    none is forgotten by bad luck. Within an epoch each group comes as often as expected, give or take one utterance.
    """
    expected = expected_counts(durations_s, groups, config)
    whole = np.floor(expected)
    part = expected - whole
    turn = _turns(groups, seed)
    counts = whole + np.floor(part * (epoch + 1) + turn) - np.floor(part * epoch + turn)
    return np.repeat(np.arange(len(expected)), counts.astype(np.int64)).tolist()


def _turns(groups: Sequence[Group], seed: int) -> npt.NDArray[np.float64]:
    """A place in [0, 1) for each utterance, evenly spread over each group in random order."""
    rng = np.random.default_rng([seed, _STREAM])
    members: dict[Group, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    turn = np.zeros(len(groups))
    for held in members.values():
        turn[held] = (rng.permutation(len(held)) + rng.random()) / len(held)
    return turn


def origin_weights_for_ratio(real_s: float, synthetic_s: float, ratio: float) -> dict[Origin, float]:
    """Weights with which an epoch holds `ratio` seconds of synthetic speech for each second of any other.

    `real_s` and `synthetic_s` are the seconds that the corpus has of both; the exponents must be 1. Real speech keeps
    weight 1, so that where there is less of it than asked for it is repeated. ValueError for sizes or ratios of 0.
    """
    if not (real_s > 0 and synthetic_s > 0):
        raise ValueError(f"there are {real_s:g} s of real and {synthetic_s:g} s of synthetic speech: nothing to mix")
    if not 0 < ratio < float("inf"):
        raise ValueError(f"the ratio of synthetic to real speech is {ratio:g}; it must be above 0")
    return {"synthetic": ratio * real_s / synthetic_s}


def shares_of_origins(seconds: Mapping[str, float], config: MixConfig) -> dict[str, float]:
    """Of the target audio of a run: the share of each origin, for the seconds that the corpus has of each.

    With exponents of 1, as `origin_weights_for_ratio` has them.
    """
    weighed = {name: n * config.origin_weights.get(_ORIGINS[name], 1.0) for name, n in seconds.items()}
    total = sum(weighed.values())
    return {name: value / total for name, value in weighed.items()} if total > 0 else {}


_ORIGINS: dict[str, Origin] = {name: name for name in get_args(Origin)}
