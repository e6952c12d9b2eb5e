"""Transcripts as txt, json, srt and vtt: golden files, limits for any input, escaping, rounding."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orature.core.errors import ConfigError
from orature.core.types import Hypothesis, Word
from orature.data.transcripts import (
    CAPTION_S,
    FORMATS,
    LINE_COLUMNS,
    LINES,
    Transcript,
    captions,
    columns,
    render,
    words_of,
    write,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "transcripts"


def spoken(text: str, *, start_s: float = 0.0, each_s: float = 0.3, gap_s: float = 0.05) -> list[Word]:
    words = []
    for place, word in enumerate(text.split()):
        begins = start_s + place * (each_s + gap_s)
        words.append(Word(word, begins, begins + each_s, 0.9))
    return words


def sample() -> Transcript:
    words = [
        *spoken("watoto wanne wanasoma kitabu nyumbani asubuhi na walimu wao wanaleta chai na mkate", start_s=0.12),
        *spoken("R&D <hapo> --> kisha", start_s=7.5),
        *spoken("ng'ombe ́a", start_s=3599.9996),
    ]
    text = " ".join(word.text for word in words)
    return Transcript(Hypothesis(text, tuple(words), -0.25), "talk.wav", 3601.0, "sw", "demo")


@pytest.mark.parametrize("kind", FORMATS)
def test_golden(kind: str, tmp_path: Path) -> None:
    write(tmp_path / "made", sample(), kind)
    assert (tmp_path / "made").read_bytes() == (GOLDEN / f"sample.{kind}").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_pause_ends_a_caption() -> None:
    first, second = captions([*spoken("moja mbili"), *spoken("tatu nne", start_s=2.0)])
    assert (first.text, second.text) == ("moja mbili", "tatu nne")
    assert second.start_ms == 2000


def test_a_full_caption_breaks_at_the_longest_silence_of_its_second_half() -> None:
    words = spoken(" ".join(["neno"] * 20), each_s=0.2, gap_s=0.02)
    late = [
        Word(w.text, w.start_s + (0.3 if i >= 12 else 0), w.end_s + (0.3 if i >= 12 else 0), 1)
        for i, w in enumerate(words)
    ]
    assert [len(cap.text.split()) for cap in captions(late)] == [12, 8]
    assert [len(cap.text.split()) for cap in captions(words)] == [16, 4]


def test_a_sentence_end_ends_a_caption_unless_it_is_short() -> None:
    texts = [cap.text for cap in captions(spoken("Ndiyo. Watoto wanasoma vitabu. Walimu wanaimba."))]
    assert texts == ["Ndiyo. Watoto wanasoma vitabu.", "Walimu wanaimba."]


def test_two_lines_are_even() -> None:
    (cap,) = captions(spoken("watoto wanne wanasoma kitabu nyumbani leo asubuhi"))
    assert cap.text == "watoto wanne wanasoma\nkitabu nyumbani leo asubuhi"


def test_a_word_wider_than_a_line_is_cut_and_keeps_its_time() -> None:
    found = captions([Word("字" * 50, 1.0, 5.0, 1.0)])
    assert [len(line[0].text) for cap in found for line in cap.lines] == [21, 21, 8]
    assert (found[0].start_ms, found[-1].end_ms) == (1000, max(5000, found[-1].start_ms + 1000))


def test_columns_count_marks_and_wide_characters() -> None:
    assert columns("á") == 1 and columns("字") == 2 and columns("a‍b") == 2


def test_without_word_times_the_text_is_spread_over_the_recording() -> None:
    words = words_of(Transcript(Hypothesis("aa bbbb"), duration_s=3.0))
    assert [(word.text, word.start_s, word.end_s) for word in words] == [("aa", 0.0, 1.0), ("bbbb", 1.0, 3.0)]
    assert json.loads(render(Transcript(Hypothesis("aa bbbb"), duration_s=3.0), "json"))["words"] == []


@pytest.mark.parametrize(("kind", "text"), [("txt", "\n"), ("srt", ""), ("vtt", "WEBVTT\n")])
def test_nothing_heard(kind: str, text: str) -> None:
    assert render(Transcript(Hypothesis("")), kind) == text


def test_unknown_format_names_the_known() -> None:
    with pytest.raises(ConfigError, match="txt, json, srt, vtt"):
        render(sample(), "docx")


def test_line_ends_inside_a_word_cannot_break_a_file() -> None:
    text = render(Transcript(Hypothesis("a\n\nb", (Word("a\n\n7", 0, 1, 1),))), "srt")
    assert text == "1\n00:00:00,000 --> 00:00:01,000\na 7\n"


_WORDS = st.lists(
    st.tuples(
        st.text(alphabet="ab字<&>-.\u0301 \n", max_size=60),
        st.floats(-0.5, 3.0, allow_nan=False),
        st.floats(0.0, 9.0, allow_nan=False),
    ),
    max_size=40,
)


@given(_WORDS)
def test_limits_hold_for_any_input(rows: list[tuple[str, float, float]]) -> None:
    words, now = [], 0.0
    for text, gap_s, length_s in rows:
        start_s = max(0.0, now + gap_s)
        words.append(Word(text, start_s, start_s + length_s, 0.5))
        now = start_s + length_s
    found = captions(words)
    last_ms = 0
    for cap in found:
        assert last_ms <= cap.start_ms < cap.end_ms <= cap.start_ms + CAPTION_S * 1000
        assert len(cap.lines) <= LINES
        assert all(columns(line) <= LINE_COLUMNS for line in cap.text.split("\n"))
        last_ms = cap.end_ms
    whole = "".join(cap.text for cap in found)
    assert re.sub(r"\s", "", whole) == re.sub(r"\s", "", "".join(word.text for word in words)), "no letter is lost"
    transcript = Transcript(Hypothesis("", tuple(words)))
    for line in render(transcript, "vtt").split("\n"):
        assert ("-->" in line) == bool(re.fullmatch(r"\d+:\d\d:\d\d\.\d{3} --> \d+:\d\d:\d\d\.\d{3}", line))
