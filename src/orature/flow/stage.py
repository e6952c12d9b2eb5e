"""A stage: a frozen config that reads artefacts and writes one artefact; its key is all that it depends on (law 2).

Example::

    class Upper(Stage):
        name = "upper"
        text: Ref
        def run(self, ctx: StageContext) -> None:
            with ctx.writing("upper.txt") as part:
                part.write_text((ctx.path_of(self.text) / "in.txt").read_text().upper())
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel

from orature.core.errors import ConfigError
from orature.core.identity import canonical_json, digest_json
from orature.flow.ref import Ref, Resources

if TYPE_CHECKING:
    from orature.flow.context import StageContext


class Stage(BaseModel, ABC, frozen=True, extra="forbid"):
    """One step of work. Raise `version` whenever the same fields and inputs would give another result."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def run(self, ctx: StageContext) -> None:
        """Write the artefact through `ctx.writing` and `ctx.map_shards`; called at most once at a time for one key."""

    def identity(self) -> dict[str, Any]:
        """Name, version and every field, defaults too; each input as its content digest. Not to be overridden."""
        return {"name": self.name, "version": self.version, "fields": _fields(self, self.name)}

    def key(self) -> str:
        """SHA-256 (hex) of the identity: equal keys mean the same work."""
        return digest_json(self.identity())

    def refs(self) -> tuple[Ref, ...]:
        """All inputs, also those inside lists, mappings and nested models, each once, in the order of the fields."""
        return tuple(dict.fromkeys(_refs(self)))


def _members(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields} | (model.model_extra or {})


def _fields(model: BaseModel, where: str) -> dict[str, Any]:
    return {name: _plain(value, f"{where}.{name}") for name, value in _members(model).items()}


def _plain(value: Any, where: str) -> Any:
    """`value` as JSON without loss: what cannot be told apart in JSON is refused."""
    if isinstance(value, Ref):
        return {"ref": value.digest}
    if isinstance(value, Enum):
        return _plain(value.value, where)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} must be a finite number, not {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, BaseModel) and not isinstance(value, Resources):
        return {"model": type(value).__name__, "fields": _fields(value, where)}
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item, where) for item in value), key=canonical_json)
    raise TypeError(f"{where}: a {type(value).__name__} cannot enter a key (a file or folder is given as a Ref)")


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, BaseModel):
        yield from _refs(list(_members(value).values()))
    elif isinstance(value, Mapping):
        yield from _refs(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _refs(item)
