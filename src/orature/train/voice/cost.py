"""What the training of a voice takes on this machine, measured by a few updates on noise.

Example::

    found = measure_voice(made, config, device="cpu")
    print(found.seconds, found.sentence())
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from orature.core.progress import clock
from orature.train.voice.architecture import MadeVoice
from orature.train.voice.config import VoiceConfig
from orature.train.voice.data import VoiceLoader
from orature.train.voice.generator import VoiceBatch
from orature.train.voice.loop import VoiceTrainer
from orature.train.voice.spectrograms import linear_spectrogram
from orature.train.voice.watch import VoiceWatcher

_CLIP_S, _MOST_CLIPS = 4.0, 4
_TOKENS_S = 20
_BYTES = 4
_STATES = 3
"""Of a trained weight: itself and AdamW's two moments."""


@dataclass(frozen=True, slots=True)
class VoiceCost:
    """Seconds of an update before and with the discriminators, and of the whole run; sizes in bytes and weights."""

    parameters: int
    discriminator_parameters: int
    updates: int
    batch_seconds: float
    plain_update_s: float
    adversarial_update_s: float
    seconds: float
    disk_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """For a person."""
        return (
            f"train-voice: about {clock(self.seconds)} on this machine for {self.updates} updates of "
            f"{self.batch_seconds:.0f} s ({self.plain_update_s:.2f} s an update, {self.adversarial_update_s:.2f} s "
            f"with discriminators; evaluations not counted, early stop may come before); {self.parameters / 1e6:.1f} M "
            f"parameters and {self.discriminator_parameters / 1e6:.1f} M of discriminators; "
            f"{self.disk_bytes / 1e6:.0f} MB of disk while it runs"
        )


def measure_voice(made: MadeVoice, config: VoiceConfig, *, device: str = "cpu") -> VoiceCost:
    """Times one update of each kind on at most 16 s of noise (the quicker of two) and scales it to a whole batch."""
    clips = max(1, min(_MOST_CLIPS, int(config.batch_seconds / _CLIP_S)))
    batch = _noise(made, clips).to(device)
    with tempfile.TemporaryDirectory() as folder:
        nothing = VoiceLoader([], made.shape, config, several=False)
        trainer = VoiceTrainer(made, nothing, nothing, config, Path(folder), VoiceWatcher(), device, None)
        begin = trainer.heard_from + config.discriminator_warmup
        plain = _timed(trainer, batch, trainer.warmup)
        adversarial = _timed(trainer, batch, begin) if trainer.judging else plain
        judges = sum(parameter.numel() for parameter in trainer.judging)
    scale = config.batch_seconds / (clips * _CLIP_S)
    before = min(config.updates, trainer.heard_from if trainer.judging else config.updates)
    seconds = scale * (before * plain + (config.updates - before) * adversarial)
    return VoiceCost(
        parameters=made.parameters,
        discriminator_parameters=judges,
        updates=config.updates,
        batch_seconds=config.batch_seconds,
        plain_update_s=round(plain * scale, 4),
        adversarial_update_s=round(adversarial * scale, 4),
        seconds=round(seconds, 1),
        disk_bytes=_BYTES * (2 * _STATES * (made.parameters + judges) + made.parameters),
    )


def _timed(trainer: VoiceTrainer, batch: VoiceBatch, update: int) -> float:
    spent = math.inf
    for _ in range(2):
        trainer.progressed.update = update
        began = time.perf_counter()
        trainer.update(batch)
        if batch.samples_BS.is_cuda:
            torch.cuda.synchronize()
        spent = min(spent, time.perf_counter() - began)
    return spent


def _noise(made: MadeVoice, clips: int) -> VoiceBatch:
    shape = made.shape
    frames = int(_CLIP_S * shape.rate_hz) // shape.hop
    tokens = min(frames, int(_CLIP_S * _TOKENS_S))
    drawn = torch.Generator().manual_seed(1)
    samples_BS = 0.1 * torch.randn(clips, frames * shape.hop, generator=drawn)
    return VoiceBatch(
        ids=tuple(str(number) for number in range(clips)),
        tokens_BT=torch.randint(0, len(made.text), (clips, tokens), generator=drawn),
        tokens_B=torch.full((clips,), tokens),
        linear_BKF=linear_spectrogram(samples_BS, shape),
        frames_B=torch.full((clips,), frames),
        samples_BS=samples_BS,
        speakers_B=torch.zeros(clips, dtype=torch.long) if len(made.speakers) > 1 else None,
    )
