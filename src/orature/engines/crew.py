"""Several batches at once on a CPU, one thread each, over one set of weights.

Splitting each operation over the cores makes them wait for each other hundreds of times a batch, which costs little on
an idle machine and most of the speed on a busy one; batches side by side never wait. What a batch gives does not depend
on the number of threads either.

Networks put hooks on their own modules while they run, so each worker has modules of its own that share the weights.

Example::

    crew = Crew(network, workers=4)
    outputs = list(crew.map(lambda network, batch: network(*batch), batches))
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from orature.engines.network import CtcNetwork

In = TypeVar("In")
Out = TypeVar("Out")


class Crew:
    """`workers` copies of a network that share its weights, for inference."""

    def __init__(self, network: CtcNetwork, workers: int) -> None:
        self.workers = workers
        self._networks = [network, *(twin_of(network) for _ in range(workers - 1))]

    def map(self, work: Callable[[CtcNetwork, In], Out], batches: Sequence[In]) -> Iterator[Out]:
        """`work(network, batch)` of each batch, in order; the number of torch's threads is left as it was."""
        free: queue.SimpleQueue[CtcNetwork] = queue.SimpleQueue()
        for network in self._networks:
            free.put(network)
        before = torch.get_num_threads()
        workers = min(self.workers, len(batches))
        ready = threading.Barrier(workers + 1)

        def one_thread() -> None:
            torch.get_num_threads()  # a thread takes the common number at its first question, and over its own
            torch.set_num_threads(1)
            ready.wait()

        def task(batch: In) -> Out:
            network = free.get()
            try:
                return work(network, batch)
            finally:
                free.put(network)

        with ThreadPoolExecutor(workers) as pool:
            for _ in range(workers):
                pool.submit(one_thread)
            ready.wait()
            torch.set_num_threads(before)  # for this thread, and for those that begin later
            yield from pool.map(task, batches)


def twin_of(network: CtcNetwork) -> CtcNetwork:
    """A copy with modules of its own over the same parameters and buffers."""
    shared = [*network.parameters(), *network.buffers()]
    front = getattr(network, "quick_front", None)
    if front is not None:
        shared.append(front)
    return copy.deepcopy(network, {id(one): one for one in shared})
