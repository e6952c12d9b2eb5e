"""Writes report.html: one file without any outside address, fit to be mailed, opened on a phone and printed.

The page forbids every script but its own (by digest) in its content security policy, so that even a transcript with
markup in it, were it ever to slip through the escaping, could not run.

Example::

    write_report(Path("report.html"), score=scored.score, rows=scored.rows, train_log=scored.train_log)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from orature.core.files import write_beside
from orature.evaluate.html.arms import arms_section, synthetic_section
from orature.evaluate.html.before_after import before_after_section
from orature.evaluate.html.charts import Line, line_chart, thinned
from orature.evaluate.html.languages import languages_section
from orature.evaluate.html.listening import Audio, choose_clips, table_section, worst_section
from orature.evaluate.html.provenance import next_steps, provenance
from orature.evaluate.html.reliability import reliability_section
from orature.evaluate.html.sections import by_slice, confusion_section, headline, warning_box
from orature.evaluate.html.text import escape, percent
from orature.evaluate.rows import Row
from orature.evaluate.score import align_rows

_TEMPLATES = resources.files("orature.evaluate") / "templates"
_HUGE = 1e30
_SECTIONS = (
    ("arms", "Synthetic speech"),
    ("synthetic", "The voice"),
    ("before-after", "Before and after"),
    ("languages", "Languages"),
    ("training", "Learning"),
    ("slices", "Where it errs"),
    ("letters", "Letters"),
    ("confidence", "Confidence"),
    ("worst", "Worst errors"),
    ("all", "All utterances"),
    ("next", "Use it"),
    ("lineage", "Where from"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the test set travels in the file."""

    clips: int = 30
    audio_bytes: int = 6_000_000
    rows: int = 2000


def write_report(
    path: Path,
    *,
    score: Mapping[str, Any],
    rows: Sequence[Row],
    train_log: Sequence[Mapping[str, Any]] | None = None,
    lineage: Sequence[Mapping[str, Any]] | None = None,
    audio: Audio | None = None,
    licences: Sequence[str] = (),
    title: str = "",
    made_on: str = "",
    model_path: str = "",
    limits: Limits | None = None,
) -> Path:
    """Writes the page beside `path` and renames it; parts that are not given are left out of the page.

    `audio` gives the recording of a row (None where it is lost); `made_on` is a date as it shall be read.
    """
    page = report_page(
        score=score,
        rows=rows,
        train_log=train_log,
        lineage=lineage,
        audio=audio,
        licences=licences,
        title=title,
        made_on=made_on,
        model_path=model_path,
        limits=limits or Limits(),
    )
    with write_beside(path) as part:
        part.write_text(page, encoding="utf-8", newline="\n")
    return path


def report_page(
    *,
    score: Mapping[str, Any],
    rows: Sequence[Row],
    train_log: Sequence[Mapping[str, Any]] | None,
    lineage: Sequence[Mapping[str, Any]] | None,
    audio: Audio | None,
    licences: Sequence[str],
    title: str,
    made_on: str,
    model_path: str,
    limits: Limits,
) -> str:
    """The whole page as text; equal arguments give equal pages."""
    scored, _ = align_rows(sorted(rows, key=lambda row: row.id), score["normaliser"])
    listened = choose_clips(scored, audio, limit=limits.clips, most_bytes=limits.audio_bytes)
    body = "".join(
        (
            headline(score),
            warning_box(score.get("warnings", [])),
            arms_section(score),
            synthetic_section(score, audio),
            before_after_section(score),
            languages_section(score),
            training_section(train_log or []),
            by_slice(score),
            confusion_section(score),
            reliability_section((item.row for item in scored), score["normaliser"]),
            worst_section(listened),
            table_section(scored, limit=limits.rows),
            next_steps(score, model_path),
            provenance(score, lineage=lineage, licences=licences, made_on=made_on),
        )
    )
    script = _template("report.js")
    return Template(_template("report.html")).substitute(
        script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        title=escape(title or _title(score)),
        head=_head(score, title, made_on),
        summary=escape(f"WER {percent(score['wer']['value'])}, CER {percent(score['cer']['value'])}"),
        nav="".join(f'<a href="#{name}">{text}</a>' for name, text in _SECTIONS if f'id="{name}"' in body),
        style=_template("report.css"),
        body=body,
        script=script,
    )


def training_section(train_log: Sequence[Mapping[str, Any]]) -> str:
    """Loss and dev error against updates; nothing without a training log."""

    def points(name: str) -> list[tuple[float, float]]:
        pairs = [(_finite(row.get("update")), _finite(row.get(name))) for row in train_log]
        return [(x, y) for x, y in pairs if x is not None and y is not None]

    loss = line_chart(
        "Loss", [thinned("training", "a", points("loss")), Line("dev", "b", points("dev_loss"), dots=True)]
    )
    error = line_chart(
        "Error on dev",
        [Line("CER", "b", points("dev_cer"), dots=True), Line("WER", "c", points("dev_wer"), dots=True)],
        percent_axis=True,
    )
    if not loss and not error:
        return ""
    return (
        '<section id="training"><h2>How it learned</h2><p class="lead">The checkpoint was chosen on the dev set, '
        f'never on test; the ring marks the best.</p><div class="charts">{error}{loss}</div></section>'
    )


def _finite(value: object) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HUGE
    return float(value) if usable and isinstance(value, (int, float)) else None


def _title(score: Mapping[str, Any]) -> str:
    return f"{score.get('language') or 'Speech'} recognition: {score.get('model') or 'a model'}"


def _head(score: Mapping[str, Any], title: str, made_on: str) -> str:
    model = str(score.get("model") or "Unnamed model")
    corpus = f"{score.get('corpus') or 'unnamed corpus'}, {score.get('split', 'test')}"
    facts = [("Language", score.get("language")), ("Tested on", corpus), ("Date", made_on)]
    fingerprint = str(score.get("split_fingerprint") or "")
    if fingerprint:
        facts.append(("Fingerprint", fingerprint[:12]))
    facts.append(("Normaliser", score["normaliser"]))
    shown = "".join(f"<div><dt>{name}</dt><dd><bdi>{escape(value)}</bdi></dd></div>" for name, value in facts if value)
    return f'<h1><bdi>{escape(title or model)}</bdi></h1><dl class="about">{shown}</dl>'


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
