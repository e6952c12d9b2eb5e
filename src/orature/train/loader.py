"""Batches of padded audio with their targets, read and augmented one batch ahead of the model.

Example::

    loader = Loader(examples, config, steps=network.steps)
    for batch in loader.epoch(0): ...
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import gcd, inf

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orature.core.types import RATE_HZ, Origin
from orature.data import audio
from orature.engines.ctc_decode import steps_needed
from orature.engines.features import WARPS, frames_of
from orature.train.augment import mask_spans_of, perturb, stack_spans
from orature.train.batches import Item, cut, divided, plan_epoch
from orature.train.config import TrainConfig
from orature.train.mixing import Group, Role, draw_epoch
from orature.train.rooms import Rooms
from orature.train.speech import Asked, SpeechSource, Spoken
from orature.train.speech_effects import clipped, with_bed

Samples = npt.NDArray[np.float32]
CACHE_MB = 1500.0
"""Memory for decoded recordings on a machine."""
_AHEAD = 4
_NOTHING = RATE_HZ // 2
"""Samples of silence without labels that stand for speech that is not to be trained on."""


@dataclass(frozen=True, slots=True)
class Example:
    """A training or dev utterance with its target tokens."""

    id: str
    path: str
    start_s: float
    duration_s: float
    text: str
    tokens: tuple[int, ...]
    language: str = "und"
    source: str = ""
    origin: Origin = "real"
    role: Role = "target"
    """Rehearsal rows keep old languages alive in training; on dev they only stand guard."""
    spoken: Spoken | None = None
    """What is to be spoken when it is needed, in place of the recording at `path`; `duration_s` is then predicted."""


@dataclass(slots=True)
class Batch:
    """Padded samples (B, S), lengths (B,), joined targets, target lengths (B,), and what augmentation drew.

    `draws` has a number for each utterance from which a task may draw more; it follows from (seed, epoch, utterance).
    """

    items: list[Item]
    samples_BS: Tensor
    lengths_B: Tensor
    targets: Tensor
    target_lengths_B: Tensor
    languages: list[str]
    warps_B: Tensor | None = None
    spans: tuple[Tensor, Tensor] | None = None
    draws: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return float(self.lengths_B.sum()) / RATE_HZ


@dataclass(frozen=True, slots=True)
class Planned:
    """A batch of the plan in the pieces that are computed at once, those of this process with their numbers."""

    seconds: float
    pieces: list[tuple[int, Batch]]
    counts: tuple[int, ...] = (1,)
    """How many pieces each process has."""


def _planned(items: list[Item], counts: tuple[int, ...], future: Future[list[tuple[int, Batch]]]) -> Planned:
    return Planned(_seconds(items), future.result(), counts)


def _seconds(items: Sequence[Item]) -> float:
    return sum(item.duration_s for item in items)


def halves(batch: Batch) -> list[Batch]:
    """The batch in two, for less memory; one of a single utterance as it is."""
    middle = len(batch.items) // 2
    return [batch] if middle == 0 else [_rows(batch, 0, middle), _rows(batch, middle, len(batch.items))]


def _rows(batch: Batch, first: int, past: int) -> Batch:
    lengths_B = batch.lengths_B[first:past]
    before, labels = int(batch.target_lengths_B[:first].sum()), int(batch.target_lengths_B[first:past].sum())
    return Batch(
        items=batch.items[first:past],
        samples_BS=batch.samples_BS[first:past, : int(lengths_B.max())],
        lengths_B=lengths_B,
        targets=batch.targets[before : before + labels],
        target_lengths_B=batch.target_lengths_B[first:past],
        languages=batch.languages[first:past],
        warps_B=None if batch.warps_B is None else batch.warps_B[first:past],
        spans=None if batch.spans is None else (batch.spans[0][first:past], batch.spans[1][first:past]),
        draws=batch.draws[first:past],
    )


class AudioCache:
    """Decoded recordings as int16 in memory, the least recently used dropped beyond `limit_mb`."""

    def __init__(self, limit_mb: float = CACHE_MB) -> None:
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
        return _as_float(held)

    def holds(self, key: str) -> bool:
        """Whether an utterance is kept."""
        return key in self._held

    def put(self, key: str, samples: Samples) -> npt.NDArray[np.int16]:
        """Keeps a recording under an utterance's id."""
        held = np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
        self._held[key] = held
        self._bytes += held.nbytes
        while self._bytes > self._limit and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return held


def _as_float(held: npt.NDArray[np.int16]) -> Samples:
    return held.astype(np.float32) / np.float32(32768.0)


