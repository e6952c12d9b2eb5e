"""The HiFi-GAN decoder of VITS for one utterance on a CPU, with about half of the arithmetic and the same sound.

Nine tenths of the time of a small VITS are convolutions over time with 3, 7 or 11 taps between as many channels as
before, which torch computes at the full speed of a core. What is left is to compute less: where there are channels
enough, the taps go through `short_filters`. Frames lie behind each other with their channels side by side (time-major),
so that tiles, dilations and transposed convolutions are products of matrices over views and nothing is reordered.

Example::

    decoder = FastDecoder(model.decoder)          # None of it for other devices, types or odd shapes: see `fits`
    wave_S = decoder(latent_DF, speaker_E1)

Samples differ from those of `VitsModel.decoder` by rounding (96 to 132 dB below them; the tests hold 90), and depend on
the latents alone. Shapes: D flow, F frames, C channels in, O channels out, T samples of a stage, E speaker, S samples.
Kong, Kim, Bae 2020, "HiFi-GAN", section 2.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orature.engines.short_filters import ShortFilter, short_filter

_SCRATCH = 512 * 1024
"""Floats of a piece of work between two stages: about what stays in the cache of a core."""
_FEWEST_ROWS = 256
"""Rows of a product of matrices that are enough for full speed."""
_LAST_SLOPE = 0.01
"""That of torch, which transformers leaves in front of the last convolution."""


class FastDecoder(nn.Module):
    """Weights of `decoder` (a VitsHifiGan in float32) laid out for `__call__`; `fits(decoder)` must hold."""

    last_CK: Tensor

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.first, self.cond = decoder.conv_pre, getattr(decoder, "cond", None)
        self.slope = float(decoder.config.leaky_relu_slope)
        kernels = int(decoder.num_kernels)
        share = 1.0  # the mean over blocks is left to the weights of the layer that follows
        stages = []
        for number, upsample in enumerate(decoder.upsampler):
            blocks = decoder.resblocks[number * kernels : (number + 1) * kernels]
            stages.append(_Stage(upsample, blocks, self.slope, share))
            share = 1.0 / kernels
        self.stages = nn.ModuleList(stages)
        self.register_buffer("last_CK", (decoder.conv_post.weight[0] * share).detach(), persistent=False)
        self.margin = max([self.last_CK.shape[1] // 2, *(stage.margin for stage in stages)])

    @torch.inference_mode()
    def forward(self, latent_DF: Tensor, speaker_E1: Tensor | None = None) -> Tensor:
        """Samples in [-1, 1], shape (F * hop,)."""
        hidden_1CF = self.first(latent_DF[None])
        if speaker_E1 is not None and self.cond is not None:
            hidden_1CF = hidden_1CF + self.cond(speaker_E1[None])
        rows = _Rows(hidden_1CF.shape[2], hidden_1CF.shape[1], self.margin)
        rows.inside().copy_(hidden_1CF[0].T)
        for stage in self.stages:
            rows = stage(rows)
        return torch.tanh(self._last(rows))

    def _last(self, rows: _Rows) -> Tensor:
        taps = self.last_CK.shape[1]
        heard_TC = nn.functional.leaky_relu(rows.around(taps // 2), _LAST_SLOPE)
        products_TK = torch.mm(heard_TC, self.last_CK)
        return products_TK.as_strided((rows.length, taps), (taps, taps + 1)).sum(1)


def fits(decoder: Any) -> bool:
    """Whether `FastDecoder` can stand for it: float32 on a CPU, odd taps, and upsampling by whole factors."""
    weight = decoder.conv_pre.weight
    odd = all(size % 2 == 1 for size in decoder.config.resblock_kernel_sizes)
    whole = all(
        layer.kernel_size[0] >= layer.stride[0] and (layer.kernel_size[0] - layer.stride[0]) % 2 == 0
        for layer in decoder.upsampler
    )
    plain = decoder.conv_post.bias is None and decoder.conv_post.kernel_size[0] % 2 == 1
    return bool(weight.device.type == "cpu" and weight.dtype == torch.float32 and odd and whole and plain)


class _Rows:
    """`length` rows of `channels` numbers amid `margin` rows of silence on either side."""

    def __init__(self, length: int, channels: int, margin: int) -> None:
        self.length, self.channels, self.margin = length, channels, margin
        self.all = torch.empty(length + 2 * margin, channels)
        self.quiet()

    def quiet(self) -> None:
        """Makes silence again of what tiles have left beyond the ends."""
        self.all[: self.margin].zero_()
        self.all[self.margin + self.length :].zero_()

    def inside(self) -> Tensor:
        return self.around(0)

    def around(self, reach: int) -> Tensor:
        """The rows with `reach` rows of silence on either side, shape (length + 2 * reach, channels)."""
        return self.all[self.margin - reach : self.margin + self.length + reach]

    def view(self, start: int, shape: tuple[int, ...], steps: tuple[int, ...]) -> Tensor:
        """From row `start` (may be negative), steps in rows; the last axis runs over neighbouring numbers."""
        strides = (*(step * self.channels for step in steps), 1)
        return self.all.as_strided(shape, strides, (self.margin + start) * self.channels)


class _Stage(nn.Module):
    """An upsampling and the sum of its blocks."""

    def __init__(self, upsample: Any, blocks: Any, slope: float, share: float) -> None:
        super().__init__()
        self.slope = slope
        self.upsample = _Upsampling(upsample, share)
        self.blocks = nn.ModuleList(_Block(block, slope) for block in blocks)
        reaches = [layer.margin for layer in self.modules() if isinstance(layer, _Convolution)]
        self.margin = max([self.upsample.margin, *reaches])

    def forward(self, before: _Rows) -> _Rows:
        came: _Rows = self.upsample(before, self.slope)
        inner, total, other = (_Rows(came.length, came.channels, came.margin) for _ in range(3))
        for number, block in enumerate(self.blocks):
            block(came, inner, total if number == 0 else other)
            if number:
                total.inside().add_(other.inside())
        return total


class _Block(nn.Module):
    """A residual block: pairs of convolutions, each pair added to what came into it."""

    def __init__(self, block: Any, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.firsts = nn.ModuleList(map(_convolution, block.convs1))
        self.seconds = nn.ModuleList(map(_convolution, block.convs2))

    def forward(self, came: _Rows, inner: _Rows, target: _Rows) -> None:
        """Fills `target`; `inner` is room for what lies between the two of a pair."""
        hidden = came
        for first, second in zip(self.firsts, self.seconds, strict=True):
            first(hidden, inner, slope=self.slope, squash=self.slope)
            second(inner, target, plus=hidden)
            hidden = target


class _Upsampling(nn.Module):
    """A transposed convolution: products with all taps of a step, laid over those of the steps before."""

    weight_PCQ: Tensor
    bias_Q: Tensor

    def __init__(self, layer: nn.ConvTranspose1d, share: float) -> None:
        super().__init__()
        self.stride, taps = int(layer.stride[0]), int(layer.kernel_size[0])
        self.pad = (taps - self.stride) // 2
        steps = -(-taps // self.stride)
        weight_COK = nn.functional.pad(layer.weight.detach() * share, (0, steps * self.stride - taps))
        weight_PCQ = torch.stack([part.transpose(1, 2).flatten(1) for part in torch.split(weight_COK, self.stride, 2)])
        self.channels = int(weight_COK.shape[1])
        bias = layer.bias if layer.bias is not None else weight_COK.new_zeros(self.channels)
        self.register_buffer("weight_PCQ", weight_PCQ.contiguous(), persistent=False)
        self.register_buffer("bias_Q", bias.detach().repeat(self.stride), persistent=False)
        self.margin = steps * self.stride

    def forward(self, before: _Rows, slope: float) -> _Rows:
        heard_TC = nn.functional.leaky_relu(before.inside(), slope)
        after = _Rows(before.length * self.stride, self.channels, before.margin)
        steps, _, width = self.weight_PCQ.shape
        spread_TQ = after.view(-self.pad, (before.length + steps - 1, width), (self.stride,))
        spread_TQ.copy_(self.bias_Q.expand_as(spread_TQ))
        for step in range(steps):
            spread_TQ[step : step + before.length].addmm_(heard_TC, self.weight_PCQ[step])
        after.quiet()
        return after


class _Convolution(nn.Module):
    """`target = leaky_relu(convolution(leaky_relu(source, slope)), squash)`, or the convolution `plus` other rows.

    What it reads and leaves beyond the ends lies within `margin` rows.
    """

    margin: int
    dilation: int
    bias_O: Tensor | None

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        self.dilation = int(layer.dilation[0])
        self.reach = (int(layer.kernel_size[0]) - 1) // 2 * self.dilation
        self.register_buffer("bias_O", None if layer.bias is None else layer.bias.detach(), persistent=False)


class _PlainConvolution(_Convolution):
    """torch's own, over channels that lie side by side."""

    weight_OC1K: Tensor

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__(layer)
        self.margin = self.reach
        weight = layer.weight.detach()[:, :, None].contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight_OC1K", weight, persistent=False)

    def forward(
        self, source: _Rows, target: _Rows, *, slope: float = 1.0, squash: float = 1.0, plus: _Rows | None = None
    ) -> None:
        given_TC = source.around(self.reach)
        if slope != 1.0:
            given_TC = nn.functional.leaky_relu(given_TC, slope)
        given_1C1T = given_TC[None, None].permute(0, 3, 1, 2)
        made_1O1T = nn.functional.conv2d(given_1C1T, self.weight_OC1K, self.bias_O, dilation=(1, self.dilation))
        made_TO = made_1O1T.permute(0, 2, 3, 1)[0, 0]
        _put(made_TO, target.inside(), squash, None if plus is None else plus.inside())


