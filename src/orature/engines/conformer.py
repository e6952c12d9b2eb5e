"""A compact Conformer encoder with a CTC head: the recogniser that Orature trains from nothing.

Convolutions bring 10 ms frames to 20 or 40 ms; then Conformer blocks (Gulati et al. 2020, section 2: half-step
feed-forward, self-attention, convolution, half-step feed-forward) with rotary positions (Su et al. 2021, section
3.2) in place of relative ones, because a trainable bias doubles the cost of attention, and with layer norm in place
of batch norm in the convolution, so that a padded batch gives what each utterance gives alone.

Shapes: B utterances, S samples, T frames after subsampling, M mel bins, D model width, H heads, V tokens.

Example::

    model = ConformerCtc(ConformerConfig.of_size("tiny", vocabulary=40))
    logits_BTV, frames_B = model(samples_BS, lengths_B)
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from orature.engines.features import LogMel, Normalisation, mask_spans, normalise
from orature.engines.network import CtcNetwork, Part, Spans

Size = Literal["micro", "tiny", "compact", "small", "wide", "base"]

_SIZES: dict[str, dict[str, int]] = {
    "micro": {"width": 96, "layers": 3, "heads": 4, "front_channels": 16},
    "tiny": {"width": 144, "layers": 5, "heads": 4, "front_channels": 32},
    "compact": {"width": 192, "layers": 6, "heads": 4, "front_channels": 48},
    "small": {"width": 256, "layers": 8, "heads": 4, "front_channels": 64},
    "wide": {"width": 304, "layers": 7, "heads": 4, "front_channels": 64},
    "base": {"width": 512, "layers": 12, "heads": 8, "front_channels": 128},
}


class ConformerConfig(BaseModel, frozen=True, extra="forbid"):
    """Shape of a `ConformerCtc`; `subsampling` is the number of 10 ms frames an output step covers (2 or 4)."""

    model_type: Literal["orature-conformer-ctc"] = "orature-conformer-ctc"
    vocabulary: int
    mels: int = 80
    normalisation: Normalisation = "mean-variance"
    subsampling: Literal[2, 4] = 4
    front_channels: int = 32
    width: int = 144
    layers: int = 5
    heads: int = 4
    feed_forward: int = 4
    kernel: int = 15
    dropout: float = 0.1

    @classmethod
    def sizes(cls) -> tuple[str, ...]:
        """The names that `of_size` knows."""
        return tuple(_SIZES)

    @classmethod
    def of_size(cls, size: Size, *, vocabulary: int, **fields: Any) -> ConformerConfig:
        """The named size: micro about 0.7 M parameters (tests), tiny 2.5, compact 5, small 13, wide 15, base 75 M."""
        return cls(vocabulary=vocabulary, **_SIZES[size], **fields)


class Front(nn.Module):
    """Two 2-D convolutions over time and frequency (the second strided in time only at `subsampling` 4)."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        channels = config.front_channels
        stride = config.subsampling // 2
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(channels, channels, 3, stride=(stride, 2), padding=1, groups=channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.out = nn.Linear(channels * (config.mels // 4), config.width)
        self.strides = (2, stride)

    def frames(self, frames_B: Tensor) -> Tensor:
        """Frame counts after the strides."""
        for stride in self.strides:
            frames_B = torch.div(frames_B + stride - 1, stride, rounding_mode="floor")
        return frames_B

    def forward(self, features_BTM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.first(features_BTM[:, None]))
        halved_B = torch.div(frames_B + 1, 2, rounding_mode="floor")
        mask = torch.arange(hidden.shape[2], device=hidden.device) < halved_B[:, None]
        hidden = hidden * mask[:, None, :, None]
        hidden = F.relu(self.pointwise(self.depthwise(hidden)))
        flat_BTC = hidden.permute(0, 2, 1, 3).flatten(2)
        return self.out(flat_BTC), self.frames(frames_B)


def rotary(steps: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of shape (T, size) for rotary positions."""
    rates = 10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float32, device=device) / size)
    angles = torch.arange(steps, dtype=torch.float32, device=device)[:, None] * rates
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x_BHTE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    """Turns each pair of features by its position's angle."""
    first, second = x_BHTE.chunk(2, dim=-1)
    return x_BHTE * cos_TE + torch.cat([-second, first], dim=-1) * sin_TE


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.norm = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x_BTD: Tensor, mask_B11T: Tensor | None, positions: tuple[Tensor, Tensor]) -> Tensor:
        batch, steps, width = x_BTD.shape
        qkv = self.qkv(self.norm(x_BTD)).view(batch, steps, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        cos, sin = (table.to(q.dtype) for table in positions)
        mixed = F.scaled_dot_product_attention(
            rotate(q, cos, sin),
            rotate(k, cos, sin),
            v,
            attn_mask=mask_B11T,
            dropout_p=self.dropout if self.training else 0.0,
        )
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, steps, width))
        return joined


class Convolution(nn.Module):
    """Gated pointwise, depthwise and pointwise convolution over time."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2, groups=width)
        self.inner_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, mask_BT1: Tensor | None) -> Tensor:
        hidden = F.glu(self.gate(self.norm(x_BTD)), dim=-1)
        if mask_BT1 is not None:
            hidden = hidden * mask_BT1
        hidden = self.depthwise(hidden.transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = self.out(F.silu(self.inner_norm(hidden)))
        return mixed


class FeedForward(nn.Sequential):
    """Layer norm, wide linear, SiLU, dropout, narrow linear."""

    def __init__(self, config: ConformerConfig) -> None:
        inner = config.feed_forward * config.width
        super().__init__(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, inner),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(inner, config.width),
        )


class Block(nn.Module):
    """One Conformer block."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.before = FeedForward(config)
        self.attention = Attention(config)
        self.convolution = Convolution(config)
        self.after = FeedForward(config)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask_BT: Tensor | None, positions: tuple[Tensor, Tensor]) -> Tensor:
        attend = None if mask_BT is None else mask_BT[:, None, None, :]
        keep = None if mask_BT is None else mask_BT[..., None].to(x.dtype)
        x = x + 0.5 * self.dropout(self.before(x))
        x = x + self.dropout(self.attention(x, attend, positions))
        x = x + self.dropout(self.convolution(x, keep))
        x = x + 0.5 * self.dropout(self.after(x))
        normed: Tensor = self.norm(x)
        return normed


class ConformerCtc(CtcNetwork):
    """Samples at 16 kHz to logits a token every `10 * subsampling` ms."""

    takes_warps = True
    head: nn.Linear

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.step_samples = 160 * config.subsampling
        self.mask_bins = config.mels
        self.log_mel = LogMel(config.mels)
        self.front = Front(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = nn.Linear(config.width, config.vocabulary)

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        return {
            "features": list(self.front.parameters()),
            "encoder": list(self.blocks.parameters()),
            "head": list(self.head.parameters()),
        }

    def features(self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalised log-mel features (B, T, M) and frame counts (B,)."""
        features_BTM, frames_B = self.log_mel(samples_BS, lengths_B, warps_B)
        return normalise(features_BTM, frames_B, self.config.normalisation), frames_B

    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        features_BTM, frames_B = self.features(samples_BS, lengths_B, warps_B)
        if spans is not None:
            features_BTM = mask_spans(features_BTM, *spans)
        return self.hidden(features_BTM, frames_B)

    def hidden(self, features_BTM: Tensor, frames_B: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) and valid steps (B,) from normalised features and their frame counts."""
        x, frames_B = self.front(features_BTM, frames_B)
        steps = x.shape[1]
        mask_BT = torch.arange(steps, device=x.device) < frames_B[:, None].clamp(min=1)
        positions = rotary(steps, self.config.width // self.config.heads, x.device)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask_BT, positions)
        return x, frames_B

    def steps(self, samples: int) -> int:
        frames = torch.div(torch.tensor([samples]) - 400, 160, rounding_mode="floor").add(1).clamp(min=0)
        return int(self.front.frames(frames)[0])
