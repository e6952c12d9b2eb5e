"""Convolutions of a few taps with fewer products than taps: the algorithms of Toom, Cook and Winograd as matrices.

`m` outputs of a filter with `K` taps are products of polynomials: evaluate taps and samples at `N = m + K - 1` points,
multiply point by point, interpolate. In a network the products are matrices (channels by channels), so that half or a
quarter of the arithmetic is saved; evaluation and interpolation are two small matrices for all channels.

Example::

    found = short_filter(7)                          # m = 8 outputs from N = 14 samples with n = 15 products
    y = found.after @ ((found.taps @ w) * (found.before @ x))        # y[i] = sum over k of w[k] * x[i + k]

Real points (0, infinity, 1, -1, ...) take one product each but spread in size, which costs precision; pairs of points
on the unit circle take three products for two points (Karatsuba) and cost none. The choices below keep errors in
float32 about 110 dB below the result. Winograd 1980, "Arithmetic complexity of computations", chapters 3 to 5;
Lavin, Gray 2016, "Fast algorithms for convolutional neural networks", section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_FEW = (0.0, math.inf, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0)
_MANY = (0.0, math.inf, 1.0, -1.0, 3 / 8, -3 / 8, 8 / 3, -8 / 3, 11 / 16, -11 / 16, 16 / 11, -16 / 11)
_CHOICES: dict[int, tuple[Sequence[float], int]] = {3: (_FEW, 0), 5: (_FEW, 1), 7: (_MANY, 1), 11: (_MANY, 5)}
"""By number of taps: the real points, and how many pairs on the unit circle."""


@dataclass(frozen=True, slots=True)
class ShortFilter:
    """Matrices of one algorithm in float64.

    `before` (n, N) is for the samples, `taps` (n, K) for the filter, `after` (m, n) for the products. The product with
    number `constant` enters every output with the factor 1: a bias is added there.
    """

    before: Matrix
    taps: Matrix
    after: Matrix
    constant: int

    @property
    def outputs(self) -> int:
        return int(self.after.shape[0])

    @property
    def samples(self) -> int:
        return int(self.before.shape[1])

    @property
    def products(self) -> int:
        return int(self.before.shape[0])


@cache
def short_filter(taps: int) -> ShortFilter | None:
    """The algorithm for that many taps; None where there is none."""
    if taps not in _CHOICES:
        return None
    real, pairs = _CHOICES[taps]
    return filter_of(taps, real, pairs)


def filter_of(taps: int, real: Sequence[float], pairs: int) -> ShortFilter:
    """The algorithm with these real points (1 among them) and so many pairs on the unit circle away from the axis.

    The filter is the transposed product of polynomials: with `s = Q((P_m a) * (P_K w))` for all a and w, the outputs
    are `P_m^T ((P_K w) * (Q^T x))`.
    """
    samples = len(real) + 2 * pairs
    outputs = samples - taps + 1
    angles = [math.pi * (0.5 + (place - (pairs - 1) / 2) / (pairs + 1.8)) for place in range(pairs)]

    def values(length: int) -> Matrix:
        powers = np.arange(length)
        rows: list[Matrix] = []
        for one in real:  # beyond 1 from the other end, so that no power is large and infinity is a point as any other
            rows.append(np.float64(one) ** powers if abs(one) <= 1 else np.float64(1 / one) ** powers[::-1])
        for angle in angles:
            turned = angle * np.arange(length)
            rows += [np.cos(turned), np.sin(turned)]
        return np.array(rows)

    def evaluated(length: int) -> Matrix:
        rows = values(length)
        found = list(rows[: len(real)])
        for first in range(len(real), samples, 2):
            found += [rows[first], rows[first + 1], rows[first] + rows[first + 1]]
        return np.array(found)

    inverse = np.linalg.inv(values(samples))
    columns = list(inverse.T[: len(real)])
    for first in range(len(real), samples, 2):
        cosine, sine = inverse[:, first], inverse[:, first + 1]
        columns += [cosine - sine, -cosine - sine, sine]
    return ShortFilter(np.array(columns), evaluated(taps), evaluated(outputs).T.copy(), list(real).index(1.0))
