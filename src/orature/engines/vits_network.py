"""Speaking with the network of VITS: noise of each utterance's own, and rows of a batch that do not touch each other.

`VitsModel.forward` draws its noise from torch's global generator in the shape of the batch, so what an utterance sounds
like depends on its neighbours; and its decoder takes what lies beyond the end of a short row for sound, which changes
the last tenth of a second. Here the noise comes from the seed of the utterance and every layer of the decoder sees
silence beyond a row's end, as it does where the row is alone. On a CPU the decoder takes row by row, with fewer
products (`vits_decoder`).

Example::

    network = VitsNetwork(model)
    rows = [VitsRow((0, 7, 0), seed=3)]
    samples = network.speak(rows, most_frames=4000)[0]

Kim, Kong, Son 2021, "Conditional variational autoencoder with adversarial learning for end-to-end text-to-speech".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orature.engines.vits_decoder import FastDecoder, fits

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VitsRow:
    """Tokens of an utterance with its seed, the number of its speaker and a factor of tempo."""

    tokens: tuple[int, ...]
    seed: int = 0
    speaker: int = 0
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class _Text:
    """What the text encoder gave: means and log deviations of the prior, shape (B, flow, T), and frames a token."""

    mean_BDT: Tensor
    deviation_BDT: Tensor
    frames_BT: Tensor
    speaker_BE1: Tensor | None


class VitsNetwork(nn.Module):
    """`model` is a `VitsModel` of transformers, in evaluation mode and on its device; its weights must not change."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.quick = FastDecoder(model.decoder) if fits(model.decoder) else None

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return math.prod(int(rate) for rate in self.model.config.upsample_rates)

    @torch.inference_mode()
    def speak(self, rows: Sequence[VitsRow], *, most_frames: int) -> list[Samples | int]:
        """Samples of each row at the model's rate, shape (frames * hop,), in [-1, 1].

        A row that would take more than `most_frames` frames gives their number instead (-1 where it is not finite).
        """
        texts = self._texts(rows)
        totals = texts.frames_BT.sum(1)
        outcomes: list[Samples | int] = []
        keep = []
        for row, total in enumerate(totals.tolist()):
            finite = math.isfinite(total)
            outcomes.append(int(total) if finite else -1)
            if finite and total <= most_frames:
                keep.append(row)
        if keep:
            for row, samples in zip(keep, self._voiced(rows, texts, keep), strict=True):
                outcomes[row] = samples
        return outcomes

    def _texts(self, rows: Sequence[VitsRow]) -> _Text:
        """Prior and durations of each row; tokens are padded with 0 and masked, a single row has no mask at all."""
        model, device = self.model, self.model.device
        lengths = [len(row.tokens) for row in rows]
        width = max(lengths)
        ids_BT = torch.zeros((len(rows), width), dtype=torch.long)
        for place, row in enumerate(rows):
            ids_BT[place, : lengths[place]] = torch.tensor(row.tokens)
        mask_BT = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
        mask_B1T = mask_BT[:, None].to(device, torch.float32)
        encoded = model.text_encoder(
            input_ids=ids_BT.to(device),
            padding_mask=mask_B1T.transpose(1, 2),
            attention_mask=None if min(lengths) == width else mask_BT.to(device, torch.long),
        )
        speaker_BE1 = None
        if model.config.num_speakers > 1:
            numbers = torch.tensor([row.speaker for row in rows], device=device)
            speaker_BE1 = model.embed_speaker(numbers).unsqueeze(-1)
        hidden_BHT = encoded.last_hidden_state.transpose(1, 2)
        logs_B1T = self._log_durations(hidden_BHT, mask_B1T, speaker_BE1, rows, lengths)
        rates = torch.tensor([row.rate * float(model.speaking_rate) for row in rows], device=device)
        frames_BT = torch.ceil(torch.exp(logs_B1T[:, 0]) * mask_B1T[:, 0] / rates[:, None])
        frames_BT[:, 0] += (frames_BT.sum(1) < 1).to(frames_BT.dtype)  # at least one frame
        return _Text(
            encoded.prior_means.transpose(1, 2), encoded.prior_log_variances.transpose(1, 2), frames_BT, speaker_BE1
        )

    def _log_durations(
        self,
        hidden_BHT: Tensor,
        mask_B1T: Tensor,
        speaker_BE1: Tensor | None,
        rows: Sequence[VitsRow],
        lengths: list[int],
    ) -> Tensor:
        """Logarithm of the frames a token, shape (B, 1, T); the flows run backwards from each row's own noise."""
        predictor = self.model.duration_predictor
        if not self.model.config.use_stochastic_duration_prediction:
            found: Tensor = predictor(hidden_BHT, mask_B1T, speaker_BE1)
            return found
        inputs_BHT = predictor.conv_pre(hidden_BHT)
        if speaker_BE1 is not None:
            inputs_BHT = inputs_BHT + predictor.cond(speaker_BE1)
        inputs_BHT = predictor.conv_proj(predictor.conv_dds(inputs_BHT, mask_B1T)) * mask_B1T
        noise = [_noise(row.seed, "durations", (2, length)) for row, length in zip(rows, lengths, strict=True)]
        latents_B2T = _padded(noise, hidden_BHT) * float(self.model.noise_scale_duration)
        flows = list(reversed(predictor.flows))
        for flow in [*flows[:-2], flows[-1]]:  # the first of the flows does nothing for the durations
            latents_B2T = torch.flip(latents_B2T, [1])
            latents_B2T, _ = flow(latents_B2T, mask_B1T, global_conditioning=inputs_BHT, reverse=True)
        return latents_B2T[:, :1]

    def _voiced(self, rows: Sequence[VitsRow], texts: _Text, keep: list[int]) -> list[Samples]:
        model, device = self.model, self.model.device
        means, deviations, lengths = [], [], []
        for row in keep:
            frames_T = texts.frames_BT[row].long()
            means.append(texts.mean_BDT[row].repeat_interleave(frames_T, dim=1))
            deviations.append(texts.deviation_BDT[row].repeat_interleave(frames_T, dim=1))
            lengths.append(int(frames_T.sum()))
        shape = means[0].shape[0]
        noise = [_noise(rows[row].seed, "prior", (shape, length)) for row, length in zip(keep, lengths, strict=True)]
        mean_BDF, deviation_BDF = _padded(means, texts.mean_BDT), _padded(deviations, texts.mean_BDT)
        drawn_BDF = _padded(noise, texts.mean_BDT)
        latent_BDF = mean_BDF + drawn_BDF * torch.exp(deviation_BDF) * float(model.noise_scale)
        speaker_BE1 = None if texts.speaker_BE1 is None else texts.speaker_BE1[keep]
        lengths_B = torch.tensor(lengths, device=device)
        mask_B1F = _mask(lengths_B, max(lengths))
        latent_BDF = model.flow(latent_BDF, mask_B1F, speaker_BE1, reverse=True) * mask_B1F
        if self.quick is not None:
            speakers = [None] * len(keep) if speaker_BE1 is None else list(speaker_BE1)
            alone = zip(latent_BDF, lengths, speakers, strict=True)
            return [self.quick(latent_DF[:, :length], speaker).numpy() for latent_DF, length, speaker in alone]
        waves_BS = decoded(model.decoder, latent_BDF, lengths_B, speaker_BE1)
        waves = waves_BS.float().cpu().numpy()
        return [waves[place, : length * self.hop].copy() for place, length in enumerate(lengths)]


