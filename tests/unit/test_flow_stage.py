"""Identity, keys and inputs of stages."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from orature.core.errors import ConfigError
from orature.flow import Ref, Stage, StageContext


class Colour(Enum):
    RED = "red"


class Part(BaseModel):
    weight: float = 0.5
    source: Ref | None = None


class Other(Part):
    pass


class Mixed(Stage):
    name = "mixed"
    version = 3
    value: Any = None
    part: Part = Part()
    more: tuple[Ref, ...] = ()

    def run(self, ctx: StageContext) -> None:
        return


def ref(digest: str) -> Ref:
    return Ref(key="external", stage="corpus", digest=digest, path="/somewhere")


def test_the_identity_holds_everything_and_no_path() -> None:
    stage = Mixed(value={"a": [1, Colour.RED]}, part=Part(source=ref("d1")), more=(ref("d2"),))
    assert stage.identity() == {
        "name": "mixed",
        "version": 3,
        "fields": {
            "value": {"a": [1, "red"]},
            "part": {"model": "Part", "fields": {"weight": 0.5, "source": {"ref": "d1"}}},
            "more": [{"ref": "d2"}],
        },
    }
    assert "/somewhere" not in str(stage.identity())


def test_the_key_of_a_stage_is_pinned() -> None:
    """A change here makes every store forget its work: it must be meant."""
    assert Mixed().key() == "844bc84e91741cecdcae795ab46ecd5d18297e9e9bd84cf81bd9b45cfd0b1109"


def test_inputs_are_found_wherever_they_are() -> None:
    stage = Mixed(value={"x": [ref("a")]}, part=Part(source=ref("b")), more=(ref("c"), ref("a")))
    assert [item.digest for item in stage.refs()] == ["a", "b", "c"]


def test_models_of_another_kind_are_told_apart() -> None:
    assert Mixed(value=Part()).key() != Mixed(value=Other()).key()


def test_sets_have_no_order() -> None:
    assert Mixed(value={"b", "a", "c"}).key() == Mixed(value={"c", "b", "a"}).key()


@pytest.mark.parametrize("value", [Path("x"), b"x", {1: "x"}, object()])
def test_what_cannot_be_told_apart_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"mixed\.value"):
        Mixed(value=value).key()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value: float) -> None:
    with pytest.raises(ConfigError, match=r"mixed\.value must be a finite number"):
        Mixed(value=value).key()


def test_stages_are_frozen_and_strict() -> None:
    with pytest.raises(ValidationError):
        Mixed(unknown=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Mixed().value = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Ref(key="short", stage="x", digest="d")
