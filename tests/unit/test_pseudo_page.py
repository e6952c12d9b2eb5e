"""The page of `pseudo_label`: who got worse, which labels were kept, what happened to labels, nothing unescaped."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orature.evaluate.html.pseudo_page import pseudo_page, worse_models


def _rate(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "by": "speaker"}


def _arm(cer: float, verdict: str = "", **more: Any) -> dict[str, Any]:
    found = {"delta": 0.031, "low": 0.011, "high": 0.052, "verdict": verdict}
    return {
        **{"cer": _rate(cer), "wer": _rate(2 * cer), "dev_cer": cer, "updates": 1200, "unlabelled_hours": 0.5},
        **{
            "train_hours_by_origin": {"real": 0.25},
            **({"difference": {"cer": found, "wer": found}} if verdict else {}),
        },
        **more,
    }


WATCH = [
    {"update": 200, "cache": 8, "blank_share": 0.7, "length_ratio": 1.0, "probe_distance": 0.1, "labelled_loss": 1.2},
    {"update": 300, "cache": 8, "blank_share": 0.9, "length_ratio": 0.2, "churn": 0.4, "collapse": "88 % are empty"},
]


def _account() -> dict[str, Any]:
    shown = {"id": "u1", "text": "wasi <b>", "score": -0.2, "confidence": 0.8, "seconds": 2.0}
    refused = [{**shown, "id": f"u{n}", "text": f"label {n}", "detail": "31.2 letters a second"} for n in range(7)]
    share = {"rows": 50, "hours": 0.4, "kept": 40, "kept_hours": 0.3}
    return {
        **{"rows": 100, "hours": 0.8, "kept": 80, "kept_hours": 0.6, "silent_kept": 8, "speakers_count": 4},
        "rejected": {"too-fast": 12, "speaker-quota": 6, "silence-quota": 2},
        "languages": {"qu": share, "sw": share},
        "examples": {"kept": [shown], "too-fast": refused},
        "bounds": {"settings": {"quotas": {"speaker_hours": 0.5, "language_hours": None}, "silence_share": 0.02}},
    }


def _row(**more: Any) -> dict[str, Any]:
    scaled = {"warmup updates": {"published": 20_000, "used": 240}, "ratio": {"published": 10.0, "used": 10.0}}
    slim = _arm(0.3, "B is better", watch={"rows": WATCH, "rollbacks": 1}, scaled=scaled)
    arms = {"labels alone": _arm(0.27), "slimIPL": slim, "student": _arm(0.31, "A is better")}
    row = {"corpus": "kichwa", "against": "labels alone", "arms": arms, "kept": "slimIPL", "labels": _account()}
    return {**row, "model": "out/models/kichwa", "lent": "", "worse_by_pooling": False, **more}


def _page(*rows: dict[str, Any]) -> str:
    return pseudo_page({"languages": list(rows), "split": "test", "preset": "10h", "seed": 1}, command="orature run")


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("<main")[2].partition("</main>")[0]))


def test_a_language_that_got_worse_is_named_in_red_and_in_words() -> None:
    row = _row(worse_by_pooling=True)
    assert list(worse_models(row)) == ["student"]
    page = _page(row)
    assert '<strong class="k-del-ink"><bdi>kichwa</bdi></strong> got <b>worse</b> by student' in page
    assert "CER +3.1 points (+1.1 to +5.2) against labels alone, but dev did not choose that model" in _text(page)
    assert "CER against labels alone WER against labels alone" in _text(page)
    assert "worse by the student on dev, so it keeps the model of slimIPL" in _text(page)


def test_where_nothing_is_worse_the_page_says_so() -> None:
    row = _row()
    row["arms"] = {"labels alone": _arm(0.27), "student": _arm(0.31, "not distinguishable")}
    page = _page(row)
    assert "No language is measurably worse" in page and "got <b>worse</b>" not in page and "may be chance" in page
    assert 'id="watch"' not in page and 'id="scaled"' not in page


def test_labels_are_counted_by_reason_with_up_to_five_examples() -> None:
    page = _page(_row(), _row(corpus="yoruba", labels=None))
    text = _text(page)
    assert "80 of 100" in text and "labels kept (80.0 %)" in text and "10.0 %" in text, "8 of 80 are silence"
    assert re.search(r"too-fast 12 12.0", text) and re.search(r"speaker-quota a speaker has enough 6", text)
    assert "Quotas: speaker hours 0.5; 6 labels were over them. At most 2 % may be silence; 2 recordings" in text
    assert "label 4" in text and "label 5" not in text and text.count("31.2 letters a second") == 5
    assert "wasi &lt;b&gt;" in page and "No final labels: yoruba" in text
    assert re.search(r"sw 40 50", text), "by language"


def test_a_collapse_is_said_plainly_and_curves_are_drawn() -> None:
    page = _page(_row())
    text = _text(page)
    assert text.count("collapsed at update 300 (88 % are empty)") == 2 and "Once back to earlier weights" in text
    watch = page.partition('id="watch"')[2].partition("</section>")[0]
    for title in ("Blanks and empty labels", "Length of labels", "Letters that change", "Fixed utterances", "Loss"):
        assert title in watch
    assert watch.count("<svg") == 5, "what was not measured has no chart"
    assert re.search(r"warmup updates 20,000 240 1.2", text)


def test_labels_that_began_empty_are_said_before_anything_else() -> None:
    row = _row()
    watch = {"rows": WATCH[:1], "rollbacks": 0}
    row["arms"]["slimIPL"]["watch"] = {**watch, "warm": {"empty_share": 0.93}}
    assert _text(_page(row)).count("began when 93 % of its labels were still empty") == 2
    row["arms"]["slimIPL"]["watch"] = {**watch, "warm": {"empty_share": 0.2}}
    assert "still empty" not in _text(_page(row))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a" onload="x'])
def test_names_are_escaped(name: str) -> None:
    page = _page(_row(corpus=name, kept="slimIPL", lent=name))
    assert name not in page
