"""What all commands share: errors as sentences, exit codes, `--json`, examples in the help.

A command group is a file with one function `register`::

    def register(app: typer.Typer) -> None:
        @app.command(epilog=example("orature runs --json"))
        @run_command
        def runs(as_json: JsonOption = False) -> None:
            "Lists the runs of the store."
            emit({"runs": []}, as_json)
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from orature.core.errors import OratureError

if TYPE_CHECKING:
    from orature.flow import Resources

P = ParamSpec("P")
R = TypeVar("R")

_LOAD = Path("/proc/loadavg")
"""Load of the last minute, and how many threads want a core at this moment; Linux only."""
GO_ON = "interrupted; run the same command again to go on"
INTERRUPTED = 130

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines instead of text.")]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store", help="Folder of finished work (default: $ORATURE_STORE, else ./.orature).", show_default=False
    ),
]
BesideOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of finished work (default: $ORATURE_STORE, else .orature beside the results).",
        show_default=False,
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        help="auto, torch, torch-bf16, onnx, onnx-int8, ctranslate2 or ctranslate2-int8; auto measures on long jobs."
    ),
]
FastOption = Annotated[
    bool, typer.Option("--fast", help="Allow bfloat16 and 8 bits where they are faster and nearly equal (measured).")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")]


def example(*commands: str) -> str:
    """The epilog of a command's help: one or more commands to copy, each kept on its own line."""
    lines = "\n".join(f"  {command}" for command in commands)
    return f"\b\nExample:\n{lines}"


def run_command(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors are sentences on standard error and whose exit code says which kind.

    OratureError: its own exit code (1 work failed, 2 bad input, 130 interrupted). Ctrl-C or SIGTERM: 130.
    A reader that closed the pipe (`| head`): quiet, 1. Anything else is a defect and left to `report_defect`.
    """

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = function(*args, **kwargs)
            sys.stdout.flush()
        except OratureError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            complain(GO_ON)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _silence_stdout()
            raise typer.Exit(1) from None
        return result

    return command


def complain(sentence: str) -> None:
    """One message for a person, on standard error."""
    print(f"orature: {sentence}", file=sys.stderr, flush=True)


def command_line() -> str:
    """The command as it was typed, for records."""
    return shlex.join(["orature", *sys.argv[1:]])


def resources_for(executor: str, address: str | None, workers: int, device: str, as_json: bool) -> Resources:
    """What a command computes with that can be spread out; ConfigError for an executor that there is not."""
    from orature.core.errors import ConfigError
    from orature.flow import Resources

    if executor not in ("local", "ray"):
        raise ConfigError(f"there is no executor {executor!r}", next_step="choose local or ray")
    if address is not None and executor != "ray":
        raise ConfigError("--address is of a Ray cluster", next_step="add --executor ray, or leave --address out")
    if executor == "ray":
        from orature.flow.executor_ray import load_ray

        load_ray()
    kind: Any = executor
    return Resources(workers=workers, executor=kind, address=address, device=device, progress=not as_json)


def emit(data: Any, as_json: bool, text: str | Callable[[], str] | None = None) -> None:
    """Prints a result: one JSON document with `as_json`, else `text` (or `data` as plain lines)."""
    if as_json:
        print(json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True, default=_plain))
        return
    if text is None:
        text = "\n".join(_lines(data))
    print(text() if callable(text) else text)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")


def _lines(data: Any, indent: str = "") -> list[str]:
    if isinstance(data, Mapping):
        lines: list[str] = []
        for name, value in data.items():
            nested = isinstance(value, Mapping | list) and value
            lines.append(f"{indent}{name}:" if nested else f"{indent}{name}: {_word(value)}")
            if nested:
                lines += _lines(value, indent + "  ")
        return lines
    if isinstance(data, list):
        return [line for value in data for line in _item(value, indent)]
    return [f"{indent}{_word(data)}"]


def _item(value: Any, indent: str) -> list[str]:
    lines = _lines(value, indent + "  ")
    lines[0] = f"{indent}- {lines[0].lstrip()}"
    return lines


def _word(value: Any) -> str:
    if value == {}:
        return "{}"
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def stop_on_sigterm() -> None:
    """SIGTERM (a batch system's or container's stop) is treated like Ctrl-C: clean, resumable, 130."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def wait_asleep_where_busy() -> None:
    """Where other programs take the cores, threads that compute wait for each other asleep (before torch is loaded).

    OpenMP's threads else wait in a loop, which stops the thread that they wait for: a training then crawls. On a quiet
    machine the loop is a quarter faster. OMP_WAIT_POLICY, where it is set, decides.
    """
    with suppress(OSError, ValueError):
        load, _, _, running, _ = _LOAD.read_text(encoding="ascii").split()
        half = len(os.sched_getaffinity(0)) / 2  # Linux, as the file was there
        if float(load) > half and int(running.split("/")[0]) - 1 >= half:
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def report_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """`sys.excepthook` of the command line: a short sentence, and the full trace in a file.

    With ORATURE_DEBUG=1 the trace is printed as Python would.
    """
    if issubclass(kind, KeyboardInterrupt):
        complain(GO_ON)
        return
    full = "".join(traceback.format_exception(kind, error, trace))
    if os.environ.get("ORATURE_DEBUG", "") not in ("", "0"):
        sys.stderr.write(full)
        return
    saved = _save(f"command: {' '.join(sys.argv)}\n{full}")
    first = str(error).strip().split("\n")[0][:200]
    complain(
        f"this should not have happened ({kind.__name__}: {first})\n  where: the full trace is in {saved}\n"
        "  next: report it with that file; finished work is kept"
    )


def _save(text: str) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="orature-trace-", suffix=".txt", delete=False) as stream:
            stream.write(text)
            return stream.name
    except OSError:
        sys.stderr.write(text)
        return "the lines above (no temporary file could be written)"


def _silence_stdout() -> None:
    """Python flushes standard output once more at exit; that must not complain about the closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
