"""The page of transfer by speech translation: the arms, how good translations were, what more pairs bring, curves.

Example::

    translation_page(json.loads(Path("out/speech_translation.json").read_text()))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.arms import WORSE
from orature.evaluate.html.charts import Line, line_chart
from orature.evaluate.html.languages import RED, VERDICTS
from orature.evaluate.html.page import command_section, heading, page, rows_table
from orature.evaluate.html.text import ONE_TRAINING, escape, percent, span, whole
from orature.evaluate.translation_arms import shares_of

_STYLES = "abc"
_MINUS = "\u2212"


def translation_page(facts: Mapping[str, Any], *, command: str = "") -> str:
    """The whole page, self-contained; equal arguments give equal pages."""
    target, rich, arms = facts["target"], facts["rich"], facts["arms"]
    scored = facts["scored"]
    size = f"{whole(scored['utterances'])} utterances, {whole(scored['words'])} words"
    head = heading(
        f"Speech translation for {target['name']}",
        [
            ("Target", f"{target['name']} ({target['language']})"),
            ("Rich language", "" if rich is None else f"{rich['name']} ({rich['language']})"),
            ("Speech of the rich language", "" if rich is None else _origins(rich["hours_by_origin"])),
            ("Encoder of the first training", facts["start"]),
            ("Search", _search(facts["search"])),
            ("Scored on", f"{facts['split']}: {size}"),
            ("Split fingerprint", scored["split_fingerprint"][:12]),
            ("Normaliser", scored["normaliser"]),
            ("Seed", facts["seed"]),
        ],
    )
    body = _verdicts(facts) + _table(facts) + _labels(arms) + _shares(arms) + _curves(arms) + command_section(command)
    nav = (("arms", "Arms"), ("labels", "Translations"), ("shares", "Pairs"), ("curves", "Curves"), ("made", "Command"))
    summary = facts["verdicts"][0] if facts["verdicts"] else ""
    return page(title="Speech translation", head=head, body=body, summary=summary, nav=nav)


def _search(search: Mapping[str, Any]) -> str:
    share = search["ctc_weight"]
    ctc = "CTC as in training" if share is None else f"CTC {share:g}"
    return f"beams: {search['beams']}, length penalty {search['length_penalty']:g}, {ctc}"


def _origins(hours: Mapping[str, float]) -> str:
    return ", ".join(f"{_hours(part)} {origin}" for origin, part in sorted(hours.items()))


def _verdicts(facts: Mapping[str, Any]) -> str:
    lines = [(line, "did harm" in line) for line in facts["verdicts"]]
    told = "".join(f"<p{f' class={RED!r}' if red else ''}>{escape(line)}</p>" for line, red in lines)
    told += "".join(f"<p>{escape(line)}</p>" for line in (_synthetic(facts), _usual(facts)) if line)
    lacks = "".join(f"<li>{escape(lack)}</li>" for lack in facts["missing"])
    lacking = f"<p>What is lacking for the whole comparison:</p><ul>{lacks}</ul>" if lacks else ""
    return f'<section id="verdict"><h2>Did translated speech help?</h2>{told}{lacking}</section>'


def _synthetic(facts: Mapping[str, Any]) -> str:
    """A sentence where the rich speech was not spoken by people: what it brings says little of real speech."""
    rich = facts["rich"]
    made = 0.0 if rich is None else rich["hours_by_origin"].get("synthetic", 0.0)
    if not made:
        return ""
    share = made / sum(rich["hours_by_origin"].values())
    told = f"{100 * share:.0f} % of the speech of {rich['name']} is synthetic"
    return f"{told}: recordings of people may bring more or less."


def _usual(facts: Mapping[str, Any]) -> str:
    """How the arms stand beside the usual training, where `orature up` made one."""
    if "usual_dev_cer" not in facts:
        return ""
    best = next(row for row in facts["arms"] if row["name"] == facts["chosen"])
    dev = f"CER on dev: {percent(facts['usual_dev_cer'])} of the usual model, {percent(best['dev']['cer']['value'])} of"
    return f"{dev} {best['name']}; {best['name'] if facts['published'] else 'the usual model'} is published."


def _table(facts: Mapping[str, Any]) -> str:
    head = ("arm", "CER", "difference", "WER", "difference", "CER on dev", "updates", "before")
    published = facts["chosen"] if facts.get("published", True) else ""
    lines = [_row(row, published) for row in facts["arms"]]
    notes = "".join(f'<p class="note">{escape(note[:1].upper() + note[1:])}</p>' for note in facts["notes"])
    base = facts["arms"][0]["against"] if facts["arms"] else ""
    return (
        '<section id="arms"><h2>Arms</h2><p class="lead">Every arm is trained on the target with the same updates, '
        "schedule and seed (updates, and hours of audio heard); what was computed before that, on the rich language or "
        "on text, stands in the last column. Dev chose the checkpoints, the best arm, and what is compared with "
        f"({escape(base)}); the split named above was decoded once for each arm. Differences are in points, paired "
        f"over the same utterances, with 95\u202f% intervals. {ONE_TRAINING}</p>"
        f"{rows_table(head, lines)}{notes}</section>"
    )


def _row(row: Mapping[str, Any], published: str) -> list[str]:
    mark = " <b>(published)</b>" if row["name"] == published else ""
    name = f"{escape(row['name'])}{mark}<br><small>{escape(row['about'])}</small>"
    cells = [name]
    for unit in ("cer", "wer"):
        rate = row["test"][unit]
        cells.append(f"<b>{percent(rate['value'])}</b><br><small>{span(dict(rate))}</small>")
        cells.append(_difference(row["difference"], unit))
    before = row["before"]
    return [
        *cells,
        percent(row["dev"]["cer"]["value"]),
        _computed(row["updates"], row["audio_hours"]),
        _computed(before["updates"], before["audio_hours"]),
    ]


def _computed(updates: int, hours: float) -> str:
    return f"{whole(updates)}<br><small>{_hours(hours)}</small>"


def _difference(found: Mapping[str, Any] | None, unit: str) -> str:
    if found is None:
        return "–"
    one = found[unit]
    reach = "" if one["low"] is None else f"{_points(one['low'])} to {_points(one['high'])}; "
    text = f"{_points(one['delta'])}<br><small>{reach}{VERDICTS[one['verdict']]}</small>"
    return f'<span class="{RED}">{text}</span>' if one["verdict"] == WORSE else text


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", _MINUS)


def _hours(hours: float) -> str:
    return f"{hours:.2f}\u202fh"


def _labels(arms: Sequence[Mapping[str, Any]]) -> str:
    """The translator on held-out pairs, what was kept, and the translating model on speech."""
    rows = [row for row in arms if row.get("labels")]
    if not rows:
        return ""
    head = ("arm", "labels by", "BLEU", "chrF", "rows kept", "hours", "speech: BLEU", "chrF")
    lines = []
    for row in rows:
        one = row["labels"]
        kept = f"{whole(one['kept'])} of {whole(one['rows'])}" if "kept" in one else "–"
        hours = _hours(one["kept_hours"]) if "kept_hours" in one else "–"
        lines.append(
            [
                escape(row["name"]),
                escape(one["by"]),
                *_figures(one.get("held_out")),
                kept,
                hours,
                *_figures(one.get("speech")),
            ]
        )
    return (
        '<section id="labels"><h2>How good the translations are</h2><p class="lead">BLEU and chrF2 from 0 to 100 '
        "without case and punctuation, with 95\u202f% intervals: first of the translator on held-out sentence pairs, "
        "last of the speech translation model on the rich language's dev, whose references are the labels of that arm "
        f"(so that rows of unlike labels are not comparable).</p>{rows_table(head, lines, words=2)}{_left_out(rows)}"
        "</section>"
    )


def _figures(score: Mapping[str, Any] | None) -> tuple[str, str]:
    if score is None:
        return "–", "–"
    cells = []
    for name in ("bleu", "chrf"):
        one = score["normalised"][name]
        reach = "" if one["low"] is None else f"<br><small>{one['low']:.1f} to {one['high']:.1f}</small>"
        cells.append(f"{one['value']:.1f}{reach}")
    return cells[0], cells[1]


def _left_out(rows: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for row in rows:
        reasons = row["labels"].get("rejected") or {}
        if reasons:
            counts = ", ".join(f"{whole(count)} {reason}" for reason, count in sorted(reasons.items()))
            told.append(f"<li>{escape(row['name'])}: {escape(counts)}</li>")
    return f"<p>Translations that were left out, by reason:</p><ul>{''.join(told)}</ul>" if told else ""


def _shares(arms: Sequence[Mapping[str, Any]]) -> str:
    """CER by the number of pairs that the translator was trained on."""
    shares = shares_of(arms)
    points = [(pairs, rate["value"]) for pairs, rate in shares]
    if len(points) < 2:
        return ""
    band = [(pairs, rate["low"], rate["high"]) for pairs, rate in shares]
    known = all(low is not None for _, low, _ in band)
    lines = [Line("with translated speech", "a", points, dots=True, band=band if known else ())]
    base = next((row for row in arms if row["name"] == row["against"]), None)
    if base is not None:
        level = base["test"]["cer"]["value"]
        lines.append(Line(f"without ({base['name']})", "b", [(points[0][0], level), (points[-1][0], level)]))
    chart = line_chart("CER by training pairs", lines, x_label="pairs", percent_axis=True)
    return (
        '<section id="shares"><h2>What more sentence pairs bring</h2><p class="lead">CER of the target by the pairs '
        "that the translator was trained on; the shade is the 95\u202f% interval of each.</p>"
        f'<div class="charts">{chart}</div></section>'
    )


def _curves(arms: Sequence[Mapping[str, Any]]) -> str:
    """CER on dev by updates on the target, up to three arms a chart."""
    charts = []
    for first in range(0, len(arms), len(_STYLES)):
        some = arms[first : first + len(_STYLES)]
        lines = [Line(row["name"], style, row["curve"]) for row, style in zip(some, _STYLES, strict=False)]
        charts.append(line_chart("CER on dev by updates", [line for line in lines if line.points], percent_axis=True))
    return (
        '<section id="curves"><h2>How fast each learns</h2><p class="lead">Greedy, on dev, while the target is '
        f'trained.</p><div class="charts">{"".join(charts)}</div></section>'
    )
