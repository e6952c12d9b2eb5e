"""Pairs as tokens and batches of them: by tokens, neighbours in length together, new every epoch.

A plan of an epoch is a pure function of (lengths, seed, epoch), so that a resumed run needs two counters alone.

Shapes: B pairs, S source tokens, T target tokens.

Example::

    loader = TextLoader(examples, text, config)
    for batch in loader.epoch(0): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orature.train.batches import Item, cut, plan_epoch
from orature.train.text.config import TranslatorConfig
from orature.train.text.vocabulary import TranslatorText

IGNORED = -100


@dataclass(frozen=True, slots=True)
class TextExample:
    """A pair and its tokens, ends included."""

    id: str
    source: str
    target: str
    source_tokens: tuple[int, ...]
    target_tokens: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Of the longer side."""
        return max(len(self.source_tokens), len(self.target_tokens))


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Padded sources with their mask, and labels that pad with -100."""

    indices: tuple[int, ...]
    source_BS: Tensor
    mask_BS: Tensor
    labels_BT: Tensor

    @property
    def tokens(self) -> int:
        """Of both languages, without padding."""
        return int(self.mask_BS.sum()) + int((self.labels_BT != IGNORED).sum())

    def to(self, device: torch.device) -> TextBatch:
        return TextBatch(self.indices, self.source_BS.to(device), self.mask_BS.to(device), self.labels_BT.to(device))


def example_of(id: str, source: str, target: str, text: TranslatorText) -> TextExample:
    """A pair with its tokens."""
    return TextExample(id, source, target, tuple(text.source.tokens(source)), tuple(text.target.tokens(target)))


class TextLoader:
    """Batches of `examples`."""

    def __init__(self, examples: Sequence[TextExample], text: TranslatorText, config: TranslatorConfig) -> None:
        self.examples = list(examples)
        self._pad, self._config = text.source.pad, config
        self._lengths = [float(example.tokens) for example in self.examples]

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[TextBatch]:
        """The batches of an epoch from number `skip` on, in random order."""
        plan = plan_epoch(
            self._lengths, seed=self._config.seed, epoch=epoch, batch_seconds=float(self._config.batch_tokens)
        )
        for items in plan[skip:]:
            yield self.batch([item.index for item in items])

    def plain(self, batch_tokens: int) -> Iterator[TextBatch]:
        """Every pair once, from short to long."""
        order = sorted(range(len(self.examples)), key=lambda index: (self._lengths[index], index))
        for items in cut([Item(index, 1.0, None, self._lengths[index]) for index in order], float(batch_tokens)):
            yield self.batch([item.index for item in items])

    def batch(self, indices: Sequence[int]) -> TextBatch:
        """The pairs of these numbers, padded."""
        rows = [self.examples[index] for index in indices]
        source_BS = _padded([row.source_tokens for row in rows], self._pad)
        lengths_B = torch.tensor([len(row.source_tokens) for row in rows])
        mask_BS = (torch.arange(source_BS.shape[1])[None] < lengths_B[:, None]).long()
        return TextBatch(tuple(indices), source_BS, mask_BS, _padded([row.target_tokens for row in rows], IGNORED))


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])
