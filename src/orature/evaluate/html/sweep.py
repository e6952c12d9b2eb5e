"""The sweep of ratios of synthetic to real speech on dev, as a chart: each with its interval, real speech alone beside.

Example::

    sweep_chart(score["arms"])       # "" where there are no ratios
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.charts import Line, line_chart
from orature.evaluate.html.text import escape, percent, span

_UNITS = (("cer", "b"), ("wer", "c"))


def sweep_chart(arms: Mapping[str, Any]) -> str:
    """One chart a metric (that which chose the ratio first) and the figures as a table."""
    points = swept(arms)
    if not points:
        return ""
    real = next((row for row in arms["sweep"] if row["role"] == "real"), None)
    units = sorted(_UNITS, key=lambda pair: pair[0] != arms["metric"])
    charts = "".join(_chart(points, real, unit, style) for unit, style in units)
    failed = "".join(
        f'<p class="note">A ratio of {escape(ratio)} could not be trained: {escape(why)}.</p>'
        for ratio, why in (arms.get("failed") or {}).items()
    )
    return f'<div class="charts">{charts}</div>{_table(points, real)}{failed}'


def swept(arms: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows with synthetic speech and a score on dev, by ratio."""
    rows = [row for row in arms.get("sweep") or () if row["role"] == "synthetic" and row["dev"]]
    return sorted(rows, key=lambda row: row["ratio"])


def _chart(points: Sequence[Mapping[str, Any]], real: Mapping[str, Any] | None, unit: str, style: str) -> str:
    at = [(row["ratio"], row["dev"][unit]) for row in points]
    lines = [
        Line(
            f"{unit.upper()} with synthetic speech",
            style,
            [(x, rate["value"]) for x, rate in at],
            dots=True,
            band=_band(at),
        )
    ]
    if real is not None and real["dev"]:
        base = real["dev"][unit]["value"]
        lines.append(Line("real speech only", "a", [(0.0, base), (at[-1][0], base)]))
    return line_chart(f"{unit.upper()} on dev by synthetic speech", lines, x_label="× real", percent_axis=True)


def _band(at: Sequence[tuple[float, Mapping[str, Any]]]) -> list[tuple[float, float, float]]:
    """Intervals; none where a point lacks its own."""
    found = [(x, rate["low"], rate["high"]) for x, rate in at if rate.get("low") is not None]
    return found if len(found) == len(at) else []


def _cell(rate: Mapping[str, Any]) -> str:
    return f'<td class="num">{percent(rate["value"])}<br><small>{span(dict(rate))}</small></td>'


def _name(row: Mapping[str, Any]) -> str:
    return "real speech only" if row["role"] == "real" else f"1 : {row['ratio']:g}"


def _table(points: Sequence[Mapping[str, Any]], real: Mapping[str, Any] | None) -> str:
    rows = [*([real] if real is not None and real["dev"] else []), *points]
    body = "".join(
        f"<tr><td>{_name(row)}</td>" + "".join(_cell(row["dev"][unit]) for unit in ("cer", "wer")) + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0"><table class="list"><thead><tr><th>real : synthetic</th>'
        f'<th class="num">CER on dev</th><th class="num">WER on dev</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
