"""slimIPL: training that labels its own unlabelled speech as it goes on (Likhomanenko et al. 2020, arXiv 2010.11524).

After a warm-up on labelled speech, windows of labelled and unlabelled slots follow in random order. An unlabelled slot
labels a batch for the cache while that is not full; afterwards it trains on the next cached batch, and with some
probability replaces it by a fresh one, labelled with the weights before the step (section 3, algorithm 1). Labels whose
text is empty or which CTC cannot write in the steps of their audio are not trained on.

Example::

    outcome = fit(learner, train, dev, config, freezing, state=state, watcher=watcher,
                  trainer=PseudoTrainer, pseudo=PseudoConfig(), unlabelled=PseudoLoader(examples, config, learner))
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from orature.core.errors import ConfigError
from orature.core.progress import say
from orature.core.types import RATE_HZ
from orature.train.batches import Item, cut, divided, grouped
from orature.train.dev import DevReport
from orature.train.hearing import Heard, Hearer, lower_dropout, seed_of, with_weights
from orature.train.learner import Learner
from orature.train.loader import Loader, Planned
from orature.train.loop import Trainer
from orature.train.pseudo_cache import Churn, PseudoCache, feasible, probe_of
from orature.train.pseudo_config import PseudoConfig
from orature.train.pseudo_watch import MOSTLY, collapsed, distance, roll_back
from orature.train.teachers import Teachers

_LABEL_SHARE = 2.0
"""Labelling keeps no activations, so that more is computed at once than in training."""


class PseudoLoader(Loader):
    """Unlabelled utterances whose targets are what they were last heard as."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.targets: dict[int, list[int]] = {}

    def tokens(self, index: int) -> list[int]:
        """The tokens of its label; none before it has one."""
        return self.targets.get(index, [])


