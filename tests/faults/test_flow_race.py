"""Several processes on one store: exactly one computes a key, and gc never takes what somebody is using."""

from __future__ import annotations

from pathlib import Path

from conftest import Start, count, finish, wait_until

from orature.flow import Store


def test_four_processes_race_for_one_key(start: Start, tallies: Path, tmp_path: Path) -> None:
    racers = [start(tmp_path / "s", "--pause", 0.05) for _ in range(4)]
    results = [finish(racer) for racer in racers]
    assert [code for code, _, _ in results] == [0, 0, 0, 0]
    assert len({out for _, out, _ in results}) == 1
    assert count(tallies, "numbers") == 1, "more than one process computed"
    assert count(tallies, "shard") == 8
    waited = [err for _, _, err in results if "waiting for process" in err]
    assert waited and all("already done" in err for err in waited)
    assert Store(tmp_path / "s").check() == {}


def test_a_crashed_holder_frees_the_key(start: Start, tmp_path: Path) -> None:
    dead = start(tmp_path / "s", fault="shard-renamed:3:kill")
    assert finish(dead)[0] == -9
    code, _, err = finish(start(tmp_path / "s"))
    assert code == 0 and "waiting" not in err


def test_gc_beside_a_run_takes_nothing_of_it(start: Start, tallies: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    worker = start(tmp_path / "s", "--pause", 0.1)
    wait_until(lambda: count(tallies, "shard") >= 2)
    assert store.gc(keep_days=0, dry_run=False) == []
    assert finish(worker)[0] == 0
    assert count(tallies, "shard") == 8
    removed = store.gc(keep_days=0, dry_run=False)
    assert sorted(item.stage for item in removed) == ["numbers", "squares"]
    assert store.keys() == []
