"""The Transformer encoder with a CTC head of massively multilingual pseudo-labelling, from 2 million to a billion.

After Lugosch et al. 2022, "Pseudo-labeling for massively multilingual speech recognition", section 2, which takes the
encoder of slimIPL (Likhomanenko et al. 2020, arXiv 2010.11524). What the papers leave open follows their released
recipes:

- 80 log-mel bins (25 ms Hamming windows every 10 ms), each utterance brought to mean 0 and variance 1 over all its
  frames and bins (layer norm over the input, with one gain and one bias);
- one convolution over time, kernel 7, stride 3 (30 ms a step), to twice the width, a gated linear unit, dropout;
- N layers: self-attention, then a feed-forward part with ReLU; no biases in their linear maps. In "base" and "large" a
  layer norm follows each sum, as in the source; "tiny" and "small" norm what goes into each part instead (and once at
  the end), which needs no long warm-up;
- relative positions of the keys (Shaw et al. 2018, "Self-attention with relative position representations", section
  3.2, without those of the values): query i meets key j with `q_i (k_j + p_{j-i})`, distances clipped at 919 steps.
  Each layer has a table of its own with 1,839 rows of the head size, which its heads share. One table for all layers
  would leave the base model at 262 million parameters; one a layer gives the 275 million (and 1.06 billion) stated;
- layer-drop: in training a whole layer adds nothing with the probability of dropout;
- one linear layer to all characters.

Shapes: B utterances, S samples, T steps, M mel bins, D width, H heads, E head size, R = 2T - 1 distances, V tokens.

Example::

    network = TransformerCtc(TransformerConfig.of_size("tiny", vocabulary=40))
    logits_BTV, steps_B = network(samples_BS, lengths_B)
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from orature.engines.features import LogMel, Normalisation, Window, frames_of, mask_spans, normalise
from orature.engines.network import CtcNetwork, Part, Spans

TransformerSize = Literal["micro", "tiny", "small", "base", "large"]
KERNEL = 7
_VARIANCE_FLOOR = 1.0e-5

_SIZES: dict[str, dict[str, Any]] = {
    "micro": {"width": 96, "layers": 3, "norm": "before"},
    "tiny": {"width": 160, "layers": 6, "norm": "before"},
    "small": {"width": 320, "layers": 8, "norm": "before"},
    "base": {"width": 768, "layers": 36, "norm": "after"},
    "large": {"width": 1536, "layers": 36, "norm": "after"},
}


class TransformerConfig(BaseModel, frozen=True, extra="forbid"):
    """Shape of a `TransformerCtc`; `layer_drop` None means the value of `dropout`, as in the source."""

    model_type: Literal["orature-transformer-ctc"] = "orature-transformer-ctc"
    vocabulary: int = Field(ge=2)
    mels: int = Field(default=80, ge=1)
    window: Window = "hamming"
    normalisation: Literal["layer"] | Normalisation = "layer"
    """ "layer": over all frames and bins of an utterance (the source); else a bin at a time, see `normalise`."""
    stride: int = Field(default=3, ge=1)
    width: int = Field(default=160, ge=1)
    layers: int = Field(default=6, ge=1)
    heads: int = Field(default=4, ge=1)
    feed_forward: int = Field(default=4, ge=1)
    """Width of the feed-forward part in multiples of `width`."""
    context: int = Field(default=920, ge=1)
    """Distances from -(context - 1) to context - 1 are told apart."""
    norm: Literal["after", "before"] = "before"
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    layer_drop: float | None = Field(default=None, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")
        return self

    @classmethod
    def sizes(cls) -> tuple[str, ...]:
        """The names that `of_size` knows."""
        return tuple(_SIZES)

    @classmethod
    def of_size(cls, size: TransformerSize, *, vocabulary: int, **fields: Any) -> TransformerConfig:
        """The named size; with 8,065 tokens base has 275 M parameters and large 1.06 B, as in the paper.

        With 40 tokens micro has about 0.5 M (tests), tiny 2.5 M and small 11 M.
        """
        return cls(**{**_SIZES[size], "vocabulary": vocabulary, **fields})


class InputNorm(nn.Module):
    """Layer norm over the valid frames and all bins of each utterance, with one gain and one bias."""

    def __init__(self, how: Literal["layer"] | Normalisation) -> None:
        super().__init__()
        self.how = how
        self.gain = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, features_BTM: Tensor, frames_B: Tensor, spans: Spans | None) -> Tensor:
        """Normed features, `spans` (SpecAugment) at the mean, padding at 0."""
        valid_BT1 = (torch.arange(features_BTM.shape[1], device=features_BTM.device) < frames_B[:, None])[..., None]
        if self.how == "layer":
            normed_BTM = layer_normalise(features_BTM, frames_B)
        else:
            normed_BTM = normalise(features_BTM, frames_B, self.how)
        if spans is not None:
            normed_BTM = mask_spans(normed_BTM, *spans)
        return (normed_BTM * self.gain + self.bias).masked_fill(~valid_BT1, 0.0)


def layer_normalise(features_BTM: Tensor, frames_B: Tensor) -> Tensor:
    """Each utterance to mean 0 and variance 1 over all its frames and bins; padding becomes 0."""
    valid_BT1 = (torch.arange(features_BTM.shape[1], device=features_BTM.device) < frames_B[:, None])[..., None]
    count_B11 = (frames_B.clamp(min=1) * features_BTM.shape[2])[:, None, None]
    features_BTM = features_BTM.masked_fill(~valid_BT1, 0.0)
    mean_B11 = features_BTM.sum(dim=(1, 2), keepdim=True) / count_B11
    centred_BTM = (features_BTM - mean_B11).masked_fill(~valid_BT1, 0.0)
    variance_B11 = centred_BTM.square().sum(dim=(1, 2), keepdim=True) / count_B11
    return centred_BTM * (variance_B11 + _VARIANCE_FLOOR).rsqrt()


class Front(nn.Module):
    """Convolution over time to twice the width, and a gated linear unit."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = InputNorm(config.normalisation)
        self.conv = nn.Conv1d(config.mels, 2 * config.width, KERNEL, stride=config.stride, padding=KERNEL // 2)

    def forward(self, features_BTM: Tensor, frames_B: Tensor, spans: Spans | None) -> Tensor:
        """Hidden states (B, T, D)."""
        normed_BTM = self.norm(features_BTM, frames_B, spans)
        return F.glu(self.conv(normed_BTM.transpose(1, 2)), dim=1).transpose(1, 2)


def by_key(scores_BHTR: Tensor) -> Tensor:
    """Scores of distances (column r is distance r - (T - 1)) as scores of keys: (B, H, T, R) to (B, H, T, T).

    Row i, column j of the result is row i, column j - i + T - 1 of the input: rows of T steps shifted against each
    other, read as one flat row whose stride is one less (Huang et al. 2018, "Music Transformer", section 3.4.1).
    """
    batch, heads, steps, _ = scores_BHTR.shape
    if steps == 1:
        return scores_BHTR
    flat = scores_BHTR.flatten(2)[..., steps - 1 : steps - 1 + steps * (2 * steps - 2)]
    return flat.view(batch, heads, steps, 2 * steps - 2)[..., :steps]


class Attention(nn.Module):
    """Multi-head self-attention with relative positions of the keys."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.context, self.dropout = config.heads, config.context, config.dropout
        size = config.width // config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.positions = nn.Parameter(torch.empty(2 * config.context - 1, size).uniform_(-0.1, 0.1))

    def distances(self, steps: int) -> Tensor:
        """Rows of the table for distances -(T - 1) to T - 1, shape (R, E); those beyond the context are its ends."""
        beyond = steps - self.context
        if beyond <= 0:
            return self.positions[self.context - steps : self.context + steps - 1]
        first, last = self.positions[:1].expand(beyond, -1), self.positions[-1:].expand(beyond, -1)
        return torch.cat([first, self.positions, last])

    def forward(self, x_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        batch, steps, width = x_BTD.shape
        size = width // self.heads
        qkv = self.qkv(x_BTD).view(batch, steps, 3, self.heads, size)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        near_BHTR = torch.matmul(q * size**-0.5, self.distances(steps).to(q.dtype).transpose(0, 1))
        bias_BHTT = by_key(near_BHTR).masked_fill(~valid_BT[:, None, None, :], float("-inf"))
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias_BHTT.to(q.dtype), dropout_p=self.dropout if self.training else 0.0
        )
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, steps, width))
        return joined


class Layer(nn.Module):
    """One Transformer layer, which training may leave out as a whole."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        inner = config.feed_forward * config.width
        self.before = config.norm == "before"
        self.drop = config.dropout if config.layer_drop is None else config.layer_drop
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.width)
        self.wide = nn.Linear(config.width, inner, bias=False)
        self.narrow = nn.Linear(inner, config.width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        if self.training and self.drop > 0.0 and float(torch.rand((), device="cpu")) < self.drop:
            return self._left_out(x_BTD)
        if self.before:
            x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), valid_BT)
            return x_BTD + self._feed_forward(self.feed_forward_norm(x_BTD))
        x_BTD = self.attention_norm(x_BTD + self.attention(x_BTD, valid_BT))
        normed: Tensor = self.feed_forward_norm(x_BTD + self._feed_forward(x_BTD))
        return normed

    def _feed_forward(self, x_BTD: Tensor) -> Tensor:
        narrow: Tensor = self.narrow(self.dropout(F.relu(self.wide(x_BTD))))
        return narrow

    def _left_out(self, x_BTD: Tensor) -> Tensor:
        """What the layer gives when both parts add nothing; every weight still gets a gradient (of 0).

        Several processes would else wait for gradients that one of them never makes.
        """
        nothing = torch.stack([weight.reshape(-1)[0] for weight in self.parameters()]).sum() * 0.0
        x_BTD = x_BTD + nothing.to(x_BTD.dtype)
        if self.before:
            return x_BTD
        normed: Tensor = self.feed_forward_norm(self.attention_norm(x_BTD))
        return normed


class TransformerCtc(CtcNetwork):
    """Samples at 16 kHz to logits a token every 30 ms; recordings may be of any length."""

    takes_warps = True
    head: nn.Linear

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.step_samples = 160 * config.stride
        self.mask_bins = config.mels
        self.log_mel = LogMel(config.mels, config.window)
        self.front = Front(config)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "before" else nn.Identity()
        self.head = nn.Linear(config.width, config.vocabulary)

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        return {
            "features": list(self.front.parameters()),
            "encoder": [*self.layers.parameters(), *self.norm.parameters()],
            "head": list(self.head.parameters()),
        }

    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        features_BTM, frames_B = self.log_mel(samples_BS, lengths_B, warps_B)
        x_BTD = self.dropout(self.front(features_BTM, frames_B, spans))
        steps_B = torch.div(frames_B + self.config.stride - 1, self.config.stride, rounding_mode="floor")
        valid_BT = torch.arange(x_BTD.shape[1], device=x_BTD.device) < steps_B[:, None].clamp(min=1)
        for layer in self.layers:
            x_BTD = layer(x_BTD, valid_BT)
        return self.norm(x_BTD), steps_B

    def steps(self, samples: int) -> int:
        return -(-frames_of(samples) // self.config.stride)
