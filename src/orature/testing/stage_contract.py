"""What every stage must hold, for authors of stages: full identity, idempotent, conserving, resumable.

Example::

    def test_my_stage(tmp_path):
        check_stage(MyStage(corpus=ref), tmp_path, rows_in=10, count_kept=lambda folder: len(read(folder)))

Each check raises ContractBroken with a sentence that says which law the stage breaks and how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orature.core.errors import Interrupted
from orature.core.identity import digest_bytes
from orature.flow.artefact import ArtefactInfo
from orature.flow.ref import Ref, Resources
from orature.flow.run import Run
from orature.flow.stage import Stage
from orature.flow.store import Store
from orature.testing.faults import every_fault, fault, in_child, points_passed


class ContractBroken(AssertionError):
    """A stage does not hold what every stage must hold."""


def check_stage(
    stage: Stage,
    folder: Path,
    *,
    rows_in: int | None = None,
    count_kept: Callable[[Path], int] | None = None,
    resources: Resources | None = None,
) -> ArtefactInfo:
    """All checks, in stores of their own below `folder`; rows are checked when `rows_in` is given."""
    check_identity(stage)
    info = check_idempotent(stage, folder / "idempotent", resources)
    if rows_in is not None:
        check_conserving(stage, folder / "conserving", rows_in=rows_in, count_kept=count_kept)
    check_resumable(stage, folder / "resumable", resources)
    return info


def check_identity(stage: Stage) -> None:
    """Law 2: the key changes with the version, every field and the content of every input, and with nothing else."""
    key = stage.key()
    _demand(stage.model_copy(deep=True).key() == key, stage, "two equal stages have different keys")
    _demand(_bumped(stage).key() != key, stage, "its key forgets the version")
    _demand(_renamed(stage).key() != key, stage, "its key forgets the name")
    named = stage.identity().get("fields", {})
    for name in type(stage).model_fields:
        value = getattr(stage, name)
        _demand(name in named, stage, f"its key forgets the field {name}, perhaps only while it has its default")
        changed = stage.model_copy(update={name: _other(value)})
        _demand(changed.key() != key, stage, f"its key forgets the field {name}")
        for place, moved, swapped in _input_changes(value):
            _demand(
                stage.model_copy(update={name: swapped}).key() != key, stage, f"its key forgets the input {name}{place}"
            )
            _demand(
                stage.model_copy(update={name: moved}).key() == key,
                stage,
                f"its key depends on where the input {name}{place} lies",
            )


def check_idempotent(stage: Stage, folder: Path, resources: Resources | None = None) -> ArtefactInfo:
    """Two undisturbed runs give one digest, and a run on a finished result does nothing."""
    first, again = _made(stage, folder / "first", resources), _made(stage, folder / "second", resources)
    _demand(first.digest == again.digest, stage, "two runs of it give different digests")
    _demand(_made(stage, folder / "first", resources).made == first.made, stage, "it is made twice in one store")
    return first


def check_conserving(
    stage: Stage, folder: Path, *, rows_in: int, count_kept: Callable[[Path], int] | None = None
) -> None:
    """Law 1: `rows_in` rows go in, all are accounted for, and `count_kept(artefact)` rows are really there."""
    info = _made(stage, folder, None)
    if info.rows is None:
        raise ContractBroken(f"{stage.name}: it handles rows and never calls ctx.conserve()")
    _demand(info.rows.total == rows_in, stage, f"{rows_in} rows went in, it accounts for {info.rows.total}")
    lost = sum(info.rows.rejected.values())
    _demand(info.rows.kept + lost == rows_in, stage, f"of {rows_in} rows {info.rows.kept} are kept and {lost} rejected")
    if count_kept is not None:
        found = count_kept(Store(folder).folder(info.key))
        _demand(found == info.rows.kept, stage, f"it says that {info.rows.kept} rows are kept, {found} are there")


def check_resumable(
    stage: Stage, folder: Path, resources: Resources | None = None, *, faults: list[str] | None = None
) -> None:
    """Laws 3 and 4: killed at any write point it leaves nothing half-done in sight; run again it gives the same digest.

    `faults` picks the points to die at (see `orature.testing.faults`; default: every single one).
    """
    whole = _made(stage, folder / "whole", resources)
    counts = points_passed(lambda: _made(stage, folder / "counted", resources))
    for number, spec in enumerate(every_fault(counts) if faults is None else faults):
        place = folder / str(number)
        in_child(lambda place=place: _made(stage, place, resources), fault=spec)  # type: ignore[misc]
        store = Store(place)
        _demand(not store.check(), stage, f"killed at {spec} it leaves a broken result in sight: {store.check()}")
        resumed = _made(stage, place, resources)
        _demand(resumed.digest == whole.digest, stage, f"killed at {spec} and resumed it gives another digest")
        _demand(resumed.files == whole.files, stage, f"killed at {spec} and resumed it leaves other files")


def check_interruptible(stage: Stage, folder: Path, spec: str = "stage-ran:1:interrupt") -> None:
    """Stopped in an orderly way (Ctrl-C) inside this process and run again, it gives the same digest."""
    whole = _made(stage, folder / "whole", None)
    stopped = False
    with fault(spec):
        try:
            _made(stage, folder / "stopped", None)
        except Interrupted:
            stopped = True
    _demand(stopped, stage, f"it never passes {spec}")
    _demand(_made(stage, folder / "stopped", None).digest == whole.digest, stage, "resumed it gives another digest")


def _made(stage: Stage, root: Path, resources: Resources | None) -> ArtefactInfo:
    store = Store(root)
    quiet = (resources or Resources()).model_copy(update={"progress": False})
    return store.info(Run(store, "contract", "stage contract").do(stage, on=quiet).key)


def _demand(holds: bool, stage: Stage, sentence: str) -> None:
    if not holds:
        raise ContractBroken(f"{stage.name}: {sentence}")


def _variant(stage: Stage, changes: dict[str, Any]) -> Stage:
    kind: type[Stage] = type(type(stage).__name__, (type(stage),), {"__module__": type(stage).__module__, **changes})
    return kind.model_construct(**{name: getattr(stage, name) for name in type(stage).model_fields})


def _bumped(stage: Stage) -> Stage:
    return _variant(stage, {"version": stage.version + 1})


def _renamed(stage: Stage) -> Stage:
    return _variant(stage, {"name": stage.name + "-other"})


def _other(value: Any) -> Any:
    """Some value that is not `value` (models are copied without validation, so its type does not matter)."""
    if isinstance(value, Ref):
        return _with_other_content(value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value!r} changed"


def _with_other_content(ref: Ref) -> Ref:
    return ref.model_copy(update={"digest": digest_bytes(ref.digest.encode())})


def _input_changes(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """For each input in `value`, also nested ones: its place, `value` with it moved, `value` with other content."""
    if isinstance(value, Ref):
        yield "", value.model_copy(update={"path": value.path + "/elsewhere"}), _with_other_content(value)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            for place, moved, swapped in _input_changes(item):
                yield f"[{index}]{place}", _put(value, index, moved), _put(value, index, swapped)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            for place, moved, swapped in _input_changes(getattr(value, name)):
                yield (
                    f".{name}{place}",
                    value.model_copy(update={name: moved}),
                    value.model_copy(update={name: swapped}),
                )
    elif isinstance(value, dict):
        for name, item in value.items():
            for place, moved, swapped in _input_changes(item):
                yield f"[{name!r}]{place}", value | {name: moved}, value | {name: swapped}


def _put(items: list[Any] | tuple[Any, ...], index: int, item: Any) -> Any:
    return type(items)([*items[:index], item, *items[index + 1 :]])
