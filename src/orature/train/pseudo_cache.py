"""Unlabelled speech in training: the cache of labelled batches, where a run stands in it, and its place on disk.

The cache holds batches of unlabelled utterances with the label that each was last given. It is walked in a random order
that is drawn anew each time all of it has been used. Everything follows from (seed, slot), so that an interrupted run
goes on with the same batches; the labels themselves lie in `labels.jsonl` of each checkpoint.

Example::

    cache = PseudoCache(examples, config, pseudo)
    cache.put(0, cache.fresh(), texts, update=400)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np
from pydantic import BaseModel, Field
from rapidfuzz.distance import Levenshtein

from orature.core.errors import StoreError
from orature.engines.ctc_decode import steps_needed
from orature.train.batches import Item, plan_epoch
from orature.train.config import TrainConfig
from orature.train.loader import Example
from orature.train.pseudo_config import PseudoConfig

STATE, LABELS = "pseudo.json", "labels.jsonl"
_SLOT, _WALK, _REPLACE, _REFRESH, _PLAN = 11, 12, 13, 14, 15
"""Set the random draws here apart from each other."""


class Churn(BaseModel):
    """What labels were like since the last evaluation (sums)."""

    labels: int = 0
    empty: int = 0
    infeasible: int = 0
    characters: int = 0
    audio_s: float = 0.0
    blanks: int = 0
    steps: int = 0
    compared: int = 0
    """Characters of earlier labels of the same utterances."""
    changed: int = 0
    """Edits from those to the new labels."""
    labelled_loss: float = 0.0
    labelled_weight: float = 0.0
    pseudo_loss: float = 0.0
    pseudo_weight: float = 0.0

    def row(self) -> dict[str, float]:
        """Rates for the log; those of nothing are left out."""
        rates = {
            "label_empty_share": (self.empty, self.labels),
            "label_infeasible_share": (self.infeasible, self.labels),
            "label_characters_per_s": (self.characters, self.audio_s),
            "label_blank_share": (self.blanks, self.steps),
            "label_churn": (self.changed, self.compared),
            "labelled_loss": (self.labelled_loss, self.labelled_weight),
            "pseudo_loss": (self.pseudo_loss, self.pseudo_weight),
        }
        return {name: round(part / whole, 5) for name, (part, whole) in rates.items() if whole}


class PseudoState(BaseModel):
    """Where a run stands in its unlabelled speech; a part of each checkpoint."""

    slot: int = 0
    pass_number: int = 0
    batch_in_pass: int = 0
    walk: int = 0
    place_in_walk: int = 0
    entries: list[list[tuple[int, float, float]]] = Field(default_factory=list)
    """Batches of the cache as (index of the utterance, speed, seconds)."""
    born: list[int] = Field(default_factory=list)
    """The update before which each batch was labelled."""
    churn: Churn = Churn()
    rate: float = 1.0
    """What collapses have made of the learning rate."""
    crop: bool = False
    """Cropping for good, since a collapse."""
    rollbacks: int = 0
    rolled_back_at: list[int] = Field(default_factory=list)
    warm: dict[str, float] = Field(default_factory=dict)
    """What labels and losses were like when the warm-up ended."""
    probe: dict[int, str] = Field(default_factory=dict)
    """Labels of the probe by the model that the warm-up ended with."""


class PseudoCache:
    """The cache over `examples` (unlabelled); `fits` says whether a label fits a number of samples."""

    def __init__(self, examples: Sequence[Example], config: TrainConfig, pseudo: PseudoConfig) -> None:
        self.examples, self.config, self.pseudo = examples, config, pseudo
        self.state = PseudoState()
        self.labels: dict[int, str] = {}
        self._plans: dict[int, list[list[Item]]] = {}

    def plan(self, number: int) -> list[list[Item]]:
        """The batches of one pass over all unlabelled speech."""
        if number not in self._plans:
            self._plans = {
                number: plan_epoch(
                    [example.duration_s for example in self.examples],
                    seed=self.config.seed * 1000 + _PLAN,
                    epoch=number,
                    batch_seconds=self.pseudo.batch_seconds or self.config.batch_seconds,
                    speeds=self.config.augment.speeds or (1.0,),
                )
            }
        return self._plans[number]

    def fresh(self) -> list[Item]:
        """The next batch of unlabelled speech; after the last one a new pass begins."""
        state = self.state
        if state.batch_in_pass >= len(self.plan(state.pass_number)):
            state.pass_number, state.batch_in_pass = state.pass_number + 1, 0
        items = self.plan(state.pass_number)[state.batch_in_pass]
        state.batch_in_pass += 1
        return items

    @property
    def full(self) -> bool:
        return len(self.state.entries) >= self.pseudo.cache

    def unlabelled_slot(self, slot: int) -> bool:
        """Whether slot `slot` is an unlabelled one."""
        labelled, unlabelled = self.pseudo.window
        window, place = divmod(slot, labelled + unlabelled)
        order = self._draw(_SLOT, window).permutation(labelled + unlabelled)
        return bool(order[place] >= labelled)

    def next_entry(self) -> int:
        """The entry that is used next; a finished walk begins anew, in another order."""
        state, count = self.state, len(self.state.entries)
        if state.place_in_walk >= count:
            state.walk, state.place_in_walk = state.walk + 1, 0
        order = self._draw(_WALK, state.walk).permutation(count)
        entry = int(order[state.place_in_walk])
        state.place_in_walk += 1
        return entry

    def to_refresh(self) -> list[int]:
        """Entries that are labelled anew as a further walk begins: a share of all."""
        count = len(self.state.entries)
        order = self._draw(_REFRESH, self.state.walk).permutation(count)
        return sorted(int(entry) for entry in order[: round(self.pseudo.refresh_share * count)])

    def replaces(self, slot: int) -> bool:
        """Whether the entry used in `slot` is replaced by a fresh batch afterwards."""
        return bool(self._draw(_REPLACE, slot).random() < self.pseudo.replace)

    def items(self, entry: int) -> list[Item]:
        """The batch of an entry."""
        return [Item(index, speed, None, seconds) for index, speed, seconds in self.state.entries[entry]]

    def put(self, entry: int | None, items: Sequence[Item], update: int) -> None:
        """Enters a labelled batch, in place of `entry` or (None) at the end."""
        row = [(item.index, item.speed, item.duration_s) for item in items]
        if entry is None:
            self.state.entries.append(row)
            self.state.born.append(update)
        else:
            self.state.entries[entry] = row
            self.state.born[entry] = update

    def note(self, index: int, text: str, *, blanks: int, steps: int, fits: bool) -> None:
        """A new label: what it changes, and what it looks like."""
        churn, before = self.state.churn, self.labels.get(index)
        if before is not None:
            churn.compared += max(1, len(before))
            churn.changed += min(max(1, len(before)), Levenshtein.distance(before, text))
        churn.labels += 1
        churn.empty += not text
        churn.infeasible += not fits
        churn.characters += len(text)
        churn.audio_s += self.examples[index].duration_s
        churn.blanks += blanks
        churn.steps += steps
        self.labels[index] = text

    def clear(self) -> None:
        """Forgets all labels; the order of batches goes on."""
        self.state.entries, self.state.born = [], []
        self.state.walk, self.state.place_in_walk = self.state.walk + 1, 0
        self.labels = {}

    def files(self) -> dict[str, bytes]:
        """What a checkpoint holds of this."""
        held = {index: place for place, row in enumerate(self.state.entries) for index, _, _ in row}
        lines = (
            json.dumps(
                {"id": self.examples[index].id, "index": index, "text": text, "batch": held.get(index)},
                ensure_ascii=False,
            )
            for index, text in sorted(self.labels.items())
        )
        return {STATE: self.state.model_dump_json().encode(), LABELS: "".join(f"{one}\n" for one in lines).encode()}

    def restore(self, read: Callable[[str], bytes | None]) -> None:
        """Puts back what `files` gave; nothing where the checkpoint was written before the first label."""
        state, labels = read(STATE), read(LABELS)
        if state is None or labels is None:
            return
        self.state = PseudoState.model_validate_json(state)
        self.labels = {}
        for row in map(json.loads, labels.decode("utf-8").splitlines()):
            if self.examples[row["index"]].id != row["id"]:
                raise StoreError(
                    "the labels of the checkpoint belong to other recordings",
                    next_step="remove the unfinished work with `orature store gc` and train again",
                )
            self.labels[row["index"]] = row["text"]

    def _draw(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, stream, number])


def feasible(tokens: Sequence[int], steps: int | None) -> bool:
    """Whether CTC can write `tokens` in so many steps (None: an attention model, which needs none)."""
    return steps is None or steps >= steps_needed(list(tokens))


def probe_of(examples: Sequence[Example], seconds: float) -> list[int]:
    """Utterances of so many seconds, by a choice that follows from their ids; the same in every run."""
    found: list[int] = []
    for index in sorted(range(len(examples)), key=lambda i: blake2b(examples[i].id.encode(), digest_size=8).digest()):
        if seconds <= 0:
            break
        seconds -= examples[index].duration_s
        found.append(index)
    return found
