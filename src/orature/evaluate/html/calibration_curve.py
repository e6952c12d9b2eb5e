"""The page and the section of a calibration: dev error against Norm_I, with where synthetic speech starts to help.

Example::

    calibration_page(json.loads(path.read_text()))
    calibration_section(found)          # for another report
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.charts import ticks_between
from orature.evaluate.html.page import command_section, heading, page, rows_table
from orature.evaluate.html.sections import warning_box
from orature.evaluate.html.text import duration, escape, percent, span

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 20, 18, 56
_LEAST = 1e-6
_VERDICTS = {"helps": "helps", "hurts": "hurts", "not distinguishable": "may be chance", "too few to say": "too few"}


def calibration_page(found: Mapping[str, Any], *, command: str = "") -> str:
    """The whole page, self-contained; equal arguments give equal pages."""
    about = found.get("about") or {}
    head = heading(
        "From which quality on does synthetic speech help?",
        [
            ("Language", found.get("language")),
            ("Judge", f"{found.get('judge', '')} ({found.get('family', '')})"),
            ("Scored on", f"{found.get('split') or 'dev'}, {str(found.get('split_fingerprint', ''))[:12]}"),
            ("Synthetic to real speech", f"{about.get('ratio', '')} : 1"),
            ("Trainings", f"{found.get('seeds', 1)} a quality, {about.get('updates', '')} updates"),
            ("Heard in each training", _heard(about)),
            ("Normaliser", found.get("normaliser")),
        ],
    )
    body = warning_box(found.get("warnings", [])) + calibration_section(found) + command_section(command)
    nav = (("calibration", "Threshold"), ("made", "Command"))
    return page(title="Calibration", head=head, body=body, summary=str(found.get("sentence", "")), nav=nav)


def _heard(about: Mapping[str, Any]) -> str:
    """Hours of audio that the trainings passed: they differ as far as batches fill unevenly."""
    least, most = about.get("hours_heard_least"), about.get("hours_heard_most")
    return "" if least is None or most is None else f"{duration(least)} to {duration(most)}"


def calibration_section(found: Mapping[str, Any]) -> str:
    """The verdict in words, the plot and the table of all qualities."""
    metric = str(found["metric"]).upper()
    shares = found.get("shares")
    said = ""
    if shares:
        said = (
            f" Of the resamples {percent(shares['crosses'])} cross, {percent(shares['always'])} gain at every quality "
            f"and {percent(shares['never'])} at none."
        )
    rows = [_row(row) for row in found["rungs"]]
    alone = found["baseline"]
    rows.append(["real speech alone", "", f"{percent(alone['value'])} <small>{span(dict(alone))}</small>", ""])
    table = rows_table(("quality", "Norm_I", f"{metric} on dev", "minus real alone"), rows)
    return (
        '<section id="calibration"><h2>Where synthetic speech starts to help</h2>'
        f'<p class="lead"><b>{escape(found["sentence"])}</b> {_threshold(found)}{said} Each dot is a quality of '
        "synthetic speech: how well the judge understands it, and the error on dev of recognisers trained with it. The "
        "line across is real speech alone at the same compute; below it synthetic speech helps. Lines through a dot "
        f"are 95 % intervals. Checkpoints were chosen on dev too, in all trainings alike.</p>"
        f"{_plot(found, metric)}{table}</section>"
    )


def _threshold(found: Mapping[str, Any]) -> str:
    one = found["threshold"]
    if one["value"] is None:
        return ""
    low = "open below" if one["low"] is None else f"{one['low']:.3g}"
    high = "open above" if one["high"] is None else f"{one['high']:.3g}"
    return f"(95 % interval: {low} to {high})"


def _row(row: Mapping[str, Any]) -> list[str]:
    norm, error, delta = row["norm_i"], row["error"], row["difference"]
    reach = "" if delta["low"] is None else f"{100 * delta['low']:+.1f} to {100 * delta['high']:+.1f}; "
    told = escape(_VERDICTS.get(delta["verdict"], delta["verdict"]))
    return [
        f"<bdi>{escape(row['name'])}</bdi>",
        f"{norm['value']:.3g} <small>{_plain_span(norm)}</small>",
        f"{percent(error['value'])} <small>{span(dict(error))}</small>",
        f"{100 * delta['value']:+.1f} <small>{reach}{told}</small>",
    ]


def _plain_span(value: Mapping[str, Any]) -> str:
    return "no interval" if value["low"] is None else f"{value['low']:.3g} to {value['high']:.3g}"


class _Axes:
    """Pixels of a Norm_I (logarithmic) and of an error rate."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        norms = [end for row in found["rungs"] for end in _ends(row["norm_i"])]
        rates = [end for row in [*(one["error"] for one in found["rungs"]), found["baseline"]] for end in _ends(row)]
        self.low, self.high = _log(min(norms)) - 0.3, max(_log(max(norms)), 0.0) + 0.3
        reach = max(max(rates) - min(rates), 0.01)
        self.bottom, self.top = max(0.0, min(rates) - 0.15 * reach), max(rates) + 0.1 * reach

    def x(self, norm: float) -> float:
        share = (_log(norm) - self.low) / (self.high - self.low)
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(share, 0.0), 1.0), 1)

    def y(self, rate: float) -> float:
        share = (rate - self.bottom) / (self.top - self.bottom)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0), 1)


