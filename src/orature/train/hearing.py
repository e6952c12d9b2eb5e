"""What a model hears in speech without a transcript, while it is being trained: labels, and what they look like.

Labels come without dropout and augmentation, by best path or greedy search, without a language model (slimIPL,
arXiv 2010.11524). Audio may be cut into windows for labelling; the logits of a recording are then joined and
decoded once (Lugosch et al. 2022, arXiv 2111.00161).

Example::

    heard = Hearer(learner).heard(batch, window_s=10.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from orature.core.types import RATE_HZ
from orature.engines.ctc_decode import collapse
from orature.engines.network import CtcNetwork
from orature.train.ctc import CtcLearner
from orature.train.learner import Learner
from orature.train.loader import Batch

_LEAST_S = 1.0
_DROPOUTS = ("dropout", "layerdrop", "layer_drop", "attention_dropout", "activation_dropout")
"""Rates that layers keep as numbers (a checkpoint's config among them)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A label; `blanks` of `steps` on the best path (0 of 0 where the model has no blanks)."""

    text: str
    blanks: int = 0
    steps: int = 0


class Hearer:
    """Labels by a learner's network, or by another one of the same shape in its place."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    @torch.no_grad()
    def heard(self, batch: Batch, *, window_s: float = 0.0, temperature: float = 0.0, seed: int = 0) -> list[Heard]:
        """A label an utterance, in order. `window_s` above 0 cuts CTC's audio into windows of so many seconds."""
        module = self.learner.module
        was_training = module.training
        module.eval()
        try:
            if isinstance(self.learner, CtcLearner):
                return self._by_ctc(self.learner, batch, window_s, temperature, seed)
            texts = self.learner.heard(batch)  # type: ignore[attr-defined]
            return [Heard(text) for text in texts]
        finally:
            module.train(was_training)

    def _by_ctc(self, learner: CtcLearner, batch: Batch, window_s: float, temperature: float, seed: int) -> list[Heard]:
        blank, found = learner.vocabulary.blank, []
        random = torch.Generator().manual_seed(seed)
        for logits_TV in _logits(learner.network, batch, window_s):
            if temperature > 0:
                shares_TV = (logits_TV.float() / temperature).softmax(dim=-1)
                path_T = torch.multinomial(shares_TV, 1, generator=random)[:, 0].numpy()
            else:
                path_T = logits_TV.argmax(dim=-1).numpy()
            text = learner.vocabulary.decode(collapse(path_T, blank))
            found.append(Heard(text, int((path_T == blank).sum()), len(path_T)))
        return found


def _logits(network: CtcNetwork, batch: Batch, window_s: float) -> Iterator[Tensor]:
    """(T, V) on the CPU for each utterance; windows of all utterances are computed together."""
    module = cast(nn.Module, network)
    device = next(module.parameters()).device
    if window_s <= 0:
        logits_BTV, steps_B = network(batch.samples_BS.to(device), batch.lengths_B.to(device))
        yield from (row_TV[:steps].cpu() for row_TV, steps in zip(logits_BTV, steps_B.tolist(), strict=True))
        return
    spans = [windows(int(length), window_s) for length in batch.lengths_B.tolist()]
    longest = max(end - start for each in spans for start, end in each)
    pieces = [(batch.samples_BS[row, start:end], end - start) for row, each in enumerate(spans) for start, end in each]
    padded = torch.zeros(len(pieces), longest)
    for row_S, (samples_S, length) in zip(padded, pieces, strict=True):
        row_S[:length] = samples_S
    lengths = torch.tensor([length for _, length in pieces])
    logits_BTV, steps_B = network(padded.to(device), lengths.to(device))
    first = 0
    for each in spans:
        rows = range(first, first + len(each))
        first += len(each)
        yield torch.cat([logits_BTV[row, : int(steps_B[row])].cpu() for row in rows])


def windows(samples: int, window_s: float) -> list[tuple[int, int]]:
    """Spans of `window_s` seconds that cover a recording; a rest of under a second joins the one before it."""
    width = int(window_s * RATE_HZ)
    count = max(1, math.ceil((samples - _LEAST_S * RATE_HZ) / width))
    return [(place * width, samples if place == count - 1 else (place + 1) * width) for place in range(count)]


@contextmanager
def with_weights(module: nn.Module, weights: dict[str, Tensor] | None) -> Iterator[None]:
    """Inside, `module` has these weights (None: its own); afterwards its own again, bit for bit."""
    if weights is None:
        yield
        return
    own = module.state_dict()
    kept = {name: own[name].clone() for name in weights}
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                own[name].copy_(value)


def lower_dropout(module: nn.Module, most: float) -> int:
    """Dropout and LayerDrop of all layers to `most` where they are higher; how many were changed."""
    changed = 0
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p > most:
            part.p, changed = most, changed + 1
        config = getattr(part, "config", None)
        for owner in (part, None if isinstance(config, BaseModel) else config):
            for name in _DROPOUTS:
                value = getattr(owner, name, None)
                if isinstance(value, float) and value > most:
                    setattr(owner, name, most)
                    changed += 1
    return changed


def seed_of(*numbers: int) -> int:
    """A seed from numbers, for draws that must not depend on what was drawn before."""
    return int(np.random.default_rng(numbers).integers(2**62))
