"""Writes what was recognised as plain text, JSON, SubRip (srt), WebVTT (vtt), tables (tsv) or TextGrid, with times.

Example::

    heard = Hypothesis("shuk kimsa", (Word("shuk", 0.1, 0.4, 0.9), Word("kimsa", 0.5, 0.9, 0.8)))
    print(render(Transcript(heard, name="talk.wav", duration_s=1.2), "srt"))

Captions follow the usual broadcasters' limits (at most two lines of 42 columns and 6 seconds) and break where the
speaker pauses. Times are rounded to milliseconds; captions never overlap and never end before they begin.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from unicodedata import category, east_asian_width

from orature.core.errors import ConfigError
from orature.core.files import write_beside
from orature.core.types import Hypothesis, Word
from orature.data.transcript_tables import textgrid, tsv

Format = Literal["txt", "json", "srt", "vtt", "tsv", "TextGrid"]
FORMATS: tuple[str, ...] = get_args(Format)

LINE_COLUMNS = 42
LINES = 2
CAPTION_S = 6.0
PAUSE_S = 0.6
"""A silence this long always ends a caption."""
SHORT_PAUSE_S = 0.15
"""A caption that is full breaks rather at a silence of this length in its second half than at its very end."""
LEAST_S = 1.0
"""A caption stays this long where the next one leaves the time."""
_SENTENCE_END = (".", "?", "!", "…", "।", "。", "？", "！", "؟", "۔", "።", "᙮")
_SENTENCE_COLUMNS = 20


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one recording; `name` of the file, its length in seconds, language tag and model name."""

    hypothesis: Hypothesis
    name: str = ""
    duration_s: float | None = None
    language: str = "und"
    model: str = ""
    unit: Literal["words", "phones"] = "words"


@dataclass(frozen=True, slots=True)
class Caption:
    """Words shown together, from `start_ms` to `end_ms`, laid out in `lines`."""

    start_ms: int
    end_ms: int
    lines: tuple[tuple[Word, ...], ...]

    @property
    def text(self) -> str:
        return "\n".join(" ".join(word.text for word in line) for line in self.lines)


def render(transcript: Transcript, kind: str) -> str:
    """The whole file of one recording as text; `kind` is one of `FORMATS`."""
    if kind == "txt":
        return _fold(transcript.hypothesis.text) + "\n"
    if kind == "json":
        return json.dumps(as_dict(transcript), ensure_ascii=False, indent=2) + "\n"
    if kind == "srt":
        return _srt(captions(words_of(transcript)))
    if kind == "vtt":
        return _vtt(captions(words_of(transcript)))
    if kind == "tsv":
        return tsv(words_of(transcript))
    if kind == "TextGrid":
        words = words_of(transcript)
        end_s = transcript.duration_s if transcript.duration_s is not None else words[-1].end_s if words else 0.0
        return textgrid(words, duration_s=end_s, tier=transcript.unit)
    raise ConfigError(f"transcripts cannot be written as {kind!r}", next_step=f"use one of: {', '.join(FORMATS)}")


def write(path: Path, transcript: Transcript, kind: str) -> None:
    """Writes `render` to `path` at once (beside, then renamed), UTF-8, no byte order mark."""
    text = render(transcript, kind)
    with write_beside(path) as part:
        part.write_text(text, "utf-8", newline="\n")


