"""Joint training of CTC and attention on one encoder (Watanabe et al. 2017, section III-B).

The loss is w * CTC + (1 - w) * attention, both summed over the batch and divided by its text tokens with their ends.
Recognition wants a w of some 0.3; a translation does not follow the sound in order, so its w is low or 0. Texts are
looked for with the same w (section III-C), in training and later: a decoder that has not yet learned where to listen
writes without end, and CTC, which learns that first, holds it back.

Example::

    learner = JointLearner(network, tokens, ctc_weight=0.3, label_smoothing=0.1)
    losses = learner.loss(batch)
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from orature.core.errors import ConfigError
from orature.engines.decoder_tokens import DecoderTokens
from orature.engines.encoder_decoder import EncoderDecoder
from orature.engines.network import Spans
from orature.train.learner import Losses
from orature.train.lid import ctc_losses
from orature.train.loader import Batch
from orature.train.seq2seq import Seq2SeqLearner

CTC_WEIGHT = 0.3
"""Of recognition, where nothing else is asked for."""
MOST_IN_SEARCH = 0.99


class JointTask(nn.Module):
    """What is trained: the network, whose two heads are computed from one pass through the encoder."""

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor,
        labels_BL: Tensor,
        spans: Spans | None = None,
        warps_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of attention (B, L, V) and of CTC (B, T, V), and the encoder's steps (B,)."""
        return self.network.both(samples_BS, lengths_B, labels_BL, spans, warps_B)


class JointLearner(Seq2SeqLearner):
    """A `Learner` of both heads; with a `ctc_weight` of 0 that of CTC learns nothing, with 1 the decoder nothing."""

    def __init__(
        self,
        network: EncoderDecoder,
        vocabulary: DecoderTokens,
        *,
        ctc_weight: float = CTC_WEIGHT,
        label_smoothing: float = 0.1,
        language: str | None = None,
    ) -> None:
        super().__init__(network, vocabulary, label_smoothing=label_smoothing, language=language)
        self.module = JointTask(network)
        self.ctc_weight, self.blank = ctc_weight, vocabulary.blank
        network.searches_with(min(ctc_weight, MOST_IN_SEARCH))

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """Both losses of a batch, weighted; the weight is that of attention alone: tokens of texts and their ends."""
        device = next(self.module.parameters()).device
        labels_BL, learned_BL = self.labels(batch)
        spans = None if batch.spans is None else (batch.spans[0].to(device), batch.spans[1].to(device))
        warps_B = None if batch.warps_B is None else batch.warps_B.to(device)
        logits_BLV, ctc_BTV, steps_B = cast(
            tuple[Tensor, Tensor, Tensor],
            (self.module if module is None else module)(
                batch.samples_BS.to(device), batch.lengths_B.to(device), labels_BL.to(device), spans, warps_B
            ),
        )
        written = self.written(logits_BLV, learned_BL.to(device))
        if self.ctc_weight == 0:
            return written
        ctc_B = ctc_losses(ctc_BTV, steps_B, batch, self.blank)
        labels = float(max(1, int(batch.target_lengths_B.sum())))
        figures = written.figures | {"ctc": float(ctc_B.detach().sum()), "ctc_of": labels}
        total = (1 - self.ctc_weight) * written.total + self.ctc_weight * ctc_B.sum()
        return replace(written, total=total, figures=figures)


def refuse_ctc_weight(family: str, weight: float | None) -> None:
    """ConfigError where a CTC loss is asked for and the network has no head for it."""
    if weight:
        raise ConfigError(
            f"{family} models have no CTC head beside their decoder, so ctc_weight={weight:g} cannot be trained",
            next_step="leave ctc_weight out, or take Orature's own: --set network=encoder-decoder",
        )
