"""Settings of preference self-training: which texts of an n-best list are set against each other, and how hard.

Example::

    PreferenceConfig(n_best=8, better="transcript", beta=0.1)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from orature.train.augment_config import AugmentConfig
from orature.train.config import TrainConfig

Unit = Literal["characters", "words"]
_BARE = AugmentConfig(speeds=(1.0,), warp=0.0, noise_probability=0.0, gain_db=0.0, time_masks=0, mel_masks=0)


class PreferenceConfig(BaseModel, frozen=True, extra="forbid"):
    """Attention models are trained by DPO (Rafailov et al. 2023, arXiv 2305.18290), CTC by MWER (Prabhavalkar et al.
    2018, arXiv 1712.01818); fields of one of them alone say so.
    """

    n_best: int = Field(default=8, ge=2, le=100)
    """Different texts of an utterance, those that the search ranks first; fewer where it finds no more."""
    beams: int = Field(default=8, ge=2, le=1000)
    """Hypotheses that the search keeps, without a language model; of an attention model several may write one text."""
    unit: Literal["auto", "characters", "words"] = "auto"
    """What an error is: an edit of a character or of a word. auto: characters for DPO, words for MWER (its source)."""
    margin: int = Field(default=1, ge=1)
    """DPO: errors that the worse text of a pair has more than the better one, at least. MWER: errors between the best
    and the worst text of an utterance, at least."""
    better: Literal["n-best", "transcript"] = "n-best"
    """DPO: the better text of all pairs of an utterance. n-best: the hypothesis with the fewest errors, which may still
    hold some (of equals the one that the search ranks first). transcript: the reference itself, also where the model
    would not write it. The worse texts are always hypotheses."""
    pairs: int = Field(default=2, ge=1)
    """DPO: most pairs of an utterance; the worse texts are those that the search ranks first."""
    beta: float = Field(default=0.1, gt=0)
    """DPO: how strongly the model is held to what it was at the start (higher: more)."""
    nll_weight: float = Field(default=0.0, ge=0)
    """DPO: weight of the negative log-likelihood a token of the better text (Pang et al. 2024, arXiv 2404.19733, eq. 1:
    1). 0: plain DPO, under which that likelihood may fall as long as the worse text's falls faster."""
    ctc_weight: float = Field(default=0.01, ge=0)
    """MWER: weight of the CTC loss of the transcript beside the expected errors (section 3.2 of the source: 0.01)."""
    n_best_of: Literal["start", "current"] = "start"
    """MWER: whose n-best lists. start: made once, before training. current: searched in every update from the logits of
    that update, as the source does (slow), with errors against what the tokens of the transcript write; then no
    utterance is left out."""

    @model_validator(mode="after")
    def _a_beam_wide_enough(self) -> Self:
        if self.beams < self.n_best:
            raise ValueError(f"a search of {self.beams} beams cannot give {self.n_best} texts; raise beams")
        return self

    def unit_of(self, *, attention: bool) -> Unit:
        """What an error is for a model with an attention decoder, or for CTC."""
        if self.unit == "auto":
            return "characters" if attention else "words"
        return self.unit

    def applied(self, config: TrainConfig, *, attention: bool) -> TrainConfig:
        """`config` as this training needs it: the start's own output layer, and no utterances joined.

        DPO also hears every recording as it is, because the log-probabilities of the start are of that audio.
        """
        augment = _BARE if attention else config.augment.model_copy(update={"join_probability": 0.0})
        return config.model_copy(update={"head": "keep", "augment": augment})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text of an n-best list: its tokens, its errors against the transcript, and ln p of the starting model.

    ln p is that of the tokens and their end by teacher forcing where a pair holds the text (DPO), else the search's (of
    CTC: tokens that write nothing count as blanks).
    """

    text: str
    tokens: tuple[int, ...]
    errors: int
    log_p: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is to choose between for one utterance: `pairs` hold (better, worse) places in `candidates`.

    `reason` says why it cannot be used: pair-no-alternative, pair-all-equal or pair-too-long; None: it can.
    """

    candidates: tuple[Candidate, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    reason: str | None = None

    @property
    def used(self) -> list[int]:
        """The candidates that its pairs hold, each once."""
        return sorted({place for pair in self.pairs for place in pair})

    def to_json(self) -> dict[str, Any]:
        """As a row of `n_best.jsonl`, without the utterance."""
        texts = [
            {"text": one.text, "tokens": list(one.tokens), "errors": one.errors, "log_p": one.log_p}
            for one in self.candidates
        ]
        return {"reason": self.reason, "pairs": [list(pair) for pair in self.pairs], "candidates": texts}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Choice:
        """What `to_json` gave, equal to the last bit."""
        texts = [Candidate(c["text"], tuple(c["tokens"]), c["errors"], c["log_p"]) for c in row["candidates"]]
        return cls(tuple(texts), tuple((pair[0], pair[1]) for pair in row["pairs"]), row["reason"])


@dataclass(frozen=True, slots=True)
class Preferences:
    """The settings of a run and a choice for each of its training examples, in their order.

    () where the n-best lists are those of the current model.
    """

    config: PreferenceConfig
    choices: tuple[Choice, ...] = field(default=(), repr=False)
