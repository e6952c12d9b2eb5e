"""The benchmark of labelling still runs: hours from few recordings, labels of all of them, ratios that are ratios."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orature.core.types import RATE_HZ
from orature.data.audio import save_flac
from orature.data.corpus import Corpus
from orature.flow import Resources, Run, Store
from orature.recipes.labelling import labelled, read_account
from orature.stages.inputs import corpus_ref, model_ref

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
_OURS = ("memory", "arms", "run", "speech", "models", "pipeline")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a script of the benchmark by its name; afterwards none of them is there."""
    for folder in ("decode_throughput", "label_throughput"):
        monkeypatch.syspath_prepend(str(BENCHMARKS / folder))
    yield importlib.import_module
    for name in _OURS:
        sys.modules.pop(name, None)


def test_hours_of_few_recordings_are_labelled(scripts: Any, tmp_path: Path) -> None:
    memory = scripts("memory")
    rng = np.random.default_rng(1)
    clips = []
    for number, seconds in enumerate((1.5, 2.0, 3.1)):
        path = tmp_path / f"{number}.flac"
        save_flac(path, (0.1 * rng.standard_normal(int(seconds * RATE_HZ))).astype(np.float32))
        clips.append((str(path), seconds))
    rows = memory.corpus_of(tmp_path / "corpus", 0.01, clips)
    corpus = Corpus.open(tmp_path / "corpus")
    free = list(corpus.split("unlabelled"))
    assert len(free) == rows and not corpus.verify()
    assert 36 <= sum(row.audio.duration_s for row in free) < 40
    assert len({row.audio.digest for row in free}) == rows, "as different recordings would have"
    model = model_ref(memory.model_in(tmp_path / "micro"))
    run = Run(Store(tmp_path / "store"), "test", "test")
    filters = dict.fromkeys((*memory.UNMET, "most_unseen"), "none")
    on = Resources(threads=1, progress=False)
    made = labelled(run, corpus_ref(tmp_path / "corpus"), model, filters=filters, on=on)
    account = read_account(run.path_of(made))
    assert account["rows"] == rows and account["kept"] > 0


def test_ratios_are_peer_over_ours_round_by_round(scripts: Any) -> None:
    run = scripts("run")
    heard = SimpleNamespace(seconds=3600.0, paths=["a", "b"])

    def of(seconds: float, texts: list[str]) -> dict[str, Any]:
        return {
            "seconds": seconds,
            "cpu_seconds": 2 * seconds,
            "peak_mb": {"process": 9, "worker": 0},
            "told": "x",
            "texts": texts,
        }

    rounds = {
        "loop": [of(30.0, ["a", "bb"]), of(60.0, ["a", "bb"])],
        "orature": [of(10.0, ["a", "bc"]), of(15.0, ["a", "bc"])],
    }
    found = run.summed("m", heard, rounds)
    assert (
        found["ratio"]["orature / loop"]
        == {"median": 3.5, "low": 3.0, "high": 4.0}
        == found["cpu_ratio"]["orature / loop"]
    )
    assert found["texts"]["orature"] == {"equal": 1, "of": 2, "cer_between": 0.33333}
    assert found["hours_an_hour"] == {"loop": 80.0, "orature": 288.0}
    assert "3.50x (3.00 to 4.00)" in run.table(found)
