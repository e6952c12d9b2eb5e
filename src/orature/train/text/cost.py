"""What the training of a translator takes on this machine, measured by a few updates on full batches.

Example::

    found = measure_translator(config, examples, text, device="cpu")
    print(found.sentence())
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from orature.core.progress import clock
from orature.train.text.architecture import from_nothing
from orature.train.text.config import TranslatorConfig
from orature.train.text.data import TextBatch, TextExample, TextLoader
from orature.train.text.loop import TextTrainer
from orature.train.text.vocabulary import TranslatorText
from orature.train.text.watch import TextWatcher

_TIMES = 3
_BYTES, _STATES = 4, 3
"""Of a trained weight: itself and AdamW's two moments."""


@dataclass(frozen=True, slots=True)
class TranslatorCost:
    """Seconds of an update and of the whole run; sizes in weights, tokens and bytes."""

    parameters: int
    updates: int
    update_tokens: int
    update_s: float
    seconds: float
    disk_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """For a person."""
        return (
            f"train-translator: about {clock(self.seconds)} on this machine for {self.updates} updates of some "
            f"{self.update_tokens} tokens ({self.update_s:.2f} s an update; evaluations not counted, early stop may "
            f"come before); {self.parameters / 1e6:.1f} M parameters; {self.disk_bytes / 1e6:.0f} MB of disk while it "
            "runs"
        )


def measure_translator(
    config: TranslatorConfig, examples: Sequence[TextExample], text: TranslatorText, *, device: str = "cpu"
) -> TranslatorCost:
    """Times updates on batches of middling length (the quickest of three) and scales them to the whole run."""
    loader = TextLoader(examples, text, config)
    batches = list(loader.plain(config.batch_tokens))
    middle = batches[len(batches) // 2]
    with tempfile.TemporaryDirectory() as folder:
        model = from_nothing(config, text)
        trainer = TextTrainer(model, text, loader, loader, config, Path(folder), TextWatcher(), device)
        spent = min(_timed(trainer, middle) for _ in range(_TIMES))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    update_s = spent * config.accumulate
    return TranslatorCost(
        parameters=parameters,
        updates=config.updates,
        update_tokens=middle.tokens * config.accumulate,
        update_s=round(update_s, 4),
        seconds=round(update_s * config.updates, 3),
        disk_bytes=_BYTES * parameters * (2 * _STATES + config.average),
    )


def _timed(trainer: TextTrainer, batch: TextBatch) -> float:
    began = time.perf_counter()
    trainer.update([batch])
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    return max(time.perf_counter() - began, math.ulp(1.0))
