"""Fault injection for tests: let the process die, or the disk fill up, at any write point, in a child of its own.

Example::

    counts = points_passed(make)                    # {"committed": 1, "part-renamed": 7, ...}
    status = in_child(make, fault="committed:1:kill")
    assert status == -signal.SIGKILL
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from orature.core import faults
from orature.core.errors import OratureError

DEFECT = 70
"""Exit status of a child whose function raised something that is no OratureError."""


@contextmanager
def fault(spec: str) -> Iterator[None]:
    """Within: the write point `spec` ("name:n[:kill|term|enospc|interrupt]") strikes; counting begins anew.

    Worker processes started within see it too and count for themselves.
    """
    before = os.environ.get(faults.VARIABLE)
    faults.passed.clear()
    os.environ[faults.VARIABLE] = spec
    try:
        yield
    finally:
        os.environ.pop(faults.VARIABLE)
        if before is not None:
            os.environ[faults.VARIABLE] = before


def in_child(function: Callable[[], object], *, fault: str = "") -> int:
    """Exit status of `function` in a forked child: 0, an error's exit code, 70 for a defect, -n for signal n.

    The child does no exit handling of this process (no test report, no atexit). Not for functions that use threads of
    the parent; needs a system that can fork.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = DEFECT
        try:
            status = _call(function, fault)
        finally:
            if status == DEFECT:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _call(function: Callable[[], object], spec: str) -> int:
    faults.passed.clear()
    os.environ.pop(faults.VARIABLE, None)
    if spec:
        os.environ[faults.VARIABLE] = spec
    try:
        function()
    except OratureError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def points_passed(function: Callable[[], object]) -> dict[str, int]:
    """How often an undisturbed `function` passes each write point in its own process; run in a child."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "passed.json")

        def count() -> None:
            function()
            path.write_text(json.dumps(faults.passed), encoding="utf-8")

        status = in_child(count)
        if status:
            raise RuntimeError(f"the undisturbed function failed with status {status}")
        return dict(json.loads(path.read_text(encoding="utf-8")))


def every_fault(counts: dict[str, int], action: str = "kill") -> list[str]:
    """A fault for every single passage of every write point in `counts`."""
    return [f"{name}:{number}:{action}" for name, most in counts.items() for number in range(1, most + 1)]