class PseudoTrainer(Trainer):
    """The training loop with unlabelled slots."""

    def __init__(self, learner: Learner, *args: Any, pseudo: PseudoConfig, unlabelled: PseudoLoader) -> None:
        self.pseudo, self.unlabelled = pseudo, unlabelled
        self.hearer = Hearer(learner)
        self.cache = PseudoCache(unlabelled.examples, args[2], pseudo)
        self.teachers = Teachers(pseudo)
        super().__init__(learner, *args)
        if self.parallel.sharded:
            raise ConfigError(
                "pseudo-labels are made by processes that hold the whole model", next_step="leave --sharding out"
            )
        unlabelled.micro_seconds = self.train.micro_seconds
        if self.cache.state.warm:
            self._lower_dropout()

    def run(self) -> Any:
        """Trains until the last update or an early stop, then picks the weights."""
        progressed, config = self.progressed, self.config
        self.watcher.begin(progressed.update, config.updates)
        if self.score_start and progressed.update == 0 and not progressed.log:
            self._score_start()
        labelled = self._labelled()
        while not progressed.finished and progressed.update < config.updates:
            before = progressed.update
            if before < self.pseudo.warmup_updates:
                self._train_labelled(next(labelled))
            else:
                self._slot(labelled)
            updated = progressed.update > before
            if updated and (progressed.update % config.evaluate_every == 0 or progressed.update == config.updates):
                self._evaluate()
            elif self._due if updated else self.parallel.processes == 1 and self._waited():
                self._save()  # without an update several processes have not agreed on it
        return self._choose()

    def _labelled(self) -> Iterator[list[Planned]]:
        """Groups of labelled batches, epoch after epoch."""
        while True:
            yield from grouped(self._batches(), self.config.accumulate)
            self.progressed.next_epoch()

    def _train_labelled(self, batches: list[Planned]) -> None:
        sums = self._update(batches)
        churn = self.cache.state.churn
        churn.labelled_loss += sums["loss"]
        churn.labelled_weight += sums["weight"]
        self.teachers.step(self.learner.module, self.names)

    def _slot(self, labelled: Iterator[list[Planned]]) -> None:
        state = self.cache.state
        if not state.warm:
            self._end_warmup()
        slot = state.slot
        state.slot += 1
        if not self.cache.unlabelled_slot(slot):
            self._train_labelled(next(labelled))
        elif self.pseudo.cache and not self.cache.full:
            items = self.cache.fresh()
            self._label(items, slot)
            self.cache.put(None, items, self.progressed.update)
        else:
            self._unlabelled(slot)

    def _unlabelled(self, slot: int) -> None:
        """Trains on one unlabelled batch, with labels from before the step."""
        cache = self.cache
        if not self.pseudo.cache:
            items = cache.fresh()
            self._label(items, slot)
            self._train(self._planned(items, slot))
            return
        walk = cache.state.walk
        entry = cache.next_entry()
        for old in cache.to_refresh() if cache.state.walk > walk else ():
            self._label(cache.items(old), slot)
            cache.put(old, cache.items(old), self.progressed.update)
        items, update = cache.items(entry), self.progressed.update
        planned = self._planned(items, slot)
        if cache.replaces(slot):
            fresh = cache.fresh()
            self._label(fresh, slot)
            cache.put(entry, fresh, update)
        self._train(planned)

    def _train(self, planned: Planned | None) -> None:
        if planned is None:
            return
        sums = self._update([planned], labelled=False)
        churn = self.cache.state.churn
        churn.pseudo_loss += sums["loss"]
        churn.pseudo_weight += sums["weight"]
        self.teachers.step(self.learner.module, self.names)

    def _planned(self, items: Sequence[Item], slot: int) -> Planned | None:
        """A batch of unlabelled utterances with their labels, augmented; None where no label can be trained on."""
        usable = [item for item in items if self._usable(item.index)]
        if not usable:
            return None
        parts = divided(usable, self.parallel.processes)
        most = min(self.config.batch_seconds, self.unlabelled.micro_seconds or math.inf)
        shares = [cut(part, most) for part in parts]
        first = sum(len(share) for share in shares[: self.parallel.rank])
        pieces = [
            (first + number, self.unlabelled.build(piece, slot, augment=True, masks=True))
            for number, piece in enumerate(shares[self.parallel.rank])
        ]
        return Planned(sum(item.duration_s for item in usable), pieces, tuple(len(share) for share in shares))

    def _usable(self, index: int) -> bool:
        tokens = self.unlabelled.tokens(index)
        if not tokens:
            return self.pseudo.keep_empty and index in self.cache.labels
        return self._fits(index, tokens)

    def _fits(self, index: int, tokens: Sequence[int]) -> bool:
        steps, seconds = self.train.steps, self.unlabelled.examples[index].duration_s
        return feasible(tokens, None if steps is None else steps(int(seconds * RATE_HZ)))

    def _label(self, items: Sequence[Item], slot: int) -> None:
        """Gives the utterances of a batch labels, each process its share."""
        indices = [item.index for item in items]
        for index, heard in zip(indices, self._heard(indices, slot), strict=True):
            self._enter(index, heard)

    def _enter(self, index: int, heard: Heard) -> None:
        tokens = self._encode(heard.text)
        self.unlabelled.targets[index] = tokens
        fits = self._fits(index, tokens) if tokens else True
        self.cache.note(index, heard.text, blanks=heard.blanks, steps=heard.steps, fits=fits)

    def _encode(self, text: str) -> list[int]:
        vocabulary: Any = self.learner.vocabulary  # type: ignore[attr-defined]
        return list(vocabulary.encode(text)) if text else []

    def _heard(self, indices: Sequence[int], slot: int) -> list[Heard]:
        """What the teacher hears in them, in their order."""
        parallel = self.parallel
        mine = range(parallel.rank, len(indices), parallel.processes)
        items = [Item(indices[place], 1.0, None, self.unlabelled.examples[indices[place]].duration_s) for place in mine]
        most = _LABEL_SHARE * min(self.config.batch_seconds, self.unlabelled.micro_seconds or math.inf)
        own: list[Heard] = []
        with with_weights(self.learner.module, self.teachers.weights):
            for number, piece in enumerate(cut(items, most)):
                batch = self.unlabelled.build(piece, 0, augment=False)
                seed = seed_of(self.config.seed, slot, parallel.rank, number)
                own += self.hearer.heard(
                    batch, window_s=self._window_s(), temperature=self.pseudo.temperature, seed=seed
                )
        found: list[Heard | None] = [None] * len(indices)
        for rank, share in enumerate(parallel.gather(own)):
            found[rank :: parallel.processes] = share
        return [heard for heard in found if heard is not None]

    def _window_s(self) -> float:
        """Seconds of the windows that audio is cut into for labelling now; 0: not at all."""
        since = self.progressed.update - self.pseudo.warmup_updates
        crops = self.cache.state.crop or self.pseudo.crop_updates < 0 or since < self.pseudo.crop_updates
        return self.pseudo.crop_s if crops else 0.0

    def _end_warmup(self) -> None:
        """What the labels are compared with from here on."""
        state = self.cache.state
        self._lower_dropout()
        self.teachers.begin(self.learner.module, self.names)
        probe = probe_of(self.unlabelled.examples, self.pseudo.probe_s)
        heard = self._heard(probe, 0)
        state.probe = {index: one.text for index, one in zip(probe, heard, strict=True)}
        seconds = sum(self.unlabelled.examples[index].duration_s for index in probe)
        state.warm = {
            "empty_share": sum(not one.text for one in heard) / max(1, len(heard)),
            "characters_per_s": sum(len(one.text) for one in heard) / max(seconds, 1e-9),
            "labelled_loss": self._last("loss"),
            "update": float(self.progressed.update),
        }
        rate, empty = state.warm["characters_per_s"], 100 * state.warm["empty_share"]
        said = f"{rate:.1f} characters a second, {empty:.0f} % empty"
        say(f"train: the warm-up is over; its labels for {len(probe)} unlabelled utterances: {said}")
        if state.warm["empty_share"] > MOSTLY:
            say("train: that is too early for labels of one's own, most of them are empty: train longer before slimIPL")

    def _last(self, name: str) -> float:
        """The newest figure of the log of that name; 0 before the first."""
        found = [row[name] for row in self.progressed.log if name in row]
        return float(found[-1]) if found else 0.0

    def _lower_dropout(self) -> None:
        if self.pseudo.dropout is not None:
            lower_dropout(self.learner.module, self.pseudo.dropout)

    def _figures(self) -> dict[str, object]:
        state = self.cache.state
        if not state.warm:
            return {}
        row: dict[str, object] = dict(state.churn.row())
        row |= {"slot": state.slot, "cache": len(state.entries), "rollbacks": state.rollbacks}
        if state.probe:
            heard = self._heard(list(state.probe), 0)
            row["probe_distance"] = round(distance(list(state.probe.values()), heard), 5)
        return row

    def _judge(self, report: DevReport) -> None:
        """Collapse of the labels: back to the best checkpoint, slower and with cropping; else the usual verdict."""
        state, progressed = self.cache.state, self.progressed
        figures = progressed.log[-1]
        found = collapsed(figures, state.warm, progressed, self.pseudo.watch, self.config.select, report)
        state.churn = Churn()
        if found is None:
            if not state.warm:
                super()._judge(report)
            elif self.teachers.wants_best:
                self.teachers.best(self.state, progressed)
            return
        figures["collapse"] = found
        weights: dict[str, Tensor] = roll_back(self.state, progressed, state, self.pseudo.watch, found)
        self._load(weights)
        self.optimiser.state.clear()
        self.rate = state.rate
        self.cache.clear()
        self.unlabelled.targets.clear()
        self.teachers.begin(self.learner.module, self.names)

    def _more(self) -> tuple[dict[str, bytes], int]:
        return self.cache.files() | self.teachers.files(), self.cache.state.slot

    def _go_on(self) -> None:
        from orature.train import checkpoint

        self.cache.restore(lambda name: checkpoint.read_file(self.state, name))
        self.teachers.restore(lambda name: checkpoint.read_file(self.state, name))
        self.rate = self.cache.state.rate
        for index, text in self.cache.labels.items():
            self.unlabelled.targets[index] = self._encode(text)
