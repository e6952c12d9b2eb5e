"""How fast this machine trains: a few updates on noise, before a long run says what it will cost.

Example::

    print(f"{training_speed(TrainConfig()):.0f} audio seconds a second")
"""

from __future__ import annotations

import time

import torch

from orature.core.types import RATE_HZ
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.train.config import TrainConfig
from orature.train.loop import optimiser_for

_VOCABULARY = 40
_UPDATES = 3
_CLIP_S = 4.0


def training_speed(config: TrainConfig, device: str = "cpu") -> float:
    """Audio seconds that pass through training a second of wall time (reading and evaluation left out)."""
    state = torch.random.get_rng_state()
    subsampling = 4 if config.subsampling == "auto" else config.subsampling
    model = ConformerCtc(ConformerConfig.of_size(config.size, vocabulary=_VOCABULARY, subsampling=subsampling)).to(
        device
    )
    optimiser = optimiser_for(model, config)
    clips = max(1, round(config.batch_seconds / _CLIP_S))
    samples_BS = 0.1 * torch.randn(clips, int(_CLIP_S * RATE_HZ), device=device)
    lengths_B = torch.full((clips,), samples_BS.shape[1], device=device)
    best_s = float("inf")
    for _ in range(_UPDATES):
        began = time.perf_counter()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.precision == "bf16"):
            logits_BTV, _ = model(samples_BS, lengths_B)
        loss = logits_BTV.float().log_softmax(dim=-1).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        best_s = min(best_s, time.perf_counter() - began)
    torch.random.set_rng_state(state)
    return clips * _CLIP_S / best_s
