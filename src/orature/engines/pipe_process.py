"""One worker process and its three pipes: lines and samples in and out, never blocking; what voices share.

The protocol is described in `docs/voice_worker.md`. A process starts in a session of its own, so that Ctrl-C is the
client's business alone, and is killed with everything it started.

Example::

    process = WorkerProcess([sys.executable, "worker.py"])
    process.send({"op": "hello", "protocols": [2]})
    hello = process.wait(deadline=time.monotonic() + 60).header
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

LONGEST_LINE = 4 << 20
"""Bytes of a line that a worker may write."""
WAKE_S = 0.5
"""The longest wait in one piece: a signal that another thread took is seen after it."""
_READ = 1 << 18
_TAIL = 4000
_GRACE_S = 2.0


class WorkerDied(Exception):
    """The process ended, did not answer in time, or broke the protocol; says which."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A line of the worker and the int16 little-endian samples that followed it."""

    header: dict[str, Any]
    samples: bytes


class WorkerProcess:
    """A process that is written to and read from without ever waiting for it; `wait` waits for one reply.

    `most_samples` is what one reply may bring; more is a breach of the protocol. OSError when it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=None if environment is None else {**os.environ, **environment},
        )
        self.pid = self._process.pid
        self.most_samples = 0
        self.input = _fileno(self._process.stdin)
        self.output = _fileno(self._process.stdout)
        self.errors = _fileno(self._process.stderr)
        for pipe in (self.input, self.output, self.errors):
            os.set_blocking(pipe, False)
        self._out = bytearray()
        self._in = bytearray()
        self._header: dict[str, Any] | None = None
        self._tail = b""
        self.errors_open = True
        self._closed = False

    @property
    def wants_write(self) -> bool:
        """True while something waits to be written."""
        return bool(self._out)

    @property
    def said(self) -> str:
        """The end of what it wrote to standard error."""
        return self._tail.decode("utf-8", "replace").strip()

    def send(self, message: Mapping[str, Any]) -> None:
        """Queues one line and writes as much as the pipe takes; `WorkerDied` when it has ended."""
        self._out += json.dumps(message).encode("ascii") + b"\n"
        self.write()

    def write(self) -> None:
        """Writes what waits, as much as the pipe takes."""
        while self._out:
            try:
                done = os.write(self.input, self._out[:_READ])
            except BlockingIOError:
                return
            except OSError as error:
                raise WorkerDied(self._ending()) from error
            del self._out[:done]

    def read(self) -> list[Reply]:
        """All whole replies that have arrived; `WorkerDied` at its end or at a breach of the protocol."""
        ended = False
        while True:
            try:
                part = os.read(self.output, _READ)
            except BlockingIOError:
                break
            if not part:
                ended = True
                break
            self._in += part
            if len(part) < _READ:
                break
        replies = list(self._parsed())
        if ended and not replies:
            raise WorkerDied(self._ending())
        return replies

    def read_errors(self) -> bool:
        """Keeps the end of what it wrote to standard error; False when it closed that pipe."""
        while True:
            try:
                part = os.read(self.errors, _READ)
            except BlockingIOError:
                return True
            if not part:
                self.errors_open = False
                return False
            self._tail = (self._tail + part)[-_TAIL:]

    def wait(self, deadline: float) -> Reply:
        """The next reply; `WorkerDied` when none came before `deadline` (of `time.monotonic`)."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            if self.errors_open:
                selector.register(self.errors, selectors.EVENT_READ)
            if self._out:
                selector.register(self.input, selectors.EVENT_WRITE)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WorkerDied("it did not answer in time")
                for key, _ in selector.select(min(WAKE_S, left)):
                    if key.fd == self.input:
                        self.write()
                        if not self._out:
                            selector.unregister(self.input)
                    elif key.fd == self.errors:
                        if not self.read_errors():
                            selector.unregister(self.errors)
                    elif replies := self.read():
                        return replies[0]

    def close(self, *, grace_s: float = _GRACE_S) -> None:
        """Ends its input, gives it `grace_s` to leave, kills it and all that it started, and closes the pipes."""
        if self._closed:
            return
        self._closed = True
        stdin = self._process.stdin
        if stdin is not None:
            self._out.clear()
            _close_quietly(stdin)
        if grace_s > 0:
            self._drain(time.monotonic() + grace_s)
        self.kill()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                _close_quietly(stream)

    def kill(self) -> None:
        """Kills the process and all of its group at once, and waits for it."""
        if self._process.returncode is None:
            _kill_group(self.pid)
            self._process.wait()

    def _drain(self, deadline: float) -> None:
        """Reads on (a worker may hang at a full pipe) until it closes its output or time is up."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                for _ in selector.select(min(WAKE_S, left)):
                    try:
                        if not os.read(self.output, _READ):
                            return
                    except BlockingIOError:
                        continue

    def _ending(self) -> str:
        self._drain_errors()
        by_itself = self._process.returncode is not None or self._leaves_within(0.5)
        self.kill()
        if not by_itself:
            return "it closed its output"
        code = self._process.returncode
        return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"

    def _leaves_within(self, seconds: float) -> bool:
        """Whether it ends by itself; it stays to be waited for, so that its group can still be killed by its number."""
        waitid = getattr(os, "waitid", None)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if waitid is not None and waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            time.sleep(0.005)
        return False

    def _drain_errors(self) -> None:
        deadline = time.monotonic() + 0.5
        while self.read_errors() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _parsed(self) -> Iterator[Reply]:
        while True:
            if self._header is None:
                end = self._in.find(b"\n")
                if end < 0:
                    if len(self._in) > LONGEST_LINE:
                        raise WorkerDied(f"it wrote a line of more than {LONGEST_LINE} bytes")
                    return
                line = bytes(self._in[:end])
                del self._in[: end + 1]
                self._header = _header(line)
            count = self._count(self._header)
            if len(self._in) < 2 * count:
                return
            samples = bytes(self._in[: 2 * count])
            del self._in[: 2 * count]
            header, self._header = self._header, None
            yield Reply(header, samples)

    def _count(self, header: dict[str, Any]) -> int:
        count = header.get("samples", 0)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise WorkerDied(f"it announced {count!r} samples")
        if count > self.most_samples:
            raise WorkerDied(f"it announced {count} samples; at most {self.most_samples} may come")
        return count


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        shown = line[:80].decode("utf-8", "replace")
        raise WorkerDied(f"it wrote what is no line of the protocol: {shown!r}")
    return header


def _fileno(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise WorkerDied("a pipe is missing")
    return stream.fileno()


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:
        return


def _kill_group(pid: int) -> None:
    """Kills a whole process group; its leader is not waited for yet, so the number cannot be another's."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