def _log(norm: float) -> float:
    return math.log(max(norm, _LEAST))


def _ends(value: Mapping[str, Any]) -> list[float]:
    return [float(one) for one in (value["value"], value["low"], value["high"]) if one is not None]


def _plot(found: Mapping[str, Any], metric: str) -> str:
    axes = _Axes(found)
    grid = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{axes.y(tick)}" y2="{axes.y(tick)}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{axes.y(tick) + 4:.1f}" text-anchor="end">{100 * tick:g}%</text>'
        for tick in ticks_between(axes.bottom, axes.top, 6)
    )
    feet = "".join(
        f'<text class="tick" x="{axes.x(norm)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{norm:g}</text>'
        f'<line class="grid" x1="{axes.x(norm)}" x2="{axes.x(norm)}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        for norm in _norm_ticks(axes)
    )
    rungs = sorted(found["rungs"], key=lambda row: float(row["norm_i"]["value"]))
    path = " ".join(f"{axes.x(row['norm_i']['value'])},{axes.y(row['error']['value'])}" for row in rungs)
    dots = "".join(_dot(axes, row) for row in rungs)
    words = "; ".join(
        f"{row['name']}: Norm_I {row['norm_i']['value']:.3g}, {metric} {percent(row['error']['value'])}"
        for row in rungs
    )
    label = f"{metric} on dev against Norm_I. Real alone {percent(found['baseline']['value'])}. {words}"
    return (
        f'<figure class="chart"><figcaption><b>{metric} on dev, by Norm_I</b><span class="keys">'
        '<span class="key key-b">with synthetic speech</span><span class="key key-a">real speech alone</span></span>'
        f'</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{grid}{feet}'
        f"{_baseline(axes, found['baseline'])}{_crossing(axes, found['threshold'])}"
        f'<polyline class="line line-b" points="{path}"/>{dots}'
        f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">'
        "Norm_I (1: as intelligible to the judge as real speech; logarithmic)</text></svg></figure>"
    )


def _norm_ticks(axes: _Axes) -> list[float]:
    marks = [factor * 10.0**power for power in range(-6, 1) for factor in (1, 3)]
    kept = [round(mark, 9) for mark in marks if axes.low <= _log(mark) <= axes.high]
    step = max(1, math.ceil(len(kept) / 9))
    return kept[::-1][::step][::-1]


def _baseline(axes: _Axes, alone: Mapping[str, Any]) -> str:
    left, right = _LEFT, _WIDTH - _RIGHT
    band = ""
    if alone["low"] is not None:
        top, bottom = axes.y(alone["high"]), axes.y(alone["low"])
        band = f'<polygon class="band" points="{left},{top} {right},{top} {right},{bottom} {left},{bottom}"/>'
    y = axes.y(alone["value"])
    return f'{band}<line class="line" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'


def _crossing(axes: _Axes, threshold: Mapping[str, Any]) -> str:
    if threshold["value"] is None:
        return ""
    x = axes.x(threshold["value"])
    low = _LEFT if threshold["low"] is None else axes.x(threshold["low"])
    high = _WIDTH - _RIGHT if threshold["high"] is None else axes.x(threshold["high"])
    top, bottom = _TOP, _HEIGHT - _BOTTOM
    return (
        f'<polygon class="band" points="{low},{top} {high},{top} {high},{bottom} {low},{bottom}"/>'
        f'<line class="line line-c" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
        f'<text class="tick" x="{x + 6}" y="{top + 12}">{threshold["value"]:.3g}</text>'
    )


def _dot(axes: _Axes, row: Mapping[str, Any]) -> str:
    norm, error = row["norm_i"], row["error"]
    x, y = axes.x(norm["value"]), axes.y(error["value"])
    lines: Sequence[str] = ()
    if norm["low"] is not None and error["low"] is not None:
        across = axes.x(norm["low"]), axes.x(norm["high"])
        upright = axes.y(error["low"]), axes.y(error["high"])
        lines = (
            f'<line class="grid" style="stroke:var(--b)" x1="{across[0]}" x2="{across[1]}" y1="{y}" y2="{y}"/>',
            f'<line class="grid" style="stroke:var(--b)" x1="{x}" x2="{x}" y1="{upright[0]}" y2="{upright[1]}"/>',
        )
    title = f"<title>{escape(row['name'])}</title>"
    name = f'<text class="tick" x="{x + 7}" y="{y - 7}">{escape(row["name"])}</text>'
    return f'{"".join(lines)}<circle class="dot dot-b" cx="{x}" cy="{y}" r="4.5">{title}</circle>{name}'
