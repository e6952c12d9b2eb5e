"""Language identification beside CTC: a head for training only, and both losses together.

After Lugosch et al. 2022, "Pseudo-labeling for massively multilingual speech recognition", sections 2 and 4: a linear
layer to the languages, its outputs averaged over time, then a log-softmax, and the cross-entropy to the language of the
utterance weighted by gamma (1 was the best of 0, 0.1, 1 and 10). Outputs are averaged before the softmax, not after it.

Shapes: B utterances, T steps, D hidden width, V tokens, G languages.

Example::

    head = LidHead(network.width, ["qu", "sw"])
    hidden_BTD, steps_B = network.encode(samples_BS, lengths_B)
    lid_BG = head(hidden_BTD, steps_B)
    losses = ctc_lid_losses(network.head(hidden_BTD), steps_B, lid_BG, batch, blank=0, languages=head.languages)
    (losses.total / losses.weight).backward()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.train.learner import Losses
from orature.train.loader import Batch

LossScale = Literal["labels", "sqrt-length"]
OUTSIDE = -100
"""Stands for a language that the head does not know; it adds no loss."""


class LidHead(nn.Module):
    """Hidden states to log-probabilities of `languages` (BCP-47 tags, in the order of the outputs)."""

    def __init__(self, width: int, languages: Sequence[str]) -> None:
        super().__init__()
        self.languages = tuple(languages)
        self.linear = nn.Linear(width, len(self.languages))

    def forward(self, hidden_BTD: Tensor, steps_B: Tensor) -> Tensor:
        """Log-probabilities (B, G); steps past an utterance's end do not count."""
        valid_BT1 = (torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device) < steps_B[:, None])[..., None]
        scores_BTG = self.linear(hidden_BTD).float().masked_fill(~valid_BT1, 0.0)
        mean_BG: Tensor = scores_BTG.sum(dim=1) / steps_B.clamp(min=1)[:, None]
        return mean_BG.log_softmax(dim=-1)


def ctc_lid_losses(
    logits_BTV: Tensor,
    steps_B: Tensor,
    lid_BG: Tensor | None,
    batch: Batch,
    *,
    blank: int,
    languages: Sequence[str] = (),
    lid_weight: float = 1.0,
    loss_scale: LossScale = "labels",
) -> Losses:
    """CTC, and language identification where `lid_BG` (of a `LidHead` of `languages`) is given and has a weight.

    "sqrt-length" (the source): each utterance's CTC loss is divided by the square root of its number of labels, its
    language loss added with `lid_weight`, and the mean over utterances is minimised. "labels": both are summed, with
    the language loss weighted by the utterance's number of labels too, and divided by the number of labels of all. In
    both the split of an update into micro-batches and processes changes nothing.

    Figures: `ctc`, `blank_share` of the steps of the best path, and `lid` and `lid_accuracy` of the utterances whose
    language the head knows, each with what it is out of under the name + "_of".
    """
    ctc_B = ctc_losses(logits_BTV, steps_B, batch, blank)
    labels_B = batch.target_lengths_B.to(ctc_B.device).float()
    by_labels = loss_scale == "labels"
    total = (ctc_B if by_labels else ctc_B / labels_B.clamp(min=1).sqrt()).sum()
    weight = float(max(1, int(batch.target_lengths_B.sum()))) if by_labels else float(len(ctc_B))
    figures = {"ctc": float(total.detach()), "ctc_of": weight} | _blanks(logits_BTV, steps_B, blank)
    if lid_BG is not None and lid_weight > 0.0:
        wanted_B = numbers(batch.languages, languages).to(lid_BG.device)
        cross_B = F.nll_loss(lid_BG, wanted_B, ignore_index=OUTSIDE, reduction="none")
        total = total + lid_weight * (cross_B * labels_B if by_labels else cross_B).sum()
        figures |= _lid_figures(cross_B.detach(), lid_BG, wanted_B)
    return Losses(total=total, weight=weight, figures=figures)


def numbers(spoken: Sequence[str], languages: Sequence[str]) -> Tensor:
    """The place of each language of `spoken` (B,) in `languages`, `OUTSIDE` where it has none."""
    place = {language: number for number, language in enumerate(languages)}
    return torch.tensor([place.get(language, OUTSIDE) for language in spoken])


def ctc_losses(logits_BTV: Tensor, steps_B: Tensor, batch: Batch, blank: int) -> Tensor:
    """CTC loss of each utterance (B,) (Graves et al. 2006, section 4); 0 where the labels do not fit the steps."""
    log_TBV = logits_BTV.float().log_softmax(dim=-1).transpose(0, 1)
    device = log_TBV.device
    losses: Tensor = F.ctc_loss(
        log_TBV,
        batch.targets.to(device),
        steps_B,
        batch.target_lengths_B.to(device),
        blank=blank,
        reduction="none",
        zero_infinity=True,
    )
    return losses


@torch.no_grad()
def _blanks(logits_BTV: Tensor, steps_B: Tensor, blank: int) -> dict[str, float]:
    valid_BT = torch.arange(logits_BTV.shape[1], device=logits_BTV.device) < steps_B[:, None]
    blanks = ((logits_BTV.argmax(dim=-1) == blank) & valid_BT).sum()
    return {"blank_share": float(blanks), "blank_share_of": float(valid_BT.sum())}


def _lid_figures(cross_B: Tensor, lid_BG: Tensor, wanted_B: Tensor) -> dict[str, float]:
    known = float((wanted_B != OUTSIDE).sum())
    return {
        "lid": float(cross_B.sum()),
        "lid_of": known,
        "lid_accuracy": float((lid_BG.argmax(dim=-1) == wanted_B).sum()),
        "lid_accuracy_of": known,
    }
