"""Training on a model's own n-best lists: DPO for attention decoders, minimum word error rate (MWER) for CTC.

Both wrap the learner of the family, so that the loop, its checkpoints and the choice on dev stay what they are.

DPO (Rafailov et al. 2023, arXiv 2305.18290, equation 7), for a better text w and a worse one l of a recording x::

    -ln sigmoid(beta ((ln p(w|x) - ln p_ref(w|x)) - (ln p(l|x) - ln p_ref(l|x))))

p_ref is the starting model; its values were computed once and lie with the pairs, so that no second model is held.

MWER (Prabhavalkar et al. 2018, arXiv 1712.01818, section 3): the expected number of errors over an n-best list,

    sum_i P(y_i) (W(y_i) - mean W) + ctc_weight * -ln p(transcript|x),    P(y_i) = p(y_i|x) / sum_j p(y_j|x)

with p(y|x) summed over all alignments by the CTC forward algorithm (Graves et al. 2006, section 4.1).

Shapes: B utterances, T steps, V tokens, R rows (a text of an utterance each), N texts of one utterance.

Example::

    learner = preferring(made.learner, Preferences(config, choices))
    learner.loss(batch).total.backward()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.core.errors import ConfigError
from orature.engines.ctc_decode import steps_needed
from orature.train.ctc import CtcLearner, arguments
from orature.train.dev import Tally
from orature.train.learner import Learner, Losses
from orature.train.lid import ctc_losses
from orature.train.loader import Batch, Loader
from orature.train.preference_config import Candidate, Choice, PreferenceConfig, Preferences
from orature.train.preference_pairs import ctc_n_best, errors_of, rows_of, sequence_log_p, units_of
from orature.train.seq2seq import Seq2SeqLearner


def preferring(learner: Learner, preferences: Preferences) -> Learner:
    """The learner of a family as one that learns preferences; ConfigError where it is of another kind."""
    if isinstance(learner, Seq2SeqLearner):
        return DpoLearner(learner, preferences)
    if isinstance(learner, CtcLearner):
        return MwerLearner(learner, preferences)
    raise ConfigError(
        "preferences are learned by CTC models and by attention models only",
        next_step="start from a model that was trained on transcripts",
    )


class DpoLearner:
    """A `Learner` of pairs: every training utterance has those of its `Choice`, in the order of the loader.

    Computed without dropout, as the log-probabilities of the start were: before the first step the loss is ln 2 a pair.
    """

    def __init__(self, learner: Seq2SeqLearner, preferences: Preferences) -> None:
        self.inner, self.config, self.choices = learner, preferences.config, preferences.choices
        self.vocabulary = learner.vocabulary
        self.module: nn.Module = learner.module

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """The loss summed over pairs; the weight is their number. Figures, a pair: `preferred`, `reward_margin`."""
        target = self.module if module is None else module
        was_training = target.training
        target.eval()
        try:
            return self._loss(batch, target)
        finally:
            target.train(was_training)

    def _loss(self, batch: Batch, module: nn.Module) -> Losses:
        choices = [_choice_of(self.choices, batch, row) for row in range(len(batch.items))]
        used = [(row, place) for row, choice in enumerate(choices) for place in choice.used]
        at = {key: number for number, key in enumerate(used)}
        texts = [choices[row].candidates[place] for row, place in used]
        rows = rows_of(batch, [row for row, _ in used], [text.tokens for text in texts])
        log_R, tokens_R = sequence_log_p(self.inner, rows, module)
        gain_R = log_R - torch.tensor([text.log_p for text in texts], device=log_R.device)
        pairs = [(row, *pair) for row, choice in enumerate(choices) for pair in choice.pairs]
        better, worse = [at[row, place] for row, place, _ in pairs], [at[row, place] for row, _, place in pairs]
        margin_P = dpo_margin(gain_R[better], gain_R[worse], self.config.beta)
        total = -F.logsigmoid(margin_P).sum()
        if self.config.nll_weight > 0:
            total = total + self.config.nll_weight * -(log_R[better] / tokens_R[better]).sum()
        count = float(len(pairs))
        figures = {"preferred": float((margin_P > 0).sum()), "preferred_of": count}
        figures |= {"reward_margin": float(margin_P.detach().sum()), "reward_margin_of": count}
        return Losses(total, count, figures)

    def assess(self, loader: Loader, *, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Tally:
        """As the learner of the family: greedy texts on dev."""
        return self.inner.assess(loader, batch_seconds=batch_seconds, part=part)


def dpo_margin(better_P: Tensor, worse_P: Tensor, beta: float) -> Tensor:
    """beta times how much more the better text of each pair has gained on the start than the worse one (P,)."""
    return beta * (better_P - worse_P)


@dataclass(frozen=True, slots=True)
class _Listed:
    """The texts of a batch that CTC can write in the steps of their audio: their utterances, tokens and errors."""

    rows: list[int]
    tokens: list[tuple[int, ...]]
    errors: list[int]


class MwerLearner:
    """A `Learner` of expected errors over the n-best lists of the start, or of the current model."""

    def __init__(self, learner: CtcLearner, preferences: Preferences) -> None:
        self.inner, self.config, self.choices = learner, preferences.config, preferences.choices
        self.vocabulary = learner.vocabulary
        self.module: nn.Module = learner.module
        self.units = units_of(learner, self.config)

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """The loss summed over utterances; the weight is their number. Figures: `expected_errors`, `ctc`."""
        blank = self.vocabulary.blank
        device = next(self.module.parameters()).device
        logits_BTV, steps_B, _ = (self.module if module is None else module)(*arguments(batch, device))
        found = self._listed(batch, logits_BTV, steps_B)
        count = len(batch.items)
        ctc_B = ctc_losses(logits_BTV, steps_B, batch, blank)
        total = self.config.ctc_weight * ctc_B.sum()
        expected = 0.0
        if found.rows:
            texts = rows_of(batch, found.rows, found.tokens)
            log_R = -ctc_losses(logits_BTV[found.rows], steps_B[found.rows], texts, blank)
            rows_R = torch.tensor(found.rows, device=log_R.device)
            errors_R = torch.tensor(found.errors, device=log_R.device, dtype=log_R.dtype)
            for row in range(count):
                log_N, errors_N = log_R[rows_R == row], errors_R[rows_R == row]
                if len(log_N):
                    total = total + expected_errors(log_N, errors_N - errors_N.mean())
                    expected += float(expected_errors(log_N.detach(), errors_N))
        figures = {"expected_errors": expected, "expected_errors_of": float(count)}
        figures |= {"ctc": float(ctc_B.detach().sum()), "ctc_of": float(count)}
        return Losses(total, float(count), figures)

    def _listed(self, batch: Batch, logits_BTV: Tensor, steps_B: Tensor) -> _Listed:
        found = _Listed([], [], [])
        for row, steps in enumerate(steps_B.tolist()):
            for text in self._candidates(batch, row, logits_BTV, steps):
                if steps_needed(list(text.tokens)) <= steps:
                    found.rows.append(row)
                    found.tokens.append(text.tokens)
                    found.errors.append(text.errors)
        return found

    @torch.no_grad()
    def _candidates(self, batch: Batch, row: int, logits_BTV: Tensor, steps: int) -> Sequence[Candidate]:
        if self.config.n_best_of == "start":
            return _choice_of(self.choices, batch, row).candidates
        log_TV = logits_BTV[row, :steps].float().log_softmax(dim=-1).cpu()
        first = int(batch.target_lengths_B[:row].sum())
        past = first + int(batch.target_lengths_B[row])
        wanted = self.vocabulary.decode(batch.targets[first:past].tolist())
        return ctc_n_best(log_TV, self.vocabulary, self.config, lambda text: errors_of(text, wanted, self.units))

    def assess(self, loader: Loader, *, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Tally:
        """As the learner of the family: best paths on dev."""
        return self.inner.assess(loader, batch_seconds=batch_seconds, part=part)


def expected_errors(log_N: Tensor, errors_N: Tensor) -> Tensor:
    """The mean of `errors_N` under probabilities `log_N` (ln p), renormalised over the list; a number."""
    return (log_N.softmax(dim=0) * errors_N).sum()


def _choice_of(choices: Sequence[Choice], batch: Batch, row: int) -> Choice:
    """The choice of an utterance of a batch; ConfigError where it was joined to another or has none."""
    item = batch.items[row]
    if item.then is not None or item.index >= len(choices):
        raise ConfigError(
            f"training utterance {item.index} has no n-best list of its own ({len(choices)} lists, joined: "
            f"{item.then is not None})",
            next_step="train with the settings of PreferenceConfig.applied, and with a choice for every utterance",
        )
    return choices[item.index]


__all__ = ["DpoLearner", "MwerLearner", "PreferenceConfig", "dpo_margin", "expected_errors", "preferring"]
