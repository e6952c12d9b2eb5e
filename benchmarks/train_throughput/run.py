"""Audio seconds a second of training: Orature's loop against the Hugging Face Trainer CTC recipe, in one run.

Example::

    python benchmarks/train_throughput/run.py --corpus ../shared/corpora/kichwa_killkan --rounds 3

Same model (features computed inside it), same recordings, same optimiser settings, same precision, same machine, one
run of each in alternation. The recipe is that of transformers' `run_speech_recognition_ctc.py` with its defaults:
recordings decoded beforehand, a random order, a fixed number of clips a batch, padding to the longest of the batch
(`--group_by_length` off), no augmentation of the audio. Orature reads and perturbs the audio (speed, noise, warp,
masks) as it does by default. Counted are the seconds of recordings, never of padding; decoding of the recordings and
evaluation are left out on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from orature.data.audio import decode
from orature.data.draft import Draft, Seen
from orature.data.readers.registry import choose
from orature.data.tree import open_tree
from orature.engines.characters import Characters
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.ctc_decode import steps_needed
from orature.stages.ingest import read_source
from orature.text.alphabet import TextPolicy, prepare
from orature.train.config import TrainConfig
from orature.train.dev import ctc_loss
from orature.train.guards import steps_at
from orature.train.loader import Batch, Example, Loader
from orature.train.loop import learning_rate, optimiser_for

SUBSAMPLING = 4


class Ready(Loader):
    """The loader with recordings decoded beforehand, as the peer has them."""

    def fill(self, recordings: dict[str, np.ndarray]) -> None:
        for example in self.examples:
            self._cache.put(example.id, recordings[example.id])


def read(folder: Path) -> tuple[list[Example], dict[str, np.ndarray], Characters]:
    """The train split as examples and recordings (float32, 16 kHz)."""
    tree = open_tree(folder)
    drafts = [d for d in read_source(choose(tree), tree, Seen()) if isinstance(d, Draft)]
    policy = TextPolicy(case="lower", punctuation="strip")
    texts = {d.id: prepare(d.text or "", policy) for d in drafts if d.split == "train"}
    characters = Characters.of([" ", *texts.values()])
    examples, recordings = [], {}
    for draft in drafts:
        if not texts.get(draft.id):
            continue
        samples = decode(draft.audio, draft.audio_name)
        tokens = characters.encode(texts[draft.id])
        seconds = len(samples) / 16_000
        if steps_at(seconds / 1.1, SUBSAMPLING) >= steps_needed(tokens):
            examples.append(Example(draft.id, "", 0.0, seconds, texts[draft.id], tuple(tokens)))
            recordings[draft.id] = samples
    return examples, recordings, characters


def new_model(size: str, characters: Characters) -> ConformerCtc:
    torch.manual_seed(1)
    config = ConformerConfig.of_size(size, vocabulary=len(characters), subsampling=SUBSAMPLING)  # type: ignore[arg-type]
    return ConformerCtc(config)


def ours(examples: list[Example], recordings: Any, characters: Characters, config: TrainConfig, updates: int) -> float:
    """Audio seconds a second of `updates` updates (two more come first, uncounted)."""
    loader = Ready(examples, config, subsampling=SUBSAMPLING)
    loader.fill(recordings)
    model = new_model(config.size, characters).train()
    optimiser = optimiser_for(model, config)
    began, heard_s, update = 0.0, 0.0, 0
    for epoch in range(1_000):
        for batch in loader.epoch(epoch):
            if update == 2:
                began, heard_s = time.perf_counter(), 0.0
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(update, config)
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
                logits, frames = model(batch.samples_BS, batch.lengths_B, batch.warps_B, batch.spans)
            ctc_loss(logits, frames, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimiser.step()
            heard_s += sum(loader.examples[item.index].duration_s for item in batch.items)
            update += 1
            if update == updates + 2:
                return heard_s / (time.perf_counter() - began)
    raise SystemExit("the corpus is too small")


class WithLoss(nn.Module):
    """What the Trainer expects of a CTC model: keyword inputs in, a mapping with the loss out."""

    def __init__(self, model: ConformerCtc) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        logits, frames = self.model(input_values, lengths)
        kept = labels >= 0
        batch = Batch([], input_values, lengths, labels[kept], kept.sum(dim=1))
        return {"loss": ctc_loss(logits, frames, batch), "logits": logits}


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Padding as in DataCollatorCTCWithPadding: audio with zeros, labels with -100."""
    audio = [torch.from_numpy(row["input_values"]) for row in rows]
    labels = [torch.tensor(row["labels"]) for row in rows]
    return {
        "input_values": nn.utils.rnn.pad_sequence(audio, batch_first=True),
        "lengths": torch.tensor([len(one) for one in audio]),
        "labels": nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100),
    }


