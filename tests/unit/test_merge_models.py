"""Merging is exact arithmetic on weights, and models without a common start are refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from orature.core.errors import ModelError
from orature.engines.recognisers import load_recogniser
from orature.flow import Ref, Resources, Run, Store
from orature.recipes.arms import Arm
from orature.recipes.back_settings import BackTranslateConfig
from orature.recipes.merging import grid_of, merge
from orature.stages.inputs import model_ref
from orature.stages.merge_models import MergeModels
from orature.testing.stage_contract import check_idempotent, check_identity
from tests.tiny import LATIN, model_in
from tests.unit.test_model_average import tuned


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, Path, Path]:
    start = model_in(tmp_path / "start", LATIN)
    return start, tuned(start, tmp_path / "real", 1), tuned(start, tmp_path / "mixed", 2)


def merged(tmp_path: Path, stage: MergeModels) -> Path:
    run = Run(Store(tmp_path / "store"), "test", "test")
    return run.path_of(run.do(stage))


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.3, 1.0), (0.0, 1.0), (-0.5, 1.2)])
def test_task_vectors_are_added_to_the_start(
    three: tuple[Path, Path, Path], tmp_path: Path, a: float, b: float
) -> None:
    start, real, mixed = map(model_ref, three)
    folder = merged(tmp_path, MergeModels(start=start, real=real, synthetic=mixed, a=a, b=b))
    weights = [load_file(path / "model.safetensors") for path in three]
    found = load_file(folder / "model.safetensors")
    assert found.keys() == weights[0].keys()
    for name, value in found.items():
        zero, one, two = (table[name].double() for table in weights)
        if value.is_floating_point():
            torch.testing.assert_close(value, (zero + a * (one - zero) + b * (two - zero)).to(value.dtype))
    assert json.loads((folder / "merge.json").read_text())["a"] == a
    assert load_recogniser(folder).card.family == "conformer"


def test_without_a_start_two_models_are_interpolated(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, real, mixed = three
    stage = MergeModels(real=model_ref(real), synthetic=model_ref(mixed), a=0.25, b=0.75)
    found = load_file(merged(tmp_path, stage) / "model.safetensors")
    one, two = load_file(real / "model.safetensors"), load_file(mixed / "model.safetensors")
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (0.25 * one[name].double() + 0.75 * two[name].double()).to(value.dtype))
    with pytest.raises(ValidationError, match="add up to 1"):
        MergeModels(real=model_ref(real), synthetic=model_ref(mixed), a=0.5, b=1.0)
    check_identity(stage)
    check_idempotent(stage, tmp_path / "twice")


def test_models_of_unlike_starts_are_refused(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    torch.manual_seed(99)
    other = model_in(tmp_path / "other", LATIN)
    tensors = load_file(other / "model.safetensors")
    draw = torch.Generator().manual_seed(8)
    from safetensors.torch import save_file

    save_file(
        {k: torch.randn(v.shape, generator=draw) if v.is_floating_point() else v for k, v in tensors.items()},
        other / "model.safetensors",
    )
    stage = MergeModels(real=model_ref(three[1]), synthetic=model_ref(other), a=0.5, b=0.5)
    with pytest.raises(ModelError, match="same start"):
        merged(tmp_path, stage)


def test_other_alphabets_are_refused(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    other = model_in(tmp_path / "other", [*LATIN, "ñ"])
    stage = MergeModels(real=model_ref(three[1]), synthetic=model_ref(other), a=0.5, b=0.5)
    with pytest.raises(ModelError, match="differ"):
        merged(tmp_path, stage)


def test_the_grid_without_a_start_holds_only_what_adds_up_to_one() -> None:
    settings = BackTranslateConfig()
    start = Ref(key="external", stage="model", digest="0" * 64)
    assert len(grid_of(settings, start)) == len(settings.merge_grid) > len(grid_of(settings, None)) == 3


def test_a_start_with_another_output_layer_leaves_the_arms_to_be_interpolated(
    three: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And arms of unlike starts are not merged at all, with the reason."""
    scores = {"merged 0.25, 0.75": 0.3, "merged 0.5, 0.5": 0.2, "merged 0.75, 0.25": 0.4}
    monkeypatch.setattr("orature.recipes.merging.scored_on", lambda *args, name, **rest: name)
    monkeypatch.setattr("orature.recipes.merging.rate", lambda run, dev, unit: scores[dev])
    monkeypatch.setattr("orature.recipes.arms.rate", lambda run, dev, unit: scores[dev])
    run = Run(Store(tmp_path / "store"), "test", "test")
    start = model_ref(model_in(tmp_path / "other", [*LATIN, "ñ"]))
    base: Any = SimpleNamespace(start=start)
    real, mixed = (Arm(name, name, model_ref(path), start) for name, path in zip("rm", three[1:], strict=True))
    found = merge(run, base, real, mixed, BackTranslateConfig(), corpus_name="toy", on=Resources())
    assert found.arm is not None and found.arm.name == "merged 0.5, 0.5" and len(found.tried) == 3
    assert len(found.notes) == 1 and "and their start cannot be merged" in found.notes[0]
    odd = Arm("odd", "odd", start, start)
    nothing = merge(run, SimpleNamespace(start=None), odd, real, BackTranslateConfig(), corpus_name="", on=Resources())  # type: ignore[arg-type]
    assert nothing.arm is None and "cannot be merged" in nothing.notes[0]
