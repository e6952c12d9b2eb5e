"""A slimIPL training on tones: `python pseudo_driver.py FOLDER`, goes on with what lies in FOLDER/state."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tone_job import tone_job

from orature.train.launch import Place, Spread, train_job
from orature.train.pseudo_config import PseudoConfig, WatchConfig

QUIET = WatchConfig(empty_share=None, length_ratio=None, probe_distance=None, labelled_loss=None, dev_loss=None)


def main(folder: Path) -> None:
    """Trains in one process on one thread, and writes the weights to FOLDER/end.safetensors."""
    torch.set_num_threads(1)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    job = tone_job(folder / "data", updates=30, accumulate=1, evaluate_every=10)
    rest = tuple(replace(one, text="", tokens=(), id=f"free-{one.id}") for one in job.train[8:])
    pseudo = PseudoConfig(
        warmup_updates=4, cache=4, ratio=3.0, replace=0.5, probe_s=2.0, keep_empty=True, teacher="ema", watch=QUIET
    )
    job = replace(job, train=job.train[:8], unlabelled=rest, pseudo=pseudo)
    made = job.make()
    with torch.no_grad():
        made.network.head.bias[made.vocabulary.blank] -= 4.0  # so that it writes letters from the beginning
    train_job(job, made, Spread(threads=1), Place(folder / "state", progress=False))
    save_file(made.network.state_dict(), folder / "end.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
