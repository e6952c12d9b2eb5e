"""What labels were like while a model trained on them: curves, collapses, and the ways back from them.

Example::

    watch_section(facts["languages"])       # "" where nothing was labelled in training
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.charts import Line, line_chart
from orature.evaluate.html.text import escape

_CHARTS: tuple[tuple[str, tuple[tuple[str, str, str], ...], bool], ...] = (
    ("Blanks and empty labels", (("blank_share", "blanks", "a"), ("empty_share", "empty labels", "b")), True),
    ("Length of labels", (("length_ratio", "against the end of the warm-up", "a"),), False),
    ("Letters that change when labelled again", (("churn", "churn", "a"),), True),
    ("Fixed utterances", (("probe_agreement", "letters as after the warm-up", "a"),), True),
    ("Loss", (("labelled_loss", "labelled speech", "a"), ("pseudo_loss", "labels", "b")), False),
    ("CER on dev", (("dev_cer", "CER", "a"),), True),
)


def events(row: Mapping[str, Any]) -> list[str]:
    """What happened to the labels of a language, and what was left out for want of them, a sentence each."""
    found = []
    for name, arm in row["arms"].items():
        empty = arm.get("watch", {}).get("warm", {}).get("empty_share", 0.0)
        if empty > 0.5:
            found.append(
                f"{name} began when {100 * empty:.0f} % of its labels were still empty, too early for labels of its own"
            )
        for entry in arm.get("watch", {}).get("rows", []):
            if "collapse" in entry:
                found.append(
                    f"the labels of {name} collapsed at update {entry['update']:,} ({entry['collapse']}); training "
                    "went back to its best weights, with an empty cache and at a lower learning rate"
                )
    return [*found, *row.get("remarks", ())]


def watch_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """Curves of each training that made labels."""
    parts = "".join(
        f"<h3><bdi>{escape(row['corpus'])}</bdi>, {escape(name)}</h3>{_told(row, name)}{_charts(arm['watch']['rows'])}"
        for row in rows
        for name, arm in row["arms"].items()
        if arm.get("watch", {}).get("rows")
    )
    if not parts:
        return ""
    return (
        '<section id="watch"><h2>While it trained</h2><p class="lead">What the labels made on the way were like, by '
        "updates, from the end of the warm-up. Labels of blanks alone, far shorter or longer ones, or others than "
        f"before are what a collapse looks like.</p>{parts}</section>"
    )


def _told(row: Mapping[str, Any], name: str) -> str:
    own = events({"arms": {name: row["arms"][name]}})
    times = row["arms"][name]["watch"].get("rollbacks", len(own))
    if not own and not times:
        return '<p class="note">No collapse, no way back.</p>'
    items = "".join(f"<li>{escape(one[0].upper() + one[1:])}.</li>" for one in own)
    back = "Not once" if not times else "Once" if times == 1 else f"{times} times"
    return f'<p class="note">{back} back to earlier weights.</p><ul class="note">{items}</ul>'


def _charts(entries: Sequence[Mapping[str, Any]]) -> str:
    seen = [_with_agreement(entry) for entry in entries]
    charts = "".join(
        line_chart(
            title,
            [
                Line(said, style, [(row["update"], row[name]) for row in seen if name in row])
                for name, said, style in lines
            ],
            percent_axis=in_percent,
        )
        for title, lines, in_percent in _CHARTS
    )
    return f'<div class="charts">{charts}</div>'


def _with_agreement(entry: Mapping[str, Any]) -> dict[str, Any]:
    apart = entry.get("probe_distance")
    return dict(entry) if apart is None else {**entry, "probe_agreement": 1.0 - apart}