def peer(
    examples: list[Example],
    recordings: Any,
    characters: Characters,
    config: TrainConfig,
    updates: int,
    folder: Path,
) -> float:
    """Audio seconds a second of the Trainer, from its third update on."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    mean_s = float(np.mean([example.duration_s for example in examples]))
    rows = [
        {"input_values": recordings[e.id], "labels": list(e.tokens), "length": len(recordings[e.id])} for e in examples
    ]
    clock = {"began": 0.0, "ended": 0.0, "heard_s": 0.0}

    def counted(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        clock["heard_s"] += sum(row["length"] for row in batch) / 16_000
        return collate(batch)

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 2:
                clock["began"], clock["heard_s"] = time.perf_counter(), 0.0
            clock["ended"] = time.perf_counter()

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=max(1, round(config.batch_seconds / mean_s)),
        max_steps=updates + 2,
        learning_rate=config.peak_lr,
        max_grad_norm=config.clip_norm,
        bf16=config.precision == "bf16",
        remove_unused_columns=False,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    model = WithLoss(new_model(config.size, characters))
    Trainer(model=model, args=arguments, train_dataset=rows, data_collator=counted, callbacks=[Clock()]).train()  # type: ignore[arg-type]
    return clock["heard_s"] / (clock["ended"] - clock["began"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    default = Path(os.environ.get("ORATURE_CORPORA", "../shared/corpora")) / "kichwa_killkan"
    parser.add_argument("--corpus", type=Path, default=default)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    config = TrainConfig(size=given.size, precision=given.precision, updates=1000)
    examples, recordings, characters = read(given.corpus)
    arms: dict[str, list[float]] = {"orature": [], "trainer": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            arms["orature"].append(ours(examples, recordings, characters, config, given.updates))
            arms["trainer"].append(peer(examples, recordings, characters, config, given.updates, Path(folder)))
    report(arms, given)


def report(arms: dict[str, list[float]], given: argparse.Namespace) -> None:
    """Prints each arm's speeds and Orature's ratio to the peer, round by round."""
    ratios = [a / b for a, b in zip(arms["orature"], arms["trainer"], strict=True)]
    facts = {
        "corpus": given.corpus.name,
        "size": given.size,
        "precision": given.precision,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "audio_s_per_s": {name: [round(s, 1) for s in speeds] for name, speeds in arms.items()},
        "ratio": {"median": round(statistics.median(ratios), 2), "all": [round(r, 2) for r in ratios]},
    }
    if given.json:
        print(json.dumps(facts, indent=1))
        return
    print(f"{facts['corpus']}, {facts['size']}, {facts['precision']}, {facts['machine']}")
    for name, speeds in arms.items():
        print(f"  {name:<8} {statistics.median(speeds):8.1f} audio-s/s   {[round(s, 1) for s in speeds]}")
    print(f"  orature / trainer: {statistics.median(ratios):.2f}x   {[round(r, 2) for r in ratios]}")


if __name__ == "__main__":
    main()
