"""Audio seconds a second of training: Orature's loop against the Hugging Face Trainer CTC recipe, in one run.

Example::

    python benchmarks/train_throughput/run.py --model conformer-tiny --rounds 3
    python benchmarks/train_throughput/run.py --model xls-r-shaped --rounds 3 --json

Same weights, same recordings, same optimiser settings, same precision, same machine, one run of each in alternation.
The recipe is that of transformers' `run_speech_recognition_ctc.py` with its defaults: recordings decoded and normalised
beforehand, a random order, a fixed number of clips a batch, padding to the longest of the batch (`--group_by_length`
off), the feature encoder frozen, no augmentation of the audio. Its model is `Wav2Vec2ForCTC` as it is; for
`conformer-*`, which transformers does not have, Orature's network with a loss around it. Orature's side is `fit`, the
loop that `orature train` runs, with the recordings decoded beforehand as well; it reads, perturbs and masks as it does
by default. Counted are the seconds of recordings, never of padding; evaluation is left out on both sides.

Models: conformer-micro, conformer-tiny, conformer-small; xls-r-shaped (the layer-norm kind of XLS-R and MMS, 6 layers
of 256, 6.4 M parameters); wav2vec2-base-shaped (12 layers of 768, 94 M).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from orature.core.types import RATE_HZ
from orature.data.audio import decode
from orature.data.draft import Draft, Seen
from orature.data.readers.registry import choose
from orature.data.tree import open_tree
from orature.engines.ctc_decode import steps_needed
from orature.stages.ingest import read_source
from orature.testing.checkpoints import make_checkpoint
from orature.text.alphabet import TextPolicy, prepare
from orature.train.checkpoint import Progressed
from orature.train.config import TrainConfig
from orature.train.job import Job, Made
from orature.train.lid import ctc_losses
from orature.train.loader import Batch, Example
from orature.train.loop import fit
from orature.train.watch import Watcher

WARM_UP = 2
_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "xls-r-shaped": (
        "xls-r",
        {
            "hidden_size": 256,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
            "conv_dim": (256,) * 7,
            "num_conv_pos_embeddings": 128,
            "num_conv_pos_embedding_groups": 16,
            "initializer_range": 0.02,
        },
    ),
    "wav2vec2-base-shaped": (
        "wav2vec2",
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "conv_dim": (512,) * 7,
            "num_conv_pos_embeddings": 128,
            "num_conv_pos_embedding_groups": 16,
            "initializer_range": 0.02,
        },
    ),
}


@dataclass(frozen=True)
class Speech:
    """Recordings (float32, 16 kHz) with their prepared texts, by utterance."""

    recordings: dict[str, np.ndarray]
    texts: dict[str, str]


class Enough(Exception):
    """The measured updates are done."""


class Stopwatch(Watcher):
    """Notes when the uncounted updates are over, and stops the run after the counted ones."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates, self.heard_s, self.marks = updates, 0.0, [0.0, 0.0]

    def step(self, progressed: Progressed, *, seconds: float) -> None:
        self.heard_s += seconds
        if progressed.update == WARM_UP:
            self.marks[0], self.heard_s = time.perf_counter(), 0.0
        if progressed.update == self.updates + WARM_UP:
            self.marks[1] = time.perf_counter()
            raise Enough


def read(folder: Path) -> Speech:
    """The train split of a corpus."""
    tree = open_tree(folder)
    drafts = [d for d in read_source(choose(tree), tree, Seen()) if isinstance(d, Draft) and d.split == "train"]
    policy = TextPolicy(case="lower", punctuation="strip")
    texts = {d.id: text for d in drafts if (text := prepare(d.text or "", policy))}
    return Speech({d.id: decode(d.audio, d.audio_name) for d in drafts if d.id in texts}, texts)


def job_of(model: str, speech: Speech, precision: str, batch_seconds: float, folder: Path) -> Job:
    """The training job for a model of the table, without examples; a checkpoint is written into `folder`."""
    masks = {"time_masks": 2, "mel_masks": 0}
    config = TrainConfig.model_validate({"updates": 1000, "batch_seconds": batch_seconds, "precision": precision})
    texts = (" ", *speech.texts.values())
    if model not in _SHAPES:
        config = config.model_copy(update={"size": model.removeprefix("conformer-")})
        return Job(config=config, texts=texts, languages=())
    family, fields = _SHAPES[model]
    letters = "".join(sorted({letter for text in texts for letter in text} - {" "}))
    start = make_checkpoint(folder / model, family, letters=letters, layerdrop=0.0, **fields)
    augment = config.augment.model_copy(update=masks)
    config = config.model_copy(update={"freeze": ("features",), "augment": augment, "peak_lr": 1e-4, "head": "keep"})
    return Job(config=config, texts=texts, languages=(), start=str(start))


def with_speech(job: Job, speech: Speech) -> Job:
    """The job with those utterances that have room for their labels at the fastest speed."""
    made, examples = job.make(), []
    for name, text in speech.texts.items():
        seconds, tokens = len(speech.recordings[name]) / RATE_HZ, tuple(made.vocabulary.encode(text))
        if made.steps is None or made.steps(int(len(speech.recordings[name]) / 1.1)) >= steps_needed(list(tokens)):
            examples.append(Example(name, "", 0.0, seconds, text, tokens))
    return job.with_examples(examples, examples[:2])


