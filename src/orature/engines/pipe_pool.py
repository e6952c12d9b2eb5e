"""Worker processes that share a list of requests: who holds what, what happens when one dies, what is tried again.

Example::

    pool = WorkerPool([sys.executable, "worker.py"], workers=2)
    replies = pool.exchange([{"text": "habari", "language": "sw"}])
    pool.close()

A worker that dies, does not answer or breaks the protocol is started again, and the batch that it died of is tried once
more, each request alone, so that only the guilty one is refused.
"""

from __future__ import annotations

import math
import selectors
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orature.core.errors import ConfigError, MissingExtra, ModelError, OratureError, WorkFailed
from orature.core.types import Refusal
from orature.engines.pipe_hello import PROTOCOLS, Hello, read_hello
from orature.engines.pipe_process import WAKE_S, Reply, WorkerDied, WorkerProcess

_IN_FLIGHT = 2
"""Batches that a worker holds at a time: one that it speaks, one that waits in its pipe."""
_DEATHS = 20
"""So many deaths in a row without one answer mean that the worker is broken, not the requests."""
_NOT_DONE = Refusal("not-done", "stopped before this row")


@dataclass(slots=True)
class Worker:
    """A process, whether it has said hello, and the places in the list of what it holds, by id of the request."""

    process: WorkerProcess
    greeted: bool
    deadline: float
    flying: dict[int, int] = field(default_factory=dict)
    batches: deque[set[int]] = field(default_factory=deque)


