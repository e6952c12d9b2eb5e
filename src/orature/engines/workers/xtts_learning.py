"""What XTTS's transformer is trained on and by: grown tables of text, the loss, batches and prompts drawn from seeds.

It needs torch and numpy alone and imports nothing of Orature, for it runs in the environment of coqui-tts too.

Shapes: B rows, T text tokens with start and stop, A audio codes with start, n latents of a prompt, C channels, V rows.

Example::

    found = next_token_loss(gpt, [latents_1nC], [[5, 6, 7]], [[901, 17, 44]])
    (found.audio_sum / found.audio_count).backward()

The loss is the negative log-likelihood of each token of [text; audio codes] given what is before it and the latents of
a prompt (Casanova et al. 2024, section 2). The gradient of an update is the sum of all losses over the number of all
tokens, so that a row counts the same alone or padded in a batch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from orature.engines.workers.xtts_sampling import placed
else:
    sys.path.insert(0, str(Path(__file__).parent))
    from xtts_sampling import placed

RATE_HZ = 22_050
FROZEN = ("conditioning_encoder.", "conditioning_perceiver.")
"""Parts of the GPT module that belong to the prompt, not to the transformer: never trained."""
_NOISE = 0.1
_ORDER, _PROMPT = 0, 1


@dataclass(frozen=True)
class Tuning:
    """What decides how the transformer is trained; the fields of `orature.train.voice.xtts_config.XttsTuning`."""

    epochs: int
    updates: int | None
    batch: int
    accumulation: int
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    clip_norm: float
    text_weight: float
    prompt_least_s: float
    prompt_most_s: float
    prompt_from: str
    evaluate_every: int
    patience: int
    seed: int


@dataclass(frozen=True)
class Row:
    """One utterance: ids of its text with the language tag, audio codes, samples at 22.05 kHz, speaker ("" unknown)."""

    id: str
    text: tuple[int, ...]
    codes: tuple[int, ...]
    samples: int
    speaker: str = ""


@dataclass(frozen=True)
class Prompt:
    """A stretch of the recording of row `place`, in samples at 22.05 kHz."""

    place: int
    start: int
    length: int


@dataclass(frozen=True)
class Losses:
    """Sums over tokens (natural logarithms) and how many tokens they are of, text and audio apart."""

    text_sum: Tensor
    text_count: int
    audio_sum: Tensor
    audio_count: int

    def weighted(self, text_weight: float) -> Tensor:
        """What is minimised, before it is divided by `tokens`."""
        return self.audio_sum + text_weight * self.text_sum

    def tokens(self, text_weight: float) -> float:
        """The weight of all tokens."""
        return self.audio_count + text_weight * self.text_count


def next_token_loss(
    gpt: Any, conditions: Sequence[Tensor], texts: Sequence[Sequence[int]], codes: Sequence[Sequence[int]]
) -> Losses:
    """Losses of a padded batch; `conditions` are (1, n, C) each, `codes` come without start and stop.

    The inputs stand as in sampling: latents, text start, text, text stop, pads (masked), audio start, codes.
    Positions of text and of audio count from 0 each, so that pads change nothing for their row.
    """
    device = gpt.mel_head.weight.device
    tokens_BT, text_mask_BT = placed([list(text) for text in texts], gpt.start_text_token, gpt.stop_text_token)
    inputs_BA, targets_BA, audio_mask_BA = _audio(codes, gpt.start_audio_token, gpt.stop_audio_token)
    tokens_BT, text_mask_BT = tokens_BT.to(device), text_mask_BT.to(device)
    inputs_BA, targets_BA, audio_mask_BA = inputs_BA.to(device), targets_BA.to(device), audio_mask_BA.to(device)
    condition_BNC = torch.cat(list(conditions)).to(device)
    latents, width = condition_BNC.shape[1], tokens_BT.shape[1]
    text_BTC = gpt.text_embedding(tokens_BT) + gpt.text_pos_embedding(tokens_BT)
    audio_BAC = gpt.mel_embedding(inputs_BA) + gpt.mel_pos_embedding(inputs_BA)
    mask = torch.cat([text_mask_BT.new_ones((len(texts), latents)), text_mask_BT, audio_mask_BA], dim=1)
    whole = torch.cat([condition_BNC, text_BTC, audio_BAC], dim=1)
    hidden = gpt.final_norm(gpt.gpt(inputs_embeds=whole, attention_mask=mask, use_cache=False).last_hidden_state)
    text_logits = gpt.text_head(hidden[:, latents : latents + width - 1])
    audio_logits = gpt.mel_head(hidden[:, latents + width :])
    text_kept = text_mask_BT[:, 1:].bool()
    audio_kept = audio_mask_BA.bool()
    return Losses(
        functional.cross_entropy(text_logits[text_kept].float(), tokens_BT[:, 1:][text_kept], reduction="sum"),
        int(text_kept.sum()),
        functional.cross_entropy(audio_logits[audio_kept].float(), targets_BA[audio_kept], reduction="sum"),
        int(audio_kept.sum()),
    )


def _audio(codes: Sequence[Sequence[int]], start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [start, codes], targets [codes, stop] and the mask of what is not padding, (B, A) each."""
    width = max(map(len, codes)) + 1
    inputs_BA = torch.full((len(codes), width), stop, dtype=torch.long)
    targets_BA, mask_BA = inputs_BA.clone(), torch.zeros_like(inputs_BA)
    for row, one in enumerate(codes):
        inputs_BA[row, : len(one) + 1] = torch.tensor([start, *one])
        targets_BA[row, : len(one)] = torch.tensor(list(one))
        mask_BA[row, : len(one) + 1] = 1
    return inputs_BA, targets_BA, mask_BA


