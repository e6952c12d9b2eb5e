"""How a model does on dev: loss, CER, WER and the share of blanks, by best path, without augmentation.

Example::

    report = assess(model, loader, characters, batch_seconds=200)
    print(report.cer)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from rapidfuzz.distance import Levenshtein
from torch import nn
from torch.nn import functional as F

from orature.engines.characters import BLANK, UNKNOWN, Characters
from orature.engines.ctc_decode import collapse
from orature.train.loader import Batch, Loader


@dataclass(frozen=True, slots=True)
class DevReport:
    """Rates are fractions of the reference; `empty_share` is the share of utterances with an empty hypothesis."""

    loss: float
    cer: float
    wer: float
    blank_share: float
    empty_share: float


def ctc_loss(logits_BTV: torch.Tensor, frames_B: torch.Tensor, batch: Batch) -> torch.Tensor:
    """CTC loss summed over the batch and divided by its number of labels (Graves et al. 2006, section 4)."""
    log_TBV = logits_BTV.float().log_softmax(dim=-1).transpose(0, 1)
    device = log_TBV.device
    total = F.ctc_loss(
        log_TBV,
        batch.targets.to(device),
        frames_B,
        batch.target_lengths_B.to(device),
        blank=BLANK,
        reduction="sum",
        zero_infinity=True,
    )
    return total / batch.target_lengths_B.sum().clamp(min=1)


@torch.no_grad()
def assess(model: nn.Module, loader: Loader, characters: Characters, *, batch_seconds: float) -> DevReport:
    """Scores `model` (put back into its mode afterwards) on all utterances of `loader`."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    losses = chars = char_errors = words = word_errors = blanks = steps = empty = utterances = 0.0
    for batch in loader.plain(batch_seconds):
        logits_BTV, frames_B = model(batch.samples_BS.to(device), batch.lengths_B.to(device))
        labels = float(batch.target_lengths_B.sum())
        losses += float(ctc_loss(logits_BTV, frames_B, batch)) * labels
        paths_BT = logits_BTV.argmax(dim=-1).cpu().numpy()
        for item, path, count in zip(batch.items, paths_BT, frames_B.tolist(), strict=True):
            tokens = collapse(path[:count])
            hypothesis = [t for t in tokens if t != UNKNOWN]
            example = loader.examples[item.index]
            heard = characters.decode(hypothesis)
            chars += len(example.text)
            char_errors += Levenshtein.distance(example.text, heard)
            said = example.text.split()
            words += len(said)
            word_errors += Levenshtein.distance(said, heard.split())
            blanks += float((path[:count] == BLANK).sum())
            steps += count
            empty += not heard
            utterances += 1
    model.train(was_training)
    return DevReport(
        loss=losses / max(chars, 1.0),
        cer=char_errors / max(chars, 1.0),
        wer=word_errors / max(words, 1.0),
        blank_share=blanks / max(steps, 1.0),
        empty_share=empty / max(utterances, 1.0),
    )
