"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_HOW = (
    "the real-speech corpora are not here: set ORATURE_CORPORA to a folder that holds digits_fsdd, speech_commands, "
    "kichwa_killkan ... (CONTRIBUTING.md, section 'Real speech for the tests', says where each comes from)"
)

# A shell that starts the tests in the background has them ignore Ctrl-C, and every program that they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _cores_of_its_own(worker: str, count: int) -> None:
    """Gives each of `count` test processes, and all that it starts, a share of the cores.

    torch computes with a thread for each core that it sees. Two test processes with two threads each on two cores
    spend most of their time waiting for a thread that has no core at the moment.
    """
    cores, number = sorted(os.sched_getaffinity(0)), int(worker.removeprefix("gw"))
    os.sched_setaffinity(0, cores[number::count] or [cores[number % len(cores)]])


if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    _cores_of_its_own(os.environ["PYTEST_XDIST_WORKER"], int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))

gc.disable()  # until all tests are found: what is loaded meanwhile stays


def pytest_collection_finish() -> None:
    gc.enable()


class _Loaded:
    """Takes what is loaded when a test begins out of the search for garbage, whenever more has been loaded.

    A training looks for garbage at each evaluation. In a process that has loaded all libraries and all tests, that
    takes longer than the training of a micro model.
    """

    def __init__(self) -> None:
        self.modules = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> None:
        if len(sys.modules) != self.modules:
            self.modules = len(sys.modules)
            gc.collect()
            gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Loaded())


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of the real-speech corpora; skips for a user without them, fails in CI."""
    folder = Path(os.environ.get("ORATURE_CORPORA", _ROOT.parent / "shared" / "corpora"))
    if not (folder / "digits_fsdd" / "manifest.tsv").is_file():
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(_HOW)
        pytest.skip(_HOW)
    return folder
