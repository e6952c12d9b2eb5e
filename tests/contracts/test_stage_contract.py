"""The stage contract passes for good stages and catches each planted defect by name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import StoreError
from orature.flow import Ref, Resources, Run, StageContext, Store
from orature.testing.stage_contract import (
    ContractBroken,
    check_conserving,
    check_idempotent,
    check_identity,
    check_interruptible,
    check_resumable,
    check_stage,
)
from orature.testing.toy_stages import Numbers, Squares, count_squares

DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing costs milliseconds a file and makes no difference to a killed process."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def numbers(tmp_path: Path) -> Ref:
    """Twelve numbers as an external input: every store of the contract can read it."""
    store = Store(tmp_path / "source")
    ref = Run(store, "test", "test").do(Numbers())
    return store.external(store.path_of(ref), "numbers", ref.digest)


def test_good_stages_pass(numbers: Ref, tmp_path: Path) -> None:
    check_stage(Numbers(), tmp_path / "numbers", rows_in=12)
    check_stage(Squares(rows=numbers), tmp_path / "squares", rows_in=12, count_kept=count_squares)
    check_interruptible(Squares(rows=numbers), tmp_path / "stopped", "shard-renamed:2:interrupt")


def test_resumable_with_two_workers(numbers: Ref, tmp_path: Path) -> None:
    faults = ["shard-marked:2:kill", "committed:1:kill"]
    check_resumable(Squares(rows=numbers), tmp_path, Resources(workers=2), faults=faults)


class ForgetsInputs(Squares):
    def identity(self) -> dict[str, Any]:
        whole = super().identity()
        return whole | {"fields": {k: v for k, v in whole["fields"].items() if k != "rows"}}


class ForgetsVersion(Squares):
    def identity(self) -> dict[str, Any]:
        return super().identity() | {"version": 1}


class ForgetsDefaults(Squares):
    def identity(self) -> dict[str, Any]:
        fields = self.model_dump(mode="json", exclude_defaults=True, exclude={"rows"})
        return {"name": self.name, "version": self.version, "fields": fields | {"rows": {"ref": self.rows.digest}}}


class KnowsThePlace(Squares):
    def identity(self) -> dict[str, Any]:
        return super().identity() | {"place": self.rows.path}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (ForgetsInputs, "forgets the field rows"),
        (ForgetsVersion, "forgets the version"),
        (ForgetsDefaults, "forgets the field shard_rows, perhaps only while it has its default"),
        (KnowsThePlace, "depends on where the input rows lies"),
    ],
)
def test_a_defective_key_is_caught(kind: type[Squares], sentence: str) -> None:
    with pytest.raises(ContractBroken, match=sentence):
        check_identity(kind(rows=Ref(key="external", stage="numbers", digest=DIGEST)))


def test_a_stage_with_nested_inputs_that_forgets_one_is_caught() -> None:
    class Mix(Squares):
        more: tuple[Ref, ...] = ()

        def identity(self) -> dict[str, Any]:
            whole = super().identity()
            return whole | {"fields": whole["fields"] | {"more": len(self.more)}}

    ref = Ref(key="external", stage="numbers", digest=DIGEST)
    with pytest.raises(ContractBroken, match=r"forgets the input more\[0\]"):
        check_identity(Mix(rows=ref, more=(ref, ref)))


def test_a_key_that_forgets_defaults_goes_stale_and_the_whole_key_does_not() -> None:
    """Silence 3 of the field: a changed default must change the key."""
    ref = Ref(key="external", stage="numbers", digest=DIGEST)

    class NewDefault(ForgetsDefaults):
        refuse: int = 5

    class NewDefaultWhole(Squares):
        refuse: int = 5

    assert ForgetsDefaults(rows=ref).key() == NewDefault(rows=ref).key()
    assert Squares(rows=ref).key() != NewDefaultWhole(rows=ref).key()


class DropsRow(Squares):
    """Loses a row on the way and accounts for what it has, not for what came in."""

    def batches(self, numbers: Any) -> Any:
        yield from super().batches(numbers[1:])

    def run(self, ctx: StageContext) -> None:
        results = ctx.map_shards(self.batches(range(12)), _keep)
        kept = sum(result["rows"] for result in results)
        ctx.conserve(total=kept, kept=kept, rejected={})


def _keep(batch: Any, folder: Path) -> dict[str, Any]:
    return {"rows": len(batch)}


class WritesOneLess(Squares):
    """Accounts for all rows but writes one less."""

    def run(self, ctx: StageContext) -> None:
        with ctx.writing("squares.json") as part:
            part.write_text(json.dumps({"squares": [n * n for n in range(11)]}))
        ctx.conserve(total=12, kept=12, rejected={})


class SaysNothing(Squares):
    def run(self, ctx: StageContext) -> None:
        with ctx.writing("squares.json") as part:
            part.write_text("[]")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (DropsRow, "12 rows went in, it accounts for 11"),
        (WritesOneLess, "12 rows are kept, 11 are there"),
        (SaysNothing, "never calls ctx.conserve"),
    ],
)
def test_a_dropped_row_is_caught(kind: type[Squares], sentence: str, numbers: Ref, tmp_path: Path) -> None:
    with pytest.raises(ContractBroken, match=sentence):
        check_conserving(kind(rows=numbers), tmp_path / "s", rows_in=12, count_kept=count_squares)


class HoldsTheTime(Numbers):
    def run(self, ctx: StageContext) -> None:
        with ctx.writing("clock.txt") as part:
            part.write_text(str(ctx.logs))


class CountsItsTries(Squares):
    """Its result depends on how often it was begun: resumed is not uninterrupted."""

    def run(self, ctx: StageContext) -> None:
        tries = ctx.state / "tries"
        tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
        with ctx.writing("a.txt") as part:
            part.write_text(tries.read_text())


class WritesPast(Numbers):
    """Half of its file is in place when it dies: a half-written artefact."""

    def run(self, ctx: StageContext) -> None:
        (ctx.out / "rows.txt").write_text("half")
        super().run(ctx)


def test_a_result_that_depends_on_the_place_is_caught(tmp_path: Path) -> None:
    with pytest.raises(ContractBroken, match="two runs of it give different digests"):
        check_idempotent(HoldsTheTime(), tmp_path)


def test_a_result_that_depends_on_the_crash_is_caught(numbers: Ref, tmp_path: Path) -> None:
    with pytest.raises(ContractBroken, match="resumed it gives another digest"):
        check_resumable(CountsItsTries(rows=numbers), tmp_path, faults=["part-synced:2:kill", "stage-ran:1:kill"])


def test_a_file_written_in_place_is_caught(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"wrote rows.txt past ctx.writing"):
        check_idempotent(WritesPast(), tmp_path)
