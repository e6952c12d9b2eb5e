"""Runs: cached work, records, what a stage may do, law 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import RejectLimitExceeded, RowsVanished, StoreError
from orature.core.files import write_beside
from orature.flow import Ref, Resources, Run, Stage, StageContext, Store
from orature.flow.run import read_runs
from orature.flow.shards import ShardMap
from orature.testing.toy_stages import Numbers, Squares

QUIET = Resources(progress=False)


class Acting(Stage):
    """Does whatever the test says; `acts` is looked up by name so that the stage stays a plain config."""

    name = "acting"
    act: str

    def run(self, ctx: StageContext) -> None:
        ACTS[self.act](ctx)


ACTS: dict[str, Any] = {
    "vanish": lambda ctx: ctx.conserve(total=10, kept=7, rejected={"silent": 2}),
    "negative": lambda ctx: ctx.conserve(total=1, kept=2, rejected={"silent": -1}),
    "reject": lambda ctx: ctx.conserve(total=10, kept=4, rejected={"a": 1, "silent": 5}, reject_limit=0.5),
    "at-limit": lambda ctx: ctx.conserve(total=10, kept=5, rejected={"silent": 5}, reject_limit=0.5),
    "escape": lambda ctx: ctx.writing("../x"),
    "absolute": lambda ctx: ctx.writing("/x"),
    "describe": lambda ctx: ctx.writing("artefact.json"),
    "stranger": lambda ctx: ctx.path_of(Ref(key="external", stage="corpus", digest="d", path="/")),
    "declare": lambda ctx: ctx.declare_digest("my-digest"),
    "link": lambda ctx: (_fill(ctx, "a"), (ctx.out / "a" / "l").symlink_to("/etc/passwd")),
}


def _fill(ctx: StageContext, name: str) -> None:
    with ctx.writing(name) as part:
        part.mkdir()
        (part / "x").write_text("x")


def act(tmp_path: Path, name: str) -> tuple[Store, Ref]:
    store = Store(tmp_path)
    return store, Run(store, "toy", "toy").do(Acting(act=name), on=QUIET)


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("vanish", RowsVanished, "10 rows came in, 7 were kept and 2 rejected: 1 are unaccounted for"),
        ("negative", RowsVanished, "unaccounted"),
        ("reject", RejectLimitExceeded, r"6 of 10 rows were rejected \(60.0 %, allowed are 50.0 %\): 5 silent, 1 a"),
        ("escape", ValueError, "cannot be the name"),
        ("absolute", ValueError, "cannot be the name"),
        ("describe", ValueError, "cannot be the name"),
        ("stranger", StoreError, "its key would forget it"),
        ("link", StoreError, "symbolic link"),
    ],
)
def test_what_a_stage_may_not_do(tmp_path: Path, name: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        act(tmp_path, name)
    assert Store(tmp_path).keys() == []
    assert [run.state() for run in read_runs(Store(tmp_path))] == ["failed"]


def test_rows_at_the_limit_and_declared_digests(tmp_path: Path) -> None:
    store, ref = act(tmp_path, "at-limit")
    rows = store.info(ref.key).rows
    assert rows is not None and rows.rejected == {"silent": 5}
    assert act(tmp_path, "declare")[1].digest == "my-digest"


def test_runs_are_told_in_the_order_in_which_they_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for index in range(9, 0, -1):  # most of them begin in the same second, and their names count down
        monkeypatch.setattr("orature.flow.run.secrets.token_hex", lambda _, name=f"{index:04d}": name)
        Run(store, f"recipe {index}", "toy").do(Numbers(), on=QUIET)
    (tmp_path / "runs" / "0.json").write_text("{}")
    assert [run.recipe for run in read_runs(store)] == [f"recipe {index}" for index in range(9, 0, -1)]


def test_finished_work_is_not_done_again_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    first = Run(store, "toy", "toy")
    assert first.planned(Numbers()) == "todo"
    assert not store.root.joinpath("runs").exists()
    ref = first.do(Numbers(), on=QUIET)
    made = store.info(ref.key).made
    again = Run(store, "toy", "toy")
    assert again.planned(Numbers()) == "done"
    capsys.readouterr()
    assert again.do(Numbers(), on=Resources(workers=2, device="cuda")) == ref
    assert capsys.readouterr().err == f"numbers: already done (key {ref.key[:12]})\n"
    assert store.info(ref.key).made == made
    assert [[step.state for step in run.steps] for run in read_runs(store)] == [["done"], ["cached"]]


def test_artefacts_are_read_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ref = Run(store, "toy", "toy").do(Numbers(), on=QUIET)
    assert (store.path_of(ref) / "even.txt").stat().st_mode & 0o222 == 0


def test_missing_inputs_say_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    gone = store.external(tmp_path / "gone.tar", "source", "d")
    with pytest.raises(StoreError, match="the input source is not there any more"):
        store.path_of(gone)
    with pytest.raises(StoreError, match="run the whole command again"):
        store.path_of(Ref(key="0" * 64, stage="ingest", digest="d"))


def test_shards_of_other_rows_are_made_again(tmp_path: Path) -> None:
    """Rows in another order or other batches (a defect of a stage, or code changed between) cannot be mixed up."""

    def shards(batches: Sequence[Sequence[int]]) -> tuple[list[dict[str, Any]], int]:
        shard_map = ShardMap(tmp_path / "out", tmp_path / "marks", keep)
        return shard_map.run(batches), shard_map.remade

    assert shards([[1, 2], [3, 4], [5]])[0] == [{"rows": [1, 2]}, {"rows": [3, 4]}, {"rows": [5]}]
    assert shards([[1, 2], [4, 3]]) == ([{"rows": [1, 2]}, {"rows": [4, 3]}], 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000", "00001"]


def keep(batch: Sequence[int], folder: Path) -> dict[str, Any]:
    return {"rows": list(batch)}


def test_batches_are_read_lazily_and_a_bounded_number_is_in_flight(tmp_path: Path) -> None:
    ahead = 0

    def batches() -> Any:
        nonlocal ahead
        for index in range(40):
            finished = len(list((tmp_path / "out").glob("[0-9]*")))
            ahead = max(ahead, index - finished)
            yield [index]

    results = ShardMap(tmp_path / "out", tmp_path / "marks", keep, workers=2).run(batches())
    assert [result["rows"] for result in results] == [[index] for index in range(40)]
    assert ahead <= 4


def test_an_error_in_a_worker_comes_back_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = Run(store, "toy", "toy").do(Negative(), on=QUIET)
    with pytest.raises(StoreError, match="-1 has no place here"):
        Run(store, "toy", "toy").do(Squares(rows=rows), on=Resources(workers=2, progress=False))


class Negative(Stage):
    name = "negative"

    def run(self, ctx: StageContext) -> None:
        for name, text in (("even.txt", "-1\n"), ("odd/odd.txt", "3\n")):
            with ctx.writing(name) as part:
                part.write_text(text)


def test_everything_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr("orature.core.files.fsync_path", lambda path: flushed.append(path.name))
    at_rename: list[str] = []
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (at_rename.extend(flushed), rename(self, to))[1])
    with write_beside(tmp_path / "model") as part:
        part.mkdir()
        for name in "abcd":
            (part / name).write_text(name)
    assert sorted(at_rename) == sorted(["a", "b", "c", "d", part.name])
    assert flushed[-1] == tmp_path.name
    with pytest.raises(StoreError, match="nothing was written"), write_beside(tmp_path / "empty"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_artefact_appears_with_one_rename(tmp_path: Path) -> None:
    """The folder in sight is the very folder that was worked in: it was never copied there piece by piece."""
    made_in: list[int] = []
    ACTS["inode"] = lambda ctx: made_in.append(ctx.out.stat().st_ino)
    store, ref = act(tmp_path, "inode")
    assert [store.folder(ref.key).stat().st_ino] == made_in


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="broken"), write_beside(path) as part:
        part.write_text("ne")
        raise OSError("broken")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]
