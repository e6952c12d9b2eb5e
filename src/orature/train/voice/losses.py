"""The losses of VITS: adversarial by least squares, feature matching, and the divergence of posterior and prior.

Example::

    loss = discriminator_loss(real_scores, made_scores)
    loss = adversarial_loss(made_scores) + feature_loss(real_features, made_features)

Kim, Kong, Son 2021, sections 2.1 to 2.3; Mao et al. 2017, "Least squares generative adversarial networks"; Larsen et
al. 2016, "Autoencoding beyond pixels using a learned similarity metric" (feature matching).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FEATURE_WEIGHT = 2.0
"""Of HiFi-GAN (Kong et al. 2020, section 2.4), which VITS takes over."""


def discriminator_loss(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Sum over discriminators: real sound shall score 1, made sound 0."""
    total = torch.zeros((), device=real[0].device)
    for good, bad in zip(real, made, strict=True):
        total = total + (1.0 - good).square().mean() + bad.square().mean()
    return total


def adversarial_loss(made: Sequence[Tensor]) -> Tensor:
    """Sum over discriminators: made sound shall score 1."""
    total = torch.zeros((), device=made[0].device)
    for score in made:
        total = total + (1.0 - score).square().mean()
    return total


def feature_loss(real: Sequence[Sequence[Tensor]], made: Sequence[Sequence[Tensor]]) -> Tensor:
    """Twice the sum of the mean absolute differences of all feature maps; real ones are constants."""
    total = torch.zeros((), device=made[0][0].device)
    for goods, bads in zip(real, made, strict=True):
        for good, bad in zip(goods, bads, strict=True):
            total = total + (good.detach() - bad).abs().mean()
    return FEATURE_WEIGHT * total


def prior_divergence(
    flowed_BCF: Tensor, posterior_log_scale_BCF: Tensor, mean_BCF: Tensor, log_scale_BCF: Tensor, mask_B1F: Tensor
) -> Tensor:
    """KL of posterior and prior at one sample, summed over channels, a mean over frames (equation 4).

    `flowed_BCF`: the sample through the flow; `mean_BCF` and `log_scale_BCF`: the prior, expanded to frames.
    """
    divergence = log_scale_BCF - posterior_log_scale_BCF - 0.5
    divergence = divergence + 0.5 * (flowed_BCF - mean_BCF).square() * torch.exp(-2.0 * log_scale_BCF)
    return (divergence * mask_B1F).sum() / mask_B1F.sum()


def prior_score(flowed_BCF: Tensor, mean_BCT: Tensor, log_scale_BCT: Tensor) -> Tensor:
    """Log-likelihood of each frame under the prior of each token, shape (B, F, T): what the alignment maximises."""
    weight_BCT = torch.exp(-2.0 * log_scale_BCT)
    constant_B1T = (-0.5 * (mean_BCT.square() * weight_BCT) - log_scale_BCT).sum(1, keepdim=True)
    flowed_BFC = flowed_BCF.transpose(1, 2)
    squares_BFT = (-0.5 * flowed_BFC.square()) @ weight_BCT
    products_BFT = flowed_BFC @ (mean_BCT * weight_BCT)
    return squares_BFT + products_BFT + constant_B1T
