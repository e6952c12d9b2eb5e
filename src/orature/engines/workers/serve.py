"""The worker's side of the voice protocol (docs/voice_worker.md), for engines written in Python.

It runs in the engine's own environment and imports nothing of Orature, only the standard library (Python 3.8 or later).
An engine is a Python file with a function `begin(arguments) -> engine`; the engine has

- `hello`: a dictionary with engine, revision, rate_hz, licence, languages, speakers, traits, deterministic;
- `speak(requests)`: a generator of `(place, samples)`, one a request in any order, where `samples` are bytes of int16
  little-endian mono, or a dictionary `{"reason", "detail"}` that refuses that request;
- `operations` (optional): functions by name that take a message and return a dictionary.

`begin` raises `SystemExit({"reason": ..., "detail": ...})` when it cannot start; an import that is missing is told as
`not-installed`. An exception in `speak` ends the process: the client starts it again and shows the last line.

Example::

    python -I serve.py my_engine.py model.onnx
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import sys
from typing import Any, BinaryIO, Dict, Iterator, List, Optional  # noqa: UP035 (old environments)

PROTOCOLS = (2,)
LONGEST_LINE = 64 << 20
_ORPHAN_S = 5.0


class Lines:
    """Lines of a pipe; it ends at the end of input, or when the process that started this one is gone."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._buffer = bytearray()
        self._parent = os.getppid()

    def next(self) -> Optional[bytes]:  # noqa: UP045
        """One line without its end, None when there are no more."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            searched = len(self._buffer)
            if searched > LONGEST_LINE:
                return None
            ready, _, _ = select.select([self._pipe], [], [], _ORPHAN_S)
            if not ready:
                if os.getppid() != self._parent:
                    return None
                continue
            part = os.read(self._pipe, 1 << 18)
            if not part:
                return None
            self._buffer += part


def write(out: BinaryIO, header: Dict[str, Any], samples: bytes = b"") -> None:  # noqa: UP006
    """One reply."""
    out.write(json.dumps(header).encode("ascii") + b"\n" + samples)
    out.flush()


def chosen_protocol(line: bytes) -> Optional[int]:  # noqa: UP045
    """The newest version that the client and this worker both speak, None where there is none."""
    try:
        message = json.loads(line)
        offered = message["protocols"] if message["op"] == "hello" else []
    except (ValueError, KeyError, TypeError):
        return None
    both = [version for version in PROTOCOLS if version in offered]
    return max(both) if both else None


def speak(engine: Any, requests: List[Dict[str, Any]], out: BinaryIO) -> None:  # noqa: UP006
    """Answers each request of a batch; one that the engine forgets is told as an error."""
    left = set(range(len(requests)))
    for place, outcome in engine.speak(requests):
        if place not in left:
            raise RuntimeError(f"the engine answered place {place} twice, or was never asked for it")
        left.discard(place)
        number = requests[place]["id"]
        if isinstance(outcome, dict):
            error = {"reason": str(outcome.get("reason")), "detail": str(outcome.get("detail"))}
            write(out, {"id": number, "error": error})
        else:
            write(out, {"id": number, "samples": len(outcome) // 2}, bytes(outcome))
    for place in sorted(left):
        error = {"reason": "voice-failed", "detail": "the engine gave no answer for this request"}
        write(out, {"id": requests[place]["id"], "error": error})


def answer(engine: Any, line: bytes, out: BinaryIO) -> None:
    """Handles one line of the client."""
    message: Dict[str, Any] = {}  # noqa: UP006
    try:
        message = json.loads(line)
        op = message["op"]
        requests = message["requests"] if op == "speak" else []
        whole = all(isinstance(request["text"], str) and "id" in request for request in requests)
    except (ValueError, KeyError, TypeError):
        op, requests, whole = "", [], False
    operations = getattr(engine, "operations", {})
    if op == "speak" and whole:
        speak(engine, requests, out)
    elif op in operations:
        write(out, {"id": message.get("id"), **operations[op](message)})
    else:
        number = message.get("id") if isinstance(message, dict) else None
        write(out, {"id": number, "error": {"reason": "bad-request", "detail": "not a request of this protocol"}})


def load(path: str, arguments: List[str]) -> Any:  # noqa: UP006
    """The engine of a Python file; SystemExit with a dictionary says why it cannot start."""
    spec = importlib.util.spec_from_file_location("voice_engine", path)
    if spec is None or spec.loader is None:
        raise SystemExit({"reason": "cannot-start", "detail": f"{path} is no Python file"})
    module = importlib.util.module_from_spec(spec)
    sys.modules["voice_engine"] = module
    try:
        spec.loader.exec_module(module)
        return module.begin(arguments)
    except ImportError as error:
        raise SystemExit({"reason": "not-installed", "detail": str(error)}) from error
    except OSError as error:
        raise SystemExit({"reason": "cannot-start", "detail": str(error)}) from error


def serve(engine: Any, lines: Lines, out: BinaryIO, protocol: int) -> None:
    """Says hello and answers until the input ends."""
    operations = ["speak", *getattr(engine, "operations", {})]
    write(out, {"protocol": protocol, "operations": operations, **engine.hello})
    for line in _each(lines):
        answer(engine, line, out)


def _each(lines: Lines) -> Iterator[bytes]:
    while (line := lines.next()) is not None:
        yield line


def private_output() -> BinaryIO:
    """The pipe to the client; what the engine prints goes to standard error instead, not between the replies."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def main(arguments: List[str]) -> int:  # noqa: UP006
    """`arguments`: the engine's file and what it is to be given."""
    out, lines = private_output(), Lines(0)
    first = lines.next()
    if first is None:
        return 0
    protocol = chosen_protocol(first)
    if protocol is None:
        detail = f"this worker speaks protocol {', '.join(map(str, PROTOCOLS))}"
        write(out, {"error": {"reason": "unsupported-protocol", "detail": detail}})
        return 1
    try:
        engine = load(arguments[0], arguments[1:])
    except SystemExit as stopped:
        code = stopped.code
        error = code if isinstance(code, dict) else {"reason": "cannot-start", "detail": str(code)}
        write(out, {"error": error})
        return 1
    try:
        serve(engine, lines, out, protocol)
    except BrokenPipeError:
        return 0  # the client is gone
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
