"""Task vectors of the real-only and the mixed arm, added to their start in amounts that dev chooses.

Example::

    found = merge(run, base, real, best, settings, corpus_name="kichwa", on=resources)
    found.arm            # None where the models cannot be merged; found.notes says why
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orature.core.errors import ModelError
from orature.flow import Ref, Resources, Run
from orature.recipes.arms import Arm, best_on_dev, rate, scored_on
from orature.recipes.back_settings import BackTranslateConfig
from orature.stages.merge_models import MergeModels
from orature.stages.train import Train

MERGED = "merged"


@dataclass(slots=True)
class Merged:
    """The best merged model on dev, all that were tried, and what there is to say."""

    arm: Arm | None = None
    tried: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def merge(
    run: Run, base: Train, real: Arm, mixed: Arm, settings: BackTranslateConfig, *, corpus_name: str, on: Resources
) -> Merged:
    """A model for each pair of amounts, scored on dev.

    Without a start, or where it has another output layer than what was trained from it, the two arms alone are
    interpolated: only pairs that add up to 1 are tried then.
    """
    found = Merged()
    for start in dict.fromkeys((base.start, None)):
        try:
            arms = _merged(run, base, real, mixed, start, settings, found, corpus_name=corpus_name, on=on)
        except ModelError as error:
            what = "the arms" if start is None else "the arms and their start"
            found.notes.append(f"{what} cannot be merged: {error.what}")
            continue
        if arms:
            found.arm = best_on_dev(run, arms, settings.choose)
            return found
        found.notes.append("no pair of the grid adds up to 1, and without a start nothing else can be merged")
    return found


def _merged(
    run: Run,
    base: Train,
    real: Arm,
    mixed: Arm,
    start: Ref | None,
    settings: BackTranslateConfig,
    found: Merged,
    *,
    corpus_name: str,
    on: Resources,
) -> list[Arm]:
    """All pairs of the grid around one start, each scored on dev."""
    arms: list[Arm] = []
    for a, b in grid_of(settings, start):
        name = f"{MERGED} {a:g}, {b:g}"
        stage = MergeModels(real=real.model, synthetic=mixed.model, start=start, a=a, b=b, model_name=name)
        model = run.do(stage, on=on)
        dev = scored_on(run, base, model, split="dev", name=name, corpus_name=corpus_name, on=on)
        about = f"merged: {a:g} of real, {b:g} of mixed"
        arms.append(Arm(name, about, model, dev, mixed.ratio, role="merged"))
        found.tried.append({"a": a, "b": b, **{unit: round(rate(run, dev, unit), 6) for unit in ("cer", "wer")}})
    return arms


def grid_of(settings: BackTranslateConfig, start: Ref | None) -> list[tuple[float, float]]:
    """The pairs that can be merged."""
    return [(a, b) for a, b in settings.merge_grid if start is not None or abs(a + b - 1) < 1e-6]
