"""What a training will take: measured on this machine, for a size or a model folder, by the recipe for the hours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import ConfigError, ModelError
from orature.recipes import estimate as recipe
from orature.testing.checkpoints import make_checkpoint
from orature.train import probe
from orature.train.config import TrainConfig
from orature.train.job import Job
from orature.train.memory import Footprint
from orature.train.probe import Measured, measure


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_STEP_S", 0.3)
    monkeypatch.setattr("orature.train.devices.usable_cores", lambda: 1)


def test_a_size_is_estimated_at_the_command_line() -> None:
    arguments = ["doctor", "--estimate", "micro", "--hours", "0.5", "--scale", "smoke", "--device", "cpu"]
    done = CliRunner().invoke(build(), [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    config = TrainConfig.for_scale("smoke", hours=0.5)
    assert found["updates"] == config.updates and found["device"] == "cpu"
    assert 0.5e6 < found["parameters"] < 1e6 and found["trained"] == found["parameters"]
    assert found["seconds"] == pytest.approx(found["audio_hours"] * 3600 / found["audio_s_per_s"], rel=0.01)
    assert 0.03 < found["disk_gb"] < 0.1
    if found["memory_gb"] is not None:
        assert 0.05 < found["memory_gb"] < 3.0, "some MB a second, 100 s at once"


def test_a_checkpoint_goes_by_the_recipe_for_its_family_and_hours(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "xls-r", "xls-r")
    few = recipe.estimate(str(folder), hours=0.2, scale="full")
    many = recipe.estimate(str(folder), hours=9.0, scale="full")
    assert few.recipe != many.recipe and "wav2vec2" in few.recipe
    assert few.updates < many.updates and few.trained < few.parameters, "the front end stays frozen"
    text = "\n".join(many.lines())
    assert "audio-s/s on cpu" in text and "GB while it runs" in text and f"{many.updates} updates" in text


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="no scale"):
        recipe.estimate("micro", hours=1.0, scale="huge")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no such model folder"):
        recipe.estimate("enormous", hours=1.0)
    assert recipe._sized("transformer-base") == {"network": "transformer", "size": "base"}
    assert recipe._sized("base") == {"network": "conformer", "size": "base"} and recipe._sized("xls-r-300m") == {}


def test_slow_steps_are_measured_with_few_clips_and_the_optimiser_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 2 s a clip: three clips at most, 2 audio-s/s; AdamW's own time is paid once an update."""
    monkeypatch.setattr(probe, "_STEP_S", 6.0)
    clock = {"now": 0.0}
    monkeypatch.setattr(probe.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(probe, "footprint", lambda *rest: Footprint(1e9, 1e7, 2e9))
    sizes = []

    def passed(made: object, parallel: object, batch: probe.Batch) -> float:
        sizes.append(len(batch.items))
        return 2.0 * len(batch.items)

    monkeypatch.setattr(probe, "_passed", passed)
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: (clock.update(now=clock["now"] + 10.0), step(self))[1])
    config = TrainConfig(size="micro", batch_seconds=40.0, accumulate=2, updates=10)
    found = measure(Job(config=config, texts=(" abc",), languages=()))
    assert sizes == [1, 3, 3]
    assert found.audio_s_per_s == pytest.approx(80.0 / (80.0 / 2.0 + 10.0))
    assert found.memory(40.0) == pytest.approx(4.0 * found.parameters + 3e9 + 4e8)


def test_disk_holds_two_checkpoints_and_the_best_ones() -> None:
    measured = Measured("conformer", parameters=1_000_000, trained=1_000_000, audio_s_per_s=1.0, footprint=None)
    assert measured.disk(TrainConfig(average=5)) == 4e6 * (2 * 3 + 6) + 8e6
