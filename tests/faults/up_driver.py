"""Runs `orature up` again and again in forked children and kills them: torch is loaded once, not at every start.

usage: python up_driver.py SOURCE OUT KILLS SEED -- OPTIONS ...
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch._dynamo  # noqa: F401  (the first optimiser would load it, in each child)

import orature.recipes.up  # noqa: F401  (loaded before the forks)
from orature.cli.main import main
from orature.flow import Store


def start(arguments: list[str], said: Path) -> int:
    """The process id of a child that runs the command; what it says goes to the file `said`, begun anew."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    into = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(into, 1)
    os.dup2(into, 2)
    status = 1
    try:
        main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        os._exit(status)


def status_after(child: int, seconds: float) -> int | None:
    """Exit status of the child, or None where it still runs after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def forget(folder: Path) -> None:
    """A run that came to its end begins anew, so that the kills fall into work."""
    store = Store(folder / ".orature")
    keys = store.keys()
    for key in keys:
        store.drop(key)


def failed(status: int | None, said: Path) -> int:
    """1, and what the run had said."""
    print(f"a run ended with {status}:\n{said.read_text(errors='replace')}", file=sys.stderr)
    return 1


def run() -> int:
    source, out, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    options, said = sys.argv[6:], out / "said.txt"
    gc.collect()
    gc.freeze()  # the children search for their own garbage only
    began = time.monotonic()
    calm = status_after(start(["up", source, "--to", str(out / "calm"), *options], said), 600)
    whole_s = time.monotonic() - began
    if calm != 0:
        return failed(calm, said)
    draw = random.Random(seed)
    killed = 0
    while killed < kills:
        child = start(["up", source, "--to", str(out / "shaken"), *options], said)
        status = status_after(child, draw.uniform(0.03, 0.9) * whole_s)
        if status is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed += 1
        elif status == 0:
            forget(out / "shaken")
        else:
            return failed(status, said)
    print(f"killed {killed} times")
    last = status_after(start(["up", source, "--to", str(out / "shaken"), *options], said), 600)
    return 0 if last == 0 else failed(last, said)


if __name__ == "__main__":
    sys.exit(run())
