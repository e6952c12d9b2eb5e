"""One process or many, behind the same few calls (accelerate): DDP over gloo or NCCL.

Every process runs the same loop over the same plan of batches and computes its share; gradients, sums and verdicts are
added up, so that many processes give what one gives with the same batches an update.

Example::

    parallel = Parallel(device="cpu", precision="fp32")
    module = parallel.wrap(task)
    total, = parallel.sum([1.0])
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import gather_object
from torch import Tensor, nn


class Parallel:
    """The processes of a run."""

    def __init__(self, *, device: str, precision: str) -> None:
        handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
        mixed = "bf16" if precision == "bf16" else "no"
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed, kwargs_handlers=handlers)

    @property
    def device(self) -> torch.device:
        found: torch.device = self.accelerator.device
        return found

    @property
    def rank(self) -> int:
        return int(self.accelerator.process_index)

    @property
    def processes(self) -> int:
        return int(self.accelerator.num_processes)

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return bool(self.accelerator.is_main_process)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module to call in training; the given one stays the one to save and to decode with."""
        if self.processes == 1:
            return module
        wrapped: nn.Module = self.accelerator.prepare_model(module)
        return wrapped

    def autocast(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context

    def no_sync(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged with the last backward pass of an update only."""
        if self.processes == 1 or last:
            return nullcontext()
        context: AbstractContextManager[Any] = self.accelerator.no_sync(module)
        return context

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sums over all processes, in float64."""
        if self.processes == 1:
            return list(values)
        tensor = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        summed: Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return [float(value) for value in summed.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """One object from each process, in order of rank."""
        if self.processes == 1:
            return [value]
        gathered: list[Any] = gather_object([value])
        return gathered

    def wait(self) -> None:
        """Until all processes are here."""
        if self.processes > 1:
            self.accelerator.wait_for_everyone()
