"""Language identification beside CTC, against values worked out by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from orature.train.lid import OUTSIDE, LidHead, ctc_lid_losses, numbers
from orature.train.loader import Batch


def batch_of(targets: list[list[int]], languages: list[str]) -> Batch:
    """A batch of which the losses see only targets and languages."""
    given: dict[str, Any] = {
        "items": [],
        "samples_BS": torch.zeros(len(targets), 1),
        "lengths_B": torch.ones(len(targets), dtype=torch.long),
        "targets": torch.tensor([token for one in targets for token in one], dtype=torch.long),
        "target_lengths_B": torch.tensor([len(one) for one in targets]),
        "languages": languages,
    }
    return Batch(**{name: value for name, value in given.items() if name in {f.name for f in fields(Batch)}})


def ctc_by_hand(probabilities: list[list[float]], target: list[int]) -> float:
    """-log of the summed probability of every path that writes `target` (blank is 0)."""
    total = 0.0
    for path in itertools.product(range(len(probabilities[0])), repeat=len(probabilities)):
        merged = [token for token, _ in itertools.groupby(path) if token]
        if merged == target:
            total += math.prod(row[token] for row, token in zip(probabilities, path, strict=True))
    return -math.log(total)


FIRST = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.6, 0.2, 0.2]]
SECOND = [[0.2, 0.2, 0.6], [0.7, 0.1, 0.2]]
TARGETS = [[1, 2], [2]]
CTC = [ctc_by_hand(FIRST, TARGETS[0]), ctc_by_hand(SECOND, TARGETS[1])]
HIDDEN = [[[1.0, 1.0], [3.0, 0.0], [2.0, 2.0]], [[0.0, 4.0], [0.0, 2.0], [9.0, 9.0]]]
"""The last step of the second utterance is padding."""


def head() -> LidHead:
    lid = LidHead(2, ["qu", "sw"])
    with torch.no_grad():
        lid.linear.weight.copy_(torch.eye(2))
        lid.linear.bias.copy_(torch.tensor([0.5, 0.0]))
    return lid


def lid_by_hand() -> list[float]:
    """Cross-entropy: outputs averaged over valid steps are (2.5, 1) for qu and (0.5, 3) for sw."""
    return [-(2.5 - math.log(math.exp(2.5) + math.e)), -(3.0 - math.log(math.exp(0.5) + math.exp(3.0)))]


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    padded = [*SECOND, [0.1, 0.8, 0.1]]
    steps = torch.tensor([3, 2])
    return torch.tensor([FIRST, padded]).log(), steps, head()(torch.tensor(HIDDEN), steps)


KNOWN: dict[str, Any] = {"blank": 0, "languages": ("qu", "sw")}


def test_outputs_are_averaged_over_valid_steps_before_the_softmax() -> None:
    log_BG = head()(torch.tensor(HIDDEN), torch.tensor([3, 2]))
    assert log_BG[0, 0].item() == pytest.approx(-lid_by_hand()[0])
    assert log_BG[1, 1].item() == pytest.approx(-lid_by_hand()[1])
    assert log_BG.exp().sum(dim=1).tolist() == pytest.approx([1.0, 1.0])
    after = torch.tensor(HIDDEN)[0].add(torch.tensor([0.5, 0.0])).log_softmax(-1).mean(0)
    assert abs(after[0].item() - log_BG[0, 0].item()) > 0.01  # the other order is another loss


def test_loss_divided_by_labels() -> None:
    logits, steps, lid = inputs()
    losses = ctc_lid_losses(logits, steps, lid, batch_of(TARGETS, ["qu", "sw"]), lid_weight=0.5, **KNOWN)
    first, second = lid_by_hand()
    assert losses.weight == 3.0
    assert losses.total.item() == pytest.approx(sum(CTC) + 0.5 * (2 * first + 1 * second), rel=1e-5)


def test_loss_divided_by_the_root_of_the_length() -> None:
    logits, steps, lid = inputs()
    losses = ctc_lid_losses(logits, steps, lid, batch_of(TARGETS, ["qu", "sw"]), loss_scale="sqrt-length", **KNOWN)
    expected = CTC[0] / math.sqrt(2) + CTC[1] + sum(lid_by_hand())
    assert losses.weight == 2.0 and losses.total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", ["labels", "sqrt-length"])
def test_the_split_into_micro_batches_changes_nothing(scale: Any) -> None:
    logits, steps, lid = inputs()
    options: dict[str, Any] = {**KNOWN, "loss_scale": scale}
    whole = ctc_lid_losses(logits, steps, lid, batch_of(TARGETS, ["qu", "sw"]), **options)
    first = ctc_lid_losses(logits[:1], steps[:1], lid[:1], batch_of(TARGETS[:1], ["qu"]), **options)
    second = ctc_lid_losses(logits[1:], steps[1:], lid[1:], batch_of(TARGETS[1:], ["sw"]), **options)
    assert first.weight + second.weight == whole.weight
    assert (first.total + second.total).item() == pytest.approx(whole.total.item(), rel=1e-5)


def test_figures_count_valid_steps_and_known_languages() -> None:
    logits, steps, lid = inputs()
    figures = ctc_lid_losses(logits, steps, lid, batch_of(TARGETS, ["sw", "xx"]), **KNOWN).figures
    assert (figures["blank_share"], figures["blank_share_of"]) == (3.0, 5.0)
    assert (figures["lid_accuracy"], figures["lid_accuracy_of"]) == (0.0, 1.0)
    assert figures["ctc"] == pytest.approx(sum(CTC), rel=1e-5) and figures["ctc_of"] == 3.0
    assert figures["lid"] == pytest.approx(-(1.0 - math.log(math.exp(2.5) + math.e)), rel=1e-5)
    assert numbers(["sw", "xx"], ["qu", "sw"]).tolist() == [1, OUTSIDE]


def test_without_head_or_weight_there_is_only_ctc() -> None:
    logits, steps, lid = inputs()
    for given, weight in ((None, 1.0), (lid, 0.0)):
        losses = ctc_lid_losses(logits, steps, given, batch_of(TARGETS, ["qu", "sw"]), lid_weight=weight, **KNOWN)
        assert losses.total.item() == pytest.approx(sum(CTC), rel=1e-5) and "lid" not in losses.figures


def test_the_head_learns_the_language_and_teaches_the_encoder() -> None:
    torch.manual_seed(1)
    lid, hidden = LidHead(4, ["qu", "sw"]), torch.randn(6, 5, 4)
    hidden[::2] += 1.0
    hidden.requires_grad_()
    languages, steps = ["qu", "sw"] * 3, torch.full((6,), 5)
    batch, logits = batch_of([[1]] * 6, languages), torch.zeros(6, 5, 3)
    optimiser = torch.optim.Adam(lid.parameters(), lr=0.1)
    for _ in range(30):
        losses = ctc_lid_losses(logits, steps, lid(hidden, steps), batch, **KNOWN)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
    assert losses.figures["lid_accuracy"] == losses.figures["lid_accuracy_of"] == 6.0
    assert hidden.grad is not None and float(hidden.grad.abs().sum()) > 0