def decoded(decoder: Any, latent_BDF: Tensor, lengths_B: Tensor, speaker_BE1: Tensor | None = None) -> Tensor:
    """The waves of latents, shape (B, F * hop), by the HiFi-GAN decoder with each row silent beyond its end.

    A single row, or rows of equal length, are left to the decoder as it is: nothing lies beyond their ends.
    Kong, Kim, Bae 2020, "HiFi-GAN", section 2.2.
    """
    if bool((lengths_B == latent_BDF.shape[2]).all()):
        plain: Tensor = decoder(latent_BDF, speaker_BE1)
        return plain[:, 0]
    slope = decoder.config.leaky_relu_slope
    lengths_B = lengths_B.clone()
    hidden = decoder.conv_pre(latent_BDF)
    if speaker_BE1 is not None:
        hidden = hidden + decoder.cond(speaker_BE1)
    hidden = hidden * _mask(lengths_B, hidden.shape[2])
    for number, upsample in enumerate(decoder.upsampler):
        lengths_B = lengths_B * upsample.stride[0]
        hidden = upsample(nn.functional.leaky_relu(hidden, slope))
        mask = _mask(lengths_B, hidden.shape[2])
        hidden = hidden * mask
        first = number * decoder.num_kernels
        parts = [_block(block, hidden, mask) for block in decoder.resblocks[first : first + decoder.num_kernels]]
        hidden = sum(parts[1:], parts[0]) / decoder.num_kernels
    wave: Tensor = torch.tanh(decoder.conv_post(nn.functional.leaky_relu(hidden)))
    return wave[:, 0]


def _block(block: Any, hidden: Tensor, mask: Tensor) -> Tensor:
    for first, second in zip(block.convs1, block.convs2, strict=True):
        inner = first(nn.functional.leaky_relu(hidden, block.leaky_relu_slope)) * mask
        hidden = hidden + second(nn.functional.leaky_relu(inner, block.leaky_relu_slope)) * mask
    return hidden


def _mask(lengths_B: Tensor, width: int) -> Tensor:
    """1.0 inside a row and 0.0 beyond its end, shape (B, 1, width)."""
    inside = torch.arange(width, device=lengths_B.device)[None] < lengths_B[:, None]
    return inside[:, None].float()


def _padded(rows: Sequence[Tensor], like: Tensor) -> Tensor:
    """Rows of shape (D, n) beside each other with zeros behind, shape (B, D, longest)."""
    width = max(row.shape[1] for row in rows)
    made = like.new_zeros((len(rows), rows[0].shape[0], width))
    for place, row in enumerate(rows):
        made[place, :, : row.shape[1]] = row.to(like)
    return made


def _noise(seed: int, what: str, shape: tuple[int, int]) -> Tensor:
    """Standard normal noise of an utterance; `what` keeps the draws for different places apart."""
    digest = hashlib.sha256(f"vits|{seed}|{what}".encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:16], "little")).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(drawn)
