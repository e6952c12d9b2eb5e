"""What the network of VITS does in training, in reconstructing a recording, and in reading a text aloud.

Example::

    made = training_pass(model, batch, starts_B, windows=32)
    (made.divergence + made.duration_loss).backward()
    samples_S = read_aloud(model, tokens_T, speaker=0, seed=7)

Kim, Kong, Son 2021, section 2: the posterior encoder turns a linear spectrogram into latents, the flow takes them to
the prior's space, monotonic alignment search (2.2.1) gives each token its frames, the durations teach the predictor
(2.2.2), and the decoder turns a random window of the latents into sound (2.4 and 2.5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from orature.train.voice.alignment import durations_of, monotonic_alignment
from orature.train.voice.losses import prior_divergence, prior_score

LONGEST_FRAMES = 3750
"""No more frames are read aloud at once (a minute at hop 256 and 16 kHz): an untrained predictor knows no bounds."""


@dataclass(frozen=True, slots=True)
class VoiceBatch:
    """Padded utterances: tokens (B, T), magnitudes (B, bins, F), samples (B, F * hop), lengths, speakers or None."""

    ids: tuple[str, ...]
    tokens_BT: Tensor
    tokens_B: Tensor
    linear_BKF: Tensor
    frames_B: Tensor
    samples_BS: Tensor
    speakers_B: Tensor | None

    def to(self, device: str) -> VoiceBatch:
        """The same on a device."""
        return VoiceBatch(
            ids=self.ids,
            tokens_BT=self.tokens_BT.to(device),
            tokens_B=self.tokens_B.to(device),
            linear_BKF=self.linear_BKF.to(device),
            frames_B=self.frames_B.to(device),
            samples_BS=self.samples_BS.to(device),
            speakers_B=None if self.speakers_B is None else self.speakers_B.to(device),
        )


@dataclass(frozen=True, slots=True)
class Made:
    """What a pass gives: windows of sound (B, S), their real ones, KL and duration losses, and frames a token."""

    sound_BS: Tensor
    real_BS: Tensor
    divergence: Tensor
    duration_loss: Tensor
    durations_BT: Tensor


@dataclass(frozen=True, slots=True)
class Aligned:
    """Latents of a batch, drawn and their means, and frames a token; `token_mask_B1T` marks real tokens."""

    latents_BCF: Tensor
    means_BCF: Tensor
    divergence: Tensor
    durations_BT: Tensor
    hidden_BHT: Tensor
    token_mask_B1T: Tensor
    frame_mask_B1F: Tensor
    voice_BE1: Tensor | None


def mask_of(lengths_B: Tensor, longest: int) -> Tensor:
    """1 where a row has something, shape (B, 1, longest)."""
    return (torch.arange(longest, device=lengths_B.device)[None] < lengths_B[:, None])[:, None].float()


def speaker_embedding(model: Any, speakers_B: Tensor | None) -> Tensor | None:
    """Embeddings (B, E, 1), None for a network of one speaker."""
    if speakers_B is None or not model.config.speaker_embedding_size:
        return None
    embedded: Tensor = model.embed_speaker(speakers_B)
    return embedded[:, :, None]


def prior_of(model: Any, tokens_BT: Tensor, mask_B1T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states (B, H, T), and means and log scales of the prior (B, C, T)."""
    padded = bool((mask_B1T == 0).any())
    found = model.text_encoder(
        input_ids=tokens_BT,
        padding_mask=mask_B1T.transpose(1, 2),
        attention_mask=mask_B1T[:, 0].long() if padded else None,
    )
    hidden, means, scales = found.last_hidden_state, found.prior_means, found.prior_log_variances
    return hidden.transpose(1, 2), means.transpose(1, 2), scales.transpose(1, 2)


def align(model: Any, batch: VoiceBatch) -> Aligned:
    """Latents drawn from the posterior, their alignment to the text, and the divergence from the prior."""
    token_mask = mask_of(batch.tokens_B, batch.tokens_BT.shape[1])
    frame_mask = mask_of(batch.frames_B, batch.linear_BKF.shape[2])
    voice = speaker_embedding(model, batch.speakers_B)
    hidden, means_BCT, scales_BCT = prior_of(model, batch.tokens_BT, token_mask)
    latents, means, log_scale = model.posterior_encoder(batch.linear_BKF, frame_mask, voice)
    flowed = model.flow(latents, frame_mask, voice)
    with torch.no_grad():
        score_BFT = prior_score(flowed, means_BCT, scales_BCT).double().cpu().numpy()
    place_BF = monotonic_alignment(score_BFT, batch.frames_B.cpu().numpy(), batch.tokens_B.cpu().numpy())
    durations = torch.from_numpy(durations_of(place_BF, score_BFT.shape[2])).to(flowed.device)
    index_BF = torch.from_numpy(np.maximum(place_BF, 0)).to(flowed.device)
    index_BCF = index_BF[:, None].expand(-1, means_BCT.shape[1], -1)
    divergence = prior_divergence(
        flowed, log_scale, means_BCT.gather(2, index_BCF), scales_BCT.gather(2, index_BCF), frame_mask
    )
    return Aligned(latents, means, divergence, durations.float(), hidden, token_mask, frame_mask, voice)


