"""One process or many, behind the same few calls: DDP (by accelerate) or FSDP2, over gloo or NCCL.

Every process runs the same loop over the same plan of batches and computes its share; gradients, sums and verdicts are
added up, so that many processes give what one gives with the same batches an update. `train/launch.py` starts them.

Example::

    parallel = Parallel(device="cpu", precision="fp32")
    module = parallel.wrap(task)
    total, = parallel.sum([1.0])
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn

from orature.train import sharding

Sharding = Literal["none", "fsdp"]


class Parallel:
    """The processes of a run: one, or those of torch's process group where there is one.

    With "fsdp" each process holds a share of weights, gradients and optimiser state instead of all of them.
    """

    def __init__(self, *, device: str, precision: str, sharding: Sharding = "none") -> None:
        self.precision = precision
        self.processes = distributed.get_world_size() if distributed.is_initialized() else 1
        self.rank = distributed.get_rank() if distributed.is_initialized() else 0
        self.sharded = sharding == "fsdp" and self.processes > 1
        self.device = torch.device(device)
        self._accelerator: Any = None
        if self.processes > 1 and not self.sharded:
            from accelerate import Accelerator, DistributedDataParallelKwargs

            handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
            self._accelerator = Accelerator(cpu=self.device.type == "cpu", kwargs_handlers=handlers)
            self.device = self._accelerator.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module to call in training; the given one stays the one to save and to decode with.

        Sharding replaces the parameters of the given module (see `Freezing.moved`).
        """
        if self.sharded:
            return sharding.shard(module, self.device)
        module = module.to(self.device)
        if self._accelerator is None:
            return module
        wrapped: nn.Module = self._accelerator.prepare_model(module)
        return wrapped

    def compile_layers(self, module: nn.Module) -> None:
        """torch.compile for the layers of `module` (entries of its module lists), in place, for batches of any shape.

        Equal layers share one compilation, and what lies around them (features with complex numbers, the loss) stays as
        it is. What cannot be compiled runs as before.
        """
        import torch._dynamo as dynamo

        dynamo.config.suppress_errors = True
        logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
        for layers in [child for child in module.modules() if isinstance(child, nn.ModuleList)]:
            for layer in layers:
                if not isinstance(layer, nn.ModuleList | nn.ModuleDict):
                    layer.compile(dynamic=True)

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 where the run asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def no_sync(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged with the last backward pass of an update only (when sharded: with each)."""
        if self._accelerator is None or last:
            return nullcontext()
        context: AbstractContextManager[Any] = self._accelerator.no_sync(module)
        return context

    def evaluating(self, module: nn.Module) -> AbstractContextManager[Any]:
        """Inside, any part of `module` may be called by this process alone."""
        return sharding.whole(module) if self.sharded else nullcontext()

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sums over all processes, in float64."""
        return self._reduced(values, distributed.ReduceOp.SUM) if self.processes > 1 else list(values)

    def least(self, value: float) -> float:
        """The smallest value of any process."""
        return self._reduced([value], distributed.ReduceOp.MIN)[0] if self.processes > 1 else value

    def _reduced(self, values: Sequence[float], operation: Any) -> list[float]:
        tensor = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor, operation)
        return [float(value) for value in tensor.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """One object from each process, in order of rank."""
        if self.processes == 1:
            return [value]
        gathered: list[Any] = [None] * self.processes
        distributed.all_gather_object(gathered, value)
        return gathered

    def wait(self) -> None:
        """Until all processes are here."""
        if self.processes > 1:
            distributed.barrier()


def whole_number(norm: Tensor) -> float:
    """A norm as a number, also where its parts are shared out (then all processes call this together)."""
    return float(sharding.full(norm))
