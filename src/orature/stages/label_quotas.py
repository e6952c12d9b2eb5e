"""Quotas on labelled speech: no speaker and no language may fill the training set alone.

Example::

    over = over_quota(candidates, Quotas(speaker_hours=2.0, language_share=0.5), seed=1)
    over["u7"].reason      # "speaker-quota"
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from orature.core.types import Refusal
from orature.stages.corpus_rows import draw_order

SPEAKER_QUOTA, LANGUAGE_QUOTA = "speaker-quota", "language-quota"


class Quotas(BaseModel, frozen=True, extra="forbid"):
    """The most hours of one speaker and of one language, and the largest shares of all hours that passed the filters.

    None: no quota. Rows of unknown speakers have no speaker quota: they are not one speaker.
    """

    speaker_hours: float | None = Field(default=None, gt=0)
    speaker_share: float | None = Field(default=None, gt=0, le=1)
    language_hours: float | None = Field(default=None, gt=0)
    language_share: float | None = Field(default=None, gt=0, le=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A labelled row that passed all filters."""

    id: str
    language: str
    speaker: str | None
    seconds: float


def over_quota(candidates: Sequence[Candidate], quotas: Quotas, seed: int) -> dict[str, Refusal]:
    """The rows for which there is no room, by their ids.

    Rows are taken in an order that follows from `seed` and their ids alone; one that does not fit is passed over.
    """
    total = math.fsum(one.seconds for one in candidates)
    speaker_s = _seconds(quotas.speaker_hours, quotas.speaker_share, total)
    language_s = _seconds(quotas.language_hours, quotas.language_share, total)
    if math.isinf(speaker_s) and math.isinf(language_s):
        return {}
    taken: dict[tuple[str, str], float] = defaultdict(float)
    over: dict[str, Refusal] = {}
    for one in sorted(candidates, key=lambda one: (draw_order(seed, one.id), one.id)):
        speaker, language = ("speaker", one.speaker or ""), ("language", one.language)
        if one.speaker is not None and taken[speaker] + one.seconds > speaker_s:
            over[one.id] = Refusal(SPEAKER_QUOTA, f"{speaker_s / 3600:.3g} h of {one.speaker} are enough")
        elif taken[language] + one.seconds > language_s:
            over[one.id] = Refusal(LANGUAGE_QUOTA, f"{language_s / 3600:.3g} h of {one.language} are enough")
        else:
            taken[speaker] += one.seconds
            taken[language] += one.seconds
    return over


def _seconds(hours: float | None, share: float | None, total_s: float) -> float:
    by_hours = math.inf if hours is None else 3600 * hours
    return min(by_hours, math.inf if share is None else share * total_s)