def ours(job: Job, speech: Speech, updates: int, folder: Path) -> float:
    """Audio seconds a second of `updates` updates of the loop (two more come first, uncounted)."""
    made = job.make()
    train, dev = job.loaders(made)
    for example in job.train:
        train._cache.put(example.id, speech.recordings[example.id])
    watch = Stopwatch(updates)
    try:
        fit(made.learner, train, dev, job.config, job.freezing(made), state=folder / "state", watcher=watch)
    except Enough:
        return watch.heard_s / (watch.marks[1] - watch.marks[0])
    raise SystemExit("the run ended early")


class WithLoss(nn.Module):
    """What the Trainer expects of a CTC model: keyword inputs in, a mapping with the loss out."""

    def __init__(self, made: Made) -> None:
        super().__init__()
        self.model, self.blank = made.network, made.vocabulary.blank  # type: ignore[attr-defined]

    def forward(self, input_values: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        logits, steps = self.model(input_values, lengths)
        kept = labels >= 0
        batch = Batch([], input_values, lengths, labels[kept], kept.sum(dim=1), [])
        return {"loss": ctc_losses(logits, steps, batch, self.blank).sum() / kept.sum(), "logits": logits}


def peer_model(job: Job) -> nn.Module:
    """The peer's model with the same weights; its feature encoder is frozen where ours is."""
    if job.start is None:
        return WithLoss(job.make())
    from transformers import Wav2Vec2ForCTC

    model: nn.Module = Wav2Vec2ForCTC.from_pretrained(job.start, ctc_loss_reduction="mean", ctc_zero_infinity=True)
    model.freeze_feature_encoder()  # type: ignore[operator]
    return model


def rows_of(job: Job, speech: Speech) -> list[dict[str, Any]]:
    """The peer's data set: samples normalised to mean 0 and variance 1 where its feature extractor does that."""
    rows = []
    for example in job.train:
        samples = speech.recordings[example.id]
        if job.start is not None:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        rows.append({"input_values": samples.astype(np.float32), "labels": list(example.tokens)})
    return rows


def collate(rows: list[dict[str, Any]], *, own_lengths: bool) -> dict[str, torch.Tensor]:
    """Padding as in DataCollatorCTCWithPadding: audio with zeros, labels with -100."""
    audio = [torch.from_numpy(row["input_values"]) for row in rows]
    labels = [torch.tensor(row["labels"]) for row in rows]
    lengths = torch.tensor([len(one) for one in audio])
    batch = {
        "input_values": nn.utils.rnn.pad_sequence(audio, batch_first=True),
        "labels": nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100),
    }
    if own_lengths:
        return batch | {"lengths": lengths}
    return batch | {"attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long()}


def peer(job: Job, speech: Speech, updates: int, folder: Path) -> float:
    """Audio seconds a second of the Trainer, from its third update on."""
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    config = job.config
    mean_s = float(np.mean([example.duration_s for example in job.train]))
    clock = {"began": 0.0, "ended": 0.0, "heard_s": 0.0}

    def counted(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        clock["heard_s"] += sum(len(row["input_values"]) for row in batch) / RATE_HZ
        return collate(batch, own_lengths=job.start is None)

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == WARM_UP:
                clock["began"], clock["heard_s"] = time.perf_counter(), 0.0
            clock["ended"] = time.perf_counter()

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=max(1, round(config.batch_seconds / mean_s)),
        max_steps=updates + WARM_UP,
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
    rows: Any = rows_of(job, speech)
    trainer = Trainer(
        model=peer_model(job), args=arguments, train_dataset=rows, data_collator=counted, callbacks=[Clock()]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock["heard_s"] / (clock["ended"] - clock["began"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    default = Path(os.environ.get("ORATURE_CORPORA", "../shared/corpora")) / "kichwa_killkan"
    conformers = [f"conformer-{size}" for size in ("micro", "tiny", "small", "base")]
    parser.add_argument("--corpus", type=Path, default=default)
    parser.add_argument("--model", choices=[*conformers, *_SHAPES], default="conformer-tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch-seconds", type=float, default=100.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    speech = read(given.corpus)
    arms: dict[str, list[float]] = {"orature": [], "trainer": []}
    with tempfile.TemporaryDirectory() as place:
        job = with_speech(job_of(given.model, speech, given.precision, given.batch_seconds, Path(place)), speech)
        for number in range(given.rounds):
            folder = Path(place) / str(number)
            for name in ("orature", "trainer") if number % 2 == 0 else ("trainer", "orature"):
                run = ours if name == "orature" else peer
                arms[name].append(run(job, speech, given.updates, folder / name))
        parameters = job.make().parameters
    report(arms, given, parameters)


def report(arms: dict[str, list[float]], given: argparse.Namespace, parameters: int) -> None:
    """Prints each arm's speeds and Orature's ratio to the peer, round by round."""
    ratios = [a / b for a, b in zip(arms["orature"], arms["trainer"], strict=True)]
    facts = {
        "corpus": given.corpus.name,
        "model": given.model,
        "parameters": parameters,
        "precision": given.precision,
        "batch_seconds": given.batch_seconds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "audio_s_per_s": {name: [round(s, 1) for s in speeds] for name, speeds in arms.items()},
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "low": round(min(ratios), 2),
            "high": round(max(ratios), 2),
            "all": [round(r, 2) for r in ratios],
        },
    }
    if given.json:
        print(json.dumps(facts, indent=1))
        return
    print(f"{given.corpus.name}, {given.model} ({parameters / 1e6:.1f} M), {given.precision}, {facts['machine']}")
    for name, speeds in arms.items():
        print(f"  {name:<8} {statistics.median(speeds):8.1f} audio-s/s   {[round(s, 1) for s in speeds]}")
    print(f"  orature / trainer: {statistics.median(ratios):.2f}x   {[round(r, 2) for r in ratios]}")


if __name__ == "__main__":
    main()
