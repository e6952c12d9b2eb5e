"""The page and the section of a judgement: Norm_I and its parts, variety beside it, voices, examples to listen to.

Example::

    judge_page(found, real_rows, synthetic_rows, audio=recordings(Path("/")))
    judgement_section(found)          # for another report
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.difference import LEGEND, interlinear
from orature.evaluate.html.listening import Audio, Clip, player
from orature.evaluate.html.page import command_section, heading, page, rows_table
from orature.evaluate.html.sections import gauge, warning_box
from orature.evaluate.html.text import escape, percent, span, whole
from orature.evaluate.rows import Row
from orature.evaluate.score import Scored, align_rows

EXAMPLES = 5
"""Utterances that are shown of the best, the middle and the worst."""
MOST_BYTES = 5_000_000
_SHOWN = 10
"""Rows of a table of voices that are not folded away."""
_MEASURES: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("speakers", ("speakers",), ""),
    ("speakers in effect", ("effective_speakers",), ""),
    ("prompts", ("prompts",), ""),
    ("pitch, median", ("pitch", "median_hz"), "Hz"),
    ("pitch, 5th percentile of utterances", ("pitch", "low_hz"), "Hz"),
    ("pitch, 95th percentile of utterances", ("pitch", "high_hz"), "Hz"),
    ("pitch between utterances (deviation)", ("pitch", "between_semitones"), "semitones"),
    ("pitch within an utterance (range)", ("pitch", "within_semitones"), "semitones"),
    ("speaking rate", ("rate", "mean"), "characters/s"),
    ("spread of the rate", ("rate", "spread"), ""),
    ("length of an utterance", ("duration", "mean"), "s"),
    ("spread of the length", ("duration", "spread"), ""),
    ("different sentences", ("text", "sentences"), ""),
    ("different words", ("text", "word_types"), ""),
    ("different characters", ("text", "character_types"), ""),
)


def judge_page(
    found: Mapping[str, Any],
    real: Sequence[Row],
    synthetic: Sequence[Row],
    *,
    audio: Audio | None = None,
    title: str = "",
    command: str = "",
) -> str:
    """The whole page, self-contained; equal arguments give equal pages. `audio` gives the recording of a row."""
    head = heading(
        title or "How intelligible is this synthetic speech?",
        [
            ("Judge", f"{found['judge']} ({found['family']})"),
            ("Language", ", ".join(found.get("languages", []))),
            ("Metric", f"{found['metric'].upper()}: {found['metric_because']}"),
            ("Normaliser", found["normaliser"]),
            ("Sentences", str(found["probe"]["fingerprint"])[:12]),
        ],
    )
    body = "".join(
        (
            warning_box(found["warnings"]),
            judgement_section(found),
            _groups(found),
            _variety(found),
            _examples(found, real, synthetic, audio),
            command_section(command),
        )
    )
    nav = (
        ("norm-i", "Norm_I"),
        ("voices", "Voices"),
        ("variety", "Variety"),
        ("listen", "Listen"),
        ("made", "Command"),
    )
    summary = f"Norm_I {found['norm_i']['value']:.3g}"
    return page(title="Judgement", head=head, body=body, summary=summary, nav=nav)


def judgement_section(found: Mapping[str, Any]) -> str:
    """Norm_I with its interval and all of its parts."""
    one, probe = found["norm_i"], found["probe"]
    how = "the same sentences" if probe["paired"] else "different sentences (not paired)"
    floor = f" Below {percent(found['floor']['value'])} of errors on real speech that floor is divided by."
    rows = [_part(found, metric, side) for metric in ("wer", "cer") for side in ("real", "syn")]
    table = rows_table(("", "error rate", "95 % interval", "utterances", "words"), rows)
    norms = rows_table(
        ("Norm_I by", "value", "95 % interval"),
        [[name.upper(), f"{row['value']:.3g}", _reach(row)] for name, row in found["norm_i_by_metric"].items()],
    )
    return (
        '<section id="norm-i"><h2>Norm_I</h2>'
        f'<p class="big">{one["value"]:.2f}</p><p class="within">{_reach(one)}'
        f"<small>95\u202f% interval by {escape(one['by'])}</small></p>"
        '<p class="lead">exp((error on real speech \u2212 error on synthetic speech) / error on real speech): 1 is as '
        "intelligible to this judge as real speech, above 1 easier, near 0 hardly understood. Both sides read "
        f"{how}.{floor}</p>{table}{norms}</section>"
    )


def _part(found: Mapping[str, Any], metric: str, side: str) -> list[str]:
    rate, size = found[f"{metric}_{side}"], found[f"size_{side}"]
    name = "real" if side == "real" else "synthetic"
    return [
        f"{metric.upper()}, {name} speech {gauge(rate)}",
        percent(rate["value"]),
        span(dict(rate)),
        whole(size["utterances"]),
        whole(size["words"]),
    ]


def _reach(value: Mapping[str, Any]) -> str:
    return "too few to give an interval" if value["low"] is None else f"{value['low']:.3g} to {value['high']:.3g}"


def _groups(found: Mapping[str, Any]) -> str:
    """Norm_I by voice and by speaker, where there are several."""
    parts = []
    for kind in ("voices", "speakers"):
        rows = [
            [
                f"<bdi>{escape(one['name'] or 'unknown')}</bdi>",
                f"{one['norm_i']['value']:.3g}",
                _reach(one["norm_i"]),
                percent(one[f"{found['metric']}_syn"]["value"]),
                whole(one["size_syn"]["utterances"]),
            ]
            for one in sorted(found.get(kind, []), key=lambda one: (one["norm_i"]["value"], one["name"]))
        ]
        if rows:
            head = (kind[:-1], "Norm_I", "95 % interval", f"{found['metric'].upper()}", "utterances")
            parts.append(f"<h3>By {kind[:-1]}, the least intelligible first</h3>{rows_table(head, rows[:_SHOWN])}")
            if rest := rows[_SHOWN:]:
                parts.append(f"<details><summary>{len(rest)} more</summary>{rows_table(head, rest)}</details>")
    return f'<section id="voices"><h2>Voices and speakers</h2>{"".join(parts)}</section>' if parts else ""


def _variety(found: Mapping[str, Any]) -> str:
    measures = found.get("diversity")
    if not measures:
        return ""
    rows = []
    for name, path, unit in _MEASURES:
        cells = [_measured(measures[side], path) for side in ("real", "synthetic")]
        if any(cell is not None for cell in cells):
            rows.append([escape(name), *("–" if cell is None else f"{cell:,.3g}" for cell in cells), escape(unit)])
    return (
        '<section id="variety"><h2>Variety</h2><p class="lead">Intelligible speech that is always the same teaches '
        "little: these figures stand beside Norm_I. Pitch by the YIN estimator on at most 400 recordings a side.</p>"
        f"{rows_table(('', 'real', 'synthetic', ''), rows)}</section>"
    )


def _measured(measures: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = measures
    for name in path:
        value = None if value is None else value.get(name)
    return None if value is None else float(value)


def _examples(found: Mapping[str, Any], real: Sequence[Row], synthetic: Sequence[Row], audio: Audio | None) -> str:
    """Best, middle and worst synthetic utterances, each with the reading of a person where there is one."""
    scored = align_rows(sorted(synthetic, key=lambda row: row.id), found["normaliser"])[0]
    people = {item.row.reference: item for item in align_rows(real, found["normaliser"])[0]}
    if not scored:
        return ""
    shelf = _Shelf(audio)
    parts = [
        f"<h3>{name}</h3>" + "".join(_card(item, people.get(item.row.reference), shelf) for item in items)
        for name, items in chosen(scored)
    ]
    left = (
        f'<p class="note">{shelf.too_big} recordings are left out to keep this file small.</p>' if shelf.too_big else ""
    )
    return (
        '<section id="listen"><h2>Listen</h2><p class="lead">Synthetic speech as the judge heard it: above what was to '
        f'be said, below what was heard.</p>{LEGEND}<div class="worst">{"".join(parts)}</div>{left}</section>'
    )


def chosen(scored: Sequence[Scored], many: int = EXAMPLES) -> list[tuple[str, list[Scored]]]:
    """The least, middling and most misheard utterances, no one twice; among equals the longest first."""
    ordered = sorted(scored, key=lambda item: (item.cer, -item.characters.counts.reference, item.row.id))
    many = min(many, max(1, len(ordered) // 3))
    middle = (len(ordered) - many) // 2
    best, worst = ordered[:many], ordered[max(many, len(ordered) - many) :][::-1]
    between = ordered[max(many, middle) : min(max(many, middle) + many, max(many, len(ordered) - many))]
    return [(name, items) for name, items in (("Worst", worst), ("Middle", between), ("Best", best)) if items]


class _Shelf:
    """Recordings as long as they fit into the page."""

    def __init__(self, audio: Audio | None) -> None:
        self._audio, self._used, self.too_big = audio, 0, 0

    def clip(self, row: Row) -> Clip | None:
        clip = None if self._audio is None else self._audio(row)
        if clip is None:
            return None
        size = len(clip.data) * 4 // 3
        if self._used + size > MOST_BYTES:
            self.too_big += 1
            return None
        self._used += size
        return clip


def _card(item: Scored, person: Scored | None, shelf: _Shelf) -> str:
    row = item.row
    speaker = f"<bdi>{escape(row.speaker)}</bdi> · " if row.speaker else ""
    refusal = f'<p class="refusal">Refused: {escape(row.refusal.get("detail") or "")}</p>' if row.refusal else ""
    beside = ""
    if person is not None:
        heard = f"CER {percent(person.cer)}"
        beside = f'<p class="note">The same by a person ({heard}):</p>'
        beside += player(shelf.clip(person.row), person.row.duration_s)
    return (
        f'<article class="error"><header><b class="cer">CER {percent(item.cer)}</b><span>{speaker}{row.duration_s:.1f}'
        f'\u202fs</span><code class="id" title="{escape(row.id)}"><bdi>{escape(row.id)}</bdi></code></header>'
        f"{player(shelf.clip(row), row.duration_s)}{refusal}{interlinear(item.words)}{beside}</article>"
    )
