"""The Ray executor: the same tasks on a cluster that is there already, or on one of our own on this machine.

Example::

    for index, result in run_on_ray(enumerate(batches), work, workers=8, address="auto"):
        ...

What a task makes comes back through Ray's object store: the driver alone writes, and outputs need no shared disk. A
task whose worker process or machine is lost is given out again, at most `MOST_DEATHS` times.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from orature.core.errors import ConfigError, MissingExtra, WorkFailed
from orature.flow.executor import Job

T = TypeVar("T")
R = TypeVar("R")

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "1"}
_STORE_BYTES = 512 << 20
"""Object store of a cluster of our own: a few packed shards lie in it at a time."""
_WAIT_S = 5.0


def load_ray() -> ModuleType:
    """The library, without usage statistics; MissingExtra where it is not installed."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtra(
            "Ray is not installed", next_step="pip install 'orature[scale]', or leave --executor at local"
        ) from error


@contextmanager
def ray_session(workers: int, address: str | None) -> Iterator[ModuleType]:
    """Connected to the cluster at `address` ("auto": the one of this machine), else to one that ends with the context.

    A connection that the program has made itself is used and left open. ConfigError where no cluster answers.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        quiet |= own
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _same_modules():
            ray.init(address or "local", **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"no Ray cluster can be used at {address}: {first[0]}" if address else f"Ray does not start: {first[0]}",
            next_step="is it up (`ray status`)? Leave --address out for a cluster of this machine alone",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in place
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _same_modules() -> Iterator[None]:
    """Processes of a cluster that is started in here import from the same places as this one."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(place for place in sys.path if place)
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def run_on_ray(
    tasks: Iterable[tuple[int, T]],
    work: Callable[[T], R],
    *,
    workers: int,
    address: str | None = None,
    on_death: Callable[[int], None] = lambda index: None,
    gpus: float = 0,
) -> Iterator[tuple[int, R]]:
    """As `run_tasks`: (index, work(task)) as tasks finish, at most 2 x `workers` of them given out at a time.

    `work` may be a function of an installed module, or an object of one; the cluster's machines need Orature in the
    same version. WorkFailed when a task was lost three times; an error of `work` comes back as itself.
    """
    with ray_session(workers, address) as ray:
        task_of = ray.remote(_one).options(num_cpus=1, num_gpus=gpus, max_retries=0)
        packed = ray.put(work)
        out: dict[Any, Job[T]] = {}
        stream = iter(tasks)
        more, finished = True, False
        try:
            while True:
                while more and len(out) < 2 * workers:
                    item = next(stream, None)
                    more = item is not None
                    if item is not None:
                        out[task_of.remote(packed, item[1], _version())] = Job(*item)
                if not out:
                    break
                for done in ray.wait(list(out), num_returns=1, timeout=_WAIT_S)[0]:
                    job = out.pop(done)
                    lost = ""
                    try:
                        result = ray.get(done)
                    except ray.exceptions.RayTaskError as error:
                        raise _own(error) from error
                    except ray.exceptions.RayError as error:
                        lost = type(error).__name__.removesuffix("Error")
                    if lost:
                        on_death(job.index)
                        job.died(f"Ray says {lost}")
                        out[task_of.remote(packed, job.task, _version())] = job
                    else:
                        del done
                        yield job.index, result
                        del result
            finished = True
        finally:
            if not finished and ray.is_initialized():
                for reference in out:
                    ray.cancel(reference, force=True)


def _own(error: Any) -> BaseException:
    """The error that the work raised on its machine."""
    cause = error.cause
    lacking = re.search("No module named '([^']+)'", str(cause))
    if lacking is not None:
        return ConfigError(
            f"a machine of the Ray cluster lacks the Python module {lacking[1]}",
            next_step="install the same version of Orature, with what the voice needs, on all machines of the cluster",
        )
    if isinstance(cause, BaseException):
        return cause
    return WorkFailed("a task on Ray failed", where=str(error).strip().splitlines()[-1])


def _version() -> str:
    return str(importlib.import_module("orature").__version__)


def _one(work: Callable[[T], R], task: T, version: str) -> R:
    """Runs on the machine of the worker."""
    if version != _version():
        raise ConfigError(
            f"{socket.gethostname()} has Orature {_version()}, the driver {version}: results could differ",
            next_step="install the same version on all machines of the cluster",
        )
    return work(task)


def sizes_of(paths: Iterable[Path]) -> dict[str, int]:
    """The files and folders that work on other machines must find, with the sizes of the files (folders: -1)."""
    return {str(path): path.stat().st_size if path.is_file() else -1 for path in paths}


def refuse_missing(needs: dict[str, int]) -> None:
    """ConfigError where an input of the work is not here, or is another one, at the same path as on the driver."""
    for name, size in needs.items():
        path = Path(name)
        if size < 0 and path.is_dir():
            continue
        if not path.exists():
            what = "is not there"
        elif path.is_file() and path.stat().st_size == size:
            continue
        else:
            what = "is another one than on the driver"
        raise ConfigError(
            f"an input of this work {what} on the machine {socket.gethostname()} of the Ray cluster",
            where=name,
            next_step="put it at the same path on every machine (a shared disk, or a copy)",
        )
