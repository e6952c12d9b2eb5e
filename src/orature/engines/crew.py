"""Several batches at once on a CPU, one thread each, over one set of weights.

Splitting each operation over the cores makes them wait for each other hundreds of times a batch, which costs little on
an idle machine and most of the speed on a busy one; batches side by side never wait. What a batch gives does not depend
on the number of threads either. Little work is cut into as many batches as there are threads (`share`).

Networks put hooks on their own modules while they run, so each worker has modules of its own that share the weights.

Example::

    crew = Crew(network)
    outputs = list(crew.map(lambda network, batch: network(*batch), batches))
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

from orature.engines.network import Network
from orature.engines.torch_fast import quicken

Net = TypeVar("Net", bound=Network)
In = TypeVar("In")
Out = TypeVar("Out")


class Crew(Generic[Net]):
    """A network and, once they are needed, copies of it that share its weights; for inference."""

    def __init__(self, network: Net) -> None:
        self._networks = [network]
        parameter = next(network.parameters(), None)
        self._alone = parameter is None or parameter.device.type != "cpu"

    def share(self, total: float, most: float) -> float:
        """How much of `total` a batch may hold, of `most` at most, so that no thread is left without one."""
        return most if self._alone else min(most, total / torch.get_num_threads())

    def map(self, work: Callable[[Net, In], Out], batches: Sequence[In]) -> Iterator[Out]:
        """`work(network, batch)` of each batch, in order; the number of torch's threads is left as it was.

        On a GPU, for a network whose weights lie with another library, and for a single batch or thread: one batch
        after another.
        """
        workers = min(torch.get_num_threads(), len(batches))
        if self._alone or workers < 2:
            return (work(self._networks[0], batch) for batch in batches)
        while len(self._networks) < workers:
            self._networks.append(twin_of(self._networks[0]))
        # From the end, where the longest are, so that none of them is left over.
        return reversed(self._side_by_side(work, batches[::-1], workers))

    def _side_by_side(self, work: Callable[[Net, In], Out], batches: Sequence[In], workers: int) -> list[Out]:
        free: queue.SimpleQueue[Net] = queue.SimpleQueue()
        for network in self._networks:
            free.put(network)
        before = torch.get_num_threads()
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
            return list(pool.map(task, batches))


def twin_of(network: Net) -> Net:
    """A copy with modules of its own over the same parameters and buffers."""
    shared: list[object] = [*network.parameters(), *network.buffers()]
    front = getattr(network, "quick_front", None)
    if front is not None:
        shared.append(front)
    twin = copy.deepcopy(network, {id(one): one for one in shared})
    if "encode" in vars(network):  # `quicken` put it there, around the encoder of this very network
        del vars(twin)["encode"]
        quicken(twin, precision="bf16")
    return twin
