"""Starts a training job: in this process, or in several (one a GPU, or gloo on CPUs) that share every update out.

A worker that fails takes its error to the user as the sentence it is; when one dies, when Ctrl-C comes, or when this
process is killed, all of them end, and the same command goes on from the last checkpoint.

Example::

    ended = train_job(job, made, Spread(processes=2), Place(state=Path("state"), logs=Path("logs")))
"""

from __future__ import annotations

import io
import multiprocessing
import os
import socket
import warnings
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import distributed

from orature.core.errors import ConfigError, OratureError, TrainingFailed, WorkFailed
from orature.core.processes import end_children, follow_parent, interrupts_held
from orature.core.progress import Progress, say
from orature.train import checkpoint
from orature.train.devices import usable_cores
from orature.train.job import Job, Made
from orature.train.loader import Loader
from orature.train.loop import Outcome, fit
from orature.train.memory import MemoryRanOut
from orature.train.parallel import Parallel, Sharding
from orature.train.watch import Watcher

_HOST = "127.0.0.1"
_GRACE_S = 2.0
_RESTARTS = 8


@dataclass(frozen=True, slots=True)
class Spread:
    """How a run is computed, which changes nothing of what it computes."""

    device: str = "cpu"
    threads: int | None = None
    processes: int = 1
    sharding: Sharding = "none"
    micro_seconds: float | None = None
    """What is computed at once; None: measured."""

    def check(self) -> None:
        """ConfigError where this machine or this combination cannot do it."""
        kind = torch.device(self.device).type
        if self.sharding != "none" and self.processes == 1:
            raise ConfigError("one process has nobody to share with", next_step="add --processes, or leave --sharding")
        if self.processes == 1 or self.device == "cpu":
            return
        here = torch.cuda.device_count() if kind == "cuda" else 1
        if self.device != "cuda" or self.processes > here:
            raise ConfigError(
                f"{self.processes} processes cannot run on {self.device!r} (here: {here})",
                next_step=f"use --device cuda --processes {here}, or --device cpu",
            )

    def threads_each(self) -> int:
        return max(1, (self.threads or usable_cores()) // self.processes)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run keeps its checkpoints and curves, and what it shows."""

    state: Path
    logs: Path | None = None
    progress: bool = True
    score_start: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run ended with, and its speed."""

    outcome: Outcome
    audio_s_per_s: float


def train_job(job: Job, made: Made, spread: Spread, place: Place) -> Ended:
    """Trains; afterwards `made` holds the chosen weights. Called again after a crash, it goes on."""
    spread.check()
    place.state.mkdir(parents=True, exist_ok=True)
    if spread.processes == 1:
        parallel = Parallel(device=spread.device, precision=job.config.precision)
        return _fit(job, made, spread, place, parallel)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    most_s = spread.micro_seconds
    for _ in range(_RESTARTS):
        ended = _together(job, replace(spread, micro_seconds=most_s), place)
        if isinstance(ended, Ended):
            made.learner.module.to("cpu")
            checkpoint.load_weights(made.learner.module, load_file(_chosen(place)))
            return ended
        most_s = ended
        say(f"train: a GPU's memory ran out; all processes go on with at most {most_s:.0f} s at once each")
    raise TrainingFailed("the GPUs' memory runs out again and again", next_step="give --processes more GPUs")


def _fit(job: Job, made: Made, spread: Spread, place: Place, parallel: Parallel) -> Ended:
    train, dev = job.loaders(made, spread.micro_seconds, processes=parallel.processes)
    quiet = not (place.progress and parallel.first)
    with Progress("train", total=job.config.updates, unit="updates", stream=io.StringIO() if quiet else None) as bar:
        watcher = Watcher(progress=bar, logs=place.logs) if parallel.first else Watcher()
        try:
            outcome = _fitted(made, job, spread, place, parallel, (train, dev), watcher)
        finally:
            train.close()
    return Ended(outcome, watcher.audio_s_per_s)


def _fitted(
    made: Made,
    job: Job,
    spread: Spread,
    place: Place,
    parallel: Parallel,
    loaders: tuple[Loader, Loader],
    watcher: Watcher,
) -> Outcome:
    return fit(
        made.learner,
        loaders[0],
        loaders[1],
        job.config,
        job.freezing(made),
        state=place.state,
        watcher=watcher,
        parallel=parallel,
        score_start=place.score_start,
        probe=spread.micro_seconds is None,
        **job.pseudo_loop(made, processes=parallel.processes),
    )


def _chosen(place: Place) -> Path:
    return place.state / "chosen.safetensors"


def _together(job: Job, spread: Spread, place: Place) -> Ended | float:
    """One try with all processes; the seconds to go on with where a GPU's memory ran out."""
    store = distributed.TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(spread.processes, multiprocessing.get_context("spawn"), initializer=follow_parent)
    finished = False
    # Parameters that one update happens not to use are no news to the user.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        with interrupts_held():
            futures = [pool.submit(_work, rank, store.port, job, spread, place) for rank in range(spread.processes)]
        ended = _word_of(futures)
        finished = isinstance(ended, Ended)
        return ended
    finally:
        if not finished:
            end_children(before)
        pool.shutdown(wait=True, cancel_futures=True)


def _word_of(futures: Sequence[Future[Ended | float | None]]) -> Ended | float:
    """What the first process ended with; the error that tells most where one failed."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        if any(future.exception() is not None or isinstance(future.result(), float) for future in done):
            done = wait(futures, timeout=_GRACE_S).done
            _raise_first(done)
            return min(word for future in done if isinstance(word := future.result(), float))
    ended = futures[0].result()
    if not isinstance(ended, Ended):
        raise WorkFailed("training ended without a word", next_step="run the same command again")
    return ended


def _raise_first(done: set[Future[Ended | float | None]]) -> None:
    """Raises the errors that say most first: a sentence, a dead process, anything else."""
    errors = [error for future in done if (error := future.exception()) is not None]
    for error in errors:
        if isinstance(error, OratureError):
            raise error
    for error in errors:
        if isinstance(error, BrokenProcessPool):
            raise WorkFailed(
                "a training process died, most often because memory ran out",
                next_step="run the same command again: it goes on from the last checkpoint (fewer --processes need "
                "less memory; a script of your own must start under `if __name__ == '__main__':`)",
            ) from error
    for error in errors:
        raise error


def _work(rank: int, port: int, job: Job, spread: Spread, place: Place) -> Ended | float | None:
    """One process of several."""
    _settle(rank, port, spread)
    device = f"cuda:{rank}" if spread.device == "cuda" else spread.device
    store = distributed.TCPStore(_HOST, port, is_master=False)  # type: ignore[attr-defined]
    backend = "nccl" if spread.device == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=spread.processes)
    parallel = Parallel(device=device, precision=job.config.precision, sharding=spread.sharding)
    torch.set_num_threads(spread.threads_each())
    made = job.make()
    try:
        ended = _fit(job, made, spread, place, parallel)
    except MemoryRanOut as error:
        return error.most_s
    weights = checkpoint.weights_of(made.learner.module)
    if parallel.first:
        beside = _chosen(place).with_suffix(".writing")
        save_file(weights, beside)
        beside.replace(_chosen(place))
    parallel.wait()
    distributed.destroy_process_group()
    return ended if parallel.first else None


def _settle(rank: int, port: int, spread: Spread) -> None:
    """What accelerate, gloo and the other libraries read from the environment; only the first process speaks."""
    count, threads = str(spread.processes), str(spread.threads_each())
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ |= {"MASTER_ADDR": _HOST, "MASTER_PORT": str(port), "OMP_NUM_THREADS": threads}
    if any(name == "lo" for _, name in socket.if_nameindex()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if spread.device == "cuda":
        torch.cuda.set_device(rank)
    if rank:
        os.environ["ORATURE_QUIET"] = "1"
        warnings.simplefilter("ignore")
