"""`worker:COMMAND LINE`: any command that speaks the voice worker protocol (docs/voice_worker.md) as a voice.

Example::

    with open_voice("worker:/opt/my-voice/bin/python my_worker.py --model sw.onnx", workers=2) as voice:
        print(voice.card.licence, voice.speakers("sw"))

The command is taken apart as a shell does it (quotes and backslashes), and started without a shell.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from orature.core.errors import ConfigError
from orature.engines.voice_pipe import PipeVoice

ABOUT = "any command that speaks the voice worker protocol"
_NEXT = "write worker:COMMAND with a command that speaks the protocol of docs/voice_worker.md"


def begin(model: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> PipeVoice:
    """Starts the command; it is told the number of threads by OMP_NUM_THREADS and the device by ORATURE_DEVICE."""
    environment = {"ORATURE_DEVICE": device}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return PipeVoice(command_of(model), workers=workers, environment=environment, setup=_NEXT)


def files(model: str) -> list[Path]:
    """The files that the command line names: the program's script and its model, say."""
    return [path for path in map(Path, command_of(model)[1:]) if path.is_file()]


def command_of(model: str) -> list[str]:
    """The command line as a list; ConfigError when it is empty, cannot be taken apart or names no program."""
    try:
        parts = shlex.split(model)
    except ValueError as error:
        raise ConfigError(f"the command of the voice worker cannot be read: {error}", next_step=_NEXT) from error
    if not parts:
        raise ConfigError("worker: names no command", next_step=_NEXT)
    if shutil.which(parts[0]) is None:
        raise ConfigError(f"there is no program {parts[0]!r}", next_step="name one that is installed, or its full path")
    return parts
