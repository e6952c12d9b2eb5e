"""The points between which a write can be cut off; tests make the process die or the disk fill up at any of them.

Example::

    ORATURE_FAULT=committed:1:kill orature up ...     # the process is gone (kill -9) at the first such point
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter

VARIABLE = "ORATURE_FAULT"
WRITE_POINTS = (
    "run-recorded",  # the step is on record, nothing is made yet
    "work-ready",  # work/<key> is there and swept
    "part-open",  # a file is about to be written beside its place
    "part-written",
    "part-synced",
    "part-renamed",
    "shard-worked",  # a shard's files are written and synced, in a folder beside its place
    "shard-marked",  # what the shard was made of is on record
    "shard-renamed",
    "stage-ran",
    "artefact-described",  # artefact.json lies in work/<key>/out
    "artefact-synced",
    "committed",  # the one rename that makes the artefact visible has happened
    "swept",  # work/<key> is gone
)

passed: Counter[str] = Counter()
"""How often this process has passed each point."""


def write_point(name: str) -> None:
    """Pass the point `name`; dies or raises here when ORATURE_FAULT=name:n[:kill|term|enospc|interrupt] says so."""
    if name not in WRITE_POINTS:
        raise ValueError(f"unknown write point {name!r}")
    passed[name] += 1
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    point, _, rest = wanted.partition(":")
    number, _, action = rest.partition(":")
    if point != name or passed[name] != int(number or 1):
        return
    if action == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    if action == "interrupt":
        raise KeyboardInterrupt
    os.kill(os.getpid(), signal.SIGTERM if action == "term" else signal.SIGKILL)
