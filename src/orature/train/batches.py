"""Which utterances go into which batch: by seconds of audio, neighbours in length together, new every epoch.

Example::

    for batch in plan_epoch(durations_s, config, epoch=3):
        for item in batch: print(item.index, item.speed)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

Made = TypeVar("Made")

_JITTER = 0.02
_PADDING = 0.04
_FULL = 1 / 3


@dataclass(frozen=True, slots=True)
class Item:
    """One training example: utterance `index` at `speed`, followed by utterance `then` when joined."""

    index: int
    speed: float
    then: int | None
    duration_s: float
    """After the change of speed and the joining."""
    copy: int = 0
    """Counts the times that this utterance has been drawn before in the same epoch."""


def plan_epoch(
    durations_s: Sequence[float],
    *,
    seed: int,
    epoch: int,
    batch_seconds: float,
    speeds: Sequence[float] = (1.0,),
    join_probability: float = 0.0,
    chosen: Sequence[int] | None = None,
) -> list[list[Item]]:
    """Every utterance once (or those of `chosen`, some of them repeatedly), in batches of so many padded seconds.

    A batch is never longer than that, unless one utterance is, which then stands alone.

    Lengths are jittered by 2 % before they are sorted, so that batches differ from epoch to epoch while padding stays
    below 5 %; the order of the batches is random. The same arguments give the same plan.
    """
    rng = np.random.default_rng([seed, epoch, 0])
    indices = list(range(len(durations_s))) if chosen is None else list(chosen)
    count = len(indices)
    drawn = rng.choice(np.asarray(speeds), size=count)
    partners = rng.permutation(count)
    joined = rng.random(count) < join_probability
    jitter = rng.uniform(1 - _JITTER, 1 + _JITTER, size=count)
    items = []
    seen: Counter[int] = Counter()
    for place, index in enumerate(indices):
        speed = float(drawn[place])
        partner = indices[int(partners[place])]
        then = partner if joined[place] and partner != index else None
        length = durations_s[index] + (durations_s[then] if then is not None else 0.0)
        items.append(Item(index, speed, then, length / speed, seen[index]))
        seen[index] += 1
    order = np.argsort(np.array([item.duration_s for item in items]) * jitter, kind="stable")
    batches = cut([items[i] for i in order], batch_seconds)
    return [batches[i] for i in rng.permutation(len(batches))]


def cut(items: Sequence[Item], batch_seconds: float) -> list[list[Item]]:
    """Cuts a sorted list into batches so that number x longest stays within `batch_seconds`.

    A batch that is at least a third full is closed early where the next item would bring its padding above 4 %.
    """
    batches: list[list[Item]] = []
    longest = real = 0.0
    for item in items:
        padded = (len(batches[-1]) + 1) * max(longest, item.duration_s) if batches else 0.0
        wasteful = real + item.duration_s < (1 - _PADDING) * padded and real > _FULL * batch_seconds
        if not batches or padded > batch_seconds or wasteful:
            batches.append([])
            longest = real = 0.0
        batches[-1].append(item)
        longest = max(longest, item.duration_s)
        real += item.duration_s
    return batches


def divided(items: Sequence[Item], parts: int) -> list[list[Item]]:
    """A batch in so many parts of about the same seconds, neighbours in length together; some may be empty."""
    if parts == 1:
        return [list(items)]
    total = sum(item.duration_s for item in items)
    shares: list[list[Item]] = [[] for _ in range(parts)]
    before = 0.0
    for item in items:
        middle = before + item.duration_s / 2
        shares[min(parts - 1, int(parts * middle / total))].append(item)
        before += item.duration_s
    return shares


def padding_share(batches: Sequence[Sequence[Item]]) -> float:
    """Share of padded seconds that hold no audio."""
    padded = sum(len(batch) * max(item.duration_s for item in batch) for batch in batches)
    real = sum(item.duration_s for batch in batches for item in batch)
    return 1.0 - real / padded if padded else 0.0


def grouped(batches: Iterable[Made], size: int) -> Iterator[list[Made]]:
    """Groups of `size` batches; a shorter last one still makes an update."""
    rest = iter(batches)
    while group := list(islice(rest, size)):
        yield group
