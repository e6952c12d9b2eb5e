"""How much is computed at once: what fits into memory is measured before a long run, and halved where it did not fit.

A forward and a backward pass of two sizes tell what a second of audio costs (memory grows with the seconds by a line);
the rest is arithmetic. On a GPU the size found is tried out once, and an update that runs out of memory all the same is
computed again in halves. None of this changes what is learnt: gradients are sums over utterances.

Example::

    micro_seconds = fitting_seconds(learner, train_loader, freezing, parallel)   # None: a whole batch fits
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from orature.core.errors import TrainingFailed
from orature.core.progress import say
from orature.core.types import RATE_HZ
from orature.train.batches import Item
from orature.train.freezing import Freezing
from orature.train.learner import Learner
from orature.train.loader import CACHE_MB, Batch, Loader, halves
from orature.train.parallel import Parallel

MARGIN = 0.8
"""So much of the free memory is planned with."""
_PROBE_S = 10.0
_SLOTS = 2
"""Tensors that AdamW holds for each trained weight, in fp32; gradients are measured."""
_LONG_STEP = (
    "leave the longest utterances out or cut them up, take a smaller model, train less of it (--set train_only=lora), "
    "or share it over several GPUs (--sharding fsdp)"
)
_PROC = Path("/proc/self")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


class MemoryRanOut(TrainingFailed):
    """A GPU's memory ran out with several processes at work; they start again with `most_s` at once."""

    most_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of a training step beside the weights themselves, in bytes: gradients and activations as measured."""

    fixed: float
    per_second: float
    optimiser: float

    def of(self, seconds: float) -> float:
        """Bytes when so many seconds are computed at once."""
        return self.fixed + self.optimiser + self.per_second * seconds

    def fits(self, free: float) -> float:
        """Seconds that may be computed at once in `free` bytes."""
        return max(0.0, free - self.fixed - self.optimiser) / max(self.per_second, 1.0)


def padded_seconds(batch: Batch) -> float:
    return batch.samples_BS.numel() / RATE_HZ


def small_enough(batch: Batch, most_s: float) -> list[Batch]:
    """The batch, halved until no part has more than `most_s` padded seconds or it holds one utterance only."""
    if padded_seconds(batch) <= most_s or len(batch.items) == 1:
        return [batch]
    return [part for half in halves(batch) for part in small_enough(half, most_s)]


def after_running_out(pieces: Sequence[Batch], most_s: float, error: BaseException, *, alone: bool) -> float:
    """The seconds to go on with after a GPU's memory ran out: half of what was computed at once.

    TrainingFailed when single utterances do not fit; MemoryRanOut where several processes have to begin anew.
    """
    largest = max((part for piece in pieces for part in small_enough(piece, most_s)), key=padded_seconds)
    if len(largest.items) == 1:
        raise TrainingFailed(
            f"one utterance of {padded_seconds(largest):.0f} s does not fit into the GPU's memory",
            next_step=_LONG_STEP,
        ) from error
    half = padded_seconds(largest) / 2
    if alone:
        return half
    ran_out = MemoryRanOut(f"the GPU's memory ran out with {2 * half:.0f} s at once", next_step=_LONG_STEP)
    ran_out.most_s = half
    raise ran_out from error


def release() -> None:
    """Gives memory that was freed back to the system: C's allocator holds on to it, and after batches of many lengths
    that is several times what is in use. Linux with glibc only; elsewhere only Python's garbage goes.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def free_bytes(device: torch.device) -> float | None:
    """Memory that this process may still take; None where that cannot be known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type != "cpu":
        return None
    found = [limit for limit in (_machine_free(), _group_free()) if limit is not None]
    return min(found) if found else None


def free_on(device: str) -> float | None:
    """Memory that a training on a device named so may take; None where that cannot be known."""
    return free_bytes(torch.device(device))


def _machine_free() -> float | None:
    return _table(_MEMINFO).get("MemAvailable")


def _group_free() -> float | None:
    """What a container's limit leaves (cgroup version 2, then 1); the file cache can be had back."""
    for folder, limit, used, cache in (
        (_CGROUP, "memory.max", "memory.current", "inactive_file"),
        (_CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, now = _number(folder / limit), _number(folder / used)
        if most is not None and now is not None and most < 2**60:
            return most - now + _table(folder / "memory.stat").get(cache, 0.0)
    return None


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _table(path: Path) -> dict[str, float]:
    """Lines of a name and a number in bytes (or with a unit of kB)."""
    found = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            found[words[0]] = float(words[1]) * (1024 if words[-1] == "kB" else 1)
    return found


def peak_bytes(work: Callable[[], None], device: torch.device) -> float | None:
    """The most memory that this process held during `work`, above what it held before; None where nobody can tell.

    On a GPU what was allocated there; on a CPU the resident memory, which only Linux tells.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return float(torch.cuda.max_memory_allocated(device) - before)
    try:
        (_PROC / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    work()
    return _table(_PROC / "status").get("VmHWM")


def footprint(
    learner: Learner,
    freezing: Freezing,
    batches: tuple[Batch, Batch],
    parallel: Parallel,
    wrapped: nn.Module | None = None,
) -> Footprint | None:
    """What a step costs, from a pass over a small and over a larger batch; None where memory cannot be measured.

    Where the larger one might not fit, the small one alone is taken for proportional.
    """
    release()
    freezing.apply(freezing.until)
    free = free_bytes(parallel.device) or math.inf
    resident = 0.0 if parallel.device.type == "cuda" else _table(_PROC / "status").get("VmRSS", 0.0)
    few, many = (padded_seconds(batch) for batch in batches)
    with _untouched(learner.module):
        if parallel.device.type == "cuda":
            _step(learner, batches[0], parallel, wrapped)  # CUDA's libraries take their own memory once
        small = _peak(learner, batches[0], parallel, wrapped)
        if small is None:
            return None
        tight = parallel.sum([float((small - resident) * 1.5 * many / few > free / parallel.processes)])[0] > 0
        large = None if tight else _peak(learner, batches[1], parallel, wrapped)
    per_second = (small - resident) / few if large is None else max(large - small, 0.0) / (many - few)
    shares = parallel.processes if parallel.sharded else 1
    trained = sum(p.numel() for p in freezing.trained)
    return Footprint(
        fixed=max(small - resident - per_second * few, 4.0 * trained / shares),
        per_second=per_second,
        optimiser=4.0 * _SLOTS * trained / shares,
    )


def _peak(learner: Learner, batch: Batch, parallel: Parallel, wrapped: nn.Module | None) -> float | None:
    for parameter in learner.module.parameters():
        parameter.grad = None
    release()
    return peak_bytes(partial(_step, learner, batch, parallel, wrapped), parallel.device)


def _step(learner: Learner, batch: Batch, parallel: Parallel, wrapped: nn.Module | None) -> None:
    learner.module.train()
    with parallel.autocast():
        losses = learner.loss(batch, wrapped)
    losses.total.backward()  # type: ignore[no-untyped-call]


@contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """Buffers, random state and gradients are afterwards as before."""
    buffers = {name: value.detach().clone() for name, value in module.named_buffers()}
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        with torch.no_grad():
            for name, value in module.named_buffers():
                if name in buffers and value.shape == buffers[name].shape:
                    value.copy_(buffers[name])
        for parameter in module.parameters():
            parameter.grad = None


def fitting_seconds(
    learner: Learner, train: Loader, freezing: Freezing, parallel: Parallel, wrapped: nn.Module | None = None
) -> float | None:
    """The seconds that may be computed at once; None: as many as a batch has. Said aloud where it is fewer.

    The longest utterances are tried. TrainingFailed when not even one of them fits on a GPU.
    """
    free = free_bytes(parallel.device)
    items = max(train.plan(0), key=lambda batch: max(item.duration_s for item in batch))
    longest = max(items, key=lambda item: item.duration_s)
    wanted = longest.duration_s * max(1, int(train.config.batch_seconds / longest.duration_s))
    if free is None:
        return None
    few = max(1, round(_PROBE_S / longest.duration_s))
    batches = (_repeated(train, longest, few), _repeated(train, longest, 2 * few))
    try:
        found = footprint(learner, freezing, batches, parallel, wrapped)
    except torch.OutOfMemoryError:
        found = Footprint(free, 0.0, 0.0)
    if found is None:
        return None
    usable = MARGIN * free
    if parallel.device.type == "cpu":
        usable = (usable - _cached(train)) / parallel.processes
    fits = parallel.least(found.fits(usable))
    if parallel.device.type == "cuda":

        def work(count: int) -> None:
            with _untouched(learner.module):
                _step(learner, _repeated(train, longest, count), parallel, wrapped)

        fits = parallel.least(_tried(work, longest.duration_s, min(fits, wanted)))
    if fits >= wanted:
        return None
    seconds = max(fits, longest.duration_s)
    if parallel.first:
        _tell(found, seconds, longest.duration_s, fits, free)
    return seconds


def _repeated(train: Loader, item: Item, count: int) -> Batch:
    """The same utterance so many times."""
    return train.build([item] * count, 0, augment=False)


def _cached(train: Loader) -> float:
    """Bytes that decoded recordings will take."""
    return min(CACHE_MB * 1e6, sum(2.0 * RATE_HZ * example.duration_s for example in train.examples))


def _tried(work: Callable[[int], None], longest_s: float, seconds: float) -> float:
    """`seconds`, or what is left after halving until a pass over so much goes through on the GPU."""
    count = max(1, int(seconds / longest_s))
    while True:
        try:
            work(count)
            return seconds
        except torch.OutOfMemoryError as error:
            if count == 1:
                raise TrainingFailed(
                    f"one utterance of {longest_s:.0f} s does not fit into the GPU's memory", next_step=_LONG_STEP
                ) from error
        torch.cuda.empty_cache()
        count //= 2
        seconds = count * longest_s


def _tell(found: Footprint, seconds: float, longest_s: float, fits: float, free: float) -> None:
    what = f"{free / 1e9:.1f} GB are free, a second of audio takes about {found.per_second / 1e6:.0f} MB"
    if fits < longest_s:
        need = found.of(longest_s) / 1e9
        say(
            f"train: memory is tight: {what}, and the longest utterance ({longest_s:.0f} s) about {need:.1f} GB; "
            f"one utterance is computed at a time. To be safe: {_LONG_STEP}"
        )
    else:
        say(f"train: at most {seconds:.0f} s are computed at once ({what}); the results are the same")
