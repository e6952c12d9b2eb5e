"""The report's sections on synthetic speech: did it help, the arms at equal compute, the sweep, the voice, its text.

Example::

    arms_section(score) + synthetic_section(score, audio)      # "" where the score has no arms
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.calibration_curve import calibration_section
from orature.evaluate.html.languages import RED, VERDICTS
from orature.evaluate.html.listening import Audio, player
from orature.evaluate.html.sweep import sweep_chart
from orature.evaluate.html.text import ONE_TRAINING, direction, escape, percent, span, whole
from orature.evaluate.rows import Row

_EXAMPLES = 12
_MOST_BYTES = 2_000_000
_FACTS = (
    ("voice", "Voice"),
    ("licence", "Licence of the voice"),
    ("speakers", "Speakers"),
    ("sentences", "Sentences of the text"),
    ("made", "Utterances made"),
    ("kept", "Utterances kept"),
    ("hours", "Hours of synthetic speech"),
    ("real_hours", "Hours of real speech"),
)


def arms_section(score: Mapping[str, Any]) -> str:
    """In words, then the table of arms on test, then the sweep on dev."""
    arms = score.get("arms")
    if not arms:
        return ""
    said = "".join(f"<p{_style(arms, place)}>{escape(line)}</p>" for place, line in enumerate(_told(arms)))
    notes = "".join(f'<p class="note">{escape(note[:1].upper() + note[1:])}</p>' for note in arms.get("notes") or ())
    return (
        f'<section id="arms"><h2>Did synthetic speech help?</h2>{said}'
        f'<p class="lead">All trained arms have the same updates, schedule and seed. Everything was chosen by '
        f"{arms['metric'].upper()} on dev; test was opened once for each row. Differences are against real speech "
        f"only, in points, with their 95\u202f% intervals. {ONE_TRAINING}</p>"
        f"{_table(arms)}{notes}{sweep_chart(arms)}"
        f"{_merged(arms)}{_rounds(arms)}</section>"
    )


def _told(arms: Mapping[str, Any]) -> list[str]:
    return [*arms["verdict"]["sentences"], f"Published, as the better one on dev: {arms['published']}."]


def _style(arms: Mapping[str, Any], place: int) -> str:
    harm = place == 0 and arms["verdict"]["helped"] is False and "did harm" in arms["verdict"]["sentences"][0]
    return f' class="{RED}"' if harm else ""


def _table(arms: Mapping[str, Any]) -> str:
    names = ("CER", "difference", "WER", "difference", "updates", "audio passed", "of it real", "of it synthetic")
    head = "<th>arm</th>" + "".join(f'<th class="num">{name}</th>' for name in names)
    body = "".join(_row(row, arms["published"]) for row in arms["rows"])
    return (
        '<div class="scroll" tabindex="0"><table class="list wide"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Mapping[str, Any], published: str) -> str:
    mark = " <b>(published)</b>" if row["name"] == published else ""
    note = f"<br><small>{escape(row['note'])}</small>" if row.get("note") else ""
    cells = f'<th scope="row">{escape(row["about"] or row["name"])}{mark}{note}</th>'
    for unit in ("cer", "wer"):
        rate = row["test"][unit]
        cells += f'<td class="num"><b>{percent(rate["value"])}</b><br><small>{span(dict(rate))}</small></td>'
        cells += _difference(row["difference"], unit)
    seen = row.get("hours_seen") or {}
    synthetic = float(seen.get("synthetic", 0.0))
    for shown in (
        None if row["updates"] is None else whole(row["updates"]),
        None if row["audio_hours"] is None else _hours(row["audio_hours"]),
        _hours(sum(seen.values()) - synthetic) if seen else None,
        _hours(synthetic) if seen else None,
    ):
        cells += f'<td class="num">{"–" if shown is None else shown}</td>'
    return f"<tr>{cells}</tr>"


def _difference(found: Mapping[str, Any] | None, unit: str) -> str:
    if found is None:
        return '<td class="num">–</td>'
    one = found[unit]
    reach = "" if one["low"] is None else f"{_points(one['low'])} to {_points(one['high'])}; "
    style = f' class="num {RED}"' if one["verdict"] == "worse" else ' class="num"'
    return f"<td{style}>{_points(one['delta'])}<br><small>{reach}{VERDICTS[one['verdict']]}</small></td>"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def _fact(value: object) -> str:
    """Counts and names as they are, hours to two decimals."""
    return f"{value:.2f}" if isinstance(value, float) else escape(value)


def _hours(hours: float) -> str:
    return f"{hours:.2f}\u202fh"


def _merged(arms: Mapping[str, Any]) -> str:
    rows = arms.get("merged") or ()
    if not rows:
        return ""
    body = "".join(
        f'<tr><td class="num">{one["a"]:g}</td><td class="num">{one["b"]:g}</td>'
        f'<td class="num">{percent(one["cer"])}</td><td class="num">{percent(one["wer"])}</td></tr>'
        for one in rows
    )
    return (
        "<h3>Merged models</h3><p>start + a (real only - start) + b (with synthetic speech - start), on dev.</p>"
        '<div class="scroll" tabindex="0"><table class="list"><thead><tr><th class="num">a</th><th class="num">b</th>'
        f'<th class="num">CER</th><th class="num">WER</th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def _rounds(arms: Mapping[str, Any]) -> str:
    rows = arms.get("rounds") or ()
    if not rows:
        return ""
    items = "".join(f"<li>{escape(one['said'])}</li>" for one in rows)
    return f"<h3>Closed loop</h3><p>Each round is kept only where it helps on dev.</p><ol>{items}</ol>"


def synthetic_section(score: Mapping[str, Any], audio: Audio | None = None) -> str:
    """The voice and its text: facts, Norm_I, what was rejected, examples to listen to."""
    found = score.get("synthetic")
    if not found:
        return ""
    facts = found.get("facts") or {}
    shown = "".join(
        f"<div><dt>{name}</dt><dd><bdi>{_fact(facts[key])}</bdi></dd></div>"
        for key, name in _FACTS
        if facts.get(key) not in (None, "")
    )
    warning = ""
    if found.get("fallback"):
        warning = (
            f'<p class="{RED}">The voice does not know the language; it reads with {escape(found["fallback"])}.</p>'
        )
    return (
        '<section id="synthetic"><h2>The synthetic speech</h2>'
        f'<dl class="about">{shown}</dl>{warning}{_judged(found)}{_calibrated(found)}{_text(found)}{_rejected(facts)}'
        f"{_examples(found.get('examples') or (), audio)}</section>"
    )


def _judged(found: Mapping[str, Any]) -> str:
    judged = found.get("judgement")
    if not judged or not isinstance(judged.get("norm_i"), Mapping):
        return ""
    norm, metric = judged["norm_i"], str(judged.get("metric") or "wer")
    reach = "too few to give an interval" if norm.get("low") is None else f"{norm['low']:.2f} to {norm['high']:.2f}"
    known = found.get("threshold")
    bound = "" if known is None else f" Synthetic speech was found to help from {known:.2f} on."
    rates = [judged.get(f"{metric}_{side}") for side in ("real", "syn")]
    both = ""
    if all(isinstance(rate, Mapping) for rate in rates):
        both = f" {metric.upper()} on people {percent(rates[0]['value'])}, on the voice {percent(rates[1]['value'])}."
    warnings = "".join(f"<li>{escape(line)}</li>" for line in judged.get("warnings") or ())
    return (
        f"<h3>How well it is understood</h3><p>Norm_I <b>{norm['value']:.2f}</b> ({reach}); 1 is as intelligible as "
        f"people.{both} Probe: sentences of dev, read by people and by the voice.{bound}</p>"
        + (f"<ul>{warnings}</ul>" if warnings else "")
    )


def _calibrated(found: Mapping[str, Any]) -> str:
    return calibration_section(found["calibration"]) if found.get("calibration") else ""


def _text(found: Mapping[str, Any]) -> str:
    text = found.get("text")
    if not text:
        return ""
    reasons = "".join(
        f'<tr><td>{escape(reason)}</td><td class="num">{whole(count)}</td></tr>'
        for reason, count in sorted((text.get("reasons") or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    )
    lines = f"<p>{whole(text['sentences'])} sentences were kept."
    table = (
        '<div class="scroll" tabindex="0"><table class="list"><thead><tr><th>left out because</th>'
        f'<th class="num">lines</th></tr></thead><tbody>{reasons}</tbody></table></div>'
    )
    return f"<h3>The text</h3>{lines}</p>{table if reasons else ''}"


def _rejected(facts: Mapping[str, Any]) -> str:
    share = facts.get("reject_share")
    if not share:
        return ""
    return f"<p>{percent(float(share))} of the utterances were left out after synthesis, each with its reason.</p>"


def _examples(examples: Sequence[Mapping[str, Any]], audio: Audio | None) -> str:
    cards, used = [], 0
    for one in examples[:_EXAMPLES]:
        place = one["audio"]
        row = Row(id=one["id"], reference=one["text"], hypothesis="", duration_s=place["duration_s"], audio=place)
        clip = audio(row) if audio is not None else None
        if clip is None or used + len(clip.data) > _MOST_BYTES:
            continue
        used += len(clip.data)
        cards.append(
            f'<article class="error"><header><span><bdi>{escape(one.get("speaker") or "")}</bdi></span></header>'
            f'{player(clip, place["duration_s"])}<p dir="{direction(one["text"])}">{escape(one["text"])}</p></article>'
        )
    if not cards:
        return ""
    return f'<h3>Listen</h3><div class="worst">{"".join(cards)}</div>'
