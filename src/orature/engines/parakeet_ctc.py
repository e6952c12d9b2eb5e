"""Parakeet CTC: NVIDIA's FastConformer (Rekesh et al. 2023) with a CTC head over word pieces, one output every 80 ms.

Eight 10 ms frames make a step, too few for one character each: the output layer is one of word pieces. A new one is
trained on the transcripts (byte-pair encoding). The features are those of ParakeetFeatureExtractor, computed here for a
whole batch.

Example::

    network, vocabulary = load(Path("parakeet-ctc-0.6b"))
    network, vocabulary = begin(Path("parakeet-ctc-0.6b"), ["shuk wasi"], Start(head="new"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from orature.core.errors import ModelError
from orature.engines.families import Start
from orature.engines.features import mask_spans
from orature.engines.hf_ctc import (
    HfCtcNetwork,
    convolved,
    finish,
    folder_files,
    head_rows,
    in_full,
    needs_head,
    no_adapters,
    settings_of,
    step_mask,
)
from orature.engines.hf_folder import config_of, load_model, shapes_of
from orature.engines.network import Spans
from orature.engines.vocabulary import CtcVocabulary, Files
from orature.engines.word_pieces import WordPieces

KIND = "ctc"
EXTRACTOR = "ParakeetFeatureExtractor"


class ParakeetFeatures(nn.Module):
    """Log-mel features of ParakeetFeatureExtractor: pre-emphasis, centred frames, Slaney's mel scale, natural log, each
    bin to mean 0 and variance 1 over the utterance.
    """

    window_F: Tensor
    bank_KM: Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        self.hop = int(settings.get("hop_length", 160))
        self.fft = int(settings.get("n_fft", 512))
        self.frame = int(settings.get("win_length", 400))
        self.preemphasis = settings.get("preemphasis", 0.97)
        bank = mel_filter_bank(
            num_frequency_bins=self.fft // 2 + 1,
            num_mel_filters=int(settings.get("feature_size", 80)),
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=16_000,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("bank_KM", torch.from_numpy(bank).float(), persistent=False)
        self.register_buffer("window_F", torch.hann_window(self.frame, periodic=False), persistent=False)

    def frames(self, lengths_B: Tensor) -> Tensor:
        """Valid frames of recordings of so many samples."""
        return torch.div(lengths_B, self.hop, rounding_mode="floor")

    @torch.no_grad()
    def forward(self, samples_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, T, M), 0 past the end, and valid frames (B,)."""
        samples_BS = samples_BS.to(torch.float32)
        if self.preemphasis is not None:
            later = samples_BS[:, 1:] - float(self.preemphasis) * samples_BS[:, :-1]
            samples_BS = torch.cat([samples_BS[:, :1], later], dim=1)
        within_BS = torch.arange(samples_BS.shape[1], device=samples_BS.device) < lengths_B[:, None]
        spectrum_BKT = torch.stft(
            samples_BS.masked_fill(~within_BS, 0.0),
            self.fft,
            hop_length=self.hop,
            win_length=self.frame,
            window=self.window_F,
            return_complex=True,
            pad_mode="constant",
        )
        power_BTK = torch.view_as_real(spectrum_BKT).square().sum(dim=-1).transpose(1, 2)
        with in_full(samples_BS):
            features_BTM = torch.log(power_BTK @ self.bank_KM + 2.0**-24)
        frames_B = self.frames(lengths_B)
        within_BT1 = (torch.arange(features_BTM.shape[1], device=frames_B.device) < frames_B[:, None])[..., None]
        count_B11 = frames_B.clamp(min=1)[:, None, None]
        mean_B1M = features_BTM.masked_fill(~within_BT1, 0.0).sum(dim=1, keepdim=True) / count_B11
        centred_BTM = (features_BTM - mean_B1M).masked_fill(~within_BT1, 0.0)
        variance_B1M = centred_BTM.square().sum(dim=1, keepdim=True) / (count_B11 - 1).clamp(min=1)
        return centred_BTM / (variance_B1M.sqrt() + 1e-5), frames_B