class Loader:
    """Makes the batches of an epoch; the same seed, epoch and utterance always give the same samples.

    `steps` tells how many output steps a number of samples gives (CTC needs one a label; None: no such bound), `space`
    are the tokens between joined utterances, `mask_bins` what frequency masks choose from. `micro_seconds` bounds what
    is computed at once: a longer batch is cut up, which changes memory and nothing else. `speech` speaks the examples
    that have no recording.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        config: TrainConfig,
        *,
        steps: Callable[[int], int] | None = None,
        space: Sequence[int] = (),
        mask_bins: int = 80,
        micro_seconds: float | None = None,
        cache_mb: float = CACHE_MB,
        speech: SpeechSource | None = None,
    ) -> None:
        self.speech = speech
        self._fresh: dict[tuple[int, int], Samples | None] = {}
        self._babble: list[Samples] = []
        self.examples, self.config, self.steps, self.space = examples, config, steps, tuple(space)
        self.mask_bins, self.micro_seconds = mask_bins, micro_seconds
        self._cache = AudioCache(cache_mb)
        self._durations_s = [example.duration_s for example in examples]
        self._rooms = Rooms(config.seed, config.augment)
        self._groups = [Group(e.language, e.source, e.origin, e.role) for e in examples]

    def close(self) -> None:
        """Ends what speaks, and says what it has delivered."""
        if self.speech is not None:
            self.speech.close()

    def plan(self, epoch: int) -> list[list[Item]]:
        """The batches of `epoch`."""
        augment, mix = self.config.augment, self.config.mix
        chosen = draw_epoch(self._durations_s, self._groups, mix, self.config.seed, epoch)
        return plan_epoch(
            self._lengths_s(epoch),
            seed=self.config.seed,
            epoch=epoch,
            batch_seconds=self.config.batch_seconds,
            speeds=augment.speeds or (1.0,),
            join_probability=augment.join_probability,
            chosen=chosen,
        )

    def epoch(
        self, epoch: int, *, skip: int = 0, masks: bool = True, part: tuple[int, int] = (0, 1)
    ) -> Iterator[Planned]:
        """Batches of `epoch` after the first `skip`, prepared in a thread up to four ahead.

        With several processes (`part` is (this one, how many)) the `accumulate` batches of an update are shared out
        evenly, cut up where they are fewer than the processes; a process reads the audio of its share only.
        """
        plan = self.plan(epoch)[skip:]
        with ThreadPoolExecutor(max_workers=1) as pool:
            waiting: list[tuple[list[Item], tuple[int, ...], Future[list[tuple[int, Batch]]]]] = []
            for number, items in enumerate(plan):
                shares = self._shares(items, number % self.config.accumulate, part[1])
                work = partial(self._pieces, shares[part[0]], epoch, masks)
                waiting.append((items, tuple(map(len, shares)), pool.submit(work)))
                if number + 1 >= _AHEAD:
                    yield _planned(*waiting.pop(0))
            for one in waiting:
                yield _planned(*one)

    def _shares(self, items: list[Item], place: int, processes: int) -> list[list[tuple[int, list[Item]]]]:
        """The numbered pieces of batch `place` of an update, by process."""
        parts = processes // gcd(self.config.accumulate, processes)
        shares: list[list[tuple[int, list[Item]]]] = [[] for _ in range(processes)]
        number = 0
        for part, piece in enumerate(divided(items, parts)):
            for cut_up in cut(piece, self.micro_seconds or inf):
                shares[(place * parts + part) % processes].append((number, cut_up))
                number += 1
        return shares

    def _pieces(self, share: list[tuple[int, list[Item]]], epoch: int, masks: bool) -> list[tuple[int, Batch]]:
        return [(number, self.build(items, epoch, augment=True, masks=masks)) for number, items in share]

    def one(self, index: int) -> Batch:
        """A batch of one utterance as it is."""
        return self.build([Item(index, 1.0, None, self._durations_s[index])], 0, augment=False)

    def plain(self, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """All utterances (of every n-th batch from the i-th on, for `part` (i, n)) without augmentation, for dev."""
        order = sorted(range(len(self.examples)), key=lambda i: self._durations_s[i])
        batches = cut([Item(i, 1.0, None, self._durations_s[i]) for i in order], batch_seconds)
        for items in batches[part[0] :: part[1]]:
            yield self.build(items, 0, augment=False)

    def build(self, items: list[Item], epoch: int, *, augment: bool, masks: bool = False) -> Batch:
        """One batch; an utterance that its speed makes too short for its labels keeps its own speed."""
        began = time.thread_time()
        recordings, tokens, warps, time_spans, mel_spans = [], [], [], [], []
        draws: list[int] = []
        self._speak(items, epoch, augment)
        for item in items:
            place = [item.index, item.copy] if item.copy else [item.index]
            rng = np.random.default_rng([self.config.seed, epoch, 1, *place])
            samples, labels = self._example(item, rng, augment)
            recordings.append(samples)
            tokens.append(labels)
            if augment:
                reach = self.config.augment.warp
                factor = rng.uniform(1 - reach, 1 + reach)
                warps.append(int(np.argmin(np.abs(np.asarray(WARPS) - factor))))
                drawn = mask_spans_of(frames_of(len(samples)), self.mask_bins, rng, self.config.augment)
                time_spans.append(drawn[0])
                mel_spans.append(drawn[1])
                draws.append(int(rng.integers(2**62)))
        if self.speech is not None:
            self.speech.heard.effects_s += time.thread_time() - began
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
            languages=[self.examples[item.index].language for item in items],
            spans=(torch.from_numpy(stack_spans(time_spans)), torch.from_numpy(stack_spans(mel_spans)))
            if augment and masks
            else None,
            draws=draws,
        )

    def tokens(self, index: int) -> list[int]:
        """The target of an utterance."""
        return list(self.examples[index].tokens)

    def _lengths_s(self, epoch: int) -> list[float]:
        """What is predicted of each utterance in `epoch`, in seconds."""
        if self.speech is None:
            return self._durations_s
        rates = self.speech.rates(len(self.examples), epoch)
        return [
            seconds if example.spoken is None else seconds / rate
            for seconds, example, rate in zip(self._durations_s, self.examples, rates.tolist(), strict=True)
        ]

    def _speak(self, items: Sequence[Item], epoch: int, vary: bool) -> None:
        """Has all that a batch needs spoken at once; what never varies is kept."""
        self._fresh = {}
        if self.speech is None:
            return
        if vary and not self._babble and self.config.augment.babble_probability > 0:
            self._babble = self.speech.babble(self.examples)
        wanted = dict.fromkeys(
            (index, item.copy) for item in items for index in (item.index, item.then) if index is not None
        )
        asked = [Asked(self.examples[index], index, epoch, copy) for index, copy in wanted]
        asked = [one for one in asked if one.example.spoken and not (not vary and self._cache.holds(one.example.id))]
        spoken = self.speech.speak(asked, count=len(self.examples), vary=vary)
        for one, samples in zip(asked, spoken, strict=True):
            if samples is not None and not vary:
                samples = _as_float(self._cache.put(one.example.id, samples))
            self._fresh[one.index, one.copy] = samples

    def _samples(self, index: int, copy: int, rng: np.random.Generator) -> Samples | None:
        """A recording, or what was spoken for it; None where that is not to be trained on."""
        example = self.examples[index]
        if example.spoken is None or (index, copy) not in self._fresh:
            return self._cache.samples(example)
        samples = self._fresh[index, copy]
        if samples is None or self.speech is None or example.spoken.speaker is not None:
            return samples
        config = self.speech.config
        if rng.random() < config.bed_probability:
            samples = with_bed(samples, config.bed_snr_db, rng)
        return clipped(samples, rng) if rng.random() < config.clip_probability else samples

    def _example(self, item: Item, rng: np.random.Generator, augment: bool) -> tuple[Samples, list[int]]:
        first = self.examples[item.index]
        samples, labels = self._samples(item.index, item.copy, rng), self.tokens(item.index)
        if samples is None or (first.spoken is not None and not self._fits(len(samples), labels)):
            return np.zeros(_NOTHING, np.float32), []
        second = first if item.then is None else self.examples[item.then]
        if item.then is not None and second.language == first.language:
            more = self._samples(item.then, item.copy, rng)
            if more is not None:
                samples = np.concatenate([samples, more])
                other = self.tokens(item.then)
                labels = [*labels, *(self.space if labels and other else ()), *other]
        if item.speed != 1.0 and self._fits(int(len(samples) / item.speed), labels):
            samples = audio.change_speed(samples, item.speed)
        if augment:
            samples = perturb(samples, rng, self.config.augment, rooms=self._rooms, voice=self._voice)
        return samples, labels

    def _voice(self, rng: np.random.Generator) -> Samples:
        """Another training utterance, for babble."""
        index = int(rng.integers(len(self.examples)))
        if self.examples[index].spoken is not None and self._babble:
            return self._babble[index % len(self._babble)]
        return self._cache.samples(self.examples[index])

    def _fits(self, samples: int, labels: list[int]) -> bool:
        return self.steps is None or self.steps(samples) >= steps_needed(labels)
