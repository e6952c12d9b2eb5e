"""The questions behind "why is my WER 100 %?", asked before a long run.

Do the transcripts of dev use characters that training never showed? Do the labels fit into the frames (CTC needs one
step a label, and one more between equal neighbours)? Can the model learn a few clips by heart?

Example::

    rejects = infeasible(examples, network.steps, step_ms=40)
    overfit(make_learner, examples, config, steps=network.steps, device="cpu")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from orature.core.errors import TrainingFailed
from orature.core.progress import Progress
from orature.core.types import RATE_HZ, Reject
from orature.engines.ctc_decode import steps_needed
from orature.engines.vocabulary import Vocabulary
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.learner import Learner
from orature.train.loader import Example, Loader

ALLOWED_OUTSIDE = 0.2
ALLOWED_INFEASIBLE = 0.01
HOPELESS = 0.5
_OVERFIT_UPDATES = 200
_OVERFIT_CER = 0.5
_LEARNT_CER = 0.3
_OVERFIT_SECONDS = 40.0


def infeasible(examples: Sequence[Example], steps: Callable[[int], int], step_ms: float) -> list[Reject]:
    """The examples with fewer output steps than CTC needs for their labels."""
    found = []
    for example in examples:
        have, need = steps(round(example.duration_s * RATE_HZ)), steps_needed(list(example.tokens))
        if have < need:
            detail = f"{example.duration_s:.2f} s give {have} output steps of {step_ms:.0f} ms, the text needs {need}"
            found.append(Reject(example.id, "ctc-infeasible", detail))
    return found


def too_long(
    examples: Sequence[Example], longest_s: float | None, most_tokens: int | None = None, slowest: float = 1.0
) -> list[Reject]:
    """The examples that a family cannot take at once (Whisper hears 30 s and writes 448 tokens).

    `slowest` is the lowest speed that training may play them at.
    """
    found = []
    for example in examples:
        spoken_s, tokens = example.duration_s / slowest, len(example.tokens)
        if longest_s is not None and spoken_s > longest_s:
            detail = f"{spoken_s:.1f} s at the slowest speed are more than the {longest_s:g} s that this family hears"
            found.append(Reject(example.id, "too-long-for-model", detail))
        elif most_tokens is not None and tokens > most_tokens:
            detail = f"its text has {tokens} tokens, more than the {most_tokens} that this family writes"
            found.append(Reject(example.id, "text-too-long-for-model", detail))
    return found


def hopeless(rejects: Sequence[Reject], total: int) -> None:
    """TrainingFailed when most utterances are too short for their transcripts."""
    if len(rejects) > HOPELESS * total:
        worst = rejects[0]
        raise TrainingFailed(
            f"{len(rejects)} of {total} training utterances are too short for their transcripts "
            f"(for example {worst.id}: {worst.detail})",
            next_step="check that each transcript belongs to its recording, and that the recordings are whole",
        )


def check_alphabet(dev: Sequence[Example], vocabulary: Vocabulary) -> dict[str, int]:
    """Counts the characters of dev that training never showed; TrainingFailed when they are over a fifth."""
    outside: dict[str, int] = {}
    total = 0
    for example in dev:
        total += len(example.text)
        for letter in vocabulary.unknown(example.text):
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
    make_learner: Callable[[], Learner],
    examples: Sequence[Example],
    config: TrainConfig,
    *,
    steps: Callable[[int], int],
    device: str,
    progress: Progress | None = None,
) -> float:
    """Learns `config.overfit_clips` clips by heart without augmentation; the CER reached.

    TrainingFailed when half of the characters stay wrong: then more data or time would not help either.
    """
    chosen = _spread(examples, config.overfit_clips)
    bare = AugmentConfig(speeds=(1.0,), warp=0.0, noise_probability=0.0, gain_db=0)
    loader = Loader(chosen, config.model_copy(update={"augment": bare}), steps=steps)
    torch.manual_seed(config.seed)
    learner = make_learner()
    learner.module.to(device)
    optimiser = torch.optim.AdamW(learner.module.parameters(), lr=min(config.peak_lr, 1e-3), betas=(0.9, 0.98))
    batches = list(loader.plain(_OVERFIT_SECONDS))
    cer = 1.0
    for update in range(1, _OVERFIT_UPDATES + 1):
        learner.module.train()
        optimiser.zero_grad(set_to_none=True)
        losses = learner.loss(batches[update % len(batches)])
        loss = losses.total / losses.weight
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learner.module.parameters(), 1.0)
        optimiser.step()
        if progress is not None:
            progress.advance(1, note=f"loss {float(loss.detach()):.3f} · CER {100 * cer:.0f} %")
        if update % 20 == 0:
            cer = learner.assess(loader, batch_seconds=_OVERFIT_SECONDS).report().cer
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
