"""The page of a comparison of starts: error rates from a start and from nothing, and how fast each learns.

Example::

    transfer_page(json.loads(Path("transfer/transfer.json").read_text()))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.charts import Line, line_chart
from orature.evaluate.html.page import command_section, heading, page, rows_table
from orature.evaluate.html.text import ONE_TRAINING, escape, percent, span

_STYLES = {"nothing": "a", "start": "b"}


def transfer_page(facts: Mapping[str, Any], *, command: str = "") -> str:
    """The whole page, self-contained; equal arguments give equal pages."""
    rows = facts["rows"]
    start = facts["start"]
    head = heading(
        f"What {start['name']} brings",
        [
            ("Start", f"{start['name']} ({start['digest'][:12]})"),
            ("Scored on", facts["split"]),
            ("Seed", facts["seed"]),
            ("Corpora", ", ".join(dict.fromkeys(str(row["corpus"]) for row in rows))),
        ],
    )
    best = [gain for row in rows if (gain := relative(row)) is not None]
    summary = f"CER changes by {100 * min(best):.0f} to {100 * max(best):.0f} % of itself" if best else ""
    body = _table(rows) + _curves(rows) + command_section(command)
    nav = (("rates", "Error rates"), ("curves", "Curves"), ("made", "Command"))
    return page(title="Transfer", head=head, body=body, summary=summary, nav=nav)


def relative(row: Mapping[str, Any]) -> float | None:
    """The change of CER from nothing to the start, of the CER from nothing; None where an arm is missing."""
    if "difference" not in row or not row["nothing"]["cer"]["value"]:
        return None
    one, two = (float(row[arm]["cer"]["value"]) for arm in ("nothing", "start"))
    return (two - one) / one


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        [
            f"<bdi>{escape(row['corpus'])}</bdi>",
            f"{row['train_minutes']:.1f} min",
            *(_rate(row, arm, unit) for unit in ("cer", "wer") for arm in _STYLES),
            _difference(row),
        ]
        for row in rows
    ]
    head = (
        "corpus",
        "train",
        "CER from nothing",
        "CER from start",
        "WER from nothing",
        "WER from start",
        "CER, points",
    )
    return (
        '<section id="rates"><h2>Error rates</h2><p class="lead">Both arms have the same shape and as many updates of '
        "the same seconds of audio. Small figures are 95 % intervals; the last column is paired over the same "
        f"utterances. {ONE_TRAINING}</p>{rows_table(head, lines)}</section>"
    )


def _rate(row: Mapping[str, Any], arm: str, unit: str) -> str:
    if arm not in row:
        return ""
    return f"{percent(row[arm][unit]['value'])} <small>{span(dict(row[arm][unit]))}</small>"


def _difference(row: Mapping[str, Any]) -> str:
    found, gain = row.get("difference", {}).get("cer"), relative(row)
    if found is None or gain is None:
        return ""
    reach = "" if found["low"] is None else f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}"
    return f"{100 * found['delta']:+.1f} <small>{reach}; {100 * gain:+.0f} % of it</small>"


def _curves(rows: Sequence[Mapping[str, Any]]) -> str:
    figures = "".join(
        line_chart(
            f"{row['corpus']}, {row['train_minutes']:.0f} min: CER on dev",
            [Line(f"from {arm}", style, row[arm]["curve"]) for arm, style in _STYLES.items() if arm in row],
            percent_axis=True,
        )
        for row in rows
    )
    return (
        '<section id="curves"><h2>How fast each learns</h2><p class="lead">CER on dev, which chose the checkpoint in '
        f'both arms, by updates.</p><div class="charts">{figures}</div></section>'
    )