def as_dict(transcript: Transcript) -> dict[str, object]:
    """The JSON form: text, words (or phones) with times and confidence, segments as captions, n-best if asked for."""
    heard = transcript.hypothesis
    words = words_of(transcript)
    more: dict[str, object] = {}
    if heard.confidence is not None:
        more["confidence"] = round(heard.confidence, 4)
    if heard.alternatives:
        more["alternatives"] = [{"text": one.text, "score": round(one.score, 4)} for one in heard.alternatives]
    return {
        "file": transcript.name,
        "model": transcript.model,
        "language": transcript.language,
        "duration_s": None if transcript.duration_s is None else round(transcript.duration_s, 3),
        "text": heard.text,
        "score": round(heard.score, 4),
        transcript.unit: [
            {
                "text": word.text,
                "start_s": round(word.start_s, 3),
                "end_s": round(word.end_s, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in heard.words
        ],
        "segments": [
            {"start_s": cap.start_ms / 1000, "end_s": cap.end_ms / 1000, "text": _fold(cap.text)}
            for cap in captions(words)
        ],
        **more,
    }


def words_of(transcript: Transcript) -> tuple[Word, ...]:
    """The words with their times; where an engine gives none, the text spread evenly over the recording."""
    heard = transcript.hypothesis
    if heard.words or not heard.text.split():
        return heard.words
    texts = heard.text.split()
    total = sum(len(text) for text in texts)
    length_s = transcript.duration_s if transcript.duration_s is not None else 0.3 * len(texts)
    words, done = [], 0
    for text in texts:
        start_s = length_s * done / total
        done += len(text)
        words.append(Word(text, start_s, length_s * done / total, 0.0))
    return tuple(words)


def columns(text: str) -> int:
    """How wide a text is shown: combining marks take no column, East Asian wide characters two."""
    return sum(
        0 if category(letter) in ("Mn", "Me", "Cf") else 2 if east_asian_width(letter) in "WF" else 1 for letter in text
    )


def captions(words: Sequence[Word]) -> list[Caption]:
    """Groups words into captions, in order; see the module's text for the limits."""
    groups: list[list[Word]] = []
    now: list[Word] = []
    for word in itertools.chain.from_iterable(map(_pieces, words)):
        if now and _ends_here(now, word):
            groups.append(now)
            now = []
        while now and not _fits([*now, word]):
            cut = _best_cut(now, word)
            groups.append(now[:cut])
            now = now[cut:]
        now.append(word)
    if now:
        groups.append(now)
    return _timed(groups)


def _ends_here(now: list[Word], word: Word) -> bool:
    """A pause before `word`, or the end of a sentence that is not too short to stand alone."""
    if word.start_s - now[-1].end_s >= PAUSE_S:
        return True
    return now[-1].text.endswith(_SENTENCE_END) and columns(_joined(now)) >= _SENTENCE_COLUMNS


def _fits(words: list[Word]) -> bool:
    return words[-1].end_s - words[0].start_s <= CAPTION_S and _layout(words) is not None


def _best_cut(now: list[Word], word: Word) -> int:
    """Where to break a full caption: at the longest silence of its second half, else at its end."""
    following = [*now[1:], word]
    gaps = {place: following[place - 1].start_s - now[place - 1].end_s for place in range(1, len(now) + 1)}
    later = [place for place in gaps if 2 * place > len(now)]
    cut = max(later, key=lambda place: (gaps[place], place))
    return cut if gaps[cut] >= SHORT_PAUSE_S else len(now)


def _layout(words: list[Word]) -> tuple[tuple[Word, ...], ...] | None:
    """One line, or the most even two; None where they do not fit."""
    if columns(_joined(words)) <= LINE_COLUMNS:
        return (tuple(words),)
    best: tuple[int, int] | None = None
    for place in range(1, len(words)):
        wide = max(columns(_joined(words[:place])), columns(_joined(words[place:])))
        if wide <= LINE_COLUMNS and (best is None or wide < best[0]):
            best = (wide, place)
    return None if best is None else (tuple(words[: best[1]]), tuple(words[best[1] :]))


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _pieces(word: Word) -> Iterator[Word]:
    """The word itself, or (one too wide for a line, as in scripts without spaces) pieces with a share of its time."""
    text = _fold(word.text)
    if not text:
        return
    parts = [""]
    for letter in text:
        if columns(parts[-1] + letter) > LINE_COLUMNS:
            parts.append("")
        parts[-1] += letter
    length_s, done = word.end_s - word.start_s, 0
    for part in parts:
        start_s = word.start_s + length_s * done / len(text)
        done += len(part)
        yield Word(part, start_s, word.start_s + length_s * done / len(text), word.confidence)


def _timed(groups: list[list[Word]]) -> list[Caption]:
    found: list[Caption] = []
    free_ms = 0
    for place, words in enumerate(groups):
        start_ms = max(free_ms, _milliseconds(words[0].start_s))
        end_ms = min(_milliseconds(words[-1].end_s), start_ms + _milliseconds(CAPTION_S))
        wanted_ms = max(end_ms, start_ms + _milliseconds(LEAST_S))
        if place + 1 < len(groups):
            wanted_ms = max(end_ms, min(wanted_ms, _milliseconds(groups[place + 1][0].start_s)))
        free_ms = max(wanted_ms, start_ms + 1)
        found.append(Caption(start_ms, free_ms, _layout(words) or (tuple(words),)))
    return found


def _milliseconds(seconds: float) -> int:
    return max(0, int(seconds * 1000 + 0.5))


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _fold(text: str) -> str:
    return " ".join(text.split())


def _srt(found: list[Caption]) -> str:
    """SubRip has no escapes: an arrow inside the text would be taken for times, so it becomes one character."""
    blocks = []
    for number, cap in enumerate(found, start=1):
        times = f"{_clock(cap.start_ms, ',')} --> {_clock(cap.end_ms, ',')}"
        blocks.append(f"{number}\n{times}\n{cap.text.replace('-->', '→')}\n")
    return "\n".join(blocks)


def _vtt(found: list[Caption]) -> str:
    """WebVTT, with the time of each word inside the caption (W3C WebVTT, section 4.2.2: cue timestamps)."""
    blocks = ["WEBVTT\n"]
    for cap in found:
        times = f"{_clock(cap.start_ms, '.')} --> {_clock(cap.end_ms, '.')}"
        blocks.append(f"{times}\n{_vtt_text(cap)}\n")
    return "\n".join(blocks)


def _vtt_text(cap: Caption) -> str:
    lines, last_ms = [], cap.start_ms
    for line in cap.lines:
        shown = []
        for word in line:
            text = word.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            start_ms = _milliseconds(word.start_s)
            if last_ms < start_ms < cap.end_ms:
                text = f"<{_clock(start_ms, '.')}>{text}"
                last_ms = start_ms
            shown.append(text)
        lines.append(" ".join(shown))
    return "\n".join(lines)
