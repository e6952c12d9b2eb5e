"""Sections of a report on translations: BLEU and chrF with intervals, and sentences side by side.

Example::

    translation_section(score), examples_section(rows, source="es", target="qu")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.languages import RED
from orature.evaluate.html.page import rows_table
from orature.evaluate.html.text import direction, escape

_NAMES = {"bleu": "BLEU", "chrf": "chrF2"}
_SHOWN = 5


def translation_section(score: Mapping[str, Any]) -> str:
    """The figures of a score file of translations as a section with the id `translation`."""
    lines = [_line(f"{_NAMES[name]}, as written", score[name]) for name in _NAMES]
    folded, warned = score["normalised"], ""
    lines += [_line(f"{_NAMES[name]}, without case and punctuation", folded[name]) for name in _NAMES]
    if "copy" in score:
        lines.append([f"{_NAMES['chrf']} of the source left as it is", f"{score['copy']['chrf']:.1f}", ""])
        warned = _no_better(score)
    refused = f", {score['refused']} refused (counted as empty)" if score.get("refused") else ""
    signatures = "; ".join(f"{_NAMES[name]}: {score[name]['signature']}" for name in _NAMES)
    return (
        f'<section id="translation"><h2>Translation</h2><p class="lead">{escape(score["split"])}: '
        f"{score['sentences']} sentences, {score['words']} words of reference, {score['empty']} translations "
        f"empty{refused}. From 0 to 100, the more the better; intervals of 95 % by {escape(score['chrf']['by'])}. "
        f"Without case and punctuation: {escape(score['normaliser'])}.</p>"
        f"{warned}{rows_table(('figure', 'value', 'interval'), lines)}"
        f'<p class="note">sacrebleu signatures: <code>{escape(signatures)}</code></p></section>'
    )


def _no_better(score: Mapping[str, Any]) -> str:
    """A sentence where a translation is no nearer to its reference than the source as it stands."""
    found, copied = score["chrf"], score["copy"]["chrf"]
    if (found["value"] if found["low"] is None else found["low"]) > copied:
        return ""
    if found["value"] <= copied:
        told = "The source left as it is scores as high as its translation, or higher: this is no translator yet."
    else:
        told = "That these translations beat the source left as it is cannot be told: the interval reaches below it."
    return f'<p class="{RED}">{told}</p>'


def _line(name: str, points: Mapping[str, Any]) -> list[str]:
    reach = "too few to give one" if points["low"] is None else f"{points['low']:.1f} to {points['high']:.1f}"
    return [escape(name), f"{points['value']:.1f}", f"<small>{reach}</small>"]


def examples_section(rows: Sequence[Mapping[str, Any]], *, source: str, target: str) -> str:
    """Sentences with their translations from the best, the middle and the worst of the set by chrF."""
    ranked = sorted(rows, key=lambda row: (-float(row["chrf"]), str(row["id"])))
    if not ranked:
        return ""
    size = min(_SHOWN, max(1, len(ranked) // 3))
    middle = (len(ranked) - size) // 2
    groups = [("Best", ranked[:size])]
    if len(ranked) >= 3 * size:
        groups += [("In the middle", ranked[middle : middle + size]), ("Worst", ranked[-size:])]
    head = ("source", "reference", "translation", "chrF")
    body = "".join(
        f"<h3>{name}</h3>{rows_table(head, _shown(group, source, target), words=3)}" for name, group in groups
    )
    return f'<section id="examples"><h2>Examples</h2><p class="lead">Of the test set, by chrF.</p>{body}</section>'


def _shown(rows: Sequence[Mapping[str, Any]], source: str, target: str) -> list[list[str]]:
    return [
        [
            _text(row["source"], source),
            _text(row["reference"], target),
            _text(row["translation"], target)
            if row["translation"]
            else f"<i>{escape(row['refusal'] or 'nothing')}</i>",
            f"{float(row['chrf']):.0f}",
        ]
        for row in rows
    ]


def _text(text: str, language: str) -> str:
    return f'<span lang="{escape(language)}" dir="{direction(text)}">{escape(text)}</span>'
