"""The local executor: results, errors and deaths of workers; nothing is lost and nobody is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from orature.core.errors import AudioError, CorpusError, WorkFailed
from orature.flow.executor import run_tasks


def double(number: int) -> int:
    return 2 * number


def slow(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number


def pid(number: int) -> int:
    return os.getpid()


def large(number: int) -> bytes:
    return bytes(3_000_000 + number)


def dying(number: int, *, folder: Path, times: int) -> int:
    """Kills its own process the first `times` times that it is given the number 3."""
    if number == 3:
        tries = len(list(folder.iterdir()))
        (folder / f"{tries}-{os.getpid()}").touch()
        if tries < times:
            os.kill(os.getpid(), signal.SIGKILL)
    return number


def failing(number: int, *, kind: str) -> int:
    if number != 5:
        return number
    if kind == "audio":
        raise AudioError("it is silent", where="5.wav", reason="audio-silent")
    if kind == "local":
        raise _local()("no such thing")
    if kind == "stubborn":
        raise Stubborn(1, because="two arguments")
    raise ValueError("five")


class Stubborn(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, number: int, *, because: str) -> None:
        super().__init__(f"{number} {because}")
        self.because = because


def _local() -> type[Exception]:
    class Local(Exception):
        pass

    return Local


def children() -> set[int | None]:
    return {child.pid for child in multiprocessing.active_children() if child.name == "orature-worker"}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_task_gives_its_result(workers: int) -> None:
    assert dict(run_tasks(((n, n) for n in range(20)), slow, workers=workers)) == {n: n for n in range(20)}
    assert not children()


def test_more_workers_than_tasks_and_none_at_all() -> None:
    assert dict(run_tasks([(0, 4)], double, workers=3)) == {0: 8}
    assert not list(run_tasks([], double, workers=2))


def test_a_worker_is_used_again_and_carries_large_results() -> None:
    assert 1 <= len({value for _, value in run_tasks(((n, n) for n in range(12)), pid, workers=2)}) <= 2
    assert {n: len(data) for n, data in run_tasks(((n, n) for n in range(5)), large, workers=2)} == {
        n: 3_000_000 + n for n in range(5)
    }


@pytest.mark.parametrize("times", [1, 2])
def test_a_death_costs_one_task_and_no_other(tmp_path: Path, times: int, capsys: pytest.CaptureFixture[str]) -> None:
    deaths: Counter[int] = Counter()
    work = partial(dying, folder=tmp_path, times=times)
    done = list(run_tasks(((n, n) for n in range(9)), work, workers=2, on_death=lambda index: deaths.update([index])))
    assert sorted(done) == [(n, n) for n in range(9)]
    assert deaths == {3: times} and len(list(tmp_path.iterdir())) == times + 1
    assert capsys.readouterr().err.count("signal 9): a fresh one goes on") == times
    assert not children()


def test_a_task_that_kills_three_workers_is_given_up(tmp_path: Path) -> None:
    kept = []
    with pytest.raises(WorkFailed, match=r"died 3 times at the same piece of work.*signal 9") as error:
        for index, _ in run_tasks(((n, n) for n in range(9)), partial(dying, folder=tmp_path, times=9), workers=2):
            kept.append(index)
    assert "fewer workers" in str(error.value) and {0, 1, 2} <= set(kept)
    assert not children()


def test_errors_cross_over_whole() -> None:
    def first_error(kind: str) -> Exception:
        with pytest.raises(Exception) as error:
            list(run_tasks(((n, n) for n in range(9)), partial(failing, kind=kind), workers=2))
        assert not children()
        return error.value

    audio = first_error("audio")
    assert isinstance(audio, AudioError) and (audio.reason, audio.where) == ("audio-silent", "5.wav")
    plain = first_error("plain")
    assert type(plain) is ValueError and any("in failing" in note for note in plain.__notes__)
    for kind, name in (("local", "Local: no such thing"), ("stubborn", "Stubborn: 1 two arguments")):
        told = first_error(kind)
        assert isinstance(told, WorkFailed) and name in str(told) and "failing" in told.where


def test_results_come_before_the_error_of_another_worker() -> None:
    found = []
    with pytest.raises(ValueError, match="five"):
        for index, _ in run_tasks(((n, n) for n in range(9)), partial(failing, kind="plain"), workers=2):
            found.append(index)
    assert len(found) >= 4, "only what the other worker had at hand may be missing"


def test_tasks_are_read_ahead_by_a_bounded_number() -> None:
    read = 0

    def tasks() -> Iterator[tuple[int, int]]:
        nonlocal read
        for number in range(60):
            read += 1
            yield number, number

    for done, _ in enumerate(run_tasks(tasks(), double, workers=2)):
        assert read <= done + 5


def test_an_error_in_the_tasks_and_closing_end_the_workers() -> None:
    def broken() -> Iterator[tuple[int, int]]:
        yield 0, 0
        raise CorpusError("the rows are damaged")

    with pytest.raises(CorpusError, match="damaged"):
        list(run_tasks(broken(), slow, workers=2))
    assert not children()
    stream = run_tasks(((n, n) for n in range(99)), slow, workers=2)
    next(stream)
    assert children()
    stream.close()  # type: ignore[attr-defined]
    assert not children()
