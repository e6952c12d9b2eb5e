"""Training and scoring of CTC networks, with or without a language-identification head.

The losses are those of `orature.train.lid`; the language head is only there in training.

Example::

    learner = CtcLearner(network, vocabulary, config, languages=("que-EC", "yor"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orature.engines.ctc_decode import collapse
from orature.engines.network import CtcNetwork, Spans
from orature.engines.phone_tokens import PhoneTokens
from orature.engines.vocabulary import CtcVocabulary
from orature.train.config import TrainConfig
from orature.train.dev import Tally
from orature.train.feature_loss import FeatureLoss
from orature.train.learner import Losses
from orature.train.lid import LidHead, ctc_lid_losses, ctc_losses
from orature.train.loader import Batch, Loader


class CtcTask(nn.Module):
    """What is trained: the network and, for several languages, the language head."""

    def __init__(self, network: CtcNetwork, languages: Sequence[str] = ()) -> None:
        super().__init__()
        self.network = network
        self.lid = LidHead(network.width, languages) if languages else None

    def forward(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits (B, T, V), steps (B,), and language log-probabilities (B, G) where there is a head."""
        hidden_BTD, steps_B = self.network.encode(samples_BS, lengths_B, warps_B, spans)
        lid_BG = None if self.lid is None else self.lid(hidden_BTD, steps_B)
        return self.network.head(hidden_BTD), steps_B, lid_BG


class CtcLearner:
    """A `Learner` for CTC; `languages` names the classes of the language head, in order (empty: no head).

    With phones as tokens the CER counts phones, and `feature_weight` weighs the loss of their features.
    """

    def __init__(
        self,
        network: CtcNetwork,
        vocabulary: CtcVocabulary,
        config: TrainConfig,
        languages: Sequence[str] = (),
        feature_weight: float = 0.0,
    ) -> None:
        self.languages = tuple(languages) if config.lid_weight > 0 and len(languages) > 1 else ()
        self.task = CtcTask(network, self.languages)
        self.module: nn.Module = self.task
        self.network, self.vocabulary, self.config = network, vocabulary, config
        self.units: Callable[[str], Sequence[str]] = str
        self.features: FeatureLoss | None = None
        self.feature_weight = feature_weight
        if isinstance(vocabulary, PhoneTokens):
            self.units = vocabulary.units
            self.features = FeatureLoss(vocabulary) if feature_weight > 0 else None

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """CTC (and language) loss of a batch; `module` is the wrapped task where there are several processes."""
        device = next(self.module.parameters()).device
        logits_BTV, steps_B, lid_BG = (self.module if module is None else module)(*arguments(batch, device))
        losses = ctc_lid_losses(
            logits_BTV,
            steps_B,
            lid_BG,
            batch,
            blank=self.vocabulary.blank,
            languages=self.languages,
            lid_weight=self.config.lid_weight,
            loss_scale=self.config.loss_scale,
        )
        if self.features is None:
            return losses
        extra, count = self.features(logits_BTV, steps_B, batch)
        figures = losses.figures | {"features": float(extra.detach()), "features_of": count}
        return Losses(losses.total + self.feature_weight * extra, losses.weight, figures)

    @torch.no_grad()
    def assess(self, loader: Loader, *, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Tally:
        """Sums over the utterances of `loader` by best path; `part` (i, n) takes every n-th batch from the i-th on."""
        was_training = self.module.training
        self.module.eval()
        device = next(self.module.parameters()).device
        tally = Tally()
        for batch in loader.plain(batch_seconds, part):
            logits_BTV, steps_B = self.network(batch.samples_BS.to(device), batch.lengths_B.to(device))
            targets = torch.tensor([loader.examples[item.index].role == "target" for item in batch.items])
            losses_B = ctc_losses(logits_BTV, steps_B, batch, self.vocabulary.blank).cpu()
            tally.losses += float(losses_B[targets].sum())
            tally.weights += float(batch.target_lengths_B[targets].sum())
            paths_BT = logits_BTV.argmax(dim=-1).cpu().numpy()
            for item, path_T, count in zip(batch.items, paths_BT, steps_B.tolist(), strict=True):
                tokens = collapse(path_T[:count], self.vocabulary.blank)
                tally.add(loader.examples[item.index], self.vocabulary.decode(tokens), self.units)
                tally.blanks += float((path_T[:count] == self.vocabulary.blank).sum())
                tally.steps += count
        self.module.train(was_training)
        return tally


def arguments(batch: Batch, device: torch.device) -> tuple[Any, ...]:
    """Samples, lengths, warps and spans of a batch on `device`."""
    warps = None if batch.warps_B is None else batch.warps_B.to(device)
    spans = None if batch.spans is None else (batch.spans[0].to(device), batch.spans[1].to(device))
    return batch.samples_BS.to(device), batch.lengths_B.to(device), warps, spans
