"""Trains a long tone job in several processes: python train_driver.py FOLDER PROCESSES."""

from __future__ import annotations

from pathlib import Path

import typer
from tone_job import tone_job

from orature.cli.common import run_command, stop_on_sigterm
from orature.train.launch import Place, Spread, train_job


@run_command
def train(folder: Path, processes: int) -> None:
    job = tone_job(folder, updates=100_000, evaluate_every=1000)
    spread = Spread(threads=2, processes=processes, micro_seconds=100.0)
    train_job(job, job.make(), spread, Place(folder / "state", progress=False))


if __name__ == "__main__":
    stop_on_sigterm()
    typer.run(train)
