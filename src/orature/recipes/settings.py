"""Options from a YAML file and from `--set a.b=c`: unknown names are refused with the nearest known one.

Example::

    settings = read_settings(Path("orature.yaml"), known={"source", "to", "scale", "train"})
    config = override(TrainConfig(), parse_assignments(["updates=500", "augment.warp=0.1"]))
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from orature.core.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
_YAML = "give a UTF-8 file of `name: value` lines, such as `scale: dev`"


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean ...?" or the list of what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else "known are " + ", ".join(names)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1", "c=x"]` as `{"a": {"b": 1}, "c": "x"}`; values are read as YAML."""
    tree: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise ConfigError(
                f"{assignment!r} is no assignment", next_step="write --set name=value, as in --set updates=500"
            )
        *path, last = name.strip().split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(
                    f"{name!r} sets a part of something that is itself set to a value",
                    next_step="leave one of the two out",
                )
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"the value of {name!r} cannot be read: {value!r}",
                next_step="write it as in YAML: a number, a word, or [1, 2]; quote it for the shell",
            ) from error
    return tree


def override(config: M, values: Mapping[str, Any], where: str = "") -> M:
    """`config` with `values` put in, nested models too; ConfigError for unknown names and values out of range.

    The word "none" is None where a field can be that and is no word itself.
    """
    fields = type(config).model_fields
    done: dict[str, Any] = {name: getattr(config, name) for name in fields}
    for name, value in values.items():
        here = f"{where}{name}"
        if name not in fields:
            raise ConfigError(f"there is no option {here!r}", next_step=nearest(name, fields))
        current = getattr(config, name)
        if isinstance(current, BaseModel) and isinstance(value, Mapping):
            done[name] = override(current, value, f"{here}.")
        elif isinstance(current, dict) and isinstance(value, Mapping):
            done[name] = {**current, **value}
        else:
            done[name] = None if value == "none" and _may_be_none(fields[name].annotation) else value
    try:
        return type(config)(**done)
    except ValidationError as error:
        raise ConfigError(
            _refused(error, where),
            next_step="leave it out for the default; --dry-run shows all options with their values",
        ) from error


def _may_be_none(kind: Any) -> bool:
    parts = get_args(kind)
    return type(None) in parts and str not in parts and not any(get_origin(part) is Literal for part in parts)


def _refused(error: ValidationError, where: str) -> str:
    """The first thing that is wrong; what is wrong between several options names them itself."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"options of {where.rstrip('.')!r}: {said}" if where else said
    place = where + ".".join(str(part) for part in first["loc"])
    return f"option {place!r}: {said} (given: {first['input']!r})"


def read_settings(path: Path, known: Collection[str]) -> dict[str, Any]:
    """The options in a YAML file; only names in `known` are allowed."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file of options cannot be read: {error}", where=str(path), next_step=_YAML) from error
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"this is not YAML: {said}", where=str(path), next_step=_YAML) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError("the file holds no options", where=str(path), next_step=_YAML)
    for name in loaded:
        if name not in known:
            raise ConfigError(f"there is no option {name!r}", where=str(path), next_step=nearest(str(name), known))
    return loaded
