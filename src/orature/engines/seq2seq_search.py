"""Greedy and beam search for attention decoders, one implementation for all families.

The beam search follows transformers' `generate`: the 2 x beams best continuations a step, a hypothesis finishes when
its end token is among the best `beams`, its score is the sum of log-probabilities divided by length ** length_penalty
(end token counted), and a recording is done when the best open beam could no longer beat the worst of `beams` finished
ones (its early_stopping=False; Wu et al. 2016, "Google's Neural Machine Translation System", section 7, in the variant
of that library), or with `early` when `beams` have finished (its early_stopping=True). Rows of finished recordings
leave the batch, so that what one recording gives never depends on the others. Suppressed tokens are taken out after the
softmax.

Shapes: R rows (open recordings times beams), V tokens.

Example::

    state = DecoderState(model.model.decoder, model.proj_out, encoder_BTD)
    written = search(state, [50258, 50259, 50359, 50363], Search(end=50257, limits=[224], beams=5))[0][0]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from orature.engines.network import Written

_CLOSED = -1.0e9


@dataclass(frozen=True, slots=True)
class Search:
    """How to search: `limits` holds the most tokens for each recording (the end token counted)."""

    end: int
    limits: list[int]
    beams: int = 1
    n_best: int = 1
    length_penalty: float = 1.0
    never: tuple[int, ...] = ()
    """Tokens that are never written."""
    never_first: tuple[int, ...] = ()
    """Tokens that are not written first."""
    early: bool = False
    counted: int = 0
    """How many tokens of the prompt the length penalty counts: those that `generate` takes as forced, not given."""

    def normalised(self, total: float, length: int) -> float:
        """The score of `length` written tokens (the end token counted) whose log-probabilities sum up to `total`."""
        return total / float(max(1, length + self.counted) ** self.length_penalty)


class SearchState(Protocol):
    """A decoder in the midst of writing, a row for each text that is open."""

    @property
    def encoder_RTD(self) -> Tensor:
        """What the rows hear."""
        ...

    @property
    def rows(self) -> int: ...

    def step(self, tokens_RN: Tensor) -> Tensor:
        """Scores (R, V), float32, of what follows `tokens_RN` (the tokens not yet given): log-probabilities."""
        ...

    def widen(self, beams: int) -> None:
        """Each row `beams` times."""
        ...

    def reorder(self, rows_R: Tensor) -> None:
        """Row i goes on from row `rows_R[i]` of the same recording."""
        ...

    def keep(self, rows_R: Tensor) -> None:
        """Only `rows_R` go on."""
        ...


class DecoderState:
    """A transformers decoder with its cache over the encoder's output (B, T, D) and its mask (B, T), 1 where valid."""

    def __init__(
        self,
        decoder: nn.Module,
        head: Callable[[Tensor], Tensor],
        encoder_BTD: Tensor,
        mask_BT: Tensor | None = None,
    ) -> None:
        self.decoder, self.head = decoder, head
        self.encoder_RTD, self.mask_RT = encoder_BTD, mask_BT
        self.cache: Any = None

    @property
    def rows(self) -> int:
        return len(self.encoder_RTD)

    def step(self, tokens_RN: Tensor) -> Tensor:
        """Log-probabilities (R, V), float32, of what follows `tokens_RN` (the tokens not yet given)."""
        masked = {} if self.mask_RT is None else {"encoder_attention_mask": self.mask_RT}
        out = self.decoder(
            input_ids=tokens_RN,
            encoder_hidden_states=self.encoder_RTD,
            past_key_values=self.cache,
            use_cache=True,
            **masked,
        )
        self.cache = out.past_key_values
        logits_RV: Tensor = self.head(out.last_hidden_state[:, -1])
        return logits_RV.float().log_softmax(dim=-1)

    def widen(self, beams: int) -> None:
        """Each row `beams` times."""
        self.cache.batch_repeat_interleave(beams)
        self._encoder(torch.arange(self.rows, device=self.encoder_RTD.device).repeat_interleave(beams))

    def reorder(self, rows_R: Tensor) -> None:
        """Row i goes on from row `rows_R[i]` of the same recording: only what was written is moved."""
        self.cache.self_attention_cache.batch_select_indices(rows_R)

    def keep(self, rows_R: Tensor) -> None:
        """Only `rows_R` go on."""
        self.cache.batch_select_indices(rows_R)
        self._encoder(rows_R)

    def _encoder(self, rows_R: Tensor) -> None:
        self.encoder_RTD = self.encoder_RTD[rows_R]
        if self.mask_RT is not None:
            self.mask_RT = self.mask_RT[rows_R]


@torch.no_grad()
def search(state: SearchState, prompt: list[int], how: Search) -> list[list[Written]]:
    """The best sequences after `prompt` for each recording of `state`, best first (`how.n_best` of them at most)."""
    device = state.encoder_RTD.device
    tokens_BN = torch.tensor([prompt] * state.rows, device=device)
    first_BV = _without(_without(state.step(tokens_BN), how.never), how.never_first)
    return _greedy(state, first_BV, how) if how.beams == 1 else _beams(state, first_BV, how)


