"""Where a score comes from and what to do next: pins, lineage, command, versions, licences.

Example::

    next_steps(score) + provenance(score, lineage=None, licences=["CC BY 4.0"])
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.text import escape

_SHORT = 12


def next_steps(score: Mapping[str, Any], model_path: str = "") -> str:
    """The commands that use this model, ready to be copied."""
    model = shlex.quote(model_path or str(score.get("model") or "MODEL"))
    steps = (
        ("Transcribe a recording", f"orature transcribe {model} recording.wav"),
        ("Subtitles for a long file", f"orature transcribe {model} interview.mp3 --as srt"),
        ("Compare with another model", "orature compare THIS_FOLDER OTHER_FOLDER"),
    )
    rows = "".join(
        f'<div class="step"><span>{escape(name)}</span><code>{escape(command)}</code>'
        f'<button type="button" class="copy" hidden>Copy</button></div>'
        for name, command in steps
    )
    return f'<section id="next"><h2>Use it</h2><div class="steps">{rows}</div></section>'


def provenance(
    score: Mapping[str, Any], *, lineage: Sequence[Mapping[str, Any]] | None, licences: Sequence[str], made_on: str
) -> str:
    """Everything that pins the figures, as lists that can be copied."""
    made_by = score.get("made_by") or {}
    intervals = score.get("intervals") or {}
    decoder = ", ".join(f"{name} {value}" for name, value in sorted((score.get("decoder") or {}).items()))
    pins = [
        ("Test set", f"{score.get('corpus') or 'unnamed'}, {score.get('split', '')}"),
        ("Split fingerprint", score.get("split_fingerprint") or "none"),
        ("Normaliser", score["normaliser"]),
        ("Decoder", decoder or "not stated"),
        ("Intervals", _intervals(intervals, score["wer"]["by"])),
        ("Machine", score.get("machine") or ""),
        ("Made on", made_on),
        ("Run", made_by.get("run") or ""),
        ("Licences", "; ".join(licences)),
    ]
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pins if value)
    command = made_by.get("command")
    shown = f'<h3>The command</h3><pre class="command"><code>{escape(command)}</code></pre>' if command else ""
    return (
        f'<section id="lineage"><h2>Where these figures come from</h2><dl class="pins">{rows}</dl>{shown}'
        f"{_lineage(lineage)}{_versions(made_by.get('versions') or {})}</section>"
    )


def _intervals(intervals: Mapping[str, Any], by: str) -> str:
    if not intervals:
        return f"bootstrap by {by}"
    return f"bootstrap by {by}, {intervals.get('resamples')} resamples, seed {intervals.get('seed')}"


def _lineage(lineage: Sequence[Mapping[str, Any]] | None) -> str:
    if not lineage:
        return ""
    rows = "".join(
        f"<tr><td>{escape(step.get('stage', ''))}</td><td><code>{_short(step.get('key'))}</code></td>"
        f"<td><code>{_short(step.get('digest'))}</code></td><td>{escape(_inputs(step))}</td></tr>"
        for step in lineage
    )
    return (
        "<h3>Steps</h3><div class='scroll' tabindex='0'><table class='list wide'><thead><tr><th>stage</th>"
        "<th>key</th><th>content</th><th>made from</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div><p class='note'>Ask <code>orature why KEY</code> for every option of a "
        "step.</p>"
    )


def _short(digest: object) -> str:
    text = str(digest or "")
    return f'<span title="{escape(text)}">{escape(text[:_SHORT])}</span>'


def _inputs(step: Mapping[str, Any]) -> str:
    inputs = step.get("inputs")
    if not isinstance(inputs, list):
        return ""
    return ", ".join(str(item.get("stage", item) if isinstance(item, dict) else item) for item in inputs)


def _versions(versions: Mapping[str, Any]) -> str:
    if not versions:
        return ""
    shown = " · ".join(f"{escape(name)} {escape(value)}" for name, value in sorted(versions.items()))
    return f'<p class="note">Versions: {shown}</p>'
