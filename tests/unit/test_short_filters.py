"""Short filters: exact in float64, and in float32 with errors far below the result, whatever the channels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orature.engines.short_filters import filter_of, short_filter


@pytest.mark.parametrize("taps", [3, 5, 7, 11])
def test_a_short_filter_is_the_filter(taps: int) -> None:
    found = short_filter(taps)
    assert found is not None and found.samples == found.outputs + taps - 1 and found.products < found.outputs * taps
    rng = np.random.default_rng(taps)
    w, x = rng.standard_normal(taps), rng.standard_normal(found.samples)
    y = found.after @ ((found.taps @ w) * (found.before @ x))
    np.testing.assert_allclose(y, np.convolve(x, w[::-1], "valid"), atol=1e-9)
    assert (found.after[:, found.constant] == 1.0).all()


@pytest.mark.parametrize("taps", [3, 5, 7, 11])
@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_rounding_stays_far_below_the_result(taps: int, offset: float) -> None:
    """32 channels with and without a constant part, as layers see it; the error against what varies."""
    found = short_filter(taps)
    assert found is not None
    rng = np.random.default_rng(taps)
    x = rng.standard_normal((found.samples, 50, 32)) + offset
    w = rng.standard_normal((taps, 32, 32)) / math.sqrt(32 * taps)
    wanted = np.stack([sum(x[i + k] @ w[k] for k in range(taps)) for i in range(found.outputs)])
    before, after = found.before.astype(np.float32), found.after.astype(np.float32)
    weights = np.tensordot(found.taps, w, 1).astype(np.float32)
    products = np.tensordot(before, x.astype(np.float32), 1) @ weights
    error = np.tensordot(after, products, 1) - wanted
    varies = wanted - wanted.mean((0, 1))
    assert 10 * np.log10((varies**2).mean() / (error**2).mean()) > (100 if offset == 0 else 80)


def test_other_numbers_of_taps_have_none_and_any_points_will_do() -> None:
    assert short_filter(9) is None and short_filter(4) is None
    found = filter_of(4, (1.0, 0.0), 2)
    w, x = np.arange(1.0, 5.0), np.arange(found.samples) ** 2.0
    y = found.after @ ((found.taps @ w) * (found.before @ x))
    np.testing.assert_allclose(y, np.convolve(x, w[::-1], "valid"), atol=1e-9)
