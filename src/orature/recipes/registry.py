"""Recipes by name, for `orature run`: each a module with the same few names.

A recipe is a module with::

    ABOUT: one sentence
    run(request: Request) -> Outcome           # through the store, so that it can be interrupted and run again
    plan(request: Request) -> dict             # steps, settings and cost, without doing anything

A package of one's own adds a recipe by an entry point of the group `orature.recipes` (name: the recipe's name, value:
the module).

Example::

    outcome = recipe_of("multilingual").module().run(Request(sources=("kichwa", "yoruba"), to=Path("model")))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.flow import Resources
from orature.recipes.settings import nearest
from orature.train.config import Scale


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for: sources, folder for the results, scale, and the tree of `--set`."""

    sources: tuple[str, ...]
    to: Path
    scale: Scale = "dev"
    seed: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    store: Path | None = None
    command: str = ""


def tagged(given: str) -> tuple[Path, str | None]:
    """A source as it was named, `PATH` or `TAG=PATH`: where it is, and the language of rows that state none."""
    tag, equals, path = given.partition("=")
    return (Path(path), tag) if equals and not Path(given).exists() else (Path(given), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out: `facts` for machines, `lines` for a person; not `fresh` when all had been done before."""

    facts: dict[str, Any]
    lines: list[str]
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Recipe:
    """One entry of the table."""

    name: str
    where: str
    about: str

    def module(self) -> Any:
        """The module with the recipe's functions."""
        return import_module(self.where)


_TABLE: dict[str, Recipe] = {
    "back_translate": Recipe(
        "back_translate",
        "orature.recipes.back_translate",
        "real and synthetic speech from text, beside real speech alone, at equal compute",
    ),
    "base": Recipe(
        "base",
        "orature.recipes.base",
        "a start for every language: phones from synthetic speech in many languages",
    ),
    "calibrate": Recipe(
        "calibrate",
        "orature.recipes.calibrate",
        "the quality (Norm_I) from which on synthetic speech helps",
    ),
    "multilingual": Recipe(
        "multilingual",
        "orature.recipes.multilingual",
        "one model for several languages, beside one for each alone",
    ),
    "pseudo_label": Recipe(
        "pseudo_label",
        "orature.recipes.pseudo_label",
        "untranscribed speech brought in by pseudo-labels (slimIPL), beside labelled speech alone",
    ),
    "speech_translation": Recipe(
        "speech_translation",
        "orature.recipes.speech_translation",
        "what speech translation from a rich language brings, beside scratch and direct transfer",
    ),
    "transfer": Recipe(
        "transfer",
        "orature.recipes.transfer",
        "what a start brings: from it and from nothing at equal compute, with several amounts of speech",
    ),
}


@cache
def recipes() -> dict[str, Recipe]:
    """All recipes by name, those of installed plug-ins too."""
    found = dict(_TABLE)
    for point in entry_points(group="orature.recipes"):
        found[point.name] = Recipe(point.name, point.value, str(import_module(point.value).ABOUT))
    return dict(sorted(found.items()))


def recipe_of(name: str) -> Recipe:
    """The recipe of that name; ConfigError with the nearest one, and with all there are."""
    found = recipes().get(name)
    if found is None:
        listed = "; ".join(f"{recipe.name}: {recipe.about}" for recipe in recipes().values())
        raise ConfigError(f"there is no recipe {name!r}", next_step=f"{nearest(name, recipes())} ({listed})")
    return found
