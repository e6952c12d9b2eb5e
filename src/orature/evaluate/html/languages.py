"""The report's table of languages: rates of each, and what pooling did to it where there are baselines.

A language that got worse is named in red and in words, never by colour alone.

Example::

    languages_section(score)        # "" where the score has one language
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.text import duration, escape, percent, span, whole
from orature.evaluate.languages import worse_languages

RED = "k-del-ink"
"""The style of what became worse."""
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "not distinguishable": "may be chance",
    "too few to say": "too few to say",
}


def languages_section(score: Mapping[str, Any]) -> str:
    """Rates by language with intervals, the macro average, and differences from each baseline."""
    languages: Mapping[str, Any] = score.get("languages") or {}
    if len(languages) < 2:
        return ""
    baselines: Sequence[Mapping[str, Any]] = score.get("baselines") or []
    macro = score["macro"]
    hours = any("train_hours" in one for one in languages.values())
    head = "".join(
        f"<th{style}>{name}</th>"
        for name, style in (
            ("language", ""),
            *((("trained on", ' class="num"'),) if hours else ()),
            ("words", ' class="num"'),
            ("CER", ' class="num"'),
            ("WER", ' class="num"'),
        )
    )
    head += "".join(
        f'<th class="num">CER {escape(one["about"])}</th><th class="num">difference</th>' for one in baselines
    )
    rows = "".join(_row(tag, one, baselines, hours) for tag, one in languages.items())
    return (
        f'<section id="languages"><h2>By language</h2><p class="lead">{_lead(macro, len(languages))}</p>'
        f"{''.join(_told(one) for one in baselines)}"
        '<div class="scroll" tabindex="0"><table class="list wide"><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}{_mean(macro, baselines, hours)}</tbody></table></div></section>"
    )


def _lead(macro: Mapping[str, Any], languages: int) -> str:
    cer, wer = macro["cer"], macro["wer"]
    return (
        f"Macro average over {whole(languages)} languages, each counted alike: CER {percent(cer['value'])} "
        f"({span(dict(cer))}), WER {percent(wer['value'])}. Differences are this model minus the other one in points "
        "of CER on the same utterances: below zero, this model errs less."
    )


def _told(baseline: Mapping[str, Any]) -> str:
    """One sentence on the languages that this model serves worse than the baseline."""
    worse = worse_languages(baseline)
    about = escape(baseline["about"])
    if not worse:
        return f'<p class="note">No language is measurably worse than when {about}.</p>'
    named = ", ".join(
        f'<strong class="{RED}"><bdi>{escape(tag)}</bdi></strong> by {_points(one["delta"])} points'
        for tag, one in worse.items()
    )
    return f'<p class="{RED}">Worse than when {about}: {named}.</p>'


def _row(tag: str, one: Mapping[str, Any], baselines: Sequence[Mapping[str, Any]], hours: bool) -> str:
    red = any(tag in worse_languages(baseline) for baseline in baselines)
    name = f'<bdi class="{RED}">{escape(tag)}</bdi>' if red else f"<bdi>{escape(tag)}</bdi>"
    cells = f'<th scope="row">{name}</th>'
    if hours:
        cells += f'<td class="num">{duration(one.get("train_hours", 0.0))}</td>'
    cells += (
        f'<td class="num">{whole(one["words"])}</td>'
        f'<td class="num"><b>{percent(one["cer"]["value"])}</b> <small>{_within(one["cer"])}</small></td>'
        f'<td class="num">{percent(one["wer"]["value"])}</td>'
    )
    return f"<tr>{cells}{''.join(_against(baseline['languages'].get(tag)) for baseline in baselines)}</tr>"


def _mean(macro: Mapping[str, Any], baselines: Sequence[Mapping[str, Any]], hours: bool) -> str:
    cells = f'<th scope="row">macro average</th>{"<td></td>" if hours else ""}<td></td>'
    cells += f'<td class="num"><b>{percent(macro["cer"]["value"])}</b> <small>{_within(macro["cer"])}</small></td>'
    cells += f'<td class="num">{percent(macro["wer"]["value"])}</td>'
    return f"<tr>{cells}{''.join(_against(baseline['macro']) for baseline in baselines)}</tr>"


def _against(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return '<td class="num">–</td><td class="num">not trained</td>'
    found = one["difference"]["cer"]
    inner = f"{_points(found['delta'], signed=True)} <small>{_reach(found)}{VERDICTS[found['verdict']]}</small>"
    style = f' class="num {RED}"' if found["verdict"] == "worse" else ' class="num"'
    return f'<td class="num">{percent(one["cer"]["value"])}</td><td{style}>{inner}</td>'


def _within(rate: Mapping[str, Any]) -> str:
    return span(dict(rate)) if rate.get("low") is not None else "no interval"


def _reach(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return ""
    return f"{_points(found['low'], signed=True)} to {_points(found['high'], signed=True)}, "


def _points(value: float, *, signed: bool = False) -> str:
    """A difference of fractions in points of a hundred, with a true minus sign."""
    text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return text.replace("-", "\u2212")
