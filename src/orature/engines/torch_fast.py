"""Quicker inference with torch on a CPU: the same numbers by another order of work, or bfloat16 where that is allowed.

Most of the time of a small wav2vec 2.0 model on a CPU goes into its convolutions from samples to steps (Baevski et al.
2020, section 2): transformers keeps channels first, so each layer norm copies its input twice, and one layer's output
for ten seconds of speech (512 channels every 0.3 ms) fits no cache. `QuickFront` keeps channels last, writes each
strided convolution as matrix products over views of its input, and goes through a recording in pieces of a second. The
group norm of the first layer (wav2vec2-base, HuBERT base), whose statistics are over a whole recording, is folded into
that convolution: its output's mean and variance follow from the mean and covariance of the samples of a window.

In float32 the results differ from the slow way in the last digits only; `precision="bf16"` computes matrix products in
bfloat16 (8 bits of mantissa), quick on processors with AVX512-BF16 or AMX.

Shapes: B recordings, S samples, T steps, C channels, K samples or steps under a kernel.

Example::

    quicken(network, precision="fp32")      # in place; the CtcRecogniser does it
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.engines.network import Network, Seq2SeqNetwork

Precision = Literal["fp32", "bf16"]
TILE_STEPS = 50
"""Steps a piece: about a second, whose largest hidden layer is about as large as a core's second-level cache."""
_FEW = 64
"""Below so many numbers a window is copied: a product over two narrow views costs more than the copy."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One convolution with what follows: `weight_KO` holds kernel position by kernel position the inputs' rows."""

    weight_KO: Tensor
    bias_O: Tensor
    kernel: int
    stride: int
    norm: nn.Module | None
    activation: Any

    def __call__(self, x_TC: Tensor, weight_KO: Tensor, bias_O: Tensor) -> Tensor:
        hidden_TO = self.convolve(x_TC, weight_KO, bias_O)
        if isinstance(self.norm, nn.LayerNorm):
            weight, bias = (one.to(hidden_TO.dtype) for one in (self.norm.weight, self.norm.bias))
            hidden_TO = F.layer_norm(hidden_TO, self.norm.normalized_shape, weight, bias, self.norm.eps)
        return cast(Tensor, self.activation(hidden_TO))

    def convolve(self, x_TC: Tensor, weight_KO: Tensor, bias_O: Tensor) -> Tensor:
        """The convolution: a product for each `stride` positions of the kernel, over a view where that is possible."""
        channels = x_TC.shape[1]
        steps = (x_TC.shape[0] - self.kernel) // self.stride + 1
        if self.stride * channels < _FEW:
            return torch.addmm(bias_O, _windows(x_TC, steps, self.kernel, self.stride, 0), weight_KO)
        hidden_TO: Tensor | None = None
        for first in range(0, self.kernel, self.stride):
            width = min(self.stride, self.kernel - first)
            window = _windows(x_TC, steps, width, self.stride, first)
            rows = weight_KO[first * channels : (first + width) * channels]
            hidden_TO = torch.addmm(bias_O, window, rows) if hidden_TO is None else hidden_TO.addmm_(window, rows)
        return cast(Tensor, hidden_TO)


def _windows(x_TC: Tensor, steps: int, width: int, stride: int, first: int) -> Tensor:
    """`width` neighbours of each of `steps` steps side by side, as a view."""
    channels = x_TC.shape[1]
    return x_TC.as_strided((steps, width * channels), (stride * channels, 1), x_TC.storage_offset() + first * channels)


