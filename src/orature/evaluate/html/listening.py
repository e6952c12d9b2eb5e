"""The worst errors, with the recording to play and the aligned difference; the table of all utterances.

Example::

    clips, size = choose_clips(scored, audio, limit=30, most_bytes=6_000_000)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orature.evaluate.html.difference import LEGEND, interlinear, operations
from orature.evaluate.html.text import escape, percent, whole
from orature.evaluate.rows import Row
from orature.evaluate.score import Scored, worst_first

_MAGIC = ((b"RIFF", "audio/wav"), (b"fLaC", "audio/flac"), (b"OggS", "audio/ogg"), (b"ID3", "audio/mpeg"))
_WAVE_HEIGHT = 28


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording as a file in memory (wav, flac, ogg or mp3), and its outline: peaks from 0 to 1 over time."""

    data: bytes
    peaks: tuple[float, ...] = ()

    @property
    def mime(self) -> str:
        return next((mime for magic, mime in _MAGIC if self.data.startswith(magic)), "audio/mpeg")


Audio = Callable[[Row], Clip | None]


@dataclass(frozen=True, slots=True)
class Listened:
    """The rows to show with their recordings, and how many recordings were missing or left out for size."""

    shown: Sequence[tuple[Scored, Clip | None]]
    silent: int
    too_big: int


def choose_clips(scored: Sequence[Scored], audio: Audio | None, *, limit: int, most_bytes: int) -> Listened:
    """The `limit` worst rows; recordings are embedded, worst first, as long as they fit in `most_bytes` of HTML."""
    shown: list[tuple[Scored, Clip | None]] = []
    silent = too_big = used = 0
    for item in worst_first(scored)[:limit]:
        clip = audio(item.row) if audio is not None else None
        if clip is None:
            silent += audio is not None
        elif used + _embedded_size(clip) > most_bytes:
            too_big += 1
            clip = None
        else:
            used += _embedded_size(clip)
        shown.append((item, clip))
    return Listened(shown, silent, too_big)


def worst_section(listened: Listened) -> str:
    """One card an utterance; nothing when there is no error to show."""
    if not listened.shown:
        return ""
    cards = "".join(_worst_card(item, clip) for item, clip in listened.shown)
    notes = []
    if listened.too_big:
        notes.append(f"{listened.too_big} recordings are left out to keep this file small.")
    if listened.silent:
        notes.append(f"{listened.silent} recordings were not found.")
    note = f'<p class="note">{" ".join(notes)}</p>' if notes else ""
    return (
        '<section id="worst"><h2>The worst errors</h2><p class="lead">Highest character error rate first, as scored '
        "(after the normaliser). Above: what was said. Below: what was heard. Often it is the transcript or the "
        f'recording that is wrong: listen.</p>{LEGEND}<div class="worst">{cards}</div>{note}</section>'
    )


def _worst_card(item: Scored, clip: Clip | None) -> str:
    row, words = item.row, item.words.counts
    about = [f"WER {percent(words.errors / words.reference)}", f"{row.duration_s:.1f}\u202fs"]
    speaker = f"<bdi>{escape(row.speaker)}</bdi> · " if row.speaker else ""
    refusal = ""
    if row.refusal:
        refusal = (
            f'<p class="refusal">Refused: {escape(row.refusal.get("detail") or row.refusal.get("reason") or "")}</p>'
        )
    return (
        f'<article class="error"><header><b class="cer">CER {percent(item.cer)}</b><span>{speaker}{" · ".join(about)}'
        f'</span><code class="id" title="{escape(row.id)}"><bdi>{escape(row.id)}</bdi></code></header>'
        f"{player(clip, row.duration_s)}{refusal}{interlinear(item.words)}</article>"
    )


def player(clip: Clip | None, duration_s: float) -> str:
    """A recording to play, with its outline; "" without one."""
    if clip is None:
        return ""
    source = f"data:{clip.mime};base64,{base64.b64encode(clip.data).decode('ascii')}"
    return (
        f'<div class="player" data-s="{duration_s:.2f}">{_outline(clip.peaks)}'
        f'<audio controls preload="metadata" src="{source}"></audio></div>'
    )


def _outline(peaks: Sequence[float]) -> str:
    if not peaks:
        return ""
    half = _WAVE_HEIGHT / 2
    bars = "".join(
        f"M{2 * index + 1} {half - max(peak, 0.04) * half * 0.96:.1f}V{half + max(peak, 0.04) * half * 0.96:.1f}"
        for index, peak in enumerate(peaks)
    )
    width = 2 * len(peaks)
    return (
        f'<svg class="wave" viewBox="0 0 {width} {_WAVE_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="rest" d="{bars}"/><path class="played" d="{bars}"/></svg>'
    )


def _embedded_size(clip: Clip) -> int:
    return len(clip.data) * 4 // 3 + 4


def table_section(scored: Sequence[Scored], *, limit: int) -> str:
    """A searchable, sortable table; its rows travel as JSON, the worst `limit` of them, and it says so."""
    kept = sorted(scored, key=lambda item: (-item.characters.counts.errors, item.row.id))[:limit]
    kept.sort(key=lambda item: item.row.id)
    records = [_record(item) for item in kept]
    note = ""
    if len(scored) > len(kept):
        note = (
            f"{whole(len(kept))} utterances with most errors of {whole(len(scored))} are in this file; "
            "all are in hypotheses.jsonl."
        )
    return (
        '<section id="all"><h2>All utterances</h2>'
        f'<p class="lead">{note or f"All {whole(len(kept))} utterances of the test."} Search, or sort by a column.</p>'
        '<noscript><p class="note">This table needs JavaScript; the rows are also in hypotheses.jsonl.</p></noscript>'
        f'<div id="table"></div><script type="application/json" id="rows">{json_for_script(records)}</script></section>'
    )


def json_for_script(value: Any) -> str:
    """JSON that cannot end its script element whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")


def _record(item: Scored) -> list[Any]:
    """id, speaker, seconds, WER, CER, said, heard, edits ("" when the raw words do not line up), refusal."""
    row, words = item.row, item.words
    heard = sum(edit.kind != "delete" for edit in words.edits)
    lined_up = len(row.reference.split()) == words.counts.reference and len(row.hypothesis.split()) == heard
    refusal: Mapping[str, str] = row.refusal or {}
    return [
        row.id,
        row.speaker or "",
        round(row.duration_s, 2),
        round(words.counts.errors / words.counts.reference, 4),
        round(item.cer, 4),
        row.reference,
        row.hypothesis,
        operations(words) if lined_up else "",
        refusal.get("reason") or "",
    ]
