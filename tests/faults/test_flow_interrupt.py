"""Ctrl-C and SIGTERM: exit 130, a sentence, no worker left behind, finished shards kept, the same digest after."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from conftest import Start, count, finish, group_is_gone, wait_until

from orature.core.errors import Interrupted
from orature.flow import Resources, Run, Store
from orature.flow.run import read_runs
from orature.testing.faults import fault
from orature.testing.toy_stages import Numbers


def shards_in_place(store: Path) -> int:
    """How many whole shards of an unfinished artefact would survive now."""
    return sum(path.parent.name.isdigit() for path in store.glob("work/*/out/*/*/shard.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_stopped_and_resumed(start: Start, tallies: Path, tmp_path: Path, number: int, workers: int) -> None:
    _, whole, _ = finish(start(tmp_path / "whole", "--pause", 0.1))
    running = start(tmp_path / "s", "--pause", 0.1, "--workers", workers)
    wait_until(lambda: shards_in_place(tmp_path / "s") >= 2)
    os.killpg(running.pid, number) if number == signal.SIGINT else os.kill(running.pid, number)
    code, _, err = finish(running)
    assert code == 130
    assert "squares was stopped" in err and "run the same command again" in err
    assert "Traceback" not in err
    wait_until(lambda: group_is_gone(running.pid), limit_s=5)
    assert [record.state() for record in read_runs(Store(tmp_path / "s"))] == ["interrupted"]
    before, kept = count(tallies, "shard"), shards_in_place(tmp_path / "s")
    assert kept >= 2
    code, resumed, err = finish(start(tmp_path / "s", "--pause", 0.1))
    assert (code, resumed) == (0, whole)
    assert "squares: going on" in err
    assert count(tallies, "shard") - before == 8 - kept, "finished shards were made again"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_does_not_wait_for_the_work_at_hand(start: Start, tallies: Path, tmp_path: Path, workers: int) -> None:
    running = start(tmp_path / "s", "--pause", 60, "--workers", workers)
    wait_until(lambda: count(tallies, "shard") >= workers)
    began = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    assert finish(running)[0] == 130
    assert time.monotonic() - began < 10
    wait_until(lambda: group_is_gone(running.pid), limit_s=5)


def test_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with fault("stage-ran:1:term"), pytest.raises(Interrupted):
        Run(Store(tmp_path), "toy", "test").do(Numbers(), on=Resources(progress=False))
    assert signal.getsignal(signal.SIGTERM) is before
