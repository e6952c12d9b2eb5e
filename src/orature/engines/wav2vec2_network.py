"""wav2vec 2.0 and its kin on samples: the network that `engines/wav2vec2.py` and `engines/mms.py` load.

Example::

    network = read_network(Path("wav2vec2-base-960h"), Start(), rows=32)
    logits_BTV, steps_B = network(samples_BS, lengths_B)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.engines.families import Start
from orature.engines.hf_ctc import (
    HfCtcNetwork,
    convolved,
    forget_positions,
    mask_hidden,
    settings_of,
    step_mask,
    wide_convolutions,
    zeros_past_the_end,
)
from orature.engines.hf_folder import config_of, load_model, shapes_of
from orature.engines.network import Spans
from orature.engines.torch_fast import QuickFront

EXTRACTOR = "Wav2Vec2FeatureExtractor"
SPECTRUM_EMBEDDING = "masked_spec_embed"
# WavLM's reference gives torch a float bias beside a boolean mask, which it takes with a warning for each model.
warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")


class Wav2Vec2Ctc(HfCtcNetwork):
    """A wav2vec 2.0 kind of model on samples; masks choose from the channels of the hidden states."""

    def __init__(self, model: nn.Module, extractor: dict[str, Any]) -> None:
        super().__init__(model, extractor)
        self.mask_bins = int(self.config.hidden_size)
        self.normalises = bool(extractor.get("do_normalize", True))
        convolutions = self.front_convolutions()
        self.front_samples = 1
        for convolution in convolutions:
            self.front_samples *= convolution.stride[0]
        self.shortest = 1
        for convolution in reversed(convolutions):
            self.shortest = (self.shortest - 1) * convolution.stride[0] + convolution.kernel_size[0]
        self.step_samples = self.front_samples
        for convolution in self.adapter_convolutions():
            self.step_samples *= convolution.stride[0]
        self.quick_front: QuickFront | None = None

    def front_convolutions(self) -> list[nn.Conv1d]:
        """The convolutions from samples to steps, in order."""
        return [layer.conv for layer in self.base.feature_extractor.conv_layers]

    def adapter_convolutions(self) -> list[nn.Conv1d]:
        """Strided convolutions after the encoder (`add_adapter`), which few checkpoints have."""
        adapter = getattr(self.base, "adapter", None)
        return [] if adapter is None else [layer.conv for layer in adapter.layers]

    def steps(self, samples: int) -> int:
        """How many output steps a recording of `samples` samples gives."""
        return int(self._steps(torch.tensor([samples]))[0])

    def _steps(self, lengths_B: Tensor, *, front_only: bool = False) -> Tensor:
        for convolution in self.front_convolutions():
            lengths_B = convolved(lengths_B, convolution)
        for convolution in [] if front_only else self.adapter_convolutions():
            lengths_B = convolved(lengths_B, convolution)
        return lengths_B.clamp(min=0)

    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) and valid steps (B,); `warps_B` does not apply to raw samples."""
        base = self.base
        hidden_BTD = base.feature_projection(self._front(samples_BS, lengths_B).transpose(1, 2))
        if isinstance(hidden_BTD, tuple):
            hidden_BTD = hidden_BTD[0]
        if spans is not None:
            embedding_D = getattr(base, SPECTRUM_EMBEDDING, None)
            hidden_BTD = mask_hidden(hidden_BTD, spans, embedding_D, self.front_samples)
        mask_BT = step_mask(self._steps(lengths_B, front_only=True), hidden_BTD.shape[1])
        forget_positions(base.encoder)
        with zeros_past_the_end((convolution, mask_BT) for convolution in wide_convolutions(base.encoder)):
            hidden_BTD = base.encoder(hidden_BTD, attention_mask=mask_BT).last_hidden_state
        if self.adapter_convolutions():
            hidden_BTD = self._adapted(hidden_BTD, self._steps(lengths_B, front_only=True))
        return cast(Tensor, cast(Any, self.model).dropout(hidden_BTD)), self._steps(lengths_B)

    def _adapted(self, hidden_BTD: Tensor, steps_B: Tensor) -> Tensor:
        """The strided convolutions after the encoder; none is ever dropped: that would change the number of steps."""
        adapter = self.base.adapter
        if adapter.proj is not None:
            hidden_BTD = adapter.proj_layer_norm(adapter.proj(hidden_BTD))
        for layer in adapter.layers:
            mask_BT = step_mask(steps_B, hidden_BTD.shape[1])
            hidden_BTD = layer(hidden_BTD.masked_fill(~mask_BT[..., None], 0.0).transpose(1, 2)).transpose(1, 2)
            steps_B = convolved(steps_B, layer.conv)
        return hidden_BTD

    def _front(self, samples_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """Channels of the last convolution, shape (B, C, T)."""
        heard_BS = self.heard(samples_BS, lengths_B)
        if self.quick_front is not None and heard_BS.device.type == "cpu" and not torch.is_grad_enabled():
            return self.quick_front(heard_BS, lengths_B)
        hidden_BCT = heard_BS[:, None]
        for layer in self.base.feature_extractor.conv_layers:
            lengths_B = convolved(lengths_B, layer.conv)
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                hidden_BCT = layer.activation(norm_of_each(layer.conv(hidden_BCT), lengths_B, norm))
            else:
                hidden_BCT = layer(hidden_BCT)
        return hidden_BCT

    def heard(self, samples_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """The samples as the feature extractor gives them: mean 0 and variance 1 over each recording, padded with 0."""
        samples_BS = samples_BS.to(torch.float32)
        if samples_BS.shape[1] < self.shortest:
            samples_BS = F.pad(samples_BS, (0, self.shortest - samples_BS.shape[1]))
        within_BS = torch.arange(samples_BS.shape[1], device=samples_BS.device) < lengths_B[:, None]
        samples_BS = samples_BS.masked_fill(~within_BS, 0.0)
        if not self.normalises:
            return samples_BS
        count_B1 = lengths_B.clamp(min=1)[:, None]
        centred_BS = (samples_BS - samples_BS.sum(dim=1, keepdim=True) / count_B1).masked_fill(~within_BS, 0.0)
        variance_B1 = centred_BS.square().sum(dim=1, keepdim=True) / count_B1
        return centred_BS * torch.rsqrt(variance_B1 + 1e-7)


def norm_of_each(hidden_BCT: Tensor, steps_B: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Group norm with one group a channel, its statistics over each utterance's own steps."""
    hidden_BCT = hidden_BCT.float()
    within_B1T = step_mask(steps_B, hidden_BCT.shape[2])[:, None, :]
    count_B11 = steps_B.clamp(min=1)[:, None, None]
    mean_BC1 = hidden_BCT.masked_fill(~within_B1T, 0.0).sum(dim=2, keepdim=True) / count_B11
    centred_BCT = (hidden_BCT - mean_BC1).masked_fill(~within_B1T, 0.0)
    variance_BC1 = centred_BCT.square().sum(dim=2, keepdim=True) / count_B11
    scale_BC1 = torch.rsqrt(variance_BC1 + norm.eps) * norm.weight[:, None]
    return torch.addcmul(norm.bias[:, None], centred_BCT, scale_BC1)


def read_network(
    folder: Path, start: Start, rows: int | None, kind: type[Wav2Vec2Ctc] = Wav2Vec2Ctc, may_lack: Sequence[str] = ()
) -> Wav2Vec2Ctc:
    """The network of a folder with `rows` outputs (None: the folder has no output layer, a passing one is made)."""
    settings = settings_of(folder, kind=EXTRACTOR)
    config = config_of(folder, start.overrides)
    shapes = shapes_of(folder)
    config.vocab_size = rows or 1
    if not (config.mask_time_prob or config.mask_feature_prob):
        # The vector that replaces masked steps exists only where the config asks for masks.
        config.mask_time_prob = 0.05
    lacking = list(may_lack) + ([] if rows else [Wav2Vec2Ctc.head_name + "."])
    if not any(name.endswith(SPECTRUM_EMBEDDING) for name in shapes):
        lacking.append(SPECTRUM_EMBEDDING)
    if getattr(config, "add_adapter", False) and "add_adapter" in start.overrides:
        lacking.append("adapter.")
    return kind(load_model(folder, config, may_lack=lacking), settings)