class _ShortConvolution(_Convolution):
    """By `ShortFilter`: tiles of m * dilation rows, each phase of the dilation a filter of its own.

    Shapes: N samples and m outputs of a tile and phase, n products, R tiles times phases, W phases times channels.
    """

    weight_nCO: Tensor
    before_nN: Tensor
    after_mn: Tensor

    def __init__(self, layer: nn.Conv1d, short: ShortFilter) -> None:
        super().__init__(layer)
        self.margin = short.outputs * self.dilation + self.reach
        weight_OCK = layer.weight.detach().double()
        weight_nCO = torch.einsum("nk,ock->nco", torch.from_numpy(short.taps), weight_OCK)
        self.constant = short.constant
        self.samples, self.products, self.outputs = short.samples, short.products, short.outputs
        self.register_buffer("weight_nCO", weight_nCO.float().contiguous(), persistent=False)
        self.register_buffer("before_nN", torch.from_numpy(short.before).float(), persistent=False)
        self.register_buffer("after_mn", torch.from_numpy(short.after).float(), persistent=False)

    def forward(
        self, source: _Rows, target: _Rows, *, slope: float = 1.0, squash: float = 1.0, plus: _Rows | None = None
    ) -> None:
        step = self.outputs * self.dilation
        tiles = -(-source.length // step)
        numbers = (self.samples + self.products) * source.channels + (self.products + self.outputs) * target.channels
        most = min(tiles, max(_SCRATCH // (numbers * self.dilation), -(-_FEWEST_ROWS // self.dilation)))
        room = torch.empty(most * numbers * self.dilation)
        for start in range(0, tiles, most):
            count = min(most, tiles - start)
            window = (self.samples, count, self.dilation * source.channels), (self.dilation, step)
            made_mW = self._tiles(source.view(start * step - self.reach, *window), slope, room)
            place = start * step, (count, self.outputs, made_mW.shape[2]), (step, self.dilation)
            _put(made_mW.transpose(0, 1), target.view(*place), squash, None if plus is None else plus.view(*place))
        target.quiet()

    def _tiles(self, window_NW: Tensor, slope: float, room: Tensor) -> Tensor:
        """Outputs of tiles, shape (m, tiles, W), in a part of `room`; `window_NW` has the shape (N, tiles, W)."""
        count, width = window_NW.shape[1:]
        rows, channels = count * self.dilation, self.weight_nCO.shape[2]
        ends = (self.samples * count * width, self.products * count * width, self.products * rows * channels)
        first, second, third = ends[0], ends[0] + ends[1], sum(ends)
        taken_N = room[:first].view(self.samples, count, width)
        before_n = room[first:second].view(self.products, count * width)
        products_nRO = room[second:third].view(self.products, rows, channels)
        made_m = room[third : third + self.outputs * rows * channels].view(self.outputs, rows * channels)
        _put(window_NW, taken_N, slope, None)
        torch.mm(self.before_nN, taken_N.view(self.samples, -1), out=before_n)
        torch.bmm(before_n.view(self.products, rows, -1), self.weight_nCO, out=products_nRO)
        if self.bias_O is not None:
            products_nRO[self.constant] += self.bias_O
        torch.mm(self.after_mn, products_nRO.view(self.products, -1), out=made_m)
        return made_m.view(self.outputs, count, self.dilation * channels)


def _convolution(layer: nn.Conv1d) -> _Convolution:
    """The way that is quicker for these taps and channels."""
    taps = int(layer.kernel_size[0])
    found = short_filter(taps)
    enough = layer.in_channels >= (64 if taps < 7 else 32)
    return _ShortConvolution(layer, found) if found is not None and enough else _PlainConvolution(layer)


def _put(made: Tensor, target: Tensor, squash: float, plus: Tensor | None) -> None:
    """`target = leaky_relu(made, squash) + plus` without a pass for what is not asked (one of the two)."""
    if plus is not None:
        torch.add(plus, made, out=target)
    elif squash != 1.0:
        torch._C._nn.leaky_relu(made, squash, out=target)
    else:
        target.copy_(made)
