"""Law 2 for any stage: every field, default, version and input digest is in the key; resources and places never are."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import create_model

from orature.flow import Ref, Resources, Stage, StageContext


class _Still(Stage):
    name = "still"

    def run(self, ctx: StageContext) -> None:
        return


HEX = st.text("0123456789abcdef", min_size=8, max_size=8)
REFS = st.builds(lambda digest: Ref(key="external", stage="corpus", digest=digest, path="/a"), HEX)
SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = SCALARS | st.text(max_size=5)
VALUES = st.recursive(
    PLAIN | REFS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta"])
FIELDS = st.dictionaries(NAMES, VALUES, min_size=1)


def stage_of(fields: dict[str, Any], *, version: int = 1, name: str = "still") -> Stage:
    """A stage whose fields all have the given values as their defaults."""
    made = create_model("Made", __base__=_Still, **{field: (Any, value) for field, value in fields.items()})
    made.version, made.name = version, name
    return made()


def spelt(value: Any) -> str:
    """Tells apart what Python's == does not (1, 1.0, True) and what JSON does."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{k!r}:{spelt(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spelt, value)) + "]"
    return f"ref {value.digest}" if isinstance(value, Ref) else f"{type(value).__name__} {value!r}"


@given(FIELDS, FIELDS)
def test_keys_are_equal_exactly_when_the_fields_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (stage_of(one).key() == stage_of(other).key()) == (spelt(one) == spelt(other))


@given(FIELDS, VALUES, st.data())
def test_any_change_of_any_field_changes_the_key(fields: dict[str, Any], value: Any, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(fields)))
    changed = fields | {field: value}
    assert (stage_of(fields).key() == stage_of(changed).key()) == (spelt(fields[field]) == spelt(value))


@given(FIELDS, st.integers(2, 99))
def test_version_and_name_are_in_the_key(fields: dict[str, Any], version: int) -> None:
    assert len({stage_of(fields).key(), stage_of(fields, version=version).key(), stage_of(fields, name="x").key()}) == 3


@given(FIELDS)
def test_given_and_default_are_the_same_to_the_key(fields: dict[str, Any]) -> None:
    stage = stage_of(fields)
    given_all = type(stage)(**fields)
    assert given_all.key() == stage.key()


@given(st.lists(REFS, min_size=1, max_size=4), HEX, st.text(max_size=8))
def test_an_input_counts_by_its_content_only(refs: list[Ref], digest: str, path: str) -> None:
    def key(first: Ref) -> str:
        return stage_of({"alpha": [first, *refs[1:]], "beta": {"deep": first}}).key()

    moved = Ref(key="0" * 64, stage="else", digest=refs[0].digest, path=path)
    assert key(moved) == key(refs[0])
    swapped = refs[0].model_copy(update={"digest": digest})
    assert (key(swapped) == key(refs[0])) == (digest == refs[0].digest)


@settings(max_examples=20)
@given(st.integers(1, 64), st.sampled_from(["auto", "cpu", "cuda:1"]), st.floats(1, 1e4))
def test_resources_cannot_enter_a_key(workers: int, device: str, batch_seconds: float) -> None:
    resources = Resources(workers=workers, device=device, batch_seconds=batch_seconds)
    try:
        stage_of({"alpha": resources}).key()
    except TypeError as error:
        assert "Resources cannot enter a key" in str(error)
    else:
        raise AssertionError("resources went into a key")
