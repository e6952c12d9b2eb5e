"""`orature up` with a richer language: speech translation beside the usual recogniser, dev decides, all is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import LATIN, corpus_of

from orature.core.errors import ConfigError
from orature.engines.families import family_of
from orature.flow import Resources
from orature.recipes.training import UpOptions
from orature.recipes.up import plan, up

QUIET = Resources(threads=1, progress=False)
TRAIN: dict[str, Any] = {"size": "micro", "updates": 2, "evaluate_every": 1, "batch_seconds": 6.0, "average": 1}
SPANISH = "uno dos tres cuatro cinco seis siete ocho nueve diez casa agua".split()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("up")
    corpus_of(folder / "kichwa", [f"{text} {n}" for n, text in enumerate(LATIN)], language="que-EC")
    rich = [f"{one} {n} {two}" for n, (one, two) in enumerate(zip(SPANISH, SPANISH[1:] + SPANISH[:1], strict=True))]
    corpus_of(folder / "spanish", rich, seconds=1.4, language="es")
    lines = "".join(f"{text}\tñuka {LATIN[n]} {40 + n}\n" for n, text in enumerate(rich))
    (folder / "by_hand.tsv").write_text("sentence\ttranslation\n" + lines, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_speech_translation_stands_beside_the_usual_training_and_dev_decides(root: Path) -> None:
    pytest.importorskip("sacrebleu")
    given = {"human": str(root / "by_hand.tsv"), "st": {"updates": 2}, "search": {"beams": 1}}
    train = {**TRAIN, "overfit_clips": 0}
    asked: dict[str, Any] = {"train": train, "rich": root / "spanish", "speech_translation": given, "resources": QUIET}
    done = up(root / "kichwa", root / "out", **asked)
    facts = json.loads((root / "out" / "report.json").read_text("utf-8"))["speech_translation"]
    assert [row["name"] for row in facts["arms"]] == ["encoder_decoder", "st_human"] and facts["missing"] == []
    best = min(row["dev"]["cer"]["value"] for row in facts["arms"])
    assert facts["published"] == (best < facts["usual_dev_cer"])
    assert family_of(done.model).name == ("encoder-decoder" if facts["published"] else "conformer")
    assert "st_human" in (root / "out" / "speech_translation.html").read_text("utf-8")
    assert not up(root / "kichwa", root / "out", **asked).fresh, "run again, it does nothing"
    options = UpOptions(train=train, rich=str(root / "spanish"), speech_translation=given)
    shown = plan(root / "kichwa", root / "out", options, on=QUIET)
    assert {step["state"] for step in shown["steps"]} == {"done"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"extras": ("speech_translation",)}, "needs a transcribed corpus of a richer language"),
        ({"parallel": ("pairs.tsv",)}, "needs a transcribed corpus of a richer language"),
        ({"extras": ("back_translation", "speech_translation"), "texts": ("a.txt",), "rich": "es"}, "ask for one"),
    ],
)
def test_what_speech_translation_needs_is_asked_for_first(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        UpOptions(**options)
    assert said in f"{caught.value.what} {caught.value.next_step}"


def test_wrong_settings_are_refused_before_the_corpus_is_read(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such corpus"):
        up(root / "kichwa", tmp_path / "out", rich=root / "nowhere", resources=QUIET)
    with pytest.raises(ConfigError, match="no option 'humman'"):
        up(root / "kichwa", tmp_path / "out", rich=root / "spanish", speech_translation={"humman": 1}, resources=QUIET)
    assert not (tmp_path / "out").exists()
