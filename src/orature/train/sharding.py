"""FSDP2: weights, gradients and optimiser state shared out over processes, checkpoints as those of one process.

Units are the layers of a network (the entries of its module lists) and the rest; a unit's weights come together for its
forward and backward pass and are dropped again. Checkpoints hold whole tensors, so that a run can be resumed with any
number of processes.

Example::

    shard(module, torch.device("cuda"))
    with whole(module):
        learner.assess(dev, batch_seconds=200.0)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

_LAYER_SHARE = 0.01
"""Of all parameters: smaller entries of module lists are no units of their own."""


def shard(module: nn.Module, device: torch.device) -> nn.Module:
    """Shares the parameters of `module` out over all processes, in place; each process must hold the same before."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # Nothing is computed in place on what a network returns, which is what torch warns of.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    least = _LAYER_SHARE * sum(p.numel() for p in module.parameters())
    for layers in [child for child in module.modules() if isinstance(child, nn.ModuleList)]:
        for layer in layers:
            large = sum(p.numel() for p in layer.parameters()) > least
            if large and not isinstance(layer, nn.ModuleList | nn.ModuleDict):
                fully_shard(layer, mesh=mesh)
    root = fully_shard(module, mesh=mesh)
    root.set_reduce_scatter_unused_params(True)
    for buffer in module.buffers():
        buffer.data = buffer.data.to(device)
    return module


def skips_layers(module: nn.Module) -> bool:
    """Whether the network would leave layers out at random (LayerDrop), which transformers does not do when sharded."""
    configs = [getattr(child, "config", None) for child in module.modules()]
    names = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")
    return any(float(getattr(config, name, 0.0) or 0.0) > 0 for config in configs for name in names)


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """All weights of a sharded module together in each process, so that any part of it can be called alone.

    All processes enter and leave together, and only after `module` itself has been called once (that is how torch knows
    the outermost unit). Without gradients; in here memory is that of the whole weights.
    """
    from torch.distributed.fsdp import FSDPModule

    units = [child for child in module.modules() if isinstance(child, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.set_reshard_after_forward(unit is not module, recurse=False)
        # Forward passes leave marks by which the next backward pass fetches weights ahead; they differ by process here.
        units[0].reset_iter_state()


def full(tensor: Tensor) -> Tensor:
    """A shared-out tensor as a whole (all processes call this together); others as they are."""
    gather = getattr(tensor, "full_tensor", None)
    if gather is None:
        return tensor
    gathered: Tensor = gather()
    return gathered


def shared_like(value: Tensor, model: Tensor) -> Tensor:
    """A whole tensor shared out as `model` is, where it is and the shapes agree; every process holds the same whole."""
    if not hasattr(model, "full_tensor") or value.shape != model.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(model, DTensor):
        return value
    value = value.to(model.device)
    shared: Tensor = distribute_tensor(value, model.device_mesh, model.placements, src_data_rank=None)
    return shared
