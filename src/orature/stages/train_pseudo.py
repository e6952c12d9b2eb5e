"""The stage that trains a recogniser on transcribed and untranscribed speech: slimIPL and its relatives.

Example::

    model = run.do(TrainPseudo(corpus=splits, start=tuned, config=config, pseudo=PseudoConfig(warmup_updates=400)))
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.files import write_json_lines
from orature.core.progress import say
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus
from orature.flow import Ref, StageContext
from orature.stages.train import Train
from orature.stages.train_material import Material
from orature.text.leaks import EmbargoIndex, reject_of
from orature.train import checkpoint, guards
from orature.train.examples import example_of
from orature.train.job import Job, Made
from orature.train.loader import Example
from orature.train.loop import Outcome
from orature.train.pseudo_cache import LABELS, STATE, PseudoState
from orature.train.pseudo_config import PseudoConfig

PSEUDO_LABELS = "pseudo_labels.jsonl"


class TrainPseudo(Train):
    """As `Train`, with labels for untranscribed speech made while it trains (see `orature.train.pseudo`).

    Untranscribed are the rows of the split "unlabelled" of `corpus` and of `more`, corpora of such speech alone; what
    they may have as text is not read. A recording that is one of dev or test is left out (law 5), as is one longer than
    the family or `longest_s` allows. `pseudo_labels.jsonl` holds the label that each utterance was last given.
    """

    name: ClassVar[str] = "train-pseudo"
    version: ClassVar[int] = 2
    pseudo: PseudoConfig = PseudoConfig()
    more: tuple[Ref, ...] = ()
    longest_s: float = Field(default=60.0, gt=0)

    def _completed(self, ctx: StageContext, job: Job, made: Made, material: Material) -> tuple[Job, list[Reject]]:
        corpora = [Corpus.open(ctx.path_of(ref)) for ref in (self.corpus, *self.more)]
        index = EmbargoIndex.of(*(corpora[0].split(name) for name in ("dev", "test")))
        rows = [row for corpus in corpora for row in corpus.split("unlabelled")]
        rejects: list[Reject] = []
        kept: list[Example] = []
        for row in sorted(rows, key=lambda row: (row.source, row.id)):
            found = self._usable(row, index, made)
            if isinstance(found, Reject):
                rejects.append(found)
            else:
                kept.append(found)
        if not kept:
            raise CorpusError(
                "there is no untranscribed speech to label",
                where=str(corpora[0].root),
                next_step="its rows belong into the split `unlabelled` (plain corpora: a row without a sentence there)",
            )
        hours = sum(example.duration_s for example in kept) / 3600
        say(f"train-pseudo: {len(kept)} utterances without transcripts ({hours:.2f} h), {len(rejects)} left out")
        return replace(job, unlabelled=tuple(kept), pseudo=self.pseudo), rejects

    def _usable(self, row: Utterance, index: EmbargoIndex, made: Made) -> Example | Reject:
        breach = index.audio_breach(row.audio.digest)
        if breach is not None:
            return reject_of(row, breach)
        example = replace(example_of(row, "", ()), id=f"{row.source}/{row.id}", origin="pseudo")
        most = min(self.longest_s, made.longest_s or self.longest_s)
        slowest = min(self.config.augment.speeds or (1.0,))
        too_long = guards.too_long([example], most, None, slowest)
        return too_long[0] if too_long else example

    def _facts(
        self, material: Material, outcome: Outcome, job: Job, found: dict[str, Any], made: Made
    ) -> dict[str, Any]:
        facts = super()._facts(material, outcome, job, found, made)
        hours = sum(example.duration_s for example in job.unlabelled) / 3600
        return facts | {
            "unlabelled_utterances": len(job.unlabelled),
            "unlabelled_hours": round(hours, 4),
            "pseudo": self.pseudo.model_dump(mode="json"),
        }

    def _fit(self, ctx: StageContext, job: Job, made: Made, material: Material, device: str) -> Outcome:
        outcome = super()._fit(ctx, job, made, material, device)
        state = ctx.state / "training"
        held, labels = checkpoint.read_file(state, STATE), checkpoint.read_file(state, LABELS)
        if held is not None and labels is not None:
            at = PseudoState.model_validate_json(held)
            rows = [json.loads(line) for line in labels.decode("utf-8").splitlines()]
            with ctx.writing(PSEUDO_LABELS) as part:
                write_json_lines(part, ({"id": row["id"], "text": row["text"]} for row in rows))
            ctx.note(labelled=len(rows), rollbacks=at.rollbacks, warm=at.warm, **_last(outcome))
        return outcome


def _last(outcome: Outcome) -> dict[str, float]:
    """What the labels were like at the last evaluation that made some."""
    found: dict[str, float] = {}
    for row in outcome.log:
        for name in ("label_churn", "label_empty_share", "label_characters_per_s", "probe_distance"):
            if name in row:
                found[name] = float(str(row[name]))
    return found