def _without(log_RV: Tensor, tokens: tuple[int, ...]) -> Tensor:
    if tokens:
        log_RV.index_fill_(1, _numbers(tokens, log_RV.device), -torch.inf)
    return log_RV


@lru_cache(maxsize=8)
def _numbers(tokens: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(tokens, device=device)


def _greedy(state: SearchState, log_RV: Tensor, how: Search) -> list[list[Written]]:
    tokens: list[list[int]] = [[] for _ in how.limits]
    logs: list[list[float]] = [[] for _ in how.limits]
    ends = [0.0] * len(how.limits)
    rows = list(range(len(how.limits)))
    while True:
        best_R = log_RV.max(dim=-1)
        going = []
        for place, (row, token, log) in enumerate(
            zip(rows, best_R.indices.tolist(), best_R.values.tolist(), strict=True)
        ):
            if token == how.end:
                ends[row] = log
                continue
            tokens[row].append(token)
            logs[row].append(log)
            if len(tokens[row]) < how.limits[row]:
                going.append(place)
        if not going:
            break
        if len(going) < len(rows):
            state.keep(torch.tensor(going, device=log_RV.device))
            rows = [rows[place] for place in going]
        next_RN = torch.tensor([[tokens[row][-1]] for row in rows], device=log_RV.device)
        log_RV = _without(state.step(next_RN), how.never)
    return [
        [_written(tuple(t), tuple(g), sum(g) + e, how, ended=len(t) < limit)]
        for t, g, e, limit in zip(tokens, logs, ends, how.limits, strict=True)
    ]


def _written(tokens: tuple[int, ...], logs: tuple[float, ...], total: float, how: Search, *, ended: bool) -> Written:
    return Written(tokens, logs, how.normalised(total, len(tokens) + ended))


@dataclass(slots=True)
class _Beam:
    tokens: tuple[int, ...] = ()
    logs: tuple[float, ...] = ()
    total: float = 0.0


@dataclass(slots=True)
class _Recording:
    """The open beams of a recording and what is finished."""

    limit: int
    open: list[_Beam] = field(default_factory=list)
    finished: list[Written] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    """The beam that each open beam goes on from."""

    def take(self, ranked: list[tuple[float, int, int, float]], how: Search) -> bool:
        """One step of `ranked` continuations (total, beam, token, log-probability); False when done."""
        length = len(self.open[0].tokens) + 1
        grown: list[_Beam] = []
        sources: list[int] = []
        for rank, (total, beam, token, log) in enumerate(ranked):
            before = self.open[beam]
            ended = token == how.end
            if ended or length >= self.limit:
                if rank < how.beams:
                    tokens = before.tokens if ended else (*before.tokens, token)
                    logs = before.logs if ended else (*before.logs, log)
                    self.finished.append(_written(tokens, logs, total, how, ended=ended))
            elif len(grown) < how.beams:
                grown.append(_Beam((*before.tokens, token), (*before.logs, log), total))
                sources.append(beam)
        self.finished = sorted(self.finished, key=lambda written: -written.score)[: how.beams]
        if length >= self.limit or not grown or (how.early and len(self.finished) == how.beams):
            return False
        while len(grown) < how.beams:  # a vocabulary of less than 2 x beams tokens
            grown.append(_Beam(grown[0].tokens, grown[0].logs, _CLOSED))
            sources.append(sources[0])
        self.open, self.sources = grown, sources
        if len(self.finished) < how.beams:
            return True
        return how.normalised(self.open[0].total, length) > self.finished[-1].score


def _beams(state: SearchState, log_BV: Tensor, how: Search) -> list[list[Written]]:
    beams, tokens = how.beams, log_BV.shape[1]
    recordings = [_Recording(limit, [_Beam() for _ in range(beams)]) for limit in how.limits]
    state.widen(beams)
    log_RV = log_BV.repeat_interleave(beams, dim=0)
    totals_R = torch.full((len(log_RV),), _CLOSED, device=log_RV.device)
    totals_R[::beams] = 0.0
    going = recordings
    while True:
        total_RV = log_RV + totals_R[:, None]
        flat_BX = total_RV.view(len(going), beams * tokens)
        best = flat_BX.topk(min(2 * beams, beams * tokens), dim=-1)
        picked_BX = log_RV.view(len(going), beams * tokens).gather(1, best.indices)
        still, rows = [], []
        for place, recording in enumerate(going):
            lists = (best.values[place].tolist(), best.indices[place].tolist(), picked_BX[place].tolist())
            ranked = [(v, i // tokens, i % tokens, g) for v, i, g in zip(*lists, strict=True) if v > -torch.inf]
            if recording.take(ranked, how):
                still.append(place)
                rows += [place * beams + source for source in recording.sources]
        if not still:
            break
        rows_R = torch.tensor(rows, device=log_RV.device)
        if len(still) < len(going):
            state.keep(rows_R)
            going = [going[place] for place in still]
        else:
            state.reorder(rows_R)
        open_beams = [beam for recording in going for beam in recording.open]
        totals_R = torch.tensor([beam.total for beam in open_beams], device=log_RV.device)
        next_RN = torch.tensor([[beam.tokens[-1]] for beam in open_beams], device=log_RV.device)
        log_RV = _without(state.step(next_RN), how.never)
    return [recording.finished[: how.n_best] for recording in recordings]
