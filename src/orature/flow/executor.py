"""The local executor: tasks in this process or in spawned workers, a bounded number in flight, results as they finish.

Example::

    for index, result in run_tasks(enumerate(batches), work, workers=2):
        ...
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from orature.core.errors import WorkFailed
from orature.core.processes import end_children, follow_parent, interrupts_held

T = TypeVar("T")
R = TypeVar("R")


def run_tasks(tasks: Iterable[tuple[int, T]], work: Callable[[T], R], *, workers: int = 1) -> Iterator[tuple[int, R]]:
    """Yield (index, work(task)) as tasks finish, in any order. `tasks` is read lazily, 2 x workers ahead.

    With more than one worker `work` and the tasks must be picklable. The first error, Ctrl-C, or closing the iterator
    ends the workers at once. WorkFailed when a worker process dies.
    """
    if workers == 1:
        for index, task in tasks:
            yield index, work(task)
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=follow_parent)
    pending: dict[Future[R], int] = {}
    finished = False
    try:
        for index, task in tasks:
            with interrupts_held():
                pending[pool.submit(work, task)] = index
            if len(pending) >= 2 * workers:
                yield from _completed(pending)
        while pending:
            yield from _completed(pending)
        finished = True
    except BrokenProcessPool as error:
        raise WorkFailed(
            "a worker process died, most often because memory ran out",
            next_step="run the same command again with fewer workers: what is finished is kept",
        ) from error
    finally:
        if not finished:
            end_children(before)
        pool.shutdown(wait=True, cancel_futures=True)


def _completed(pending: dict[Future[R], int]) -> Iterator[tuple[int, R]]:
    done = wait(pending, return_when=FIRST_COMPLETED).done
    for future in sorted(done, key=lambda future: future.exception() is not None):
        yield pending.pop(future), future.result()