def duration_loss(model: Any, aligned: Aligned) -> Tensor:
    """Of the stochastic predictor its negative log-likelihood, of a plain one the square error of the logarithms.

    Both are a mean over tokens; the predictor takes hidden states and speakers as constants (section 2.2.2).
    """
    mask, durations_B1T = aligned.token_mask_B1T, aligned.durations_BT[:, None]
    if model.config.use_stochastic_duration_prediction:
        found_B: Tensor = model.duration_predictor(aligned.hidden_BHT, mask, aligned.voice_BE1, durations=durations_B1T)
        return found_B.sum() / mask.sum()
    logarithms = torch.log(durations_B1T + 1e-6) * mask
    predicted: Tensor = model.duration_predictor(aligned.hidden_BHT, mask, aligned.voice_BE1)
    return (logarithms - predicted).square().sum() / mask.sum()


def training_pass(model: Any, batch: VoiceBatch, starts_B: Tensor, *, window: int) -> Made:
    """The whole pass; `starts_B` are the first frames of the windows, `window` their length in frames.

    Past the end of an utterance that is shorter than a window the latents are zero and the real sound is silence.
    """
    aligned = align(model, batch)
    hop = batch.samples_BS.shape[1] // batch.linear_BKF.shape[2]
    lacking = max(0, window - batch.linear_BKF.shape[2])
    latents_BCF = functional.pad(aligned.latents_BCF, (0, lacking))
    samples_B1S = functional.pad(batch.samples_BS[:, None], (0, lacking * hop))
    sound_BS = model.decoder(windows_of(latents_BCF, starts_B, window), aligned.voice_BE1)[:, 0]
    real_BS = windows_of(samples_B1S, starts_B * hop, window * hop)[:, 0]
    return Made(sound_BS, real_BS, aligned.divergence, duration_loss(model, aligned), aligned.durations_BT)


def windows_of(values_BCF: Tensor, starts_B: Tensor, length: int) -> Tensor:
    """`length` steps of each row from its start on, shape (B, C, length)."""
    index_BL = starts_B[:, None] + torch.arange(length, device=starts_B.device)[None]
    return values_BCF.gather(2, index_BL[:, None].expand(-1, values_BCF.shape[1], -1))


@torch.no_grad()
def reconstruct(model: Any, aligned: Aligned) -> Tensor:
    """Sound of recordings from the means of their latents, shape (B, F * hop)."""
    sound: Tensor = model.decoder(aligned.means_BCF * aligned.frame_mask_B1F, aligned.voice_BE1)[:, 0]
    return sound


@torch.no_grad()
def read_aloud(
    model: Any, tokens_T: list[int], *, speaker: int | None = None, seed: int = 1, longest: int = LONGEST_FRAMES
) -> Tensor:
    """Sound of a text, shape (S,), with the same samples that transformers' VitsModel gives after `manual_seed(seed)`.

    At most `longest` frames are made: what an untrained predictor gives beyond is cut off.
    """
    device = model.text_encoder.embed_tokens.weight.device
    tokens_BT = torch.tensor([tokens_T], device=device)
    mask_B1T = torch.ones(1, 1, len(tokens_T), device=device)
    chosen = None if speaker is None else torch.tensor([speaker], device=device)
    voice = speaker_embedding(model, chosen)
    torch.manual_seed(seed)
    hidden, means_BCT, scales_BCT = prior_of(model, tokens_BT, mask_B1T)
    if model.config.use_stochastic_duration_prediction:
        logarithms = model.duration_predictor(
            hidden, mask_B1T, voice, reverse=True, noise_scale=model.noise_scale_duration
        )
    else:
        logarithms = model.duration_predictor(hidden, mask_B1T, voice)
    bounded = torch.nan_to_num(torch.exp(logarithms), posinf=longest).clamp(max=longest)
    durations_T = torch.ceil(bounded * mask_B1T / model.speaking_rate)[0, 0].long()
    durations_T = _bounded(durations_T, longest)
    if not int(durations_T.sum()):
        durations_T[0] = 1
    index_F = torch.repeat_interleave(torch.arange(len(durations_T), device=device), durations_T)
    means_BCF, scales_BCF = means_BCT[:, :, index_F], scales_BCT[:, :, index_F]
    noise = torch.randn_like(means_BCF.transpose(1, 2).contiguous().transpose(1, 2))
    latents = means_BCF + noise * torch.exp(scales_BCF) * model.noise_scale
    frames = torch.ones(1, 1, latents.shape[2], device=device)
    sound: Tensor = model.decoder(model.flow(latents, frames, voice, reverse=True) * frames, voice)[0, 0]
    return sound


def _bounded(durations_T: Tensor, longest: int) -> Tensor:
    """Durations up to the token at which `longest` frames are full; none after it."""
    before_T = torch.cumsum(durations_T, 0) - durations_T
    return torch.minimum(durations_T, (longest - before_T).clamp(min=0))
