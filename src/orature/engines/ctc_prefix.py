"""How probable CTC finds the beginning of a text: what an attention decoder is held to the sound with.

Joint decoding (Hori, Watanabe, Hershey 2017, "Joint CTC/attention decoding for end-to-end speech recognition", section
3.1): the score of the next token is (1 - w) times attention's log-probability plus w times what CTC's log-probability
of the prefix gains by the token. Forward probabilities of a prefix that ends in a label or in a blank are those of
Graves 2008 ("Supervised sequence labelling", section 7.5), computed for all tokens and rows at once.

Shapes: R rows (open texts), T encoder steps, V tokens, N tokens of a step.

Example::

    scorer = CtcPrefixes(logits_RTV, steps_R, blank=0, end=3)
    gained_RV = scorer.step(prompt_RN)       # of each next token of the empty text
"""

from __future__ import annotations

import torch
from torch import Tensor

from orature.engines.seq2seq_search import SearchState

_NEVER = -1.0e9
"""Stands for a probability of 0, so that differences stay numbers."""


class CtcPrefixes:
    """The prefixes of the open rows; the first tokens given are the prompt, of which CTC knows nothing."""

    def __init__(self, logits_RTV: Tensor, steps_R: Tensor, *, blank: int, end: int) -> None:
        log_RTV = logits_RTV.float().log_softmax(dim=-1)
        past_RT = torch.arange(log_RTV.shape[1], device=log_RTV.device) >= steps_R[:, None]
        log_RTV = log_RTV.masked_fill(past_RT[..., None], _NEVER)
        self.log_RTV = log_RTV.clone()
        self.log_RTV[..., blank] = log_RTV[..., blank].masked_fill(past_RT, 0.0)
        self.blank, self.end = blank, end
        blanks_RT = self.log_RTV[..., blank].cumsum(dim=1)
        self.forward_RT2 = torch.stack([torch.full_like(blanks_RT, _NEVER), blanks_RT], dim=-1)
        """Of the text so far: the log-probability of all paths that end in its last label, or in a blank, at a step."""
        self.psi_R = log_RTV.new_zeros(len(log_RTV))
        self.last_R: Tensor | None = None
        self._grown: tuple[Tensor, Tensor] | None = None

    def step(self, tokens_RN: Tensor) -> Tensor:
        """What the prefix's log-probability gains (R, V) by each token after `tokens_RN`; of the end, by ending."""
        if self._grown is not None:
            rows_R, self.last_R = torch.arange(len(tokens_RN), device=tokens_RN.device), tokens_RN[:, -1]
            forward_RT2V, psi_RV = self._grown
            self.forward_RT2, self.psi_R = forward_RT2V[rows_R, :, :, self.last_R], psi_RV[rows_R, self.last_R]
        psi_RV = self._grow()
        return (psi_RV - self.psi_R[:, None]).clamp(min=_NEVER)

    def _grow(self) -> Tensor:
        """The prefix probability of each longer text (R, V)."""
        log_RTV = self.log_RTV
        rows, steps, tokens = log_RTV.shape
        ended_RT = torch.logaddexp(self.forward_RT2[..., 0], self.forward_RT2[..., 1])
        begun_RTV = ended_RT[..., None].expand(rows, steps, tokens).clone()
        if self.last_R is not None:  # a label is not written twice without a blank between
            places = (torch.arange(rows, device=log_RTV.device), slice(None), self.last_R)
            begun_RTV[places] = self.forward_RT2[..., 1]
        label_RV = log_RTV[:, 0] if self.last_R is None else torch.full_like(log_RTV[:, 0], _NEVER)
        blank_RV, psi_RV = torch.full_like(label_RV, _NEVER), label_RV
        grown = [torch.stack([label_RV, blank_RV], dim=1)]
        for step in range(1, steps):
            begun_RV, said_RV = begun_RTV[:, step - 1], log_RTV[:, step]
            blank_RV = torch.logaddexp(blank_RV, label_RV) + said_RV[:, self.blank, None]
            label_RV = torch.logaddexp(label_RV, begun_RV) + said_RV
            psi_RV = torch.logaddexp(psi_RV, begun_RV + said_RV)
            grown.append(torch.stack([label_RV, blank_RV], dim=1))
        psi_RV = psi_RV.clone()
        psi_RV[:, self.end] = ended_RT[:, -1]
        self._grown = (torch.stack(grown, dim=1), psi_RV)
        return psi_RV

    def pick(self, rows_R: Tensor, *, moved: bool) -> None:
        """Only `rows_R` go on, in that order; with `moved` each of its own recording."""
        if self._grown is not None:
            self._grown = (self._grown[0][rows_R], self._grown[1][rows_R])
        self.forward_RT2, self.psi_R = self.forward_RT2[rows_R], self.psi_R[rows_R]
        if not moved:
            self.log_RTV = self.log_RTV[rows_R]


class JointState:
    """A decoder in the midst of a search whose scores are those of attention and CTC together."""

    def __init__(self, attention: SearchState, prefixes: CtcPrefixes, weight: float) -> None:
        self.attention, self.prefixes, self.weight = attention, prefixes, weight

    @property
    def encoder_RTD(self) -> Tensor:
        return self.attention.encoder_RTD

    @property
    def rows(self) -> int:
        return self.attention.rows

    def step(self, tokens_RN: Tensor) -> Tensor:
        """Scores (R, V) of what follows: weighted sums of log-probabilities."""
        log_RV = self.attention.step(tokens_RN)
        return (1 - self.weight) * log_RV + self.weight * self.prefixes.step(tokens_RN)

    def widen(self, beams: int) -> None:
        """Each row `beams` times."""
        rows_R = torch.arange(self.rows, device=self.encoder_RTD.device).repeat_interleave(beams)
        self.attention.widen(beams)
        self.prefixes.pick(rows_R, moved=False)

    def reorder(self, rows_R: Tensor) -> None:
        """Row i goes on from row `rows_R[i]` of the same recording."""
        self.attention.reorder(rows_R)
        self.prefixes.pick(rows_R, moved=True)

    def keep(self, rows_R: Tensor) -> None:
        """Only `rows_R` go on."""
        self.attention.keep(rows_R)
        self.prefixes.pick(rows_R, moved=False)
