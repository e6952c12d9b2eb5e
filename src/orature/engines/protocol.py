"""What every recogniser promises: a list of recordings in, an equally long list of outcomes out, in the same order.

Example::

    def shout(recogniser: Recogniser, recording: np.ndarray) -> str:
        outcome = recogniser.transcribe([recording])[0]
        return outcome.text.upper() if isinstance(outcome, Hypothesis) else f"refused: {outcome.reason}"
"""

from __future__ import annotations

from collections.abc import Sequence
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
