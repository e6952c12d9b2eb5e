"""The client of a training worker (docs/voice_worker.md): starts one on a job file and hears what it tells.

Example::

    done = train_in_worker(["python", "-I", "worker.py"], Path("state/job.json"), hear=print)

Ctrl-C stays with this process: the worker is asked to stop, saves, and ends; killed, it goes on from its last
checkpoint when it is started again. When this process is gone, so is the worker: it reads the end of its input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from orature.core.errors import BadInput, ConfigError, CorpusError, MissingExtra, ModelError, OratureError
from orature.core.errors import TrainingFailed as Failed

PROTOCOL = 1
INTERRUPTED = 130
_KINDS: dict[str, type[OratureError]] = {
    "config": ConfigError,
    "corpus": CorpusError,
    "model": ModelError,
    "not-installed": MissingExtra,
    "failed": Failed,
}
_GRACE_S = 120.0
_TAIL = 4000
Hear = Callable[[Mapping[str, Any]], None]


def train_in_worker(
    command: Sequence[str], job: Path, *, hear: Hear, environment: Mapping[str, str] | None = None, setup: str = ""
) -> dict[str, Any]:
    """Runs `command` with the job file as its last argument; what its `done` line holds.

    `hear` is given every other line. An `error` line becomes the exception of its kind (ConfigError, CorpusError,
    ModelError, MissingExtra, TrainingFailed); a worker that dies without one TrainingFailed with its last words.
    `setup` is the next step where it cannot even start.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [*command, str(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise MissingExtra(
                f"the training worker cannot be started: {error.strerror}", where=command[0], next_step=setup
            ) from error
        try:
            done = _followed(process, hear)
        except BaseException:
            _end(process)
            raise
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        code = process.wait()
        if done is None or code != 0:
            said = _tail(errors) or "no reason was given"
            raise Failed(
                f"the training worker ended without a word (exit code {code}): {said}",
                next_step="run the same command again: it goes on from the last checkpoint",
            )
        return done


def _followed(process: subprocess.Popen[bytes], hear: Hear) -> dict[str, Any] | None:
    """Reads line after line to the end; the fields of `done`."""
    done = None
    for line in process.stdout or ():
        message = _message(line)
        event = message.pop("event")
        if event == "error":
            process.wait()
            raise _error(message)
        if event == "done":
            done = message
        else:
            hear({"event": event, **message})
    return done


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise Failed(
            f"the training worker broke its protocol: {line[:200]!r}", next_step="see docs/voice_worker.md; report it"
        )
    return message


def _error(message: Mapping[str, Any]) -> OratureError:
    kind = _KINDS.get(str(message.get("kind")), Failed)
    next_step = str(message.get("next") or "")
    if not next_step and issubclass(kind, BadInput):
        next_step = "mend it and run the same command again"
    return kind(str(message.get("what")), where=str(message.get("where") or ""), next_step=next_step)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the worker to save and stop; with force after a while, or at a second Ctrl-C."""
    try:
        process.terminate()
        process.wait(_GRACE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(errors: IO[bytes]) -> str:
    """The last line that was written to standard error."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _TAIL))
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
