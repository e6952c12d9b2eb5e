"""The report's section on what a run changed: the start's own score, a language model, and what old languages lost.

Example::

    before_after_section(score)     # "" where the score says nothing of zero_shot, language_model or guards
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orature.evaluate.html.text import escape, percent, span

_RED = "k-del-ink"
_VERDICTS = {"A is better": "worse", "B is better": "better", "not distinguishable": "may be chance"}


def before_after_section(score: Mapping[str, Any]) -> str:
    """Rows of rates before and after, with the paired difference where there is one."""
    rows = [*_zero_shot(score), *_language_model(score), *(_guard(one) for one in score.get("guards") or ())]
    if not rows:
        return ""
    head = "<th>what</th>" + "".join(
        f'<th class="num">{name}</th>' for name in ("CER before", "CER after", "WER before", "WER after", "difference")
    )
    return (
        '<section id="before-after"><h2>Before and after</h2><p class="lead">On the same utterances of test, which '
        "chose nothing. The difference is after minus before in points of CER, with its 95 % interval.</p>"
        f'<div class="scroll" tabindex="0"><table class="list wide"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _zero_shot(score: Mapping[str, Any]) -> list[str]:
    before = score.get("zero_shot")
    if not before:
        return []
    return [_row("the starting model as it was (zero-shot), and this one", before, score, None)]


def _language_model(score: Mapping[str, Any]) -> list[str]:
    found = score.get("language_model")
    if not found:
        return []
    return [_row("without and with the language model", found["without"], score, found.get("cer"))]


def _guard(one: Mapping[str, Any]) -> str:
    name = f"guard: {one['corpus']} ({one['split']})"
    return _row(name, one.get("before"), one["after"], one.get("cer"))


def _row(
    name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any], difference: Mapping[str, Any] | None
) -> str:
    cells = []
    for unit in ("cer", "wer"):
        for side in (before, after):
            cells.append("–" if side is None else _rate(side[unit]))
    worse = difference is not None and difference.get("verdict") == "A is better"
    told = "–" if difference is None else _difference(difference)
    mark = f' class="num {_RED}"' if worse else ' class="num"'
    shown = "".join(f'<td class="num">{cell}</td>' for cell in cells)
    return f"<tr><td>{escape(name)}</td>{shown}<td{mark}>{told}</td></tr>"


def _rate(rate: Mapping[str, Any]) -> str:
    return f"{percent(rate['value'])}<br><small>{span(dict(rate))}</small>"


def _difference(found: Mapping[str, Any]) -> str:
    reach = "" if found["low"] is None else f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}; "
    verdict = escape(_VERDICTS.get(found["verdict"], found["verdict"]))
    return f"{100 * found['delta']:+.1f}<br><small>{reach}{verdict}</small>"
