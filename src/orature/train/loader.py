"""Batches of padded audio with their targets, read and augmented one batch ahead of the model.

Example::

    loader = Loader(examples, config, subsampling=4)
    for batch in loader.epoch(0): ...
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orature.core.types import RATE_HZ
from orature.data import audio
from orature.engines.ctc_decode import steps_needed
from orature.engines.features import WARPS, frames_of
from orature.train.augment import mask_spans_of, perturb
from orature.train.batches import Item, cut, plan_epoch
from orature.train.config import TrainConfig

Samples = npt.NDArray[np.float32]
_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Example:
    """A training or dev utterance with its target tokens."""

    id: str
    path: str
    start_s: float
    duration_s: float
    text: str
    tokens: tuple[int, ...]


@dataclass(slots=True)
class Batch:
    """Padded samples (B, S), lengths (B,), joined targets, target lengths (B,), and what augmentation drew."""

    items: list[Item]
    samples_BS: Tensor
    lengths_B: Tensor
    targets: Tensor
    target_lengths_B: Tensor
    warps_B: Tensor | None = None
    spans: tuple[Tensor, Tensor] | None = None

    @property
    def seconds(self) -> float:
        return float(self.lengths_B.sum()) / RATE_HZ


class AudioCache:
    """Decoded recordings as int16 in memory, the least recently used dropped beyond `limit_mb`."""

    def __init__(self, limit_mb: float = 1500.0) -> None:
        self._limit = int(limit_mb * 1e6)
        self._held: OrderedDict[str, npt.NDArray[np.int16]] = OrderedDict()
        self._bytes = 0

    def samples(self, example: Example) -> Samples:
        """float32 samples of shape (samples,)."""
        held = self._held.get(example.id)
        if held is None:
            held = self.put(example.id, audio.load(example.path, example.start_s, example.duration_s))
        else:
            self._held.move_to_end(example.id)
        return held.astype(np.float32) / np.float32(32768.0)

    def put(self, key: str, samples: Samples) -> npt.NDArray[np.int16]:
        """Keeps a recording under an utterance's id."""
        held = np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
        self._held[key] = held
        self._bytes += held.nbytes
        while self._bytes > self._limit and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return held


class Loader:
    """Makes the batches of an epoch; the same seed, epoch and utterance always give the same samples.

    `space` is the token between joined utterances.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        config: TrainConfig,
        *,
        subsampling: int,
        space: int | None = None,
    ) -> None:
        self.examples, self.config, self.subsampling, self.space = examples, config, subsampling, space
        self._cache = AudioCache()
        self._durations_s = [example.duration_s for example in examples]

    def plan(self, epoch: int) -> list[list[Item]]:
        """The batches of `epoch`."""
        augment = self.config.augment
        return plan_epoch(
            self._durations_s,
            seed=self.config.seed,
            epoch=epoch,
            batch_seconds=self.config.batch_seconds,
            speeds=augment.speeds or (1.0,),
            join_probability=augment.join_probability,
        )

    def epoch(self, epoch: int, *, skip: int = 0, masks: bool = True) -> Iterator[Batch]:
        """Batches of `epoch` after the first `skip`, prepared in a thread up to four ahead."""
        plan = self.plan(epoch)[skip:]
        with ThreadPoolExecutor(max_workers=1) as pool:
            waiting: list[Future[Batch]] = []
            for number, items in enumerate(plan):
                waiting.append(pool.submit(self.build, items, epoch, augment=True, masks=masks))
                if number + 1 >= _AHEAD:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

    def plain(self, batch_seconds: float) -> Iterator[Batch]:
        """All utterances without augmentation, for dev."""
        order = sorted(range(len(self.examples)), key=lambda i: self._durations_s[i])
        for items in cut([Item(i, 1.0, None, self._durations_s[i]) for i in order], batch_seconds):
            yield self.build(items, 0, augment=False)

    def build(self, items: list[Item], epoch: int, *, augment: bool, masks: bool = False) -> Batch:
        """One batch; an utterance that its speed makes too short for its labels keeps its own speed."""
        recordings, tokens, warps, time_spans, mel_spans = [], [], [], [], []
        for item in items:
            rng = np.random.default_rng([self.config.seed, epoch, 1, item.index])
            samples, labels = self._example(item, rng, augment)
            recordings.append(samples)
            tokens.append(labels)
            if augment:
                reach = self.config.augment.warp
                factor = rng.uniform(1 - reach, 1 + reach)
                warps.append(int(np.argmin(np.abs(np.asarray(WARPS) - factor))))
                drawn = mask_spans_of(frames_of(len(samples)), 80, rng, self.config.augment)
                time_spans.append(drawn[0])
                mel_spans.append(drawn[1])
        lengths = [len(samples) for samples in recordings]
        padded = np.zeros((len(items), max(lengths)), dtype=np.float32)
        for row, samples in zip(padded, recordings, strict=True):
            row[: len(samples)] = samples
        return Batch(
            items=items,
            samples_BS=torch.from_numpy(padded),
            lengths_B=torch.tensor(lengths),
            targets=torch.tensor([token for labels in tokens for token in labels], dtype=torch.long),
            target_lengths_B=torch.tensor([len(labels) for labels in tokens]),
            warps_B=torch.tensor(warps) if augment else None,
            spans=(torch.from_numpy(np.stack(time_spans)), torch.from_numpy(np.stack(mel_spans)))
            if augment and masks
            else None,
        )

    def _example(self, item: Item, rng: np.random.Generator, augment: bool) -> tuple[Samples, list[int]]:
        first = self.examples[item.index]
        samples, labels = self._cache.samples(first), list(first.tokens)
        if item.then is not None:
            second = self.examples[item.then]
            samples = np.concatenate([samples, self._cache.samples(second)])
            labels = [*labels, *([] if self.space is None else [self.space]), *second.tokens]
        if item.speed != 1.0 and self._fits(int(len(samples) / item.speed), labels):
            samples = audio.change_speed(samples, item.speed)
        if augment:
            samples = perturb(samples, rng, self.config.augment)
        return samples, labels

    def _fits(self, samples: int, labels: list[int]) -> bool:
        return frames_of(samples) // self.subsampling >= steps_needed(labels)
