"""Which device a run uses, and with how many threads.

Example::

    device = prepare_device("auto", threads=None)
"""

from __future__ import annotations

import os
from typing import Literal, cast

import torch

from orature.core.errors import ConfigError

_KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_MOST_KERNELS = "64"
"""Kernels that oneDNN keeps compiled, about a megabyte each. It makes one for every new length of a batch and would
keep 1,024: processes that compute speech of all lengths grew by hundreds of megabytes, and were no faster."""


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_busy() -> bool:
    """Whether other programs already take half of the cores or more (the load of the last minute); False if unknown."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > usable_cores() / 2


def prepare_device(wanted: str, threads: int | None) -> str:
    """ "cpu", "cuda" or "mps" from "auto" or a name; sets the number of CPU threads (None: one a core).

    Called before anything is computed it also bounds what torch's library for CPUs keeps, for child processes too.
    ConfigError when the named device is not there.
    """
    os.environ.setdefault(_KERNELS, _MOST_KERNELS)
    torch.set_num_threads(threads or usable_cores())
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu" or (wanted.startswith("cuda") and torch.cuda.is_available()):
        return wanted
    raise ConfigError(f"there is no device {wanted!r} here", next_step="use --device cpu, or leave it out")


def process_count(wanted: str | int, device: str) -> int:
    """How many training processes a number or "auto" means: one a GPU, and one without. ConfigError for other words."""
    if wanted == "auto":
        return max(1, torch.cuda.device_count()) if device == "cuda" else 1
    if str(wanted).isdecimal() and int(wanted) > 0:
        return int(wanted)
    raise ConfigError(f"{wanted!r} is no number of processes", next_step="give --processes a number, or auto")


def checked_sharding(wanted: str) -> Literal["none", "fsdp"]:
    """ConfigError for a kind of sharding that there is not."""
    if wanted not in ("none", "fsdp"):
        raise ConfigError(f"there is no sharding {wanted!r}", next_step="choose none or fsdp")
    return cast(Literal["none", "fsdp"], wanted)
