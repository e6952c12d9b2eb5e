"""Discriminators of the published sizes, and losses against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from orature.train.voice.discriminators import DiscriminatorConfig, Discriminators, PeriodDiscriminator, both
from orature.train.voice.losses import (
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    prior_divergence,
    prior_score,
)


def size_of(module: nn.Module) -> int:
    """Parameters without those that weight normalisation adds (the length of each row)."""
    total = 0
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d):
            total += layer.weight.numel() + (0 if layer.bias is None else layer.bias.numel())
    return total


def test_discriminators_have_the_published_sizes() -> None:
    judges = Discriminators(DiscriminatorConfig(scales="vits"))
    assert size_of(judges.by_period) == 41_092_165
    assert size_of(judges.by_scale) == 5_637_953
    scales = Discriminators(DiscriminatorConfig(periods=(), scales="hifigan"))
    assert size_of(scales) == 29_610_627 and len(scales.by_scale) == 3
    assert [parametrize.is_parametrized(judge.last) for judge in scales.by_scale] == [True] * 3


def test_folding_into_the_batch_is_the_published_convolution_over_rows() -> None:
    torch.manual_seed(3)
    judge = PeriodDiscriminator(3, shrink=16)
    samples_BS = torch.randn(2, 100)
    scores, features = judge(samples_BS)
    padded = functional.pad(samples_BS[:, None], (0, 2), mode="reflect")
    hidden = padded.view(2, 1, 34, 3)
    for number, layer in enumerate(judge.layers):
        stride = 3 if number < 4 else 1
        hidden = functional.conv2d(hidden, layer.weight[..., None], layer.bias, (stride, 1), (2, 0))
        hidden = functional.leaky_relu(hidden, 0.1)
    last = functional.conv2d(hidden, judge.last.weight[..., None], judge.last.bias, 1, (1, 0))
    assert torch.allclose(scores.sort(dim=1).values, last.flatten(1).sort(dim=1).values, atol=1e-5)
    assert len(features) == 6


def test_real_and_made_sound_are_judged_as_if_alone() -> None:
    torch.manual_seed(1)
    judges = Discriminators(DiscriminatorConfig(periods=(2, 5), shrink=16)).eval()
    real_BS, made_BS = torch.randn(2, 4096), torch.randn(2, 4096)
    (real, real_maps), (made, made_maps) = both(judges, real_BS, made_BS)
    alone, maps = judges(made_BS)
    for one, other in zip(made, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    for some, others in zip(made_maps, maps, strict=True):
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(some, others, strict=True))
    assert not torch.allclose(real[0], made[0]) and len(real_maps) == len(made_maps) == 3


def test_scales_see_averaged_sound() -> None:
    judges = Discriminators(DiscriminatorConfig(periods=(), scales="hifigan", shrink=16))
    scores, _ = judges(torch.randn(1, 8192))
    lengths = [score.shape[1] for score in scores]
    assert lengths[0] > lengths[1] > lengths[2] and lengths[0] / lengths[1] == pytest.approx(2, rel=0.1)


def test_adversarial_losses_are_least_squares() -> None:
    real, made = [torch.tensor([[1.0, 0.0]])], [torch.tensor([[0.5, 0.0]])]
    assert float(discriminator_loss(real, made)) == pytest.approx(0.5 + 0.125)
    assert float(adversarial_loss(made)) == pytest.approx((0.25 + 1.0) / 2)
    goods, bads = [[torch.ones(2, requires_grad=True)]], [[torch.zeros(2, requires_grad=True)]]
    loss = feature_loss(goods, bads)
    loss.backward()
    assert float(loss.detach()) == 2.0 and goods[0][0].grad is None and bads[0][0].grad is not None


def test_divergence_is_that_of_two_normal_distributions() -> None:
    torch.manual_seed(0)
    mean, log_scale = 0.7, math.log(1.5)
    other_mean, other_log_scale = -0.2, math.log(0.8)
    drawn = mean + math.exp(log_scale) * torch.randn(1, 1, 200_000)
    shape = torch.ones_like(drawn)
    found = prior_divergence(
        drawn, log_scale * shape, other_mean * shape, other_log_scale * shape, torch.ones(1, 1, 200_000)
    )
    first, second = torch.distributions.Normal(mean, 1.5), torch.distributions.Normal(other_mean, 0.8)
    assert float(found) == pytest.approx(float(torch.distributions.kl_divergence(first, second)), rel=0.02)


def test_the_score_of_the_alignment_is_the_likelihood_of_the_prior() -> None:
    torch.manual_seed(2)
    flowed, means, scales = torch.randn(2, 5, 7), torch.randn(2, 5, 3), 0.3 * torch.randn(2, 5, 3)
    found = prior_score(flowed, means, scales)
    normal = torch.distributions.Normal(means[:, :, None], torch.exp(scales)[:, :, None])
    wanted = normal.log_prob(flowed[..., None]).sum(1) + 2.5 * math.log(2 * math.pi)
    assert found.shape == (2, 7, 3) and np.allclose(found, wanted, atol=1e-4)
