"""The report: complete in itself, deaf to markup in the data, whole with parts missing, readable in any script."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from orature.evaluate.alignment import align_words
from orature.evaluate.html.charts import MAX_POINTS, Line, line_chart, thinned, ticks_between
from orature.evaluate.html.difference import interlinear
from orature.evaluate.html.listening import Clip
from orature.evaluate.html.text import clusters, direction, duration, escape, percent, visible
from orature.evaluate.report import Limits, write_report
from orature.evaluate.rows import Row
from orature.evaluate.score import Drawing, score, with_circumstances

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\ud800 x"
ALLOWED = {"main", "rows"}


class Tags(HTMLParser):
    """All elements with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


def rows(count: int = 30, said: str = "kayman shamuychik kaypi", heard: str = "kayman shamuy kaypi pi") -> list[Row]:
    return [Row(f"u{i}", said, heard if i % 2 else said, speaker=f"s{i % 6}", duration_s=i % 12) for i in range(count)]


def page(tmp_path: Path, some: list[Row], **more: Any) -> str:
    extra = more.pop("score", {})
    found = with_circumstances(score(some, drawing=Drawing(resamples=50)), rtf=0.1, machine="", made_by={}) | extra
    return write_report(tmp_path / "report.html", score=found, rows=some, **more).read_text(encoding="utf-8")


LOG = [{"update": i, "loss": 5 / i} for i in range(1, 900)] + [
    {"update": i, "dev_cer": 1 / i, "dev_wer": 1.5 / i, "dev_loss": 2.0} for i in range(100, 900, 100)
]
CLIP = Clip(b"fLaC" + bytes(1000), (0.1, 1.0))


def test_no_address_outside_the_file(tmp_path: Path) -> None:
    text = page(tmp_path, rows(), train_log=LOG, audio=lambda row: CLIP)
    for tag, attributes in tags(text):
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("#", "data:")), f"<{tag} {name}={value[:60]}>"
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_markup_in_any_text_stays_text(tmp_path: Path) -> None:
    some = [
        Row(f"u{i} {EVIL}", f"{EVIL} {i}", f"b {EVIL}", speaker=EVIL, language=EVIL, origin=EVIL, duration_s=1.0,
            refusal={"reason": EVIL, "detail": EVIL})
        for i in range(8)
    ]  # fmt: skip
    made_by = {"command": EVIL, "run": EVIL, "versions": {EVIL: EVIL}, "at": EVIL}
    extra = {"model": EVIL, "corpus": EVIL, "language": EVIL, "machine": EVIL, "made_by": made_by, "warnings": [EVIL],
             "split": EVIL, "split_fingerprint": EVIL, "decoder": {EVIL: EVIL}}  # fmt: skip
    lineage = [{"stage": EVIL, "key": EVIL, "digest": EVIL, "inputs": [{"stage": EVIL}]}]
    text = page(tmp_path, some, score=extra, lineage=lineage, licences=[EVIL], title=EVIL, made_on=EVIL)
    found = tags(text)
    scripts = [attributes for tag, attributes in found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "rows"}, {}]
    assert not [tag for tag, _ in found if tag in ("img", "iframe", "object", "embed", "base", "form", "link")]
    handlers = [name for _, attributes in found for name in attributes if name.startswith("on")]
    assert handlers == []


def test_only_the_report_s_own_script_may_run(tmp_path: Path) -> None:
    text = page(tmp_path, rows())
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_parts_that_are_missing_are_left_out_and_the_rest_stands(tmp_path: Path) -> None:
    bare = page(tmp_path, rows())
    whole = page(tmp_path, rows(), train_log=LOG, audio=lambda row: CLIP, lineage=[{"stage": "train", "key": "ab"}])
    for mark in ('id="training"', "<audio", "<h3>Steps</h3>"):
        assert mark not in bare and mark in whole
    for mark in ('id="slices"', 'id="worst"', 'id="all"', 'id="next"', "orature-basic@1"):
        assert mark in bare
    assert 'href="#training"' not in bare
    perfect = page(tmp_path, rows(heard="kayman shamuychik kaypi"))
    assert 'id="worst"' not in perfect and "No words wrong." in perfect
    assert "nothing else" in page(tmp_path, [Row("a", "nothing else", "nothing"), Row("b", "", "x")])


def test_recordings_stay_below_the_limit_and_the_rest_is_said(tmp_path: Path) -> None:
    text = page(tmp_path, rows(), audio=lambda row: CLIP, limits=Limits(audio_bytes=7000))
    assert text.count("<audio") == 5
    assert "10 recordings are left out to keep this file small" in text
    lost = page(tmp_path, rows(), audio=lambda row: None)
    assert "15 recordings were not found" in lost


def test_rows_beyond_the_limit_are_said_aloud(tmp_path: Path) -> None:
    text = page(tmp_path, rows(), limits=Limits(rows=20))
    assert "20 utterances with most errors of 30 are in this file" in text
    assert "All 30 utterances" in page(tmp_path, rows())


def test_equal_input_gives_an_equal_page(tmp_path: Path) -> None:
    assert page(tmp_path, rows(), train_log=LOG) == page(tmp_path, rows()[::-1], train_log=LOG)


def test_right_to_left_text_is_set_from_right_to_left() -> None:
    shown = interlinear(align_words("ذهب الولد إلى المدرسة", "ذهب الولد المدرسه"))
    assert 'dir="rtl"' in shown
    assert "<del" in shown and 'class="pair sub"' in shown
    assert direction("123 abc") == "ltr" and direction("«שלום»") == "rtl" and direction("...") == "ltr"


def test_letters_stay_whole_when_marked() -> None:
    assert clusters("नमस्ते") == ["न", "म", "स्ते"]
    assert clusters("e\u0301a") == ["e\u0301", "a"]
    shown = interlinear(align_words("kayman", "kaymun"))
    assert "kaym<u>a</u>n" in shown and "kaym<u>u</u>n" in shown
    assert visible("\u093f") == "\u25cc\u093f" and visible(" ") == "\u2423" and visible("") == "\u2205"


def test_numbers_as_they_are_read() -> None:
    assert percent(0.3124) == "31.2\u202f%" and percent(None) == "–"
    assert (duration(2.5), duration(0.5), duration(0.01)) == ("2.50\u202fh", "30.0\u202fmin", "36\u202fs")
    assert escape('<a href="\'">\x07') == "&lt;a href=&quot;&#x27;&quot;&gt;\ufffd"


def test_charts_thin_long_curves_and_keep_their_extremes() -> None:
    points = [(float(i), 1.0 if i != 500 else 9.0) for i in range(2000)]
    line = thinned("loss", "a", points)
    assert len(line.points) <= MAX_POINTS
    assert max(high for _, _, high in line.band) == 9.0
    assert "<svg" in line_chart("Loss", [line])
    assert line_chart("Loss", [Line("dev", "b", [])]) == ""
    assert "<svg" in line_chart("One", [Line("dev", "b", [(0.0, 0.0)], dots=True)], percent_axis=True)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 12345.0), (0.0, 1e-6), (0.0, 0.37), (-2.0, 3.0)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = ticks_between(low, high, 6)
    assert 2 <= len(found) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
