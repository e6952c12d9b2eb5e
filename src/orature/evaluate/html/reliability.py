"""The reliability diagram of the report: how often words were right, by how sure the recogniser was.

Example::

    reliability_section(rows, "orature-basic@1")
"""

from __future__ import annotations

from collections.abc import Iterable

from orature.evaluate.calibration import Reliability, judged, reliability
from orature.evaluate.html.charts import HEIGHT, LEFT, RIGHT, TOP, Scale
from orature.evaluate.html.text import escape, percent
from orature.evaluate.rows import Row

_SIZE = HEIGHT + 60
_BOTTOM = 44
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def reliability_section(rows: Iterable[Row], normaliser: str) -> str:
    """The section, or "" where no hypothesis carries words with confidences that differ."""
    pairs = [pair for row in rows for pair in judged(row.reference, row.words, normaliser)]
    if len({confidence for confidence, _ in pairs}) < 2:
        return ""
    found = reliability(pairs)
    return "" if found is None else _section(found)


def _section(found: Reliability) -> str:
    rows = "".join(
        f"<tr><td>{percent(one.low)} to {percent(one.high)}</td><td>{one.words}</td>"
        f"<td>{percent(one.confidence)}</td><td>{percent(one.right)}</td></tr>"
        for one in found.bins
    )
    return (
        '<section id="confidence"><h2>Can its confidence be believed?</h2><p class="lead">Each dot is a group of heard '
        "words of like confidence: on the line, words said to be right with 80 % are right 8 times in 10; below it "
        f"the recogniser is too sure of itself. Mean distance from the line: {percent(found.error)} over {found.words} "
        f'words.</p><div class="charts">{_chart(found)}</div><details><summary>The numbers</summary>'
        '<div class="scroll"><table class="list"><thead><tr><th>Confidence</th><th>Words</th><th>Mean confidence</th>'
        f"<th>Right</th></tr></thead><tbody>{rows}</tbody></table></div></details></section>"
    )


def _chart(found: Reliability) -> str:
    x_scale = Scale(0.0, 1.0, LEFT, LEFT + _SIZE - _BOTTOM - TOP)
    y_scale = Scale(0.0, 1.0, _SIZE - _BOTTOM, TOP)
    width = LEFT + _SIZE - _BOTTOM - TOP + RIGHT + 8
    grid = "".join(
        f'<line class="grid" x1="{x_scale(0)}" x2="{x_scale(1)}" y1="{y_scale(tick)}" y2="{y_scale(tick)}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y_scale(tick) + 4:.1f}" text-anchor="end">{100 * tick:.0f}%</text>'
        f'<text class="tick" x="{x_scale(tick)}" y="{_SIZE - _BOTTOM + 16}" text-anchor="middle">'
        f"{100 * tick:.0f}%</text>"
        for tick in _TICKS
    )
    most = max(one.words for one in found.bins)
    dots = "".join(
        f'<circle class="dot dot-b" cx="{x_scale(one.confidence)}" cy="{y_scale(one.right)}" '
        f'r="{2.5 + 5 * (one.words / most) ** 0.5:.1f}"/>'
        for one in found.bins
    )
    path = " ".join(f"{x_scale(one.confidence)},{y_scale(one.right)}" for one in found.bins)
    label = "Reliability: " + "; ".join(
        f"{one.words} words at confidence {percent(one.confidence)} are right {percent(one.right)}"
        for one in found.bins
    )
    return (
        '<figure class="chart"><figcaption><b>Right, by confidence</b></figcaption>'
        f'<svg viewBox="0 0 {width} {_SIZE}" role="img" aria-label="{escape(label)}">{grid}'
        f'<line class="grid" stroke-dasharray="4 4" x1="{x_scale(0)}" y1="{y_scale(0)}" x2="{x_scale(1)}" '
        f'y2="{y_scale(1)}"/><polyline class="line line-b" points="{path}"/>{dots}'
        f'<text class="tick" x="{x_scale(1)}" y="{_SIZE - 8}" text-anchor="end">mean confidence</text>'
        "</svg></figure>"
    )
