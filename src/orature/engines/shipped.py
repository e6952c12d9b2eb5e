"""Models that come with the package: `base`, a start for every language that also writes any language as phones.

Example::

    folder = shipped("base")        # a model folder
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from orature.core.errors import ModelError

BASE = "base"
"""Its name where a model is asked for; a folder of that name is written ./base."""
NOTHING = "none"
"""Asked for as a start: training begins from random weights."""


def is_shipped(name: str) -> bool:
    """Whether a model's name means one that comes with the package."""
    return name == BASE


def shipped(name: str = BASE) -> Path:
    """The folder of a model of the package; ModelError where the installation lacks it."""
    folder = Path(str(files("orature").joinpath("models", name)))
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"this installation lacks the model {name!r}",
            where=str(folder),
            next_step="install the package again, from a wheel or a whole clone",
        )
    return folder
