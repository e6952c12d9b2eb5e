"""How an encoder-decoder looks for a text; it is part of what a score means.

Example::

    load_recogniser("model", search=SearchConfig(beams=5, length_penalty=1.0, ctc_weight=0.3))
"""

from __future__ import annotations

from pydantic import BaseModel, Field


class SearchConfig(BaseModel, frozen=True, extra="forbid"):
    """`beams` 1 is greedy. A text's log-probability is divided by its number of tokens to the power `length_penalty`.

    `ctc_weight` is the share of CTC in the score of a token (Hori et al. 2017), where the network has a CTC head; None:
    what it was in training.
    """

    beams: int = Field(default=1, ge=1, le=100)
    length_penalty: float = Field(default=1.0, ge=0.0, le=4.0)
    ctc_weight: float | None = Field(default=None, ge=0.0, lt=1.0)
