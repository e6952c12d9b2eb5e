"""Transcripts as tables of units with times: tab-separated values, and TextGrid as Praat and ELAN open it.

Example::

    print(tsv(words), textgrid(words, duration_s=2.0, tier="phones"))

A TextGrid tier covers the whole recording without gaps: what lies between words is an interval without text (Praat
manual, "TextGrid file formats"). Where two words overlap, the earlier one ends where the later begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from orature.core.types import Word

HEADER = ("start_s", "end_s", "text", "confidence")


def tsv(words: Sequence[Word]) -> str:
    """A header line, then a line a word: start and end in seconds, text, confidence in [0, 1]."""
    lines = ["\t".join(HEADER)]
    lines += [
        f"{word.start_s:.3f}\t{word.end_s:.3f}\t{' '.join(word.text.split())}\t{word.confidence:.4f}" for word in words
    ]
    return "\n".join(lines) + "\n"


def textgrid(words: Sequence[Word], *, duration_s: float, tier: str) -> str:
    """The long text format of Praat with one interval tier over `duration_s` seconds."""
    spans = _covering(words, duration_s)
    end_s = max([duration_s, *(span[1] for span in spans)])
    lines = [
        *('File type = "ooTextFile"', 'Object class = "TextGrid"', ""),
        *("xmin = 0", f"xmax = {end_s:.3f}", "tiers? <exists>", "size = 1", "item []:", "    item [1]:"),
        *('        class = "IntervalTier"', f"        name = {_quoted(tier)}"),
        *("        xmin = 0", f"        xmax = {end_s:.3f}", f"        intervals: size = {len(spans)}"),
    ]
    for number, (start_s, stop_s, text) in enumerate(spans, start=1):
        lines += [
            *(f"        intervals [{number}]:", f"            xmin = {start_s:.3f}"),
            *(f"            xmax = {stop_s:.3f}", f"            text = {_quoted(text)}"),
        ]
    return "\n".join(lines) + "\n"


def _covering(words: Sequence[Word], duration_s: float) -> list[tuple[float, float, str]]:
    """Intervals from 0 to the end, in milliseconds' precision, empty between words; at least one."""
    spans: list[tuple[float, float, str]] = []
    now = 0.0
    for place, word in enumerate(words):
        following = words[place + 1].start_s if place + 1 < len(words) else word.end_s
        start_s = max(now, round(word.start_s, 3))
        stop_s = max(start_s + 0.001, round(min(word.end_s, following), 3))
        if start_s > now:
            spans.append((now, start_s, ""))
        spans.append((start_s, stop_s, " ".join(word.text.split())))
        now = stop_s
    if now < round(duration_s, 3) or not spans:
        spans.append((now, max(round(duration_s, 3), now + 0.001), ""))
    return spans


def _quoted(text: str) -> str:
    """A quotation mark inside is doubled."""
    return '"' + text.replace('"', '""') + '"'
