"""What every recogniser promises: a list of recordings in, an equally long list of outcomes out, in the same order.

Example::

    def shout(recogniser: Recogniser, recording: np.ndarray) -> str:
        outcome = recogniser.transcribe([recording])[0]
        return outcome.text.upper() if isinstance(outcome, Hypothesis) else f"refused: {outcome.reason}"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from orature.core.types import Card, Hypothesis, Refusal

Samples = npt.NDArray[np.float32]
"""Mono audio at 16 kHz in [-1, 1], shape (samples,)."""


@runtime_checkable
class Recogniser(Protocol):
    """Turns recordings into hypotheses. It knows nothing of corpora, stores or files."""

    @property
    def card(self) -> Card:
        """Licence, languages, revision and determinism of this recogniser."""
        ...

    def transcribe(self, recordings: Sequence[Samples]) -> list[Hypothesis | Refusal]:
        """One outcome a recording, in order; trouble with one recording is its `Refusal`, never an exception."""
        ...


def card_of(facts: Mapping[str, str], *, family: str, languages: tuple[str, ...] = ()) -> Card:
    """The card from the facts of a model folder; `family` and `languages` stand in where the facts name none."""
    return Card(
        name=facts.get("name", "unnamed"),
        family=facts.get("family", family),
        languages=tuple(filter(None, facts.get("languages", "").split(","))) or languages,
        licence=facts.get("licence", "unknown"),
        revision=facts.get("revision", ""),
        deterministic=True,
    )


def trouble_of(samples: Samples) -> Refusal | None:
    """Why `samples` are no recording, if they are not."""
    if samples.ndim != 1:
        return Refusal("audio-shape", f"expected mono samples of shape (samples,), got shape {samples.shape}")
    if samples.size == 0:
        return Refusal("audio-empty", "the recording holds no samples")
    if not bool(np.isfinite(samples).all()):
        return Refusal("audio-nan", "the recording holds samples that are not numbers")
    return None
