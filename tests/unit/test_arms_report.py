"""What the report says of synthetic speech: verdicts in words, reasons only where they hold, no markup from names."""

from __future__ import annotations

from typing import Any

import pytest

from orature.evaluate.arms import Evidence, reasons, verdict
from orature.evaluate.html.arms import arms_section, synthetic_section
from orature.evaluate.html.listening import Clip
from orature.evaluate.html.sweep import sweep_chart
from orature.evaluate.html.text import ONE_TRAINING


def rate(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "by": "speaker"}


def difference(delta: float, verdict: str, low: float | None = -0.1, high: float | None = 0.1) -> dict[str, Any]:
    one = {"delta": delta, "low": low, "high": high, "p": 0.04, "by": "speaker", "verdict": verdict, "relative": -0.3}
    return {"wer": one, "cer": one}


@pytest.mark.parametrize(
    ("found", "helped", "says"),
    [
        (difference(-0.09, "better"), True, "helped: CER on test changes by -9.0 points"),
        (difference(0.09, "worse"), False, "did harm"),
        (difference(-0.01, "not distinguishable"), False, "no difference that can be told from chance"),
        (difference(-0.01, "too few to say", None, None), None, "too small to tell"),
        (None, None, "No arm with synthetic speech was trained: below"),
    ],
)
def test_the_verdict_in_words(found: dict[str, Any] | None, helped: bool | None, says: str) -> None:
    said = verdict(found, metric="cer", evidence=Evidence(), why_none="below")
    assert said.helped is helped and says in said.sentences[0]
    if found is not None and helped is not True:
        assert len(said.sentences) > 1


@pytest.mark.parametrize(
    ("evidence", "says"),
    [
        (Evidence(norm_i=0.02, threshold=0.1), "below the 0.10"),
        (Evidence(norm_i=0.02), "too hard to understand"),
        (Evidence(norm_i=1.5), "easier than people"),
        (Evidence(ratio=1.0, ratios=(1.0, 5.0)), "even smaller ratio"),
        (Evidence(ratio=5.0, ratios=(1.0, 5.0)), "more may do better"),
        (Evidence(fallback="es"), "does not know the language"),
        (Evidence(narrow=["speakers: 1 against 20"]), "speakers: 1 against 20"),
        (Evidence(reject_share=0.4), "40 % of the synthetic utterances"),
        (Evidence(sentences=12), "only 12 sentences"),
    ],
)
def test_each_reason_is_given_where_it_holds(evidence: Evidence, says: str) -> None:
    found = reasons(evidence)
    assert len(found) == 1 and says in found[0]


def test_no_reason_is_made_up() -> None:
    good = Evidence(norm_i=0.8, threshold=0.1, ratio=2.0, ratios=(1.0, 2.0, 5.0), sentences=5000, reject_share=0.01)
    assert reasons(good) == ()


def score() -> dict[str, Any]:
    def row(name: str, role: str, ratio: float, cer: float, **more: Any) -> dict[str, Any]:
        both = {"cer": rate(cer, cer - 0.02, cer + 0.02), "wer": rate(2 * cer), "utterances": 9, "words": 90}
        base = {"name": name, "role": role, "about": name, "ratio": ratio, "dev": both, "test": None, "note": ""}
        return {**base, "difference": None, "updates": 10, "audio_hours": 1.0, "hours_seen": {"real": 1.0}, **more}

    real = row("<script>alert(1)</script>", "real", 0.0, 0.3)
    mixed = row("mixed", "synthetic", 2.0, 0.2, difference=difference(0.09, "worse"), hours_seen={"synthetic": 0.5})
    for one in (real, mixed):
        one["test"] = one["dev"]
    sweep = [real, row("a", "synthetic", 5.0, 0.25), mixed]
    said = {"helped": False, "sentences": ["Synthetic speech did harm: <b>x</b>.", "Why?"]}
    arms = {"metric": "cer", "against": real["name"], "published": "mixed", "rows": [real, mixed], "sweep": sweep}
    arms |= {"failed": {"10": "<i>diverged</i>"}, "merged": [{"a": 0.5, "b": 0.5, "cer": 0.2, "wer": 0.4}]}
    arms |= {"rounds": [{"said": "round 1 <b>"}], "notes": ["a <note>"], "verdict": said}
    example = {
        "id": "e1",
        "text": "<u>wasi</u>",
        "speaker": "<x>",
        "audio": {"path": "p", "start_s": 0, "duration_s": 1},
    }
    synthetic = {
        "facts": {"voice": "<voice>", "sentences": 10, "reject_share": 0.1},
        "threshold": 0.2,
        "fallback": "<es>",
        "judgement": {
            "norm_i": rate(0.5, 0.4, 0.6),
            "metric": "wer",
            "wer_real": rate(0.1),
            "wer_syn": rate(0.2),
            "warnings": ["<w>"],
        },
        "text": {"sentences": 10, "reasons": {"<too-long>": 3}},
        "examples": [example],
    }
    return {"arms": arms, "synthetic": synthetic}


def test_the_page_shows_everything_and_trusts_nothing() -> None:
    page = arms_section(score()) + synthetic_section(score(), lambda row: Clip(b"fLaC", (0.5, 1.0)))
    assert ONE_TRAINING in page
    for raw in (
        "<script>",
        "<i>diverged",
        "<note>",
        "<voice>",
        "<es>",
        "<w>",
        "<too-long>",
        "<u>wasi",
        "<x>",
        "<b>x",
        "round 1 <b>",
    ):
        assert raw not in page, raw
    sections = ("CER on dev by synthetic speech", "1 : 5", "diverged", "Merged models", "Closed loop")
    for said in ("did harm", "(published)", *sections):
        assert said in page, said
    for said in ("Norm_I <b>0.50</b> (0.40 to 0.60)", "from 0.20 on", "data:audio/flac", "too-long", "10.0\u202f%"):
        assert said in page, said
    assert 'class="k-del-ink"' in page


def test_nothing_is_shown_where_there_is_nothing() -> None:
    assert arms_section({}) == synthetic_section({}) == ""
    bare = score()["arms"] | {"sweep": []}
    assert sweep_chart(bare) == ""
    without = score()
    without["synthetic"]["judgement"] = without["synthetic"]["text"] = None
    assert "How well it is understood" not in synthetic_section(without)
