"""Rates and differences in words, for the lines that recipes say.

Example::

    rate_said({"value": 0.226, "low": 0.21, "high": 0.24})        # "22.6 (21.0-24.0) %"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rate_said(rate: Mapping[str, Any]) -> str:
    """A rate in percent, with its interval where there is one."""
    if rate.get("low") is None:
        return f"{100 * rate['value']:.1f} %"
    return f"{100 * rate['value']:.1f} ({100 * rate['low']:.1f}-{100 * rate['high']:.1f}) %"


def points_said(found: Mapping[str, Any]) -> str:
    """A difference in points of a percent, with its interval where there is one."""
    low, high = found.get("low"), found.get("high")
    span = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * found['delta']:+.1f} points{span}"
