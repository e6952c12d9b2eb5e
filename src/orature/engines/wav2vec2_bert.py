"""w2v-BERT 2.0 with a CTC head: a Conformer on log-mel features, with a strided convolution adapter before the output.

Two neighbouring 10 ms frames of 80 mel bins make an input step of 20 ms; the adapter halves their number. Without the
adapter the CTC loss of this family tends to explode, so training from a checkpoint that has none adds it
(`add_adapter`; the reference's recipe does so too). The features are those of SeamlessM4TFeatureExtractor, computed
here for a whole batch.

In the reference the adapter's convolutions read what lies past the end of the shorter utterances (and the odd last
frame of any): here they read zeros, so that an utterance in a batch gives what it gives alone.

Example::

    network, vocabulary = begin(Path("w2v-bert-2.0"), ["shuk wasi"], Start(head="new"))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from orature.engines.characters import Characters
from orature.engines.families import Start
from orature.engines.features import WARPS, LogMel, filterbank, frames_of
from orature.engines.hf_ctc import (
    HfCtcNetwork,
    convolved,
    finish,
    folder_files,
    forget_positions,
    head_rows,
    in_full,
    lengthened,
    mask_hidden,
    needs_head,
    no_adapters,
    settings_of,
    step_mask,
    zeros_past_the_end,
)
from orature.engines.hf_folder import config_of, load_model, shapes_of
from orature.engines.hf_vocabulary import HfVocabulary
from orature.engines.network import Spans
from orature.engines.vocabulary import CtcVocabulary, Files

KIND = "ctc"
EXTRACTOR = "SeamlessM4TFeatureExtractor"
_FLOOR = math.log(1.192092955078125e-07)


class SeamlessFeatures(nn.Module):
    """Log-mel features of SeamlessM4TFeatureExtractor: Kaldi's up to 8 kHz, each bin to mean 0 and variance 1 over the
    utterance, `stride` frames side by side.
    """

    def __init__(self, mels: int = 80, stride: int = 2) -> None:
        super().__init__()
        self.log_mel = LogMel(mels)
        self.log_mel.banks_WKM = torch.stack([filterbank(mels, high_hz=8000.0, warp=warp) for warp in WARPS])
        self.stride = stride

    @torch.no_grad()
    def forward(self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, T, stride * mels) and whole steps (B,); what lies past the end is 0."""
        with in_full(samples_BS):
            features_BTM, frames_B = self.log_mel(samples_BS, lengths_B, warps_B)
        features_BTM = features_BTM.clamp(min=_FLOOR)
        within_BT1 = step_mask(frames_B, features_BTM.shape[1])[..., None]
        count_B11 = frames_B.clamp(min=1)[:, None, None]
        mean_B1M = features_BTM.masked_fill(~within_BT1, 0.0).sum(dim=1, keepdim=True) / count_B11
        centred_BTM = (features_BTM - mean_B1M).masked_fill(~within_BT1, 0.0)
        variance_B1M = centred_BTM.square().sum(dim=1, keepdim=True) / (count_B11 - 1).clamp(min=1)
        features_BTM = centred_BTM * torch.rsqrt(variance_B1M + 1e-7)
        steps_B = torch.div(frames_B, self.stride, rounding_mode="floor")
        spare = -features_BTM.shape[1] % self.stride
        features_BTM = nn.functional.pad(features_BTM, (0, 0, 0, spare))
        return features_BTM.reshape(features_BTM.shape[0], -1, self.stride * features_BTM.shape[2]), steps_B


