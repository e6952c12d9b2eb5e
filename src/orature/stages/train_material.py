"""What a training run works on: rows of the corpus and of old languages, their texts, and the embargo over all.

Example::

    material = gather(corpus, [swahili], [], config)
    train, dev, rejects = material.examples(vocabulary)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orature.core.errors import CorpusError
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus
from orature.engines.vocabulary import Vocabulary
from orature.text.alphabet import TextPolicy
from orature.text.leaks import EmbargoIndex, refuse_breach, screen
from orature.train.config import TrainConfig
from orature.train.examples import examples_of, policy_of, texts_of
from orature.train.loader import Example


@dataclass(frozen=True, slots=True)
class Material:
    """Rows of train and dev, of the target and of rehearsal; all rows of train are accounted for."""

    train: list[Utterance]
    dev: list[Utterance]
    old_train: list[Utterance]
    old_dev: list[Utterance]
    texts: list[str]
    policy: TextPolicy
    targets: list[str]
    languages: list[str]
    licences: list[str]
    hours: float
    rejects: list[Reject]
    """Rehearsal rows that breach the embargo."""

    @property
    def total(self) -> int:
        return len(self.train) + len(self.old_train) + len(self.rejects)

    def examples(self, vocabulary: Vocabulary) -> tuple[list[Example], list[Example], list[Reject]]:
        """Examples of train and dev, and why rows of train were left out."""
        train, rejects = examples_of(self.train, self.policy, vocabulary)
        old, more = examples_of(self.old_train, self.policy, vocabulary, role="rehearsal")
        dev, _ = examples_of(self.dev, self.policy, vocabulary)
        old_dev, _ = examples_of(self.old_dev, self.policy, vocabulary, role="rehearsal")
        return [*train, *old], [*dev, *old_dev], [*rejects, *more, *self.rejects]

    def start_name(self, start: str | None) -> str:
        """The name of the starting model: by its own facts, else its folder's."""
        if start is None:
            return ""
        folder = Path(start)
        try:
            return str(json.loads((folder / "orature.json").read_text(encoding="utf-8")).get("name", folder.name))
        except (OSError, ValueError, AttributeError):
            return folder.name


def gather(
    corpus: Corpus,
    rehearsal: Sequence[Corpus],
    guards: Sequence[Corpus],
    config: TrainConfig,
    vocabulary: Sequence[Corpus] = (),
) -> Material:
    """Rows and texts (of `guards` dev alone); train of `vocabulary` adds to the texts, its dev and test are embargoed.

    CorpusError where a split is missing, LeakFound where training rows breach the embargo; rehearsal rows that do are
    rejected with their reason.
    """
    train, dev = _rows(corpus)
    old: list[tuple[list[Utterance], list[Utterance]]] = [_rows(one) for one in rehearsal]
    old_train = [row for rows, _ in old for row in rows] if config.mix.rehearsal_share > 0 else []
    old_dev = [row for _, rows in old for row in rows] + [row for one in guards for row in one.split("dev")]
    tests = [row for one in (corpus, *rehearsal, *guards, *vocabulary) for row in one.split("test")]
    others = [row for one in vocabulary for row in one.split("dev")]
    index = EmbargoIndex.of([*dev, *old_dev, *others], tests)
    refuse_breach(train, index, where=str(corpus.root))
    old_train, rejects = screen(old_train, index)
    targets = sorted({row.language for row in train})
    policy = policy_of(config, targets[0] if len(targets) == 1 else "und")
    rows = [*train, *old_train]
    return Material(
        train=train,
        dev=dev,
        old_train=old_train,
        old_dev=old_dev,
        texts=texts_of([*rows, *(row for one in vocabulary for row in one.split("train"))], policy),
        policy=policy,
        targets=targets,
        languages=sorted({row.language for row in rows}),
        licences=sorted({row.licence for row in rows if row.licence}),
        hours=sum(row.audio.duration_s for row in train) / 3600,
        rejects=rejects,
    )


def _rows(corpus: Corpus) -> tuple[list[Utterance], list[Utterance]]:
    train, dev = list(corpus.split("train")), list(corpus.split("dev"))
    if not train or not dev:
        raise CorpusError(
            f"the corpus has {len(train)} train and {len(dev)} dev utterances; training needs both",
            where=str(corpus.root),
            next_step="make splits with `orature split CORPUS --to NEW`",
        )
    return train, dev
