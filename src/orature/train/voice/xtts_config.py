"""Everything that decides how XTTS's transformer is fine-tuned, with the published figures as defaults.

Example::

    config = XttsTuning.for_scale("dev")

Published (the recipe for adding a language to XTTS-v2): AdamW with betas 0.9 and 0.96, weight decay 0.01, learning
rate 5e-6, 8 rows times 4 accumulated, 5 epochs, a BPE of 2,000 pieces learned on the transcripts, text of at most 400
tokens, audio of at most 330,750 samples at 22.05 kHz, prompts of 0.5 to 6 s. What differs is marked as our judgement.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orature.train.config import Scale

RATE_HZ = 22_050
"""Sample rate of what XTTS hears."""


class XttsTuning(BaseModel, frozen=True, extra="forbid"):
    """A fine-tuning run; the codec, the reader of prompts, HiFi-GAN and the speaker encoder are never trained."""

    epochs: int = Field(default=5, ge=1)
    updates: int | None = Field(default=None, ge=1)
    """No more than so many, whatever `epochs` says."""
    batch: int = Field(default=8, ge=1)
    """Rows computed at once."""
    accumulation: int = Field(default=4, ge=1)
    """So many batches make an update."""
    lr: float = Field(default=5e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.96)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    """Our judgement: the recipe does not say."""
    text_weight: float = Field(default=1.0, ge=0)
    """Of the loss of a text token, where an audio code has 1: the published objective (coqui's trainer takes 0.01)."""

    most_text_tokens: int = Field(default=400, ge=1)
    longest_samples: int = Field(default=330_750, ge=11_025)
    """At 22.05 kHz; longer recordings are rejected."""
    prompt_least_s: float = Field(default=0.5, gt=0)
    prompt_most_s: float = Field(default=6.0, gt=0)
    prompt_from: Literal["own", "speaker"] = "own"
    """Whose stretch of speech an utterance is conditioned on: its own, or another recording of the same speaker."""

    vocabulary: Literal["extend", "keep"] = "extend"
    """Add the language's tag, the letters that are lacking and word pieces; or reject the sentences that need them."""
    new_pieces: int = Field(default=2000, ge=0)
    """At most so many merged pieces for languages that the model does not know yet."""
    little_text: int = Field(default=20_000, ge=0)
    """Transcripts of fewer characters get letters alone (our judgement: pieces would be words seen twice)."""
    character_limit: int | None = Field(default=None, ge=1)
    """Of one utterance in a new language; None: what fits the longest audio at the median speaking rate."""

    evaluate_every: int = Field(default=50, ge=1)
    patience: int = Field(default=10, ge=1)
    """Early stop after so many evaluations without a lower dev loss."""
    dev_rows: int = Field(default=40, ge=1)
    samples: int = Field(default=3, ge=0)
    """So many dev sentences are read aloud for the report."""
    seed: int = 1

    @classmethod
    def for_scale(cls, scale: Scale) -> XttsTuning:
        """Defaults of a scale: full is the published run, dev and smoke cut updates and dev rows (our judgement)."""
        values: dict[str, dict[str, Any]] = {
            "smoke": {"updates": 10, "evaluate_every": 5, "dev_rows": 4, "samples": 1},
            "dev": {"updates": 400, "dev_rows": 20},
            "full": {"evaluate_every": 200, "dev_rows": 100},
        }
        return cls(**values[scale])
