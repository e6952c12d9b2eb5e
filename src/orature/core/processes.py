"""Worker processes that leave nothing behind: not after Ctrl-C, not after kill -9 of whoever started them.

Example::

    with interrupts_held():
        pool.submit(work)          # with initializer=follow_parent
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess

_PATIENCE_S = 5.0


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A worker started in here never sees Ctrl-C: the signal mask is inherited, and the parent ends its workers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent() -> None:
    """In a worker: leave as soon as the parent is gone (kill -9), so that no orphan goes on writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait_for([sentinel]), os._exit(1)), daemon=True).start()


def end_children(spared: Collection[BaseProcess]) -> None:
    """Ends the children of this process that are not among `spared`, with force where they do not listen."""
    children = [child for child in multiprocessing.active_children() if child not in spared]
    for child in children:
        child.terminate()
    for child in children:
        child.join(_PATIENCE_S)
        if child.is_alive():
            child.kill()