class WorkerPool:
    """`workers` processes of one command; the first starts at once and says hello, so that errors show here.

    `timeout_s` is what a request may take (a batch: so much for each of its requests), `start_timeout_s` what loading
    may take. `environment` is added to that of the process; `setup` is the next step of a person who lacks something.
    ConfigError, ModelError, MissingExtra or WorkFailed, with what the worker said, when it does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        workers: int,
        timeout_s: float,
        start_timeout_s: float,
        environment: Mapping[str, str] | None,
        setup: str,
    ) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers}", next_step="ask for one worker or more")
        self.timeout_s = timeout_s
        self.slots: list[Worker | None] = [None] * workers
        self._command, self._environment, self._setup = tuple(command), environment, setup
        self._start_timeout_s = start_timeout_s
        self._lock = threading.Lock()
        self._last_id = 0
        self._deaths = 0
        try:
            first = self._start(0)
            self.hello: Hello = self._greeted(first, first.process.wait(first.deadline))
        except WorkerDied as died:
            raise WorkFailed(
                f"the voice worker does not start: {_told(str(died), self.drop(0))}",
                where=" ".join(self._command)[:200],
                next_step=setup,
            ) from died
        except BaseException:
            self.close(grace_s=0.0)
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers of the workers that run now."""
        return tuple(worker.process.pid for worker in self.slots if worker is not None)

    def exchange(self, requests: Sequence[dict[str, Any]], *, batch: int = 1) -> list[Reply | Refusal]:
        """The reply to each request, in order; `Refusal` voice-failed for one that two workers died of."""
        with self._lock:
            turn = _Round(self, requests, batch)
            turn.run()
            return turn.outcomes

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """The answer to an operation other than speak; WorkFailed where it gives none or refuses."""
        if op not in self.hello.operations:
            raise ConfigError(f"the voice worker knows no operation {op!r}", next_step=self._setup)
        trouble = ""
        with self._lock:
            for _ in range(2):
                try:
                    answer = self._ask_once(op, fields)
                except WorkerDied as died:
                    trouble = self.buried(0, str(died))
                    continue
                except BaseException:
                    self.drop(0)
                    raise
                if error := answer.get("error"):
                    raise WorkFailed(f"the voice worker refuses {op!r}: {error.get('detail')}", next_step=self._setup)
                return answer
        raise WorkFailed(f"the voice worker did not answer {op!r}: {trouble}", next_step=self._setup)

    def close(self, *, grace_s: float = 2.0) -> None:
        """Ends the workers and all that they started; it can be called twice."""
        for slot in range(len(self.slots)):
            self.drop(slot, grace_s=grace_s)

    def take_id(self) -> int:
        """A number that no request had before."""
        self._last_id += 1
        return self._last_id

    def worker(self, slot: int) -> Worker:
        """The worker of a slot, started when it does not run."""
        return self.slots[slot] or self._start(slot)

    def drop(self, slot: int, *, grace_s: float = 0.0) -> str:
        """Ends the worker of a slot; what it wrote to standard error at last."""
        worker, self.slots[slot] = self.slots[slot], None
        if worker is None:
            return ""
        worker.process.close(grace_s=grace_s)
        return worker.process.said

    def greet(self, worker: Worker, reply: Reply) -> None:
        """Takes the hello of a worker that was started later; it must be the same engine."""
        if self._greeted(worker, reply) != self.hello:
            raise WorkFailed("the voice worker says something else of itself than before", next_step=self._setup)

    def buried(self, slot: int, trouble: str) -> str:
        """Takes note of a death and says what happened; WorkFailed when it only ever dies."""
        worker = self.slots[slot]
        greeted = worker is None or worker.greeted
        told = _told(trouble, self.drop(slot))
        self._deaths += 1
        if not greeted:
            raise WorkFailed(f"the voice worker does not start again: {told}", next_step=self._setup)
        if self._deaths >= _DEATHS:
            raise WorkFailed(
                f"the voice worker died {self._deaths} times without one answer: {told}", next_step=self._setup
            )
        return told

    def answered(self) -> None:
        """The workers live."""
        self._deaths = 0

    def _ask_once(self, op: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        worker = self.worker(0)
        if not worker.greeted:
            self.greet(worker, worker.process.wait(worker.deadline))
        worker.process.send({"op": op, "id": self.take_id(), **fields})
        return worker.process.wait(time.monotonic() + self.timeout_s).header

    def _start(self, slot: int) -> Worker:
        try:
            process = WorkerProcess(self._command, self._environment)
        except OSError as error:
            raise ConfigError(
                f"the voice worker {self._command[0]!r} cannot be started: {error.strerror}", next_step=self._setup
            ) from error
        worker = Worker(process, False, time.monotonic() + self._start_timeout_s)
        self.slots[slot] = worker
        process.send({"op": "hello", "protocols": list(PROTOCOLS)})
        return worker

    def _greeted(self, worker: Worker, reply: Reply) -> Hello:
        error = reply.header.get("error")
        if isinstance(error, dict):
            raise self._refusal_to_start(str(error.get("reason")), str(error.get("detail")))
        hello = read_hello(reply.header)
        worker.greeted = True
        worker.process.most_samples = math.ceil(hello.rate_hz * hello.traits.most_seconds)
        return hello

    def _refusal_to_start(self, reason: str, detail: str) -> OratureError:
        if reason == "not-installed":
            return MissingExtra(f"the voice lacks something: {detail}", next_step=self._setup)
        if reason == "bad-model":
            return ModelError(detail, next_step=self._setup)
        if reason in ("bad-arguments", "unsupported-protocol"):
            return ConfigError(detail, next_step=self._setup)
        return WorkFailed(f"the voice cannot start here: {detail}", next_step=self._setup)


class _Round:
    """One call of `exchange`: what is to be done, who holds it, and the loop that moves lines and samples."""

    def __init__(self, pool: WorkerPool, messages: Sequence[dict[str, Any]], batch: int) -> None:
        self.outcomes: list[Reply | Refusal] = [_NOT_DONE] * len(messages)
        self._pool, self._messages = pool, messages
        self._todo = deque(range(len(messages)))
        self._alone: deque[int] = deque()
        """Places that a worker died with: each is tried once more with no other beside it."""
        self._failed: set[int] = set()
        self._left = len(messages)
        share = math.ceil(len(messages) / len(pool.slots))
        self._batch = max(1, min(batch, share))
        self._slots = range(min(len(pool.slots), math.ceil(len(messages) / self._batch)))

    def run(self) -> None:
        """Until every place has an outcome; workers that still hold something when it is left are ended."""
        try:
            while self._left:
                for slot in self._slots:
                    self._feed(slot)
                self._move()
        finally:
            if self._left:
                for slot in self._slots:
                    self._pool.drop(slot)

    def _feed(self, slot: int) -> None:
        if not (self._todo or self._alone):
            return
        try:
            worker = self._pool.worker(slot)
            while worker.greeted and (places := self._next(worker)):
                self._send(worker, places)
        except WorkerDied as died:
            self._bury(slot, str(died))

    def _next(self, worker: Worker) -> list[int]:
        if self._alone:
            return [] if worker.flying else [self._alone.popleft()]
        if len(worker.batches) >= _IN_FLIGHT or any(place in self._failed for place in worker.flying.values()):
            return []
        return [self._todo.popleft() for _ in range(min(self._batch, len(self._todo)))]

    def _send(self, worker: Worker, places: list[int]) -> None:
        numbered = {self._pool.take_id(): place for place in places}
        if not worker.flying:
            worker.deadline = time.monotonic() + self._pool.timeout_s * len(places)
        worker.flying.update(numbered)
        worker.batches.append(set(numbered))
        requests = [{"id": number, **self._messages[place]} for number, place in numbered.items()]
        worker.process.send({"op": "speak", "requests": requests})

    def _move(self) -> None:
        """Waits until something can be read or written, or a worker is late."""
        with selectors.DefaultSelector() as selector:
            running = [(slot, self._pool.slots[slot]) for slot in self._slots]
            deadlines = []
            for slot, worker in running:
                if worker is None or (worker.greeted and not worker.flying):
                    continue
                deadlines.append(worker.deadline)
                selector.register(worker.process.output, selectors.EVENT_READ, (slot, worker, "read"))
                if worker.process.errors_open:
                    selector.register(worker.process.errors, selectors.EVENT_READ, (slot, worker, "errors"))
                if worker.process.wants_write:
                    selector.register(worker.process.input, selectors.EVENT_WRITE, (slot, worker, "write"))
            if not deadlines:
                return
            events = selector.select(min(WAKE_S, max(0.0, min(deadlines) - time.monotonic())))
        for key, _ in events:
            self._on(*key.data)
        for slot, worker in running:
            if worker is not None and worker is self._pool.slots[slot]:
                self._watch(slot, worker)

    def _on(self, slot: int, worker: Worker, what: str) -> None:
        if worker is not self._pool.slots[slot]:
            return  # it was buried a moment ago
        try:
            if what == "write":
                worker.process.write()
            elif what == "errors":
                worker.process.read_errors()
            else:
                for reply in worker.process.read():
                    self._take(worker, reply)
        except WorkerDied as died:
            self._bury(slot, str(died))

    def _watch(self, slot: int, worker: Worker) -> None:
        busy = worker.flying or not worker.greeted
        if busy and time.monotonic() > worker.deadline:
            self._bury(slot, "it did not answer in time")

    def _take(self, worker: Worker, reply: Reply) -> None:
        if not worker.greeted:
            self._pool.greet(worker, reply)
            return
        number = reply.header.get("id")
        if not isinstance(number, int) or number not in worker.flying:
            raise WorkerDied(f"it answered a request that it was not given: {str(reply.header)[:80]}")
        place = worker.flying.pop(number)
        for batch in worker.batches:
            batch.discard(number)
        while worker.batches and not worker.batches[0]:
            worker.batches.popleft()
        worker.deadline = time.monotonic() + self._pool.timeout_s * max(map(len, worker.batches), default=1)
        self._pool.answered()
        self._settle(place, reply)

    def _settle(self, place: int, outcome: Reply | Refusal) -> None:
        self.outcomes[place] = outcome
        self._left -= 1

    def _bury(self, slot: int, trouble: str) -> None:
        worker = self._pool.slots[slot]
        held = {} if worker is None else dict(worker.flying)
        spoken = set() if worker is None or not worker.batches else set(worker.batches[0])
        told = self._pool.buried(slot, trouble)
        for number, place in sorted(held.items(), reverse=True):
            if number not in spoken:
                self._todo.appendleft(place)  # it only waited behind what the worker died of
            elif place in self._failed:
                self._settle(place, Refusal("voice-failed", f"the voice worker failed twice: {told}"))
            else:
                self._failed.add(place)
                self._alone.appendleft(place)


def _told(trouble: str, said: str) -> str:
    """What happened and the last line that the worker wrote to standard error."""
    last = said.splitlines()[-1][:500] if said else ""
    return f"{trouble} ({last})" if last else trouble
