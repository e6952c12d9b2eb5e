"""What the train split says of its spelling: letters beside phones from espeak-ng, from the model's ear, or by a table.

Only rows of train are looked at. Which of them, where there are more than are needed, follows from their ids.

Example::

    found = by_espeak(texts_by_row, phones, config)
    found.learned.shares("a"), found.left_out
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from orature.core.errors import AudioError, ConfigError
from orature.core.types import RATE_HZ, Reject, Utterance
from orature.data import audio
from orature.engines.conformer import ConformerCtc
from orature.engines.ctc_decode import collapse
from orature.engines.espeak_pipe import EspeakPipe
from orature.engines.phone_tokens import UNKNOWN, PhoneTokens
from orature.stages.phone_material import labelled
from orature.text.letter_alignment import Learned, Pair, learn
from orature.text.letter_table import counted
from orature.train.prior_config import PriorConfig

LONGEST_S = 30.0
UNSAID, LONG, UNREAD, ENOUGH = "nothing-heard", "too-long", "audio-unreadable", "enough-aligned"
CELLS = 3_000_000
"""Letters times phones, over all pairs, that are aligned: a minute or so of one core."""
Told = tuple[Utterance, str]
"""A row of train with its prepared transcript, which is not empty."""


@dataclass(frozen=True)
class Evidence:
    """A table learned from `pairs` transcripts of `seconds` of audio with so many `spaces` in them.

    `left_out` counts rows of train (of a table: its rows) that were looked at and not used, by reason; `rejects` tells
    of each row of a table.
    """

    learned: Learned
    pairs: int
    seconds: float
    spaces: int
    left_out: dict[str, int]
    rejects: tuple[Reject, ...] = ()


def evenly(rows: Iterable[Told]) -> list[Told]:
    """Rows in an order that follows from their ids alone and has nothing to do with speakers or time."""
    return sorted(rows, key=lambda told: (hashlib.blake2b(told[0].id.encode(), digest_size=8).digest(), told[0].id))


def by_espeak(rows: Sequence[Told], phones: PhoneTokens, config: PriorConfig) -> Evidence:
    """espeak-ng's reading of the transcripts aligned with them.

    ConfigError where it is another revision than `config.engine`.
    """
    chosen = evenly(rows)[: config.pairs]
    with EspeakPipe() as espeak:
        if config.engine and espeak.card.revision != config.engine:
            raise ConfigError(
                f"espeak-ng is {espeak.card.revision!r} here, {config.engine!r} was asked for: it would read otherwise",
                next_step="install the same espeakng-loader, or begin the run anew",
            )
        kept, rejects = labelled([row for row, _ in chosen], espeak)
    texts = {row.id: text for row, text in chosen}
    found = [(one.utterance, texts[one.utterance.id], _known(phones.encode(one.phones), phones)) for one in kept]
    return _aligned(found, Counter(reject.reason for reject in rejects))


@torch.no_grad()
def by_ear(
    rows: Sequence[Told], network: ConformerCtc, phones: PhoneTokens, config: PriorConfig, tick: Callable[[float], None]
) -> Evidence:
    """The phones that `network` hears by best path, aligned with the transcripts.

    At most `config.seconds` of audio in rows up to 30 s; `tick` is told the seconds done.
    """
    left_out: Counter[str] = Counter()
    found: list[tuple[Utterance, str, list[str]]] = []
    heard_s = 0.0
    for row, text in evenly(rows):
        span = row.audio
        if len(found) >= config.pairs or heard_s >= config.seconds:
            break
        if span.duration_s > LONGEST_S:
            left_out[LONG] += 1
            continue
        logits_TV = heard_logits(network, row)
        if logits_TV is None:
            left_out[UNREAD] += 1
            continue
        heard_s += span.duration_s
        tick(span.duration_s)
        path_T = logits_TV.argmax(dim=-1).cpu().numpy()
        found.append((row, text, _known(collapse(path_T, phones.blank), phones)))
    return _aligned(found, left_out)


def by_table(
    rows: Sequence[Told], phones: PhoneTokens, config: PriorConfig, prepared: Callable[[str], str]
) -> Evidence:
    """What the table of `config` says of the transcripts; ConfigError where it says nothing of any."""

    def inventory(spelled: str) -> list[str] | None:
        tokens = phones.encode(spelled)
        return None if UNKNOWN in tokens else _known(tokens, phones)

    texts = [text for _, text in rows]
    learned, rejects = counted(config.rows, texts, prepared, inventory)
    if not learned.letters:
        told = "; ".join(f"{reject.id}: {reject.detail}" for reject in rejects[:3])
        raise ConfigError(
            f"the table says nothing of the transcripts of train ({told})",
            next_step="write its letters as the transcripts have them, or leave --set prior out",
        )
    reasons = dict(sorted(Counter(reject.reason for reject in rejects).items()))
    seconds = sum(row.audio.duration_s for row, _ in rows)
    return Evidence(learned, len(rows), seconds, _spaces(texts), reasons, tuple(rejects))


@torch.no_grad()
def heard_logits(network: ConformerCtc, row: Utterance) -> torch.Tensor | None:
    """Logits (T, V) of the network's own head for a row; None where its audio cannot be read or is too short."""
    hidden_TD = heard_states(network, row)
    return None if hidden_TD is None else network.head(hidden_TD)


@torch.no_grad()
def heard_states(network: ConformerCtc, row: Utterance) -> torch.Tensor | None:
    """Hidden states (T, D) before the head, without masks or dropout where `network` is in evaluation."""
    span = row.audio
    try:
        samples = audio.load(span.path, span.start_s, span.duration_s)
    except AudioError:
        return None
    if network.steps(len(samples)) < 1:
        return None
    device = next(network.parameters()).device
    lengths_B = torch.tensor([len(samples)], device=device)
    hidden_BTD, steps_B = network.encode(torch.from_numpy(samples)[None].to(device), lengths_B)
    return hidden_BTD[0, : int(steps_B[0])]


def step_s(network: ConformerCtc) -> float:
    """Seconds that an output step covers."""
    return network.step_samples / RATE_HZ


def _known(tokens: Iterable[int], phones: PhoneTokens) -> list[str]:
    return [phones.phones[token - 2] for token in tokens if token > UNKNOWN]


def _aligned(found: Sequence[tuple[Utterance, str, list[str]]], left_out: Counter[str]) -> Evidence:
    kept, cells = [], 0
    for one in found:
        if not one[2]:
            left_out[UNSAID] += 1
        elif cells < CELLS:
            kept.append(one)
            cells += len(one[1]) * len(one[2])
        else:
            left_out[ENOUGH] += 1
    counts = dict(sorted(left_out.items()))
    if not kept:
        return Evidence(Learned.nothing(), 0, 0.0, 0, counts)
    pairs: list[Pair] = [(text.replace(" ", ""), heard) for _, text, heard in kept]
    seconds = sum(row.audio.duration_s for row, _, _ in kept)
    spaces = _spaces([text for _, text, _ in kept])
    return Evidence(learn(pairs), len(pairs), seconds, spaces, counts)


def _spaces(texts: Iterable[str]) -> int:
    return sum(text.count(" ") for text in texts)
