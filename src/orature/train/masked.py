"""Learning from untranscribed speech: masked prediction of the codes of a random-projection quantiser (BEST-RQ).

Chiu, Qin, Zhang, Yu, Wu 2022, "Self-supervised Learning with Random-projection Quantizer for Speech Recognition"
(arXiv 2202.01855), section 3: the features of an output step, normalised and stacked, go through a random matrix to the
nearest code of a random codebook; neither is ever trained. Spans of features are replaced by noise, and the encoder
predicts the codes of what it did not hear. Beside it, after the idea of learning without forgetting (Li and Hoiem 2016,
section 3), the output layer is held to what the start says of the same audio without masks.

Shapes: B utterances, S samples, T frames of 10 ms, M mel bins, N spans (of `Spans`) or masked steps, U output steps,
F frames a step, C codes, V tokens.

Example::

    learner = MaskedLearner(network, vocabulary, teacher, MaskedConfig(), seed=1)
    losses = learner.loss(batch)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.engines.conformer import ConformerCtc
from orature.engines.features import frames_of, normalise
from orature.engines.vocabulary import CtcVocabulary
from orature.train.augment import mask_spans_of, stack_spans
from orature.train.config import TrainConfig
from orature.train.dev import DevReport, Tally
from orature.train.learner import Losses
from orature.train.loader import Batch, Loader
from orature.train.masked_config import MaskedConfig

_CODEBOOK, _DEV = 23, 24
"""Set these draws apart from the others of a run."""


class Quantiser(nn.Module):
    """Stacked features to codes, by a random matrix (Xavier) and a random codebook (normal) that stay as they are.

    Both follow from the seed, so that no checkpoint holds them (section 3.1 of the paper).
    """

    matrix_XW: Tensor
    codes_CW: Tensor

    def __init__(self, inputs: int, config: MaskedConfig, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng([seed, _CODEBOOK])
        reach = (6.0 / (inputs + config.code_width)) ** 0.5
        matrix = rng.uniform(-reach, reach, (inputs, config.code_width))
        codes = rng.standard_normal((config.codes, config.code_width))
        self.register_buffer("matrix_XW", torch.from_numpy(matrix).float(), persistent=False)
        self.register_buffer("codes_CW", F.normalize(torch.from_numpy(codes).float(), dim=-1), persistent=False)

    @torch.no_grad()
    def forward(self, stacked_NX: Tensor) -> Tensor:
        """The nearest code of each row, shape (N,): both sides have length 1, so the nearest has the largest product.

        Computed in float32 whatever the precision of the run, so that the targets are always the same.
        """
        with torch.autocast(stacked_NX.device.type, enabled=False):
            projected_NW = F.normalize(stacked_NX.float() @ self.matrix_XW, dim=-1)
            return (projected_NW @ self.codes_CW.T).argmax(dim=-1)


def stacked(frames_BTX: Tensor, frames_per_step: int) -> Tensor:
    """The frames of each output step side by side: (B, T, X) to (B, U, F, X), zeros (False) after the last frame."""
    missing = -frames_BTX.shape[1] % frames_per_step
    padded = F.pad(frames_BTX, (0, 0, 0, missing))
    return padded.reshape(padded.shape[0], -1, frames_per_step, padded.shape[2])


class Predicted(NamedTuple):
    """What a pass gives: logits (N, C) and codes (N,) of the masked steps, where they are (B, U), all steps (B,).

    `plain_BUV` are the logits of the output layer for the audio without masks, None where they are not wanted.
    """

    logits_NC: Tensor
    codes_N: Tensor
    masked_BU: Tensor
    steps_B: Tensor
    plain_BUV: Tensor | None


class MaskedTask(nn.Module):
    """What is trained: the network, and a layer that predicts codes and is thrown away in the end."""

    def __init__(self, network: ConformerCtc, config: MaskedConfig, seed: int) -> None:
        super().__init__()
        self.network = network
        self.frames_per_step = network.config.subsampling
        self.quantiser = Quantiser(self.frames_per_step * network.config.mels, config, seed)
        self.codes = nn.Linear(network.width, config.codes)

    def forward(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor,
        warps_B: Tensor | None,
        spans_BN2: Tensor,
        noise_BTM: Tensor,
        keep: bool,
    ) -> Predicted:
        """Hears the audio with noise in the spans (first frame, past the last), and with `keep` also without.

        A step is predicted where all of its frames lie in the recording and none was heard.
        """
        features_BTM, frames_B = self.network.features(samples_BS, lengths_B, warps_B)
        frames_T = torch.arange(features_BTM.shape[1], device=features_BTM.device)
        masked_BT = ((frames_T >= spans_BN2[..., :1]) & (frames_T < spans_BN2[..., 1:])).any(dim=1)
        masked_BT &= frames_T < frames_B[:, None]
        noisy_BTM = torch.where(masked_BT[..., None], noise_BTM[:, : features_BTM.shape[1]], features_BTM)
        hidden_BUD, steps_B = self.network.hidden(noisy_BTM, frames_B)
        masked_BU = stacked(masked_BT[..., None].float(), self.frames_per_step).flatten(2).all(dim=-1)
        plain_BUV = self.network.head(self.network.hidden(features_BTM, frames_B)[0]) if keep else None
        aims_BTM = normalise(features_BTM, frames_B, "mean-variance")
        codes_N = self.quantiser(stacked(aims_BTM, self.frames_per_step).flatten(2)[masked_BU])
        return Predicted(self.codes(hidden_BUD[masked_BU]), codes_N, masked_BU, steps_B, plain_BUV)


def divergence(said_BUV: Tensor, wanted_BUV: Tensor, steps_B: Tensor) -> Tensor:
    """The mean divergence of an utterance's steps from what is wanted, KL(wanted || said) in nats, shape (B,)."""
    said, wanted = said_BUV.float().log_softmax(dim=-1), wanted_BUV.float().log_softmax(dim=-1)
    nats_BU = F.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=-1)
    valid_BU = torch.arange(nats_BU.shape[1], device=nats_BU.device) < steps_B[:, None]
    return nats_BU.masked_fill(~valid_BU, 0.0).sum(dim=1) / steps_B.clamp(min=1)