def grown(table: Tensor, origins: Sequence[tuple[int, Sequence[int]]], *, seed: int) -> Tensor:
    """`table` (V, C) or (V,) with a row for each new id of `origins`; the old rows stay bit for bit.

    A new row is the mean of the rows that it comes from (all rows where none is named), plus a tenth of the table's
    deviation of noise drawn by (seed, id), so that no two new tokens begin the same. ValueError for a gap in the ids.
    """
    rows = torch.cat([table, table.new_zeros((len(origins), *table.shape[1:]))])
    spread = float(table.std()) if table.ndim > 1 else 0.0
    for count, (number, sources) in enumerate(origins):
        if number != len(table) + count:
            raise ValueError(f"new token {number} does not follow on {len(table) + count - 1}")
        mean = rows[list(sources)].mean(dim=0) if sources else table.mean(dim=0)
        drawn = np.random.default_rng([seed, number]).standard_normal(mean.shape)
        rows[number] = mean + _NOISE * spread * torch.as_tensor(drawn, dtype=table.dtype)
    return rows


def updates_of_epoch(lengths: Sequence[int], epoch: int, tuning: Tuning) -> list[list[list[int]]]:
    """The updates of an epoch as micro-batches of row numbers: each row once, drawn by (seed, epoch).

    An update has batch x accumulation rows (the last one of an epoch what is left), neighbours in length together.
    """
    order = np.random.default_rng([tuning.seed, epoch, _ORDER]).permutation(len(lengths))
    size = tuning.batch * tuning.accumulation
    updates = []
    for first in range(0, len(order), size):
        chosen = sorted((int(one) for one in order[first : first + size]), key=lambda one: (lengths[one], one))
        updates.append([chosen[place : place + tuning.batch] for place in range(0, len(chosen), tuning.batch)])
    return updates


def total_updates(rows: int, tuning: Tuning) -> int:
    """How many updates a whole run has."""
    whole = tuning.epochs * math.ceil(rows / (tuning.batch * tuning.accumulation))
    return whole if tuning.updates is None else min(whole, tuning.updates)


def prompt_of(rows: Sequence[Row], place: int, epoch: int, tuning: Tuning) -> Prompt:
    """The prompt of a row in an epoch, drawn by (seed, epoch, row): from its own recording, or (`prompt_from` speaker)
    from another one of the same speaker where there is one; all of it where it is shorter than the least prompt.
    """
    rng = np.random.default_rng([tuning.seed, epoch, place, _PROMPT])
    source = place
    if tuning.prompt_from == "speaker" and rows[place].speaker:
        others = [n for n, row in enumerate(rows) if row.speaker == rows[place].speaker and n != place]
        source = others[int(rng.integers(len(others)))] if others else place
    samples = rows[source].samples
    least = min(samples, round(tuning.prompt_least_s * RATE_HZ))
    most = min(samples, round(tuning.prompt_most_s * RATE_HZ))
    length = int(rng.integers(least, most + 1))
    return Prompt(source, int(rng.integers(0, samples - length + 1)), length)


def dev_prompt(rows: Sequence[Row], place: int, tuning: Tuning) -> Prompt:
    """The prompt of a dev row: the first seconds of its own recording, as many as a prompt may have."""
    return Prompt(place, 0, min(rows[place].samples, round(tuning.prompt_most_s * RATE_HZ)))


def trained_names(gpt: Any) -> list[str]:
    """Names of the weights that are trained: all of the GPT module but those that read the prompt."""
    return [name for name, _ in gpt.named_parameters() if not name.startswith(FROZEN)]


def parameter_groups(gpt: Any, names: Sequence[str], weight_decay: float) -> list[dict[str, Any]]:
    """Weights for AdamW: decay for matrices, none for biases, norms and embeddings (the released trainer's rule)."""
    table = dict(gpt.named_parameters())
    embeddings = ("embedding.weight", "emb.weight")
    decayed = [name for name in names if table[name].ndim > 1 and not name.endswith(embeddings)]
    rest = [name for name in names if name not in set(decayed)]
    return [
        {"params": [table[name] for name in decayed], "weight_decay": weight_decay, "names": decayed},
        {"params": [table[name] for name in rest], "weight_decay": 0.0, "names": rest},
    ]
