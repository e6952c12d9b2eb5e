"""kill -9 at every write point and at any moment: nothing half-done in sight, whole shards kept, same digest after."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from conftest import Start, count, finish, group_is_gone, wait_until

from orature.core.faults import WRITE_POINTS
from orature.flow import Ref, Resources, Run, Store
from orature.testing.faults import every_fault, in_child, points_passed
from orature.testing.toy_stages import TALLY, Numbers, Squares

QUIET = Resources(progress=False)


def make(root: Path) -> Ref:
    run = Run(Store(root), "toy", "test")
    return run.do(Squares(rows=run.do(Numbers(), on=QUIET)), on=QUIET)


@pytest.mark.usefixtures("no_fsync")
def test_every_write_point_is_passed(tmp_path: Path) -> None:
    """A point that no run passes would be tested by nobody."""
    assert set(points_passed(lambda: make(tmp_path / "s"))) == set(WRITE_POINTS)


@pytest.mark.usefixtures("no_fsync")
def test_killed_at_every_passage_of_every_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(tmp_path / "whole")
    points = every_fault(points_passed(lambda: make(tmp_path / "counted")))
    for number, spec in enumerate(points):
        root, tally = tmp_path / f"s{number}", tmp_path / f"t{number}"
        tally.mkdir()
        monkeypatch.setenv(TALLY, str(tally))
        assert in_child(lambda root=root: make(root), fault=spec) == -signal.SIGKILL, spec
        store = Store(root)
        assert store.check() == {}, spec
        renamed = list((root / "work").glob("*/out/shards/0*"))
        before = count(tally, "shard")
        assert make(root) == whole, spec
        if not store.get(whole.key) or renamed:
            assert count(tally, "shard") - before == 3 - len(renamed), f"{spec}: a whole shard was made again"
        assert store.check() == {}, spec
        assert not any((root / "work").iterdir()) or spec.startswith("committed"), spec
        assert not list((root / "artefacts").rglob(".part-*")), spec


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_the_middle_of_the_work(start: Start, tallies: Path, tmp_path: Path, workers: int) -> None:
    code, whole, _ = finish(start(tmp_path / "whole", "--pause", 0.1))
    assert code == 0
    done = count(tallies, "shard")
    victim = start(tmp_path / "s", "--pause", 0.1, "--workers", workers)
    wait_until(lambda: count(tallies, "shard") >= done + 4)
    os.kill(victim.pid, signal.SIGKILL)
    assert finish(victim)[0] == -signal.SIGKILL
    wait_until(lambda: group_is_gone(victim.pid), limit_s=10)
    before = count(tallies, "shard")
    code, resumed, _ = finish(start(tmp_path / "s", "--pause", 0.1, "--workers", workers))
    assert (code, resumed) == (0, whole)
    assert count(tallies, "shard") - before < 8, "no whole shard of the first try was kept"


def test_a_killed_worker_loses_its_own_shard_only(start: Start, tallies: Path, tmp_path: Path) -> None:
    """Each fresh worker dies at its second shard: the run goes on to the same digest, one shard redone a death."""
    code, whole, _ = finish(start(tmp_path / "whole"))
    done = count(tallies, "shard")
    code, survived, err = finish(start(tmp_path / "s", "--workers", 2, fault="shard-worked:2:kill"))
    assert (code, survived) == (0, whole)
    deaths = err.count("a fresh one goes on")
    assert deaths >= 3 and "Traceback" not in err
    assert count(tallies, "shard") - done == done + deaths
    assert Store(tmp_path / "s").check() == {} and not list((tmp_path / "s" / "artefacts").rglob(".part-*"))


def test_a_shard_that_lies_in_its_place_is_not_made_again(start: Start, tallies: Path, tmp_path: Path) -> None:
    """Each fresh worker dies when it has put its second shard in place and not yet said so."""
    code, whole, _ = finish(start(tmp_path / "whole"))
    done = count(tallies, "shard")
    code, survived, err = finish(start(tmp_path / "s", "--workers", 2, fault="shard-renamed:2:kill"))
    assert (code, survived) == (0, whole)
    assert err.count("a fresh one goes on") >= 3
    assert count(tallies, "shard") - done == done


def test_a_piece_that_kills_every_worker_is_given_up_and_resumed(start: Start, tmp_path: Path) -> None:
    code, _, err = finish(start(tmp_path / "s", "--workers", 2, fault="shard-worked:1:kill"))
    assert code == 1
    assert "died 3 times at the same piece of work" in err and "signal 9" in err and "fewer workers" in err
    assert "Traceback" not in err
    assert finish(start(tmp_path / "s", "--workers", 2))[0] == 0
    assert Store(tmp_path / "s").check() == {}