class MaskedLearner:
    """A `Learner` for masked prediction; `teacher` is the start as it was, which says what is to be kept.

    The loss of an utterance is that of its masked steps, each with `keep_weight` times the divergence of a step of that
    utterance on average; so it is a sum over utterances, whatever is computed at once.
    """

    def __init__(
        self, network: ConformerCtc, vocabulary: CtcVocabulary, teacher: ConformerCtc, config: MaskedConfig, seed: int
    ) -> None:
        self.network, self.vocabulary, self.config, self.seed = network, vocabulary, config, seed
        self.task = MaskedTask(network, config, seed)
        self.module: nn.Module = self.task
        self.teacher = teacher.eval().requires_grad_(False)
        self._masks = config.applied(TrainConfig()).augment

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """Cross-entropy of the masked steps and the weighted divergence; divided by the number of masked steps."""
        keep = self.config.keep_weight > 0
        found: Predicted = (self.module if module is None else module)(*self.arguments(batch), keep)
        cross = F.cross_entropy(found.logits_NC.float(), found.codes_N, reduction="sum")
        count = float(found.masked_BU.sum())
        right = float((found.logits_NC.detach().argmax(dim=-1) == found.codes_N).sum())
        figures = {"masked_loss": float(cross.detach()), "masked_accuracy": right}
        figures |= {f"{name}_of": count for name in list(figures)}
        if found.plain_BUV is None:
            return Losses(cross, count, figures)
        apart_B = divergence(found.plain_BUV, self._wanted(batch), found.steps_B)
        kept = (apart_B * found.masked_BU.sum(dim=1)).sum()
        figures |= {"divergence": float(kept.detach()), "divergence_of": count}
        return Losses(cross + self.config.keep_weight * kept, count, figures)

    @torch.no_grad()
    def assess(self, loader: Loader, *, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Tally:
        """Sums over the utterances of `loader`, masked alike each time; `part` (i, n) takes every n-th batch."""
        was_training = self.module.training
        self.module.eval()
        tally = MaskedTally(self.config)
        for batch in loader.plain(batch_seconds, part):
            found: Predicted = self.task(*self.arguments(batch), True)
            tally.hear(found, self._wanted(batch), self.vocabulary.blank)
        self.module.train(was_training)
        return tally

    def arguments(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """Samples, lengths, warps, spans (B, N, 2) and noise (B, T, M) of a batch, on the device of the network.

        Spans and noise follow from what the loader drew for (seed, epoch, utterance); for a batch without draws (dev)
        from the seed and the utterance alone.
        """
        device = next(self.module.parameters()).device
        draws, spans = batch.draws, None if batch.spans is None else batch.spans[0]
        frames = [frames_of(length) for length in batch.lengths_B.tolist()]
        if spans is None or not draws:
            rngs = [np.random.default_rng([self.seed, _DEV, item.index]) for item in batch.items]
            drawn = [
                mask_spans_of(count, self.network.mask_bins, rng, self._masks)[0]
                for count, rng in zip(frames, rngs, strict=True)
            ]
            spans, draws = torch.from_numpy(stack_spans(drawn)), [int(rng.integers(2**62)) for rng in rngs]
        noise = np.zeros((len(frames), max(1, *frames), self.network.mask_bins), np.float32)
        for row, own, draw in zip(noise, spans.tolist(), draws, strict=True):
            rng = np.random.default_rng([draw])
            for first, past in own:
                shape = (past - first, self.network.mask_bins)
                row[first:past] = self.config.noise * rng.standard_normal(shape, dtype=np.float32)
        warps = None if batch.warps_B is None else batch.warps_B.to(device)
        samples, lengths = batch.samples_BS.to(device), batch.lengths_B.to(device)
        return samples, lengths, warps, spans.to(device), torch.from_numpy(noise).to(device)

    @torch.no_grad()
    def _wanted(self, batch: Batch) -> Tensor:
        """What the start says of the audio without masks, logits (B, U, V)."""
        device = next(self.module.parameters()).device
        self.teacher.to(device)
        warps = None if batch.warps_B is None else batch.warps_B.to(device)
        logits_BUV: Tensor = self.teacher(batch.samples_BS.to(device), batch.lengths_B.to(device), warps)[0]
        return logits_BUV


@dataclass(frozen=True, slots=True)
class MaskedReport(DevReport):
    """How well masked steps are predicted, and how much is left of the start; `loss` is what is minimised.

    `cer` and `wer` are the share of masked steps that are predicted wrong: there is no text.
    """

    masked_loss: float = 0.0
    """Nats a masked step."""
    accuracy: float = 0.0
    chance: float = 0.0
    """The accuracy of always saying the code that is most frequent."""
    codes_used: float = 0.0
    """How many codes there are in effect: 2 to the power of their entropy in bits."""
    divergence: float = 0.0
    """Of the output layer from the start's, in nats a step."""
    phones_kept: float = 0.0
    """Of the steps where the start writes something, the share where the same is still written."""

    def selection(self, select: str) -> float:
        """What chooses a checkpoint: the loss, whatever the config says."""
        return self.loss

    def row(self) -> dict[str, object]:
        """The figures for the log."""
        return {
            "dev_loss": round(self.loss, 6),
            "dev_masked_loss": round(self.masked_loss, 6),
            "dev_masked_accuracy": round(self.accuracy, 6),
            "dev_chance": round(self.chance, 6),
            "dev_codes_used": round(self.codes_used, 2),
            "dev_divergence": round(self.divergence, 6),
            "dev_phones_kept": round(self.phones_kept, 6),
        }

    def said(self) -> str:
        """The figure for the live line."""
        return f"dev {100 * self.accuracy:.1f} % of masked steps right"


class MaskedTally(Tally):
    """Adds up masked steps and divergences; sums of several processes may be added together."""

    def __init__(self, config: MaskedConfig) -> None:
        Tally.__init__(self)
        self.keep_weight = config.keep_weight
        self.codes = np.zeros(config.codes, np.int64)
        self.right = self.apart = self.written = self.kept = 0.0

    def hear(self, found: Predicted, wanted_BUV: Tensor, blank: int) -> None:
        """Counts a batch; the logits without masks must be there."""
        if found.plain_BUV is None:
            raise ValueError("dev is measured with and without masks")
        self.losses += float(F.cross_entropy(found.logits_NC.float(), found.codes_N, reduction="sum"))
        self.right += float((found.logits_NC.argmax(dim=-1) == found.codes_N).sum())
        self.codes += np.bincount(found.codes_N.cpu().numpy(), minlength=self.codes.size)
        apart_B = divergence(found.plain_BUV, wanted_BUV, found.steps_B)
        self.apart += float((apart_B * found.steps_B).sum())
        said_BU, start_BU = found.plain_BUV.argmax(dim=-1), wanted_BUV.argmax(dim=-1)
        valid_BU = torch.arange(said_BU.shape[1], device=said_BU.device) < found.steps_B[:, None]
        writes_BU = valid_BU & (start_BU != blank)
        self.written += float(writes_BU.sum())
        self.kept += float((writes_BU & (said_BU == start_BU)).sum())
        self.blanks += float((valid_BU & (said_BU == blank)).sum())
        self.steps += float(found.steps_B.sum())

    def merge(self, other: Tally) -> None:
        """Adds the sums of another process."""
        Tally.merge(self, other)
        if isinstance(other, MaskedTally):
            self.codes = self.codes + other.codes
            for name in ("right", "apart", "written", "kept"):
                setattr(self, name, getattr(self, name) + getattr(other, name))

    def report(self) -> MaskedReport:
        """Rates from the sums."""
        count = max(float(self.codes.sum()), 1.0)
        shares = self.codes[self.codes > 0] / count
        masked_loss, apart = self.losses / count, self.apart / max(self.steps, 1.0)
        accuracy = self.right / count
        return MaskedReport(
            loss=masked_loss + self.keep_weight * apart,
            cer=1 - accuracy,
            wer=1 - accuracy,
            blank_share=self.blanks / max(self.steps, 1.0),
            empty_share=0.0,
            masked_loss=masked_loss,
            accuracy=accuracy,
            chance=float(shares.max(initial=0.0)),
            codes_used=float(2 ** -(shares * np.log2(shares)).sum()),
            divergence=apart,
            phones_kept=self.kept / max(self.written, 1.0),
        )
