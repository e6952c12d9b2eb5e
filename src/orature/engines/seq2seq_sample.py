"""Drawing texts from an attention decoder, each from a seed of its own, so that no neighbour changes what is drawn.

Ancestral sampling with a temperature, among the `top_k` best tokens where that is asked for (Fan, Lewis, Dauphin 2018,
section 5.1). Each draw of each recording has its own generator; a token is where a uniform number falls in the sum of
probabilities over the vocabulary.

Shapes: R rows (recordings times draws), V tokens.

Example::

    drawn = sample(state, [2, 128022], Sampling(end=2, limits=[40], seeds=[7], draws=3, temperature=0.8))[0]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from orature.engines.network import Written
from orature.engines.seq2seq_search import DecoderState


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw: `limits` holds the most tokens for each recording (the end token counted), `seeds` its seed."""

    end: int
    limits: list[int]
    seeds: list[int]
    draws: int = 1
    temperature: float = 1.0
    top_k: int = 0
    """0: all tokens."""
    length_penalty: float = 1.0
    counted: int = 0
    """How many tokens of the prompt the length penalty counts."""


@torch.no_grad()
def sample(state: DecoderState, prompt: list[int], how: Sampling) -> list[list[Written]]:
    """`how.draws` sequences after `prompt` for each recording of `state`, as drawn: a text can come up twice.

    Log-probabilities and scores are the model's own, whatever the temperature.
    """
    device = state.encoder_RTD.device
    log_RV = state.step(torch.tensor([prompt] * state.rows, device=device)).repeat_interleave(how.draws, dim=0)
    state.widen(how.draws)
    count = len(how.limits) * how.draws
    draws = [np.random.default_rng([seed % 2**64, n]) for seed in how.seeds for n in range(how.draws)]
    limits = [limit for limit in how.limits for _ in range(how.draws)]
    tokens: list[list[int]] = [[] for _ in range(count)]
    logs: list[list[float]] = [[] for _ in range(count)]
    ends = [0.0] * count
    rows = list(range(count))
    while True:
        uniform_R = torch.tensor([draws[row].random() for row in rows], device=device, dtype=torch.float64)
        drawn_R = _drawn(log_RV, uniform_R, how)
        picked_R = log_RV.gather(1, drawn_R[:, None])[:, 0]
        going = []
        for place, (row, token, log) in enumerate(zip(rows, drawn_R.tolist(), picked_R.tolist(), strict=True)):
            if token == how.end:
                ends[row] = log
                continue
            tokens[row].append(token)
            logs[row].append(log)
            if len(tokens[row]) < limits[row]:
                going.append(place)
        if not going:
            break
        if len(going) < len(rows):
            state.keep(torch.tensor(going, device=device))
            rows = [rows[place] for place in going]
        log_RV = state.step(torch.tensor([[tokens[row][-1]] for row in rows], device=device))
    written = []
    for row in range(count):
        length = len(tokens[row]) + (len(tokens[row]) < limits[row]) + how.counted
        score = (sum(logs[row]) + ends[row]) / max(1, length) ** how.length_penalty
        written.append(Written(tuple(tokens[row]), tuple(logs[row]), score))
    return [written[first : first + how.draws] for first in range(0, count, how.draws)]


def _drawn(log_RV: Tensor, uniform_R: Tensor, how: Sampling) -> Tensor:
    """One token a row."""
    kept = log_RV.topk(min(how.top_k, log_RV.shape[1]), dim=-1) if how.top_k else None
    log_RK = log_RV if kept is None else kept.values
    sums_RK = (log_RK.double() / how.temperature).softmax(dim=-1).cumsum(dim=-1)
    place_R1 = torch.searchsorted(sums_RK, (uniform_R * sums_RK[:, -1])[:, None], right=True)
    place_R1 = place_R1.clamp(max=sums_RK.shape[1] - 1)
    return (place_R1 if kept is None else kept.indices.gather(1, place_R1))[:, 0]
