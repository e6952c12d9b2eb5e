"""The store: finding, lineage, publishing, garbage collection."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orature.core.errors import BadInput, ConfigError, StoreError
from orature.flow import Ref, Resources, Run, Store, open_store
from orature.testing.toy_stages import Numbers, Squares

QUIET = Resources(progress=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / ".orature")


def make(store: Store, count: int = 12) -> tuple[Ref, Ref]:
    run = Run(store, "toy", "orature toy")
    rows = run.do(Numbers(count=count), on=QUIET)
    return rows, run.do(Squares(rows=rows), on=QUIET)


def age(store: Store, days: float) -> None:
    """Make all runs so far look older."""
    for path in (store.root / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        record["updated"] = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        path.write_text(json.dumps(record))


def test_open_store_knows_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORATURE_STORE", raising=False)
    assert open_store().root == tmp_path / ".orature"
    assert open_store(beside=tmp_path / "out").root == tmp_path / "out" / ".orature"
    monkeypatch.setenv("ORATURE_STORE", str(tmp_path / "elsewhere"))
    assert open_store().root == open_store(beside=tmp_path / "out").root == tmp_path / "elsewhere"
    assert open_store(tmp_path / "named", beside=tmp_path / "out").root == tmp_path / "named"
    (tmp_path / "work" / ".orature").mkdir(parents=True)
    assert open_store(tmp_path / "work").root == tmp_path / "work" / ".orature"
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not a folder"):
        open_store(tmp_path / "file")
    with pytest.raises(ConfigError, match="there is no store"):
        open_store(tmp_path / "nothing", must_exist=True)
    assert not (tmp_path / "nothing").exists()


def test_find_by_key_digest_and_published_folder(store: Store, tmp_path: Path) -> None:
    rows, squares = make(store)
    assert store.find(rows.key[:6]) == rows
    assert store.find(squares.digest[:9]) == squares
    store.publish(squares, tmp_path / "out")
    assert store.find(str(tmp_path / "out")) == squares


def test_find_says_why_not(store: Store) -> None:
    rows, _ = make(store)
    with pytest.raises(BadInput, match="at least 6"):
        store.find(rows.key[:5])
    with pytest.raises(BadInput, match="no artefact begins with"):
        store.find("0" * 64)
    twin = store.artefacts / (rows.key[:8] + "0" * 56)
    twin.mkdir()
    info = store.info(rows.key).model_copy(update={"key": twin.name, "stage": "twin"})
    (twin / "artefact.json").write_text(json.dumps(info.sealed()))
    with pytest.raises(StoreError, match="is damaged"):  # its identity does not give that key
        store.find(rows.key[:8])


def test_two_artefacts_of_one_content_are_ambiguous_by_digest(store: Store) -> None:
    run = Run(store, "toy", "toy")
    made = [run.do(SameContent(label=label), on=QUIET) for label in ("one", "two")]
    assert made[0].digest == made[1].digest
    with pytest.raises(BadInput, match="is ambiguous") as error:
        store.find(made[0].digest[:8])
    assert all(ref.key[:12] in str(error.value) for ref in made)


class SameContent(Numbers):
    name = "same"
    label: str


def test_lineage_lists_inputs_first(store: Store) -> None:
    rows, squares = make(store)
    assert [info.ref() for info in store.lineage(squares)] == [rows, squares]
    info = store.info(squares.key)
    assert info.inputs == (rows,) and info.rows is not None and info.rows.kept == 11
    assert info.made.command == "orature toy" and "python" in info.made.versions


def test_times_do_not_enter_the_digest(tmp_path: Path) -> None:
    one, other = (make(Store(tmp_path / name))[1] for name in "ab")
    assert one == other
    assert Store(tmp_path / "a").info(one.key).notes != Store(tmp_path / "b").info(one.key).notes


def test_publish_links_replaces_and_refuses(store: Store, tmp_path: Path) -> None:
    rows, squares = make(store)
    out = tmp_path / "deep" / "out"
    store.publish(rows, out)
    assert (out / "odd" / "odd.txt").read_text().startswith("1\n")
    assert (out / "even.txt").samefile(store.folder(rows.key) / "even.txt")
    store.publish(squares, out)
    assert not (out / "odd").exists() and (out / "squares.json").exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match=r"files that are not Orature's: thesis.txt"):
        store.publish(rows, out)
    assert (out / "thesis.txt").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="not Orature's"):
        store.publish(rows, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".part-1-0-empty").mkdir()  # what a killed publication left
    store.publish(rows, tmp_path / "empty")
    assert not list(tmp_path.glob(".part-*"))


def test_publish_copies_where_it_cannot_link(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = make(store)

    def other_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", other_disk)
    store.publish(rows, tmp_path / "out")
    assert not (tmp_path / "out" / "even.txt").samefile(store.folder(rows.key) / "even.txt")
    assert store.find(str(tmp_path / "out")) == rows


def test_gc_keeps_what_is_young_and_its_ancestors(store: Store) -> None:
    make(store, count=10)
    age(store, days=40)
    rows, squares = make(store)
    removed = store.gc(keep_days=30, dry_run=True)
    assert sorted(item.stage for item in removed) == ["numbers", "squares"]
    assert all(item.bytes > 0 for item in removed)
    assert len(store.keys()) == 4
    assert store.gc(keep_days=30, dry_run=False) == removed
    assert store.keys() == sorted([rows.key, squares.key])
    assert not any(store.trash.iterdir())


def test_gc_keeps_an_ancestor_that_only_an_old_run_used(store: Store) -> None:
    rows, squares = make(store)
    age(store, days=40)
    Run(store, "toy", "again").do(Squares(rows=rows), on=QUIET)
    assert store.gc(keep_days=30, dry_run=False) == []
    assert store.keys() == sorted([rows.key, squares.key])


def test_gc_drops_unfinished_work_of_old_runs_only(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        Run(store, "toy", "toy").do(Squares(rows=make(store)[0], refuse=0), on=QUIET)
    assert store.gc(keep_days=30, dry_run=False) == []
    age(store, days=40)
    removed = store.gc(keep_days=30, dry_run=False)
    assert [item.what for item in removed] == ["artefact", "artefact", "unfinished work"]
    assert not any((store.root / "work").iterdir())


def test_gc_leaves_a_locked_key_alone(store: Store) -> None:
    rows, squares = make(store)
    with store.lock(rows.key):
        removed = store.gc(keep_days=0, dry_run=False)
    assert [item.key for item in removed] == [squares.key]
    assert store.keys() == [rows.key]