class QuickFront:
    """The convolutions of a wav2vec 2.0 kind of network, recording by recording and piece by piece."""

    def __init__(self, layers: Sequence[nn.Module], precision: Precision) -> None:
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        # The first layer takes little time, and what it hears is best left unrounded.
        dtypes = [torch.float32, *[self.dtype] * (len(layers) - 1)]
        self.layers = [_layer_of(cast(Any, layer), dtype) for layer, dtype in zip(layers, dtypes, strict=True)]
        self.hop = 1
        for layer in self.layers:
            self.hop *= layer.stride
        self.reach = 1
        for layer in reversed(self.layers):
            self.reach = (self.reach - 1) * layer.stride + layer.kernel
        group = getattr(layers[0], "layer_norm", None)
        self.group = group if isinstance(group, nn.GroupNorm) else None

    def __call__(self, heard_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """Channels of the last convolution, (B, C, T), of samples as the network hears them; zeros past each end."""
        steps = [max(0, (int(length) - self.reach) // self.hop + 1) for length in lengths_B]
        channels = self.layers[-1].bias_O.shape[0]
        hidden_BTC = heard_BS.new_zeros(len(steps), max(1, *steps) if steps else 1, channels)
        with torch.autocast(heard_BS.device.type, enabled=False):
            for row_TC, heard_S, length, count in zip(hidden_BTC, heard_BS, lengths_B.tolist(), steps, strict=True):
                self._one(heard_S[:length], row_TC[:count])
        return hidden_BTC.transpose(1, 2)

    def _one(self, heard_S: Tensor, out_TC: Tensor) -> None:
        weights = [(layer.weight_KO, layer.bias_O) for layer in self.layers]
        if self.group is not None and len(out_TC):
            weights[0] = self._folded(heard_S)
        samples_S1 = heard_S.contiguous()[:, None]
        for first in range(0, len(out_TC), TILE_STEPS):
            last = min(first + TILE_STEPS, len(out_TC))
            hidden_TC = samples_S1[first * self.hop : (last - 1) * self.hop + self.reach]
            for layer, (weight_KO, bias_O) in zip(self.layers, weights, strict=True):
                hidden_TC = layer(hidden_TC.to(weight_KO.dtype), weight_KO, bias_O)
            out_TC[first:last] = hidden_TC

    def _folded(self, heard_S: Tensor) -> tuple[Tensor, Tensor]:
        """The first convolution with the group norm (one group a channel) of this recording in it."""
        layer, norm = self.layers[0], cast(nn.GroupNorm, self.group)
        windows_TK = heard_S.double().unfold(0, layer.kernel, layer.stride)
        mean_K = windows_TK.mean(dim=0)
        centred_TK = windows_TK - mean_K
        covariance_KK = centred_TK.T @ centred_TK / len(windows_TK)
        weight_KO = layer.weight_KO.double()
        mean_O = mean_K @ weight_KO + layer.bias_O.double()
        variance_O = ((covariance_KK @ weight_KO) * weight_KO).sum(dim=0).clamp(min=0.0)
        scale_O = norm.weight.double() * torch.rsqrt(variance_O + norm.eps)
        bias_O = (layer.bias_O.double() - mean_O) * scale_O + norm.bias.double()
        return (weight_KO * scale_O).float(), bias_O.float()


def _layer_of(layer: Any, dtype: torch.dtype) -> _Layer:
    convolution: nn.Conv1d = layer.conv
    weight_KO = convolution.weight.detach().permute(2, 1, 0).reshape(-1, convolution.out_channels)
    bias_O = weight_KO.new_zeros(convolution.out_channels) if convolution.bias is None else convolution.bias.detach()
    return _Layer(
        weight_KO.to(dtype).contiguous(),
        bias_O.to(dtype),
        convolution.kernel_size[0],
        convolution.stride[0],
        getattr(layer, "layer_norm", None),
        layer.activation,
    )


def quicken(network: Network, *, precision: Precision = "fp32") -> None:
    """Readies a freshly loaded network for inference only.

    One of the wav2vec 2.0 kind gets a `QuickFront`. An encoder-decoder with `precision` "bf16" encodes in it; its
    decoder, one token at a time, would only lose by it. Others stay as they are.
    """
    if isinstance(network, Seq2SeqNetwork) and precision == "bf16":
        encode: Any = cast(Any, network).encode

        def rounded(samples_BS: Tensor, lengths_B: Tensor, spans: Any = None) -> tuple[Tensor, Tensor | None]:
            with cast_products(samples_BS.device, "bf16"):
                encoder_BTD, mask_BT = encode(samples_BS, lengths_B, spans)
            return encoder_BTD.float(), mask_BT

        cast(Any, network).encode = rounded
        return
    layers = getattr(getattr(getattr(network, "base", None), "feature_extractor", None), "conv_layers", None)
    if not hasattr(network, "quick_front") or layers is None or not all(_plain(layer.conv) for layer in layers):
        return
    cast(Any, network).quick_front = QuickFront(list(layers), precision)


def _plain(convolution: nn.Conv1d) -> bool:
    """Whether it is a convolution without padding, dilation or groups."""
    ours = (convolution.padding, convolution.dilation, convolution.groups)
    return ours == ((0,), (1,), 1)


def cast_products(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Within it, matrix products are computed in `precision`; sums, norms and what is passed on stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
