"""The defaults of a training run by scale and material."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orature.train.config import TrainConfig


def test_isolated_words_of_few_speakers_are_joined_and_perturbed_more() -> None:
    few = TrainConfig.for_scale("dev", hours=0.2, mean_s=0.5, speakers=2)
    many = TrainConfig.for_scale("dev", hours=0.2, mean_s=0.5, speakers=87)
    sentences = TrainConfig.for_scale("dev", hours=0.2, mean_s=4.0, speakers=2)
    assert few.augment.join_probability > 0 == many.augment.join_probability == sentences.augment.join_probability
    assert few.augment.warp > many.augment.warp == sentences.augment.warp
    assert (few.normalisation, many.normalisation, sentences.normalisation) == ("mean", "mean", "mean-variance")


def test_more_work_at_larger_scales_and_more_hours() -> None:
    updates = [TrainConfig.for_scale(scale, hours=2.0).updates for scale in ("smoke", "dev", "full")]
    assert updates == sorted(set(updates))
    assert TrainConfig.for_scale("full", hours=2.0).size == "small"
    assert TrainConfig.for_scale("full", hours=50.0).size == "base"


@pytest.mark.parametrize("field", [{"updates": 0}, {"peak_lr": 0.0}, {"precision": "fp8"}, {"augment": {"warp": 0.5}}])
def test_values_out_of_range_are_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig(**field)  # type: ignore[arg-type]
