"""Small line charts as inline SVG: no library, no network, readable in print; hover values are added by report.js.

Example::

    line_chart("Dev error", [Line("CER", "a", [(100, 0.9), (200, 0.4)])], percent_axis=True)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from orature.evaluate.html.text import escape

Point = tuple[float, float]
WIDTH, HEIGHT = 440, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 30
MAX_POINTS = 240


@dataclass(frozen=True, slots=True)
class Line:
    """A named series; `style` is "a", "b" or "c" (colour and dash), `dots` marks each point (few points only)."""

    name: str
    style: str
    points: Sequence[Point]
    dots: bool = False
    band: Sequence[tuple[float, float, float]] = field(default=())


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels, linear or logarithmic."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return round(self.begin + (self.end - self.begin) * (at - low) / ((high - low) or 1.0), 1)


def thinned(name: str, style: str, points: Sequence[Point]) -> Line:
    """A line of at most `MAX_POINTS` means with a band from least to greatest in each stretch."""
    if len(points) <= MAX_POINTS:
        return Line(name, style, points)
    size = math.ceil(len(points) / MAX_POINTS)
    means: list[Point] = []
    band: list[tuple[float, float, float]] = []
    for begin in range(0, len(points), size):
        part = points[begin : begin + size]
        x = sum(point[0] for point in part) / len(part)
        values = [point[1] for point in part]
        means.append((x, sum(values) / len(values)))
        band.append((x, min(values), max(values)))
    return Line(name, style, means, band=band)


def line_chart(title: str, lines: Sequence[Line], *, x_label: str = "updates", percent_axis: bool = False) -> str:
    """One figure with axes, grid, lines and legend; "" when there is nothing to draw."""
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    xs = [point[0] for line in lines for point in line.points]
    x_scale = Scale(min(0.0, *xs, 0.0), max(*xs, 1.0), LEFT, WIDTH - RIGHT)
    y_scale, ticks = _vertical([point[1] for line in lines for point in line.points], percent_axis)
    shown = _percent_tick if percent_axis else _tick
    grid = "".join(_grid_line(y_scale(tick), shown(tick)) for tick in ticks)
    feet = "".join(_foot(x_scale(tick), _tick(tick)) for tick in ticks_between(x_scale.low, x_scale.high, 7))
    drawn = "".join(_drawn(line, x_scale, y_scale) for line in lines)
    hover = [
        {
            "n": line.name,
            "s": line.style,
            "p": [[x_scale(x), y_scale(y), _tick(x), shown_value(y, percent_axis)] for x, y in line.points],
        }
        for line in lines
    ]
    keys = "".join(f'<span class="key key-{line.style}">{escape(line.name)}</span>' for line in lines)
    return (
        f'<figure class="chart"><figcaption><b>{escape(title)}</b><span class="keys">{keys}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_in_words(title, lines, percent_axis))}" '
        f'data-hover="{escape(json.dumps(hover, separators=(",", ":")))}">{grid}{feet}'
        f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>'
        f'{drawn}<g class="cursor"></g></svg><p class="readout" aria-hidden="true"></p></figure>'
    )


def shown_value(value: float, percent_axis: bool) -> str:
    """A value as the hover line shows it."""
    return f"{100 * value:.1f} %" if percent_axis else f"{value:.3g}"


def ticks_between(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    step = 10 ** math.floor(math.log10(max((high - low) / about, 1e-9)))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= about:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _vertical(values: Sequence[float], percent_axis: bool) -> tuple[Scale, list[float]]:
    """Percent from zero; a loss from zero, or on a logarithmic axis when it falls by more than ten times."""
    low, high = min(values), max(values)
    if not percent_axis and low > 0 and high / low > 10:
        floor, ceiling = 10 ** math.floor(math.log10(low)), high * 1.1
        marks = [factor * 10.0**power for power in range(-6, 7) for factor in (1, 2, 5)]
        kept = [mark for mark in marks if low * 0.8 <= mark <= ceiling]
        return Scale(max(floor, low * 0.8), ceiling, HEIGHT - BOTTOM, TOP, log=True), kept
    top = max(high * 1.06, 1e-6)
    bottom = min(0.0, low)
    return Scale(bottom, top, HEIGHT - BOTTOM, TOP), ticks_between(bottom, top, 5)


def _grid_line(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _foot(x: float, label: str) -> str:
    if x > WIDTH - RIGHT - 66:
        return ""
    return f'<text class="tick" x="{x}" y="{HEIGHT - 4}" text-anchor="middle">{label}</text>'


def _drawn(line: Line, x_scale: Scale, y_scale: Scale) -> str:
    path = " ".join(f"{x_scale(x)},{y_scale(y)}" for x, y in line.points)
    band = ""
    if line.band:
        above = [f"{x_scale(x)},{y_scale(high)}" for x, _, high in line.band]
        below = [f"{x_scale(x)},{y_scale(low)}" for x, low, _ in reversed(line.band)]
        band = f'<polygon class="band band-{line.style}" points="{" ".join(above + below)}"/>'
    dots = ""
    if line.dots:
        best = min(line.points, key=lambda point: point[1])
        dots = "".join(
            f'<circle class="dot dot-{line.style}{" best" if point == best else ""}" cx="{x_scale(point[0])}" '
            f'cy="{y_scale(point[1])}" r="{4.5 if point == best else 2.2}"/>'
            for point in line.points
        )
    return f'{band}<polyline class="line line-{line.style}" points="{path}"/>{dots}'


def _tick(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:g}k" if value % 100 == 0 else f"{value:,.0f}"
    return f"{value:g}" if abs(value - round(value)) > 1e-9 else f"{value:.0f}"


def _percent_tick(value: float) -> str:
    return f"{100 * value:g}%"


def _in_words(title: str, lines: Sequence[Line], percent_axis: bool) -> str:
    parts = []
    for line in lines:
        values = [y for _, y in line.points]
        best_x, best = min(line.points, key=lambda point: point[1])
        parts.append(
            f"{line.name} from {shown_value(values[0], percent_axis)} to {shown_value(values[-1], percent_axis)}, "
            f"least {shown_value(best, percent_axis)} at {_tick(best_x)}"
        )
    return f"{title}: " + "; ".join(parts)
