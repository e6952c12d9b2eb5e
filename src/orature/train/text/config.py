"""Everything that decides what the training of a translator computes, and the settings by number of pairs as data.

The rows are in `presets.json`, each with what was published, where, and which part is our own judgement.

Example::

    preset = preset_for(pairs=1843)
    config = TranslatorConfig(**preset.overrides("dev"))
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, Field

from orature.train.config import Scale

Size = Literal["tiny", "small", "base"]
SIZES: tuple[str, ...] = ("tiny", "small", "base")
CHARACTERS = "characters"
_MOST: dict[str, tuple[int, int, str]] = {"smoke": (300, 1000, "tiny"), "dev": (2000, 2000, "small")}
"""Updates, tokens an update and size that two cores can do in minutes."""
_EVALUATIONS = 20


class TranslatorConfig(BaseModel, frozen=True, extra="forbid"):
    """A training run of a translator from nothing; sizes in tokens, rates for AdamW."""

    size: Size = "tiny"
    """See `architecture.SHAPES`; the next four overrule it."""
    layers: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=8)
    heads: int | None = Field(default=None, ge=1)
    inner: int | None = Field(default=None, ge=8)
    share_embeddings: bool = True
    """One vocabulary and one table of embeddings for both languages; else the output has that of the target."""

    pieces: int | Literal["characters"] = 2000
    """Most word pieces of each language, or its characters."""
    segmentation: Literal["unigram", "bpe"] = "unigram"
    coverage: float = Field(default=1.0, gt=0.9, le=1.0)
    """Share of all characters of train that are in the vocabulary; below 1 for scripts of thousands of letters."""

    dropout: float = Field(default=0.3, ge=0, lt=1)
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    activation_dropout: float = Field(default=0.1, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)

    updates: int = Field(default=2000, ge=1)
    batch_tokens: int = Field(default=1000, ge=16)
    """A batch holds at most so many padded tokens on its longer side."""
    accumulate: int = Field(default=1, ge=1)
    """Batches an update."""
    peak_lr: float = Field(default=1e-3, gt=0)
    schedule: Literal["inverse-sqrt", "cosine", "linear", "constant"] = "inverse-sqrt"
    warmup_share: float = Field(default=0.2, ge=0, le=0.9)
    hold_share: float = 0.0
    final_lr_share: float = Field(default=0.02, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"

    longest: int = Field(default=200, ge=4, le=500)
    """Train pairs with more tokens than this on a side are left out and counted."""
    evaluate_every: int = Field(default=100, ge=1)
    patience: int = Field(default=20, ge=1)
    """Early stop after so many evaluations without a better dev figure."""
    select: Literal["chrf", "loss"] = "chrf"
    """What chooses the checkpoint on dev: chrF of greedy translations, or the loss."""
    average: int = Field(default=5, ge=1)
    """So many of the best checkpoints are averaged; the average is kept if it is better on dev."""
    dev_rows: int = Field(default=200, ge=1)
    """So many dev pairs, spread evenly, choose the checkpoint."""

    beams: int = Field(default=5, ge=1)
    """Of the search with which test is translated, once."""
    length_penalty: float = 1.0
    seed: int = 1


class TranslatorPreset(BaseModel, frozen=True, extra="forbid"):
    """One row of the table."""

    name: str
    pairs: int = Field(gt=0)
    """That the row is meant for."""
    source: str
    judgement: str
    published: dict[str, Any]
    updates: int = Field(ge=1)
    settings: dict[str, Any]
    """Fields of `TranslatorConfig` at full scale."""

    def overrides(self, scale: Scale = "full") -> dict[str, Any]:
        """Fields of `TranslatorConfig` as plain values.

        full: the row. dev and smoke: at most 2,000 and 300 updates of at most 2,000 and 1,000 tokens by a network of at
        most size small and tiny, because more is out of reach of a laptop.
        """
        settings: dict[str, Any] = {"size": "tiny", "batch_tokens": 1000, **self.settings}
        most, tokens, size = _MOST.get(scale, (self.updates, int(settings["batch_tokens"]), str(settings["size"])))
        updates = min(self.updates, most)
        settings["batch_tokens"] = min(int(settings["batch_tokens"]), tokens)
        settings["size"] = SIZES[min(SIZES.index(str(settings["size"])), SIZES.index(size))]
        return settings | {
            "updates": updates,
            "evaluate_every": max(1, math.ceil(updates / _EVALUATIONS)),
            "precision": "bf16" if scale == "full" and settings["size"] == "base" else "fp32",
        }

    def about(self) -> str:
        """One line for a plan: which row, from where, and what of it is ours."""
        return f"{self.name} (for about {self.pairs:,} pairs). Source: {self.source}. {self.judgement}"


@cache
def translator_presets() -> tuple[TranslatorPreset, ...]:
    """All rows, from few pairs to many."""
    table = json.loads(files("orature.train.text").joinpath("presets.json").read_text(encoding="utf-8"))
    return tuple(TranslatorPreset.model_validate(row) for row in table["rows"])


def preset_for(pairs: int) -> TranslatorPreset:
    """The row nearest to `pairs` on a log scale; nothing is interpolated."""
    wanted = math.log(max(1, pairs))
    return min(translator_presets(), key=lambda row: (abs(math.log(row.pairs) - wanted), row.pairs))
