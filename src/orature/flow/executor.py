"""Executors: tasks in this process, in worker processes of our own, or on Ray; results as they finish.

Example::

    for index, result in run_tasks(enumerate(batches), work, workers=2):
        ...

A worker process that dies (kill -9, out of memory) loses its own task only: a fresh process is given it again. One task
at a time is with a worker, so that it is always known which one a death belongs to.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from orature.core.errors import OratureError, WorkFailed
from orature.core.processes import follow_parent, interrupts_held
from orature.core.progress import say

T = TypeVar("T")
R = TypeVar("R")

MOST_DEATHS = 3
"""So often may a task be with a worker that dies before it is given up."""
_PATIENCE_S = 5.0
_FEWER = "run the same command again with fewer workers: what is finished is kept"


def run_tasks(
    tasks: Iterable[tuple[int, T]],
    work: Callable[[T], R],
    *,
    workers: int = 1,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    gpus: float = 0,
    on_death: Callable[[int], None] = lambda index: None,
) -> Iterator[tuple[int, R]]:
    """Yield (index, work(task)) as tasks finish, in any order. `tasks` is read lazily, at most 2 x workers ahead.

    With one local worker the work is done in this process. Otherwise `work` and the tasks must be picklable; the first
    error, Ctrl-C, or closing the iterator ends the workers at once. A task whose worker dies is given to another one
    (`on_death` is told its index); WorkFailed when three workers have died of the same task.
    `gpus` is what Ray sets aside for each task.
    """
    if executor == "ray":
        from orature.flow.executor_ray import run_on_ray

        yield from run_on_ray(tasks, work, workers=workers, address=address, gpus=gpus, on_death=on_death)
    elif workers == 1:
        for index, task in tasks:
            yield index, work(task)
    else:
        yield from _Pool(work, workers, on_death).run(tasks)


@dataclass
class Job(Generic[T]):
    """A task on its way, and how many workers have died of it."""

    index: int
    task: T
    deaths: int = 0

    def died(self, how: str) -> None:
        """One more death; WorkFailed at the last one that is allowed."""
        self.deaths += 1
        if self.deaths >= MOST_DEATHS:
            raise WorkFailed(
                f"a worker process died {self.deaths} times at the same piece of work (number {self.index}; {how}), "
                "most often because memory ran out",
                next_step=_FEWER,
            )
        say(f"a worker process died ({how}): a fresh one goes on with its piece of work (number {self.index})")


@dataclass
class _Worker(Generic[T]):
    """A process, our end of its pipe, and the job that it has at hand."""

    process: SpawnProcess
    pipe: Connection
    job: Job[T] | None = None

    def how_it_died(self) -> str:
        self.process.join(_PATIENCE_S)
        code = self.process.exitcode
        if code is None:
            return "its pipe was closed"
        return f"signal {-code}" if code < 0 else f"exit status {code}"


@dataclass
class _Pool(Generic[T, R]):
    work: Callable[[T], R]
    size: int
    on_death: Callable[[int], None]
    idle: list[_Worker[T]] = field(default_factory=list)
    busy: list[_Worker[T]] = field(default_factory=list)
    ready: deque[Job[T]] = field(default_factory=deque)

    def run(self, tasks: Iterable[tuple[int, T]]) -> Iterator[tuple[int, R]]:
        stream = iter(tasks)
        more, finished = True, False
        try:
            while True:
                while more and len(self.ready) < self.size:
                    item = next(stream, None)
                    more = item is not None
                    if item is not None:
                        self.ready.append(Job(*item))
                self._hand_out()
                if not self.busy:
                    break
                done, error = self._take_in()
                self._hand_out()  # nobody waits while the caller puts away what is done
                yield from done
                if error is not None:
                    raise error
            finished = True
        finally:
            self._end(quietly=finished)

    def _hand_out(self) -> None:
        while self.ready and len(self.busy) < self.size:
            worker = self.idle.pop() if self.idle else self._begin()
            worker.job = self.ready.popleft()
            self.busy.append(worker)
            try:
                worker.pipe.send(worker.job.task)
            except OSError:  # it died while it had nothing to do, or as soon as it began
                self._bury(worker)

    def _begin(self) -> _Worker[T]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        with interrupts_held():
            process = context.Process(target=_serve, args=(theirs, self.work), name="orature-worker")
            try:
                process.start()
            finally:
                theirs.close()
        return _Worker(process, ours)

    def _take_in(self) -> tuple[list[tuple[int, R]], BaseException | None]:
        """Waits for at least one worker: what is done, and the first error."""
        signs: dict[Any, _Worker[T]] = {worker.pipe: worker for worker in self.busy}
        signs |= {worker.process.sentinel: worker for worker in self.busy}
        done: list[tuple[int, R]] = []
        error: BaseException | None = None
        heard = {id(signs[sign]): signs[sign] for sign in wait(list(signs))}
        for worker in heard.values():
            try:
                if not worker.pipe.poll():
                    raise EOFError
                good, value = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            job, worker.job = worker.job, None
            self.busy.remove(worker)
            self.idle.append(worker)
            if job is not None and good:
                done.append((job.index, value))
            elif error is None:
                error = value
        return done, error

    def _bury(self, worker: _Worker[T]) -> None:
        """Takes its job back, to be done first by another one."""
        self.busy.remove(worker)
        how, job = worker.how_it_died(), worker.job
        _close(worker)
        if job is not None:
            self.ready.appendleft(job)
            self.on_death(job.index)
            job.died(how)

    def _end(self, *, quietly: bool) -> None:
        """Ends all workers: by the end of their pipe where all is done, else by force."""
        workers = [*self.idle, *self.busy]
        for worker in workers:
            worker.pipe.close()
            if not quietly:
                worker.process.terminate()
        for worker in workers:
            _close(worker)
        self.idle.clear()
        self.busy.clear()


def _close(worker: _Worker[Any]) -> None:
    worker.pipe.close()
    worker.process.join(_PATIENCE_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join(_PATIENCE_S)


class _Caught:
    """Context: an error inside is kept in `error` instead of being raised; an order to leave is not."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> _Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
            return True
        return False


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """Main function of a worker process: one task after another until the pipe ends."""
    follow_parent()
    os.set_inheritable(pipe.fileno(), False)
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        result: Any = None
        with _Caught() as caught:
            result = work(task)
        if caught.error is None:
            with _Caught() as caught:
                pipe.send((True, result))
        if caught.error is None:
            continue
        told = portable(caught.error)
        with _Caught() as caught:
            pipe.send((False, told))
        if caught.error is not None:
            pipe.send((False, in_words(told)))


def portable(error: Exception) -> Exception:
    """`error` as it can cross to another process: itself with its trace as a note, or a WorkFailed that tells it."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    twin: Exception | None = None
    with _Caught():
        twin = copy.copy(error)  # made as from a pickle: an error that cannot be copied could not be read there
        twin.__cause__ = twin.__context__ = None
    if isinstance(twin, OratureError):
        return twin
    if twin is None or type(twin) is not type(error) or "<locals>" in type(error).__qualname__:
        return in_words(error)
    twin.add_note(f"in a worker process:\n{trace}")
    return twin


def in_words(error: Exception) -> WorkFailed:
    """What is left of an error that cannot be sent as it is."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].name} in line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    next_step = "please report it; finished work is kept"
    return WorkFailed(f"a worker failed: {type(error).__name__}: {error}", where=where, next_step=next_step)
