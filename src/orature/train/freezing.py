"""Which weights a run trains, and from which update on.

Policies: parts that stay frozen all along (`freeze`; the convolutional front end of wav2vec 2.0 by default, as fairseq
does in every regime), an encoder that joins in after some updates (`freeze_encoder_updates`; what reads it, an output
layer or a decoder, learns from the first on), adapters or LoRA matrices with the output layer only, or the output layer
alone (`train_only`).

Example::

    policy = Freezing.of(network, config)
    policy.apply(update=0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from orature.core.errors import ConfigError
from orature.engines.network import Network, Part
from orature.train.config import TrainConfig

_AT_ONCE: tuple[Part, ...] = ("head", "adapters", "decoder")
_ONLY = {"adapters": ("adapters", "head"), "lora": ("adapters", "head"), "head": ("head",)}


@dataclass(frozen=True, slots=True)
class Freezing:
    """The parameters that are ever trained, and those of them that wait until `until` updates are done."""

    trained: list[nn.Parameter]
    waiting: list[nn.Parameter]
    until: int

    @classmethod
    def of(cls, network: Network, module: nn.Module, config: TrainConfig) -> Freezing:
        """Reads the policy of `config`; ConfigError when it names a part that the network lacks.

        `module` is what is trained: the network and auxiliary heads, which always learn.
        """
        parts = network.parts()
        for part in config.freeze:
            if part not in parts:
                raise ConfigError(
                    f"this model has no part {part!r} to freeze", next_step="it has: " + ", ".join(sorted(parts))
                )
        if config.train_only in ("adapters", "lora") and not parts.get("adapters"):
            raise ConfigError(
                f"train_only={config.train_only} but this model has no adapters",
                next_step="use train_only=lora to add LoRA matrices, or train_only=all",
            )
        allowed = _ONLY.get(config.train_only)
        frozen = set(config.freeze) if allowed is None else {part for part in parts if part not in allowed}
        held = {id(p) for part in frozen for p in parts.get(part, [])}
        trained = [p for p in module.parameters() if id(p) not in held]
        learns = {id(p) for part in _AT_ONCE for p in parts.get(part, [])}
        outside = {id(p) for part in parts.values() for p in part}
        waiting = [p for p in trained if id(p) not in learns and id(p) in outside]
        until = config.freeze_encoder_updates
        for parameter in module.parameters():
            parameter.requires_grad_(id(parameter) not in held)
        return cls(trained, waiting if until else [], until)

    def without(self, parameters: Sequence[nn.Parameter]) -> Freezing:
        """The same policy with `parameters` never trained."""
        held = {id(p) for p in parameters}
        for parameter in parameters:
            parameter.requires_grad_(False)
        trained, waiting = ([p for p in some if id(p) not in held] for some in (self.trained, self.waiting))
        return replace(self, trained=trained, waiting=waiting)

    def moved(self, names: Mapping[int, str], module: nn.Module) -> Freezing:
        """The same policy after the parameters of `module` were replaced; `names` are those before, by identity."""
        found = dict(module.named_parameters(remove_duplicate=False))
        trained, waiting = ([found[names[id(p)]] for p in some] for some in (self.trained, self.waiting))
        return replace(self, trained=trained, waiting=waiting)

    def apply(self, update: int) -> None:
        """Lets the waiting weights join in once their time has come."""
        for parameter in self.waiting:
            parameter.requires_grad_(update >= self.until)
