"""The table of families: what it knows, what it says of what it does not know, and how a plug-in joins it."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from orature.core.errors import ModelError
from orature.engines import families as table
from orature.engines.families import families, family_of


@pytest.fixture
def fresh() -> Iterator[None]:
    families.cache_clear()
    yield
    families.cache_clear()


def folder_of(folder: Path, model_type: object) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("model_type", sorted(table._TABLE))
def test_every_family_has_the_functions_that_its_kind_promises(model_type: str) -> None:
    family = families()[model_type]
    module = family.module()
    assert family.kind == module.KIND
    wanted = ("recogniser",) if family.kind == "recogniser" else ("load", "begin", "files")
    assert all(callable(getattr(module, name)) for name in wanted)


def test_an_unknown_type_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'telepathy' are not known") as caught:
        family_of(folder_of(tmp_path, "telepathy"))
    assert "whisper" in caught.value.next_step and "wav2vec2" in caught.value.next_step


def test_a_plug_in_joins_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    module = types.ModuleType("their_family", "A family of somebody else.")
    module.KIND = "recogniser"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_family", module)
    point = EntryPoint("their-type", "their_family", "orature.families")
    monkeypatch.setattr(table, "entry_points", lambda group: [point] if group == "orature.families" else [])
    found = family_of(folder_of(tmp_path, "their-type"))
    assert (found.name, found.kind, found.about) == ("their-type", "recogniser", "A family of somebody else.")
    assert found.module() is module
