"""A model between two that were fine-tuned from the same start: task vectors, added in chosen amounts.

theta = start + a (real - start) + b (synthetic - start), after Ilharco et al. 2023, "Editing models with task
arithmetic" (arXiv 2212.04089), section 2. Without a start the two are interpolated, a + b = 1; of models that have none
in common the mean recognises nothing, and that is refused by the likeness of their matrices.

Example::

    merged = run.do(MergeModels(start=whisper, real=real_only, synthetic=mixed, a=0.5, b=0.5))
"""

from __future__ import annotations

import shutil
from typing import ClassVar, Self

from pydantic import Field, model_validator

from orature.core.files import write_json
from orature.flow import Ref, Stage, StageContext
from orature.train.model_average import average_models

_MERGED = "merged"


class MergeModels(Stage):
    """A model folder; ModelError where architectures, vocabularies or starts differ (see `average_models`)."""

    name: ClassVar[str] = "merge-models"
    version: ClassVar[int] = 1
    real: Ref
    synthetic: Ref
    start: Ref | None = None
    a: float = Field(ge=-2.0, le=2.0)
    """Of what the first model learnt."""
    b: float = Field(ge=-2.0, le=2.0)
    """Of what the second model learnt."""
    model_name: str = ""

    @model_validator(mode="after")
    def _interpolates_without_a_start(self) -> Self:
        if self.start is None and abs(self.a + self.b - 1) > 1e-6:
            raise ValueError(f"without a start the amounts must add up to 1, not to {self.a + self.b:g}")
        return self

    def run(self, ctx: StageContext) -> None:
        """Sums in float64, one tensor at a time; all other files are those of the first model."""
        models = [ctx.path_of(self.real), ctx.path_of(self.synthetic)]
        weights = [self.a, self.b]
        if self.start is not None:
            models.append(ctx.path_of(self.start))
            weights.append(1 - self.a - self.b)
        to = ctx.state / _MERGED
        shutil.rmtree(to, ignore_errors=True)
        done = average_models(models, to, weights, name=self.model_name)
        for path in sorted(to.iterdir()):
            with ctx.writing(path.name) as part:
                shutil.copyfile(path, part)
        with ctx.writing("merge.json") as part:
            write_json(part, {"format": 1, "a": self.a, "b": self.b, "similarity": done["similarity"]})
        ctx.note(a=self.a, b=self.b, similarity=done["similarity"])
