"""A run that does nothing: it goes through a recipe as far as finished work allows, and tells what would come.

Example::

    job = rehearsed(open_store(), "back_translate", ["ingest", "split", "train", "evaluate"])
    job.through(lambda: experiment(job, request))["steps"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from orature.flow import Ref, Resources, Run, Stage, Store
from orature.recipes.estimate import cost
from orature.stages.train import Train


class NotDoneYet(Exception):
    """Raised where a recipe asks for what has not been made."""


class Rehearsal(Run):
    """`do` gives what is finished and stops the recipe at the first stage that is not."""

    def __init__(self, store: Store, recipe: str, outline: Sequence[str], *, phases: int = 1) -> None:
        super().__init__(store, recipe=recipe, command="")
        self.phases = phases
        self.outline = list(outline)
        self.steps: list[dict[str, Any]] = []
        self.training: Train | None = None

    def do(self, stage: Stage, *, on: Resources | None = None) -> Ref:
        """The artefact of `stage` where it is finished; NotDoneYet where it is not."""
        ref = self.store.get(stage.key())
        self.steps.append({"stage": stage.name, "state": "todo" if ref is None else "done", "key": stage.key()[:12]})
        if isinstance(stage, Train) and self.training is None:
            self.training = stage
        if ref is None:
            raise NotDoneYet(stage.name)
        return ref

    def through(self, recipe: Callable[[], object], on: Resources | None = None) -> dict[str, Any]:
        """`steps` of the whole way, `train` and `cost`."""
        steps = self.walk(recipe)
        return {"steps": steps, **self._cost(steps, on)}

    def walk(self, recipe: Callable[[], object]) -> list[dict[str, Any]]:
        """The steps of the whole way; those that cannot be known yet by the outline."""
        whole = False
        try:
            recipe()
            whole = True
        except NotDoneYet:
            pass
        met = Counter(step["stage"] for step in self.steps)
        rest: list[dict[str, Any]] = []
        for name in () if whole else self.outline:
            if met[name] > 0:
                met[name] -= 1
            else:
                rest.append({"stage": name, "state": "todo", "key": ""})
        return [*self.steps, *rest]

    def _cost(self, steps: list[dict[str, Any]], on: Resources | None) -> dict[str, Any]:
        left = sum(step["stage"] == "train" and step["state"] == "todo" for step in steps)
        if self.training is None:
            return {"train": None, "cost": "known once the corpus has been read and split"}
        each = cost(self.training, on)
        return {
            "train": self.training.config.model_dump(mode="json"),
            "cost": f"{left} trainings are left; the first: {each}"
            if self.phases == 1
            else f"{left} trainings are left ({self.phases} phases each); the first phase of one: {each}",
        }


def rehearsed(store: Store, recipe: str, outline: Sequence[str], *, phases: int = 1) -> Rehearsal:
    """A run of `recipe` that does nothing; `outline` names its stages, for those that cannot be known yet.

    `phases`: of each training, where its stage is one of them.
    """
    return Rehearsal(store, recipe, outline, phases=phases)