class ParakeetCtc(HfCtcNetwork):
    """Parakeet on samples; masks choose from the mel bins."""

    head_name = "ctc_head"
    front_names = ("subsampling",)
    processor = "ParakeetProcessor"

    def __init__(self, model: nn.Module, extractor: dict[str, Any]) -> None:
        super().__init__(model, extractor)
        self.features = ParakeetFeatures(extractor)
        self.mask_bins = int(extractor.get("feature_size", 80))
        self.step_samples = self.features.hop * int(self.config.encoder_config.subsampling_factor)

    @property
    def encoder(self) -> Any:
        """The FastConformer."""
        return cast(Any, self.model).encoder

    def fresh_head(self, outputs: int) -> nn.Module:
        """A new output layer, drawn as the reference draws it, from torch's generator."""
        head = type(self.output_layer)(self.width, outputs, kernel_size=1)
        nn.init.normal_(head.weight, std=float(self.config.encoder_config.initializer_range))
        nn.init.zeros_(head.bias)
        return cast(nn.Module, head)

    def steps(self, samples: int) -> int:
        """How many output steps a recording of `samples` samples gives."""
        return int(self._steps(self.features.frames(torch.tensor([samples])))[0])

    def _steps(self, frames_B: Tensor) -> Tensor:
        steps_B = frames_B
        for layer in self.encoder.subsampling.layers:
            if isinstance(layer, nn.Conv2d) and layer.stride[0] > 1:
                steps_B = convolved(steps_B, cast(nn.Conv1d, layer))
        return steps_B.clamp(min=0).where(frames_B > 0, 0)

    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) and valid steps (B,); `warps_B` does not apply."""
        features_BTM, frames_B = self.features(samples_BS, lengths_B)
        if spans is not None:
            features_BTM = mask_spans(features_BTM, *spans)
        mask_BT = step_mask(frames_B, features_BTM.shape[1])
        hidden_BTD = self.encoder(features_BTM, attention_mask=mask_BT).last_hidden_state
        return cast(Tensor, hidden_BTD), self._steps(frames_B)


def load(folder: Path, *, language: str | None = None) -> tuple[ParakeetCtc, CtcVocabulary]:
    """The network and its word pieces; one model, one vocabulary: any `language`."""
    rows = needs_head(folder, shapes_of(folder), ParakeetCtc.head_name)
    network = _network(folder, Start(), rows)
    return network, WordPieces.read(folder, outputs=rows, blank=network.config.pad_token_id)


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[ParakeetCtc, CtcVocabulary]:
    """The network with word pieces for `texts`: new ones ("auto", "new"), or those of the checkpoint ("keep").

    ModelError for "extend": pieces of another language do not fit beside those that are there.
    """
    no_adapters(folder, start)
    shapes = shapes_of(folder)
    if start.head == "extend":
        raise ModelError(
            "word pieces cannot be extended by characters",
            where=str(folder),
            next_step="take new ones (--head new), or keep them as they are (--head keep)",
        )
    if start.head == "keep":
        rows = needs_head(folder, shapes, ParakeetCtc.head_name)
        network = _network(folder, start, rows)
        vocabulary = WordPieces.read(folder, outputs=rows, blank=network.config.pad_token_id)
    else:
        vocabulary = WordPieces.of(texts)
        network = _network(folder, start, head_rows(shapes, ParakeetCtc.head_name))
        network.put_head(network.fresh_head(len(vocabulary)))
    finish(network, vocabulary, start)
    return network, vocabulary


def files(network: ParakeetCtc, vocabulary: CtcVocabulary) -> Files:
    """The model folder as transformers reads it."""
    return folder_files(network, vocabulary)


def _network(folder: Path, start: Start, rows: int | None) -> ParakeetCtc:
    settings = settings_of(folder, kind=EXTRACTOR)
    config = config_of(folder, start.overrides, inner="encoder_config")
    config.vocab_size = rows or 1
    lacking = [] if rows else [ParakeetCtc.head_name]
    return ParakeetCtc(load_model(folder, config, may_lack=lacking), settings)