class Wav2Vec2BertCtc(HfCtcNetwork):
    """w2v-BERT on samples; masks choose from the channels of the hidden states, as in the reference."""

    takes_warps = True
    front_names = ("feature_projection",)
    processor = "Wav2Vec2BertProcessor"

    def __init__(self, model: nn.Module, extractor: dict[str, Any]) -> None:
        super().__init__(model, extractor)
        self.stride = int(extractor.get("stride", 2))
        self.features = SeamlessFeatures(int(extractor.get("num_mel_bins", 80)), self.stride)
        self.mask_bins = int(self.config.hidden_size)
        self.front_samples = 160 * self.stride
        self.step_samples = self.front_samples
        if self.base.adapter is not None:
            # Dropping an adapter layer would change the number of steps.
            self.base.adapter.layerdrop = 0.0
            self.step_samples *= int(self.config.adapter_stride) ** len(self.base.adapter.layers)

    def steps(self, samples: int) -> int:
        """How many output steps a recording of `samples` samples gives."""
        return int(self._levels(torch.tensor([frames_of(samples) // self.stride]))[-1][0])

    def _levels(self, steps_B: Tensor) -> list[Tensor]:
        """Valid steps before the adapter and after each of its layers."""
        levels = [steps_B]
        for layer in [] if self.base.adapter is None else self.base.adapter.layers:
            levels.append(convolved(levels[-1], layer.residual_conv).clamp(min=0).where(steps_B > 0, 0))
        return levels

    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) and valid steps (B,)."""
        base = self.base
        features_BTM, steps_B = self.features(samples_BS, lengths_B, warps_B)
        hidden_BTD = base.feature_projection(features_BTM)[0]
        if spans is not None:
            hidden_BTD = mask_hidden(hidden_BTD, spans, getattr(base, "masked_spec_embed", None), self.front_samples)
        mask_BT = step_mask(steps_B, hidden_BTD.shape[1])
        forget_positions(base.encoder)
        hidden_BTD = base.encoder(hidden_BTD, attention_mask=mask_BT).last_hidden_state
        if base.intermediate_ffn is not None:
            hidden_BTD = hidden_BTD + 0.5 * base.intermediate_ffn(hidden_BTD)
        levels = self._levels(steps_B)
        if base.adapter is not None:
            with zeros_past_the_end(self._adapter_masks(levels, hidden_BTD.shape[1])):
                hidden_BTD = base.adapter(hidden_BTD, attention_mask=mask_BT)
        return cast(Tensor, cast(Any, self.model).dropout(hidden_BTD)), levels[-1]

    def _adapter_masks(self, levels: list[Tensor], steps: int) -> list[tuple[nn.Module, Tensor]]:
        """Each convolution of the adapter with the steps that it may read."""
        found: list[tuple[nn.Module, Tensor]] = []
        for layer, steps_B in zip(self.base.adapter.layers, levels, strict=False):
            mask_BT = step_mask(steps_B, steps)
            found += [(layer.residual_conv, mask_BT), (layer.self_attn_conv, mask_BT)]
            steps = int(convolved(torch.tensor(steps), layer.residual_conv))
        return found


def load(folder: Path, *, language: str | None = None) -> tuple[Wav2Vec2BertCtc, CtcVocabulary]:
    """The network and its vocabulary; one model, one vocabulary: any `language`."""
    rows = needs_head(folder, shapes_of(folder), Wav2Vec2BertCtc.head_name)
    network = _network(folder, Start(), rows)
    return network, HfVocabulary.read(folder, outputs=rows, pad=network.config.pad_token_id)


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[Wav2Vec2BertCtc, CtcVocabulary]:
    """The network with an output layer for `texts`: a new one ("auto", "new"), a longer one, or as it is.

    With a new output layer the convolution adapter is added where the checkpoint has none, unless `start.overrides`
    says `add_adapter: false`.
    """
    no_adapters(folder, start)
    shapes = shapes_of(folder)
    vocabulary: CtcVocabulary
    if start.head in ("auto", "new"):
        start = replace(start, overrides={"add_adapter": True, **start.overrides})
        vocabulary = Characters.of([" ", *texts])
        network = _network(folder, start, None)
        network.put_head(network.fresh_head(len(vocabulary)))
    else:
        rows = needs_head(folder, shapes, Wav2Vec2BertCtc.head_name)
        network = _network(folder, start, rows)
        vocabulary = HfVocabulary.read(folder, outputs=rows, pad=network.config.pad_token_id)
        if start.head == "extend":
            vocabulary = vocabulary.extended(texts)
            lengthened(network, len(vocabulary))
    finish(network, vocabulary, start)
    return network, vocabulary


def files(network: Wav2Vec2BertCtc, vocabulary: CtcVocabulary) -> Files:
    """The model folder as transformers reads it."""
    return folder_files(network, vocabulary)


def _network(folder: Path, start: Start, rows: int | None) -> Wav2Vec2BertCtc:
    """The network with `rows` outputs (None: whatever the checkpoint has, to be replaced)."""
    settings = settings_of(folder, kind=EXTRACTOR)
    config = config_of(folder, start.overrides)
    shapes = shapes_of(folder)
    replaced = rows is None
    config.vocab_size = rows or head_rows(shapes, Wav2Vec2BertCtc.head_name) or 1
    lacking: list[str] = []
    if not any(name.endswith("masked_spec_embed") for name in shapes):
        lacking.append("masked_spec_embed")
    if not (config.mask_time_prob or config.mask_feature_prob):
        config.mask_time_prob = 0.05
    if replaced:
        lacking.append(f"{Wav2Vec2BertCtc.head_name}.")
        if not any("adapter.layers." in name for name in shapes):
            lacking += ["adapter.", "intermediate_ffn."]
    return Wav2Vec2BertCtc(load_model(folder, config, may_lack=lacking), settings)
