"""The questions behind "why is my WER 100 %?", asked before a long run.

Do the transcripts of dev use characters that training never showed? Do the labels fit into the frames (CTC needs one
step a label, and one more between equal neighbours)? Can the model learn a few clips by heart?

Example::

    plan = choose_subsampling(examples, "auto")
    overfit(make_model, loader, characters, config)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from orature.core.errors import TrainingFailed
from orature.core.progress import Progress
from orature.core.types import RATE_HZ, Reject
from orature.engines.characters import Characters
from orature.engines.conformer import ConformerCtc
from orature.engines.ctc_decode import steps_needed
from orature.engines.features import frames_of
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.dev import assess, ctc_loss
from orature.train.loader import Example, Loader

ALLOWED_OUTSIDE = 0.2
ALLOWED_INFEASIBLE = 0.01
HOPELESS = 0.5
_OVERFIT_UPDATES = 200
_OVERFIT_CER = 0.5
_LEARNT_CER = 0.3
_OVERFIT_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Feasibility:
    """The chosen subsampling and the utterances whose labels do not fit at it."""

    subsampling: Literal[2, 4]
    rejects: tuple[Reject, ...]


def steps_at(duration_s: float, subsampling: int) -> int:
    """Output steps of a recording of `duration_s` seconds."""
    return -(-frames_of(round(duration_s * RATE_HZ)) // subsampling)


def infeasible(examples: Sequence[Example], subsampling: int) -> list[Reject]:
    """The examples with fewer output steps than CTC needs for their labels."""
    found = []
    for example in examples:
        have, need = steps_at(example.duration_s, subsampling), steps_needed(list(example.tokens))
        if have < need:
            detail = (
                f"{example.duration_s:.2f} s give {have} output steps of {10 * subsampling} ms, the text needs {need}"
            )
            found.append(Reject(example.id, "ctc-infeasible", detail))
    return found


def choose_subsampling(examples: Sequence[Example], wanted: Literal["auto", 2, 4]) -> Feasibility:
    """The coarser steps (40 ms) unless they lose more than 1 % of the utterances; TrainingFailed if half are lost."""
    choices: tuple[Literal[2, 4], ...] = (4, 2) if wanted == "auto" else (wanted,)
    rejects: list[Reject] = []
    for subsampling in choices:
        rejects = infeasible(examples, subsampling)
        if len(rejects) <= ALLOWED_INFEASIBLE * len(examples):
            break
    if len(rejects) > HOPELESS * len(examples):
        worst = rejects[0]
        raise TrainingFailed(
            f"{len(rejects)} of {len(examples)} training utterances are too short for their transcripts "
            f"(for example {worst.id}: {worst.detail})",
            next_step="check that each transcript belongs to its recording, and that the recordings are whole",
        )
    return Feasibility(subsampling, tuple(rejects))


def check_alphabet(dev: Sequence[Example], characters: Characters) -> dict[str, int]:
    """Counts the characters of dev that training never showed; TrainingFailed when they are over a fifth."""
    outside: dict[str, int] = {}
    total = 0
    for example in dev:
        total += len(example.text)
        for letter in characters.unknown(example.text):
            outside[letter] = outside.get(letter, 0) + example.text.count(letter)
    lost = sum(outside.values())
    if total and lost > ALLOWED_OUTSIDE * total:
        shown = " ".join(sorted(outside, key=lambda letter: -outside[letter])[:12])
        raise TrainingFailed(
            f"{100 * lost / total:.0f} % of the characters of dev are not in the training transcripts: {shown}",
            next_step="is dev in another script, case or spelling than train? `orature check` shows both alphabets",
        )
    return dict(sorted(outside.items(), key=lambda item: -item[1]))


def overfit(
    make_model: Callable[[], ConformerCtc],
    examples: Sequence[Example],
    characters: Characters,
    config: TrainConfig,
    *,
    subsampling: int,
    device: str,
    progress: Progress | None = None,
) -> float:
    """Learns `config.overfit_clips` clips by heart without augmentation; the CER reached.

    TrainingFailed when half of the characters stay wrong: then more data or time would not help either.
    """
    chosen = _spread(examples, config.overfit_clips)
    plain = config.model_copy(
        update={"augment": AugmentConfig(speeds=(1.0,), warp=0.0, noise_probability=0.0, gain_db=0)}
    )
    loader = Loader(chosen, plain, subsampling=subsampling)
    torch.manual_seed(config.seed)
    model = make_model().to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=min(config.peak_lr, 1e-3), betas=(0.9, 0.98))
    batches = list(loader.plain(_OVERFIT_SECONDS))
    cer = 1.0
    for update in range(1, _OVERFIT_UPDATES + 1):
        batch = batches[update % len(batches)]
        model.train()
        optimiser.zero_grad(set_to_none=True)
        logits_BTV, frames_B = model(batch.samples_BS.to(device), batch.lengths_B.to(device))
        loss = ctc_loss(logits_BTV, frames_B, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if progress is not None:
            progress.advance(1, note=f"loss {float(loss.detach()):.3f} · CER {100 * cer:.0f} %")
        if update % 20 == 0:
            cer = assess(model, loader, characters, batch_seconds=_OVERFIT_SECONDS).cer
            if progress is not None:
                progress.advance(0, note=f"CER {100 * cer:.0f} %")
            if cer <= _LEARNT_CER:
                return cer
    if cer > _OVERFIT_CER:
        raise TrainingFailed(
            f"the model cannot learn {len(chosen)} clips by heart: after {_OVERFIT_UPDATES} updates "
            f"{100 * cer:.0f} % of their characters are still wrong",
            where=", ".join(example.id for example in chosen[:4]) + " ...",
            next_step="listen to these clips and read their transcripts: they probably do not belong together; "
            "also try another learning rate (--set peak_lr=...)",
        )
    return cer


def _spread(examples: Sequence[Example], count: int) -> list[Example]:
    """`count` examples spread over the lengths from the shortest to the median (long clips would take long)."""
    ordered = sorted(examples, key=lambda example: (example.duration_s, example.id))
    half = ordered[: max(count, len(ordered) // 2)]
    step = max(1, len(half) // max(1, count))
    return half[::step][:count]
