"""Training a decoder on text alone, as a language model: what speech translation falls back on without a translator.

The decoder hears nothing: its attention to the encoder is left out, which is what a memory that is masked out wholly
comes to, and stays as it was drawn. Embeddings, self-attention, feed-forward and output layer learn. It is a learner of
the same loop as all others: a sentence is an example without a recording whose tokens count as so many seconds.

Shapes: B sentences, L labels, V tokens.

Example::

    learner = TextLearner(network, tokens, label_smoothing=0.1)
    loader = TextLoader(examples, config)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import cast

import torch
from torch import Tensor, nn

from orature.core.types import Origin
from orature.engines.decoder_tokens import DecoderTokens
from orature.engines.encoder_decoder import EncoderDecoder
from orature.train.batches import Item
from orature.train.dev import DevReport, Tally
from orature.train.learner import Losses
from orature.train.loader import Batch, Example, Loader
from orature.train.seq2seq import IGNORED, Seq2SeqLearner

SECONDS_A_TOKEN = 0.06
"""What a character counts as, so that `batch_seconds` means about as many of them as in speech."""


def text_example(place: str, text: str, tokens: Sequence[int], language: str, origin: Origin = "real") -> Example:
    """A sentence without a recording."""
    seconds = SECONDS_A_TOKEN * (len(tokens) + 1)
    return Example(place, "", 0.0, seconds, text, tuple(tokens), language=language, origin=origin)


class TextLoader(Loader):
    """Batches of sentences; nothing of them varies but their order and company."""

    def build(self, items: list[Item], epoch: int, *, augment: bool, masks: bool = False) -> Batch:
        """One batch, whose recordings are as long as the sentences count and hold nothing."""
        rows = [self.tokens(item.index) for item in items]
        return Batch(
            items=items,
            samples_BS=torch.zeros(len(items), 1),
            lengths_B=torch.ones(len(items), dtype=torch.long),
            targets=torch.tensor([token for row in rows for token in row], dtype=torch.long),
            target_lengths_B=torch.tensor([len(row) for row in rows]),
            languages=[self.examples[item.index].language for item in items],
        )


class TextTask(nn.Module):
    """What is trained: the decoder of the network; the encoder is there and idle."""

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, labels_BL: Tensor) -> Tensor:
        """Logits (B, L, V) by teacher forcing."""
        return self.network.written(labels_BL, None)


class TextLearner(Seq2SeqLearner):
    """A `Learner` of text; dev is scored by the loss a token."""

    def __init__(self, network: EncoderDecoder, vocabulary: DecoderTokens, *, label_smoothing: float = 0.1) -> None:
        super().__init__(network, vocabulary, label_smoothing=label_smoothing)
        self.module = TextTask(network)

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """Cross-entropy summed over the tokens of the sentences and their ends."""
        device = next(self.module.parameters()).device
        labels_BL, learned_BL = self.labels(batch)
        logits_BLV = cast(Tensor, (self.module if module is None else module)(labels_BL.to(device)))
        return self.written(logits_BLV, learned_BL.to(device))

    @torch.no_grad()
    def assess(self, loader: Loader, *, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Tally:
        """The loss over the sentences of `loader`, without smoothing."""
        was_training = self.module.training
        self.module.eval()
        device = next(self.module.parameters()).device
        tally = TextTally()
        for batch in loader.plain(batch_seconds, part):
            labels_BL, learned_BL = (one.to(device) for one in self.labels(batch))
            logits_BLV = self.module(labels_BL)
            tally.losses += float(self._cross_entropy(logits_BLV, learned_BL, 0.0))
            tally.weights += float((learned_BL != IGNORED).sum())
        self.module.train(was_training)
        return tally


@dataclass(frozen=True, slots=True)
class TextReport(DevReport):
    """How well the next token is predicted; there is no error rate."""

    @property
    def perplexity(self) -> float:
        """Of a token, ends of sentences among them."""
        return math.exp(min(self.loss, 100.0))

    def selection(self, select: str) -> float:
        """What chooses a checkpoint: the loss, whatever the config says."""
        return self.loss

    def row(self) -> dict[str, object]:
        """The figures for the log."""
        return {"dev_loss": round(self.loss, 6), "dev_perplexity": round(self.perplexity, 4)}

    def said(self) -> str:
        """The figure for the live line."""
        return f"dev perplexity {self.perplexity:.2f}"


class TextTally(Tally):
    """Adds up losses."""

    def report(self) -> TextReport:
        """The loss a token."""
        found = super().report()
        return TextReport(**{field.name: getattr(found, field.name) for field in fields(found)})
