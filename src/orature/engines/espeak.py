"""Synthetic speech by espeak-ng in worker processes: the same request gives the same samples, always.

Example::

    with EspeakVoice(workers=2) as voice:
        for speech in voice.speak([SpeakRequest("habari za asubuhi", "sw+f2", rate_wpm=160)]):
            print(len(speech) if not isinstance(speech, Refusal) else speech.detail)

The protocol between this client and its workers is described in `espeak_worker`.
"""

from __future__ import annotations

import difflib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from orature.core.errors import ConfigError, MissingExtra, WorkFailed
from orature.core.types import Card, Refusal

Speech = npt.NDArray[np.float32]

_START_TIMEOUT_S = 60.0
_GRACE_S = 5.0
_ATTEMPTS = 2
_MAX_CHARACTERS = 5_000


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """A text and how to read it: `voice` is a language tag or espeak identifier, with an optional `+variant`."""

    text: str
    voice: str
    rate_wpm: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 100


class _Died(Exception):
    """The worker process ended, or did not answer in time."""


class _Worker:
    """One worker process and its two pipes."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("espeak_worker.py")
        self._process = subprocess.Popen(
            [python, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._buffer = b""
        self.pid = self._process.pid
        self.hello = self._header(time.monotonic() + _START_TIMEOUT_S)

    def ask(self, request: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """Header and samples of the reply; raises `_Died`."""
        deadline = time.monotonic() + timeout_s
        try:
            os.write(self._pipe(self._process.stdin), json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise _Died(str(error)) from error
        header = self._header(deadline)
        return header, self._take(2 * int(header.get("samples", 0)), deadline)

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @staticmethod
    def _pipe(stream: Any) -> int:
        return int(stream.fileno())

    def _header(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._fill(deadline)
        line, _, self._buffer = self._buffer.partition(b"\n")
        header: dict[str, Any] = json.loads(line)
        return header

    def _take(self, count: int, deadline: float) -> bytes:
        while len(self._buffer) < count:
            self._fill(deadline)
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _fill(self, deadline: float) -> None:
        pipe = self._pipe(self._process.stdout)
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(pipe, 1 << 16) if ready else b""
        if not part:
            self._process.kill()
            raise _Died("it ended" if ready else "it did not answer in time")
        self._buffer += part


class EspeakVoice:
    """Reads texts aloud with espeak-ng. The library runs in `workers` processes; none of it is loaded here.

    `python` is the interpreter of the workers (they need only the wheel `espeakng-loader`).
    """

    rate_hz = 22_050

    def __init__(self, workers: int = 1, *, timeout_s: float = 30.0, python: str = sys.executable) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers}")
        self._count = workers
        self._timeout_s = timeout_s
        self._python = python
        self._workers: list[_Worker | None] = [None] * workers
        self._catalogue: dict[str, Any] | None = None
        self._lock = threading.Lock()

    @property
    def card(self) -> Card:
        tags = {row["language"] for row in self._known()["voices"]}
        return Card(
            name="espeak-ng",
            family="formant synthesis (synthetic speech)",
            languages=tuple(sorted(tags)),
            licence="GPL-3.0-or-later (a separate program; its licence does not extend to the audio it makes)",
            revision=str(self._known()["engine"]),
            deterministic=True,
        )

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers of the workers that run now."""
        return tuple(worker.pid for worker in self._workers if worker is not None)

    def voices(self) -> list[dict[str, str]]:
        """Rows of `id` (to be used as `voice`), `language` (tag) and `name`, sorted by id."""
        return list(self._known()["voices"])

    def variants(self) -> list[str]:
        """Names that may follow a `+` in a voice: other speakers of the same language."""
        return list(self._known()["variants"])

    def resolve(self, voice: str) -> str:
        """The espeak identifier of a tag or identifier; ConfigError names the nearest known one."""
        base, plus, variant = voice.partition("+")
        known = {row["language"]: row["id"] for row in reversed(self.voices())}
        known.update({row["id"]: row["id"] for row in self.voices()})
        folded = {name.lower(): identifier for name, identifier in known.items()}
        if base.lower() not in folded:
            raise _unknown("voice", base, list(known))
        if plus and variant not in self.variants():
            raise _unknown("variant", variant, self.variants())
        return folded[base.lower()] + plus + variant

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Speech | Refusal]:
        """One outcome a request, in order: samples at `rate_hz`, float32 in [-1, 1], shape (samples,); or a Refusal.

        The samples depend on the request alone, not on its neighbours, its place or the number of workers.
        """
        self._known()
        outcomes: list[Speech | Refusal] = [Refusal("not-done", "stopped before this row")] * len(requests)
        todo = iter(range(len(requests)))
        slots = range(min(self._count, len(requests)))
        if len(slots) <= 1:
            self._serve(0, todo, requests, outcomes)
            return outcomes
        with ThreadPoolExecutor(len(slots)) as pool:
            for done in [pool.submit(self._serve, slot, todo, requests, outcomes) for slot in slots]:
                done.result()
        return outcomes

    def close(self) -> None:
        """Ends the workers."""
        for slot, worker in enumerate(self._workers):
            if worker is not None:
                worker.close()
                self._workers[slot] = None

    def __enter__(self) -> EspeakVoice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(
        self, slot: int, todo: Iterator[int], requests: Sequence[SpeakRequest], outcomes: list[Speech | Refusal]
    ) -> None:
        while True:
            with self._lock:
                place = next(todo, None)
            if place is None:
                return
            outcomes[place] = self._one(slot, requests[place])

    def _one(self, slot: int, request: SpeakRequest) -> Speech | Refusal:
        if not request.text.strip():
            return Refusal("empty-text", "there is nothing to say")
        if len(request.text) > _MAX_CHARACTERS:
            return Refusal("too-long", f"{len(request.text)} characters; at most {_MAX_CHARACTERS} at a time")
        try:
            named = replace(request, text=request.text.replace("\0", " "), voice=self.resolve(request.voice))
        except ConfigError as error:
            return Refusal("unknown-voice", f"{error.what}; {error.next_step}")
        message = {"op": "speak", "timeout_s": self._timeout_s, **asdict(named)}
        trouble = ""
        for _ in range(_ATTEMPTS):
            try:
                header, data = self._worker(slot).ask(message, self._timeout_s + _GRACE_S)
            except _Died as died:
                trouble = str(died)
                self._drop(slot)
                continue
            if refused := header.get("error"):
                return Refusal(str(refused["reason"]), str(refused["detail"]))
            return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32768.0)
        return Refusal("voice-failed", f"the worker process failed {_ATTEMPTS} times ({trouble})")

    def _drop(self, slot: int) -> None:
        worker, self._workers[slot] = self._workers[slot], None
        if worker is not None:
            worker.close()

    def _worker(self, slot: int) -> _Worker:
        worker = self._workers[slot]
        if worker is None:
            worker = _Worker(self._python)
            if error := worker.hello.get("error"):
                worker.close()
                raise _cannot_start(error)
            self._workers[slot] = worker
        return worker

    def _known(self) -> dict[str, Any]:
        if self._catalogue is None:
            try:
                worker = self._worker(0)
                lists, _ = worker.ask({"op": "voices"}, _START_TIMEOUT_S)
            except (_Died, OSError) as error:
                self._drop(0)
                raise _cannot_start({"reason": "cannot-start", "detail": str(error)}) from error
            self._catalogue = {**worker.hello, **lists}
        return self._catalogue


def _cannot_start(error: dict[str, str]) -> MissingExtra | WorkFailed:
    if error["reason"] == "not-installed":
        return MissingExtra(
            "the voices of espeak-ng are not installed", next_step="pip install 'orature[voices]', then run it again"
        )
    return WorkFailed(
        f"espeak-ng cannot start here: {error['detail']}",
        next_step="run `orature doctor`, or reinstall with pip install --force-reinstall espeakng-loader",
    )


def _unknown(what: str, name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    return ConfigError(f"espeak-ng has no {what} {name!r}", next_step=f"nearest known: {', '.join(near)}")
