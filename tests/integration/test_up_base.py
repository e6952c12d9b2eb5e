"""`up` without a start: from the model of the package, letters begun as phones; from nothing when that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orature.engines.shipped import shipped
from orature.recipes.training import UpOptions, start_of_up
from orature.recipes.up import plan, up
from orature.stages.inputs import model_ref
from tests.integration.test_up import FEW, ONE
from tests.integration.tones import make_corpus

TUNE: dict[str, Any] = {"updates": 2, "evaluate_every": 2, "batch_seconds": 4.0, "average": 1, "prior": "heard"}


def test_up_starts_from_the_model_of_the_package(tmp_path: Path) -> None:
    source = make_corpus(tmp_path / "toy")
    result = up(source, tmp_path / "out", train=TUNE, resources=ONE)
    facts = json.loads((tmp_path / "out" / "model" / "training.json").read_text("utf-8"))
    assert facts["start"] == {"name": "orature-base", "digest": model_ref(shipped()).digest}
    assert facts["prior"]["source"] == "heard" and facts["text_policy"]["case"] == "lower"
    assert "zero_shot" not in result.score, "phones are not scored as letters"
    assert "fine-tuned from orature-base" in (tmp_path / "out" / "model" / "README.md").read_text("utf-8")
    assert not up(source, tmp_path / "out", train=TUNE, resources=ONE).fresh


def test_from_nothing_when_that_is_asked_for(tmp_path: Path) -> None:
    source = make_corpus(tmp_path / "toy")
    for given, train in (("none", {}), (None, FEW)):
        assert UpOptions(start=start_of_up(given, train)).start is None
    up(source, tmp_path / "out", start="none", train={**FEW, "updates": 2}, resources=ONE)
    assert json.loads((tmp_path / "out" / "model" / "training.json").read_text("utf-8"))["start"] is None
    options = UpOptions(start=start_of_up(None, {}))
    shown = plan(source, tmp_path / "out", options)
    assert shown["steps"][0]["state"] == "done" and "phones-" in str(shown.get("recipe"))
