"""How a translator does on dev: its loss, and BLEU and chrF of greedy translations.

Shapes: B pairs, S source tokens, T target tokens, V tokens.

Example::

    report = assess(model, loader, text)
    report.chrf, report.loss
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from orature.evaluate.translation import corpus_chrf
from orature.train.text.architecture import POSITIONS
from orature.train.text.data import IGNORED, TextBatch, TextLoader
from orature.train.text.vocabulary import TranslatorText

_BATCH_TOKENS = 4000
_LONGEST_RATIO, _LONGEST_MORE = 2.0, 10
"""A greedy translation of dev ends at so many times the tokens of its source, and so many more."""


@dataclass(frozen=True, slots=True)
class TextReport:
    """The loss in nats a token, without smoothing; chrF from 0 to 100; shares of translations that are empty."""

    loss: float
    chrf: float
    empty_share: float
    rows: int

    def selection(self, select: str) -> float:
        """The figure that chooses a checkpoint, the lower the better: 100 minus chrF, or the loss."""
        return self.loss if select == "loss" else 100.0 - self.chrf

    def row(self) -> dict[str, float]:
        """The figures for the log."""
        return {
            "dev_loss": round(self.loss, 6),
            "dev_chrf": round(self.chrf, 4),
            "dev_empty_share": round(self.empty_share, 6),
        }


def logits_of(model: Any, batch: TextBatch) -> Tensor:
    """Logits (B, T, V) for the labels of a batch, which the decoder is given one token late."""
    config = model.config
    start_B1 = torch.full_like(batch.labels_BT[:, :1], config.decoder_start_token_id)
    known_BT = batch.labels_BT.masked_fill(batch.labels_BT == IGNORED, config.pad_token_id)
    before_BT = torch.cat([start_B1, known_BT[:, :-1]], dim=1)
    found = model(input_ids=batch.source_BS, attention_mask=batch.mask_BS, decoder_input_ids=before_BT, use_cache=False)
    logits_BTV: Tensor = found.logits
    return logits_BTV


def cross_entropy(logits_BTV: Tensor, labels_BT: Tensor, smoothing: float) -> Tensor:
    """Summed over tokens, in float32; smoothed as in Szegedy et al. 2016, section 7."""
    return F.cross_entropy(
        logits_BTV.float().flatten(0, 1),
        labels_BT.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=smoothing,
    )


@torch.no_grad()
def assess(model: Any, loader: TextLoader, text: TranslatorText) -> TextReport:
    """All pairs of `loader`, in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    loss = tokens = 0.0
    said: list[str] = []
    heard: list[str] = []
    for plain in loader.plain(_BATCH_TOKENS):
        batch = plain.to(device)
        loss += float(cross_entropy(logits_of(model, batch), batch.labels_BT, 0.0))
        tokens += float((batch.labels_BT != IGNORED).sum())
        heard += greedy(model, batch, text)
        said += [loader.examples[index].target for index in batch.indices]
    empty = sum(not translation for translation in heard)
    return TextReport(loss / max(1.0, tokens), corpus_chrf(heard, said), empty / max(1, len(said)), len(said))


@torch.no_grad()
def greedy(model: Any, batch: TextBatch, text: TranslatorText) -> list[str]:
    """The most probable next token each time, up to a bound that follows from each pair's own source."""
    lengths = batch.mask_BS.sum(dim=1).tolist()
    bounds = [min(POSITIONS - 2, int(_LONGEST_RATIO * length) + _LONGEST_MORE) for length in lengths]
    found = model.generate(
        input_ids=batch.source_BS,
        attention_mask=batch.mask_BS,
        num_beams=1,
        do_sample=False,
        max_length=None,
        max_new_tokens=max(bounds) + 1,  # the last one is forced to be the end
    )
    return [text.target.text(row[1 : 1 + bound]) for row, bound in zip(found.tolist(), bounds, strict=True)]
