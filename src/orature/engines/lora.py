"""Low-rank matrices beside the weights of attention (LoRA; Hu et al. 2021, section 4.1), by peft.

The old weights stand still; the model folder is written with the product merged in, so that whoever reads it needs
neither peft nor Orature.

Example::

    add_lora(network, rank=16)
    network.parts()["adapters"]      # the matrices that learn
    merge_lora(network)              # back to plain layers
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from orature.core.errors import ConfigError
from orature.engines.network import Network

LORA = frozenset({"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"})
"""Names of modules that hold the matrices."""
_PROJECTIONS = frozenset({"q_proj", "k_proj", "v_proj", "out_proj", "o_proj"}) | frozenset(
    {"linear_q", "linear_k", "linear_v", "linear_out"}
)
_FEED_FORWARD = frozenset({"intermediate_dense", "output_dense"})
_ADAPTER = "default"


def add_lora(network: Network, rank: int, *, alpha: float | None = None, targets: Sequence[str] | None = None) -> None:
    """Puts matrices of `rank` beside the linear layers named in `targets` and holds every other weight but the head.

    `targets` are last parts of names ("q_proj"); without them the projections of attention, or the feed-forward layers
    of WavLM, whose attention reads the weights past the layer (matrices beside it would be ignored). `alpha` scales the
    product by alpha / rank and is twice the rank by default. ConfigError where no layer has such a name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    wanted = frozenset(targets) if targets else None
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in (wanted or _targets(network))
    ]
    if rank < 1 or not names:
        raise ConfigError(
            "LoRA needs a rank of at least 1" if rank < 1 else "no linear layer of this model has such a name",
            where="lora_rank" if rank < 1 else ", ".join(sorted(wanted or _targets(network))),
            next_step="try --lora-rank 16" if rank < 1 else "name layers such as q_proj or linear_q",
        )
    heads = {id(parameter) for parameter in network.parts().get("head", ())}
    config = LoraConfig(
        r=rank, lora_alpha=alpha if alpha is not None else 2 * rank, lora_dropout=0.0, target_modules=names
    )
    inject_adapter_in_model(config, network, adapter_name=_ADAPTER)
    for parameter in network.parameters():
        if id(parameter) in heads:
            parameter.requires_grad_(True)


def _targets(network: Network) -> frozenset[str]:
    by_torch = any(hasattr(module, "torch_multi_head_self_attention") for module in network.modules())
    return _FEED_FORWARD if by_torch else _PROJECTIONS


def merge_lora(network: Network) -> None:
    """Adds the products to the weights and puts plain layers back; without matrices nothing happens."""
    for name, layer in _layers(network).items():
        layer.merge(adapter_names=[_ADAPTER])
        owner, _, last = name.rpartition(".")
        setattr(network.get_submodule(owner), last, layer.get_base_layer())


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights as `merge_lora` would leave them, under their plain names; `model` stays as it is."""
    state: dict[str, Tensor] = dict(model.state_dict())
    for name, layer in _layers(model).items():
        prefix = f"{name}." if name else ""
        for key in [key for key in state if key.startswith(prefix)]:
            rest = key.removeprefix(prefix)
            value = state.pop(key)
            if rest.startswith("base_layer."):
                state[prefix + rest.removeprefix("base_layer.")] = value
        weight = state[f"{prefix}weight"]
        state[f"{prefix}weight"] = weight + layer.get_delta_weight(_ADAPTER).to(weight.dtype)
    return state


def _layers(model: nn.Module) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
