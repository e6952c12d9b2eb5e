"""The page of an experiment with pseudo-labels: models side by side, labels kept and refused, the watch over labels.

A language that got worse is named in red and in words, never by colour alone.

Example::

    pseudo_page(json.loads(Path("out/pseudo_label.json").read_text()))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.languages import RED
from orature.evaluate.html.page import command_section, heading, page, rows_table
from orature.evaluate.html.pseudo_labels import labels_section
from orature.evaluate.html.pseudo_watch import events, watch_section
from orature.evaluate.html.text import ONE_TRAINING, duration, escape, percent, span

_VERDICTS = {
    "A is better": "worse",
    "B is better": "better",
    "not distinguishable": "may be chance",
    "too few to say": "too few to say",
}
"""What a comparison of the first model (A) with this one (B) says of this one."""
_NAV = (("rates", "Error rates"), ("labels", "Labels"), ("watch", "While it trained"), ("scaled", "Settings"))


def pseudo_page(facts: Mapping[str, Any], *, command: str = "") -> str:
    """The whole page, self-contained; equal arguments give equal pages."""
    rows = facts["languages"]
    head = heading(
        "What untranscribed speech brings",
        [
            ("Languages", ", ".join(str(row["corpus"]) for row in rows)),
            ("Scored on", facts["split"]),
            ("Settings of slimIPL", facts["preset"]),
            ("Seed", facts["seed"]),
        ],
    )
    body = _care(rows) + _rates(rows) + labels_section(rows) + watch_section(rows) + _scaled(rows)
    worse = sorted({row["corpus"] for row in rows if worse_models(row) or row["worse_by_pooling"]})
    summary = f"Worse: {', '.join(worse)}" if worse else f"{len(rows)} languages, none of them worse"
    nav = (*_NAV, ("made", "Command"))
    return page(title="Pseudo-labels", head=head, body=body + command_section(command), summary=summary, nav=nav)


def worse_models(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The models of a language that err measurably more than the one it is compared with: differences of CER."""
    found = {name: arm["difference"]["cer"] for name, arm in row["arms"].items() if "difference" in arm}
    return {name: one for name, one in found.items() if _verdict(one) == "worse"}


def _care(rows: Sequence[Mapping[str, Any]]) -> str:
    """Languages that got worse, by name, and what happened to their labels; or that nothing did."""
    items = []
    for row in rows:
        name = f'<strong class="{RED}"><bdi>{escape(row["corpus"])}</bdi></strong>'
        for model, found in worse_models(row).items():
            items.append(
                f"<li>{name} got <b>worse</b> by {escape(model)}: CER {_points(found)} against {escape(row['against'])}"
                f"{', but dev did not choose that model' if row['kept'] != model else ''}.</li>"
            )
        if row["worse_by_pooling"]:
            kept = f"so it keeps the model of {escape(row['kept'])}"
            items.append(f"<li>{name} is <b>worse</b> by the student on dev, {kept}.</li>")
        items += [f"<li><bdi>{escape(row['corpus'])}</bdi>: {escape(one)}.</li>" for one in events(row)]
    if not items:
        return '<p class="note">No language is measurably worse by any model, and no labels collapsed.</p>'
    return (
        '<aside class="caution" aria-label="Read this with care"><h2>Read with care</h2>'
        f"<ul>{''.join(items)}</ul></aside>"
    )


def _rates(rows: Sequence[Mapping[str, Any]]) -> str:
    tables = "".join(
        f"<h3><bdi>{escape(row['corpus'])}</bdi>{_lent(row)}</h3>"
        + rows_table(_head(row["against"]), [_model(row, name, arm) for name, arm in row["arms"].items()])
        for row in rows
    )
    return (
        '<section id="rates"><h2>Error rates</h2><p class="lead">Small figures are 95 % intervals. Differences are in '
        "points, paired over the same utterances: below zero, fewer errors. Dev chose the model that is marked. "
        f"{ONE_TRAINING}</p>{tables}</section>"
    )


def _head(against: str) -> tuple[str, ...]:
    differences = (f"{unit} against {against}" for unit in ("CER", "WER"))
    return ("model", "CER on dev", "CER", "WER", *differences, "updates", "trained on")


def _lent(row: Mapping[str, Any]) -> str:
    return f" <small>untranscribed speech lent by {escape(row['lent'])}</small>" if row.get("lent") else ""


def _model(row: Mapping[str, Any], name: str, arm: Mapping[str, Any]) -> list[str]:
    kept = "<br><small>kept by dev</small>" if name == row["kept"] else ""
    hours = duration(sum(arm["train_hours_by_origin"].values()))
    free = (
        f"<br><small>and {duration(arm['unlabelled_hours'])} untranscribed</small>" if arm["unlabelled_hours"] else ""
    )
    return [
        f"{'<b>' if kept else ''}{escape(name)}{'</b>' if kept else ''}{kept}",
        percent(arm["dev_cer"]),
        *(f"{percent(arm[unit]['value'])}<br><small>{span(dict(arm[unit]))}</small>" for unit in ("cer", "wer")),
        *(_against(arm.get("difference", {}).get(unit)) for unit in ("cer", "wer")),
        f"{arm['updates']:,}",
        f"{hours}{free}",
    ]


def _against(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    low, high, said = found.get("low"), found.get("high"), _verdict(found)
    reach = "" if low is None or high is None else f"{_signed(low)} to {_signed(high)}, "
    cell = f"{_signed(found['delta'])}<br><small>{reach}{said}</small>"
    return f'<span class="{RED}">{cell}</span>' if said == "worse" else cell


def _verdict(found: Mapping[str, Any]) -> str:
    return _VERDICTS[str(found["verdict"])]


def _signed(value: float) -> str:
    """A difference of fractions in points, with a true minus sign."""
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def _points(found: Mapping[str, Any]) -> str:
    """A difference in points, and its interval."""
    low, high = found.get("low"), found.get("high")
    reach = "" if low is None or high is None else f" ({_signed(low)} to {_signed(high)})"
    return f"{_signed(found['delta'])} points{reach}"


def _scaled(rows: Sequence[Mapping[str, Any]]) -> str:
    """Published settings beside those of the run."""
    tables = ""
    for row in rows:
        for name, arm in row["arms"].items():
            settings = arm.get("scaled") or {}
            lines = [
                [escape(setting), _plain(one["published"]), _plain(one["used"]), _share(one)]
                for setting, one in settings.items()
            ]
            if lines:
                tables += f"<h3><bdi>{escape(row['corpus'])}</bdi>, {escape(name)}</h3>"
                tables += rows_table(("setting", "published", "here", "of it"), lines)
    if not tables:
        return ""
    return (
        '<section id="scaled"><h2>Settings</h2><p class="lead">Those of the released trainer of slimIPL beside what '
        "they were scaled to. The cache and the ratio count batches, which are of other lengths here.</p>"
        f"{tables}</section>"
    )


def _plain(value: Any) -> str:
    return f"{value:,g}" if isinstance(value, int | float) else escape(value)


def _share(one: Mapping[str, Any]) -> str:
    published, used = one["published"], one["used"]
    numbers = all(isinstance(value, int | float) for value in (published, used))
    return f"{100 * used / published:.3g}\u202f%" if numbers and published else ""
