"""A portion of the training speech of a corpus: what if only so many minutes of it were transcribed?

Example::

    five = run.do(Portion(corpus=corpus, minutes=5.0))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow.context import StageContext
from orature.flow.ref import Ref
from orature.flow.stage import Stage
from orature.stages.corpus_rows import draw_order, rows_of
from orature.stages.distort import NOT_DRAWN


class Portion(Stage):
    """All rows of `corpus` but those of train, of which as many are drawn as fit into `minutes`; others are rejected.

    With `rest` "unlabelled" the others lose their transcripts and speakers and join the split of untranscribed speech.
    `speakers` are those whose rows may be drawn (none: all). The order of drawing follows from `seed` and the ids
    alone, so that a smaller portion is part of every larger one (but for the last rows, which are skipped where they do
    not fit). Only transcribed rows are counted and drawn. CorpusError where not one fits.
    """

    name: ClassVar[str] = "portion"
    version: ClassVar[int] = 1

    corpus: Ref
    minutes: float = Field(gt=0)
    rest: Literal["reject", "unlabelled"] = "reject"
    speakers: tuple[str, ...] = ()
    seed: int = 1

    def run(self, ctx: StageContext) -> None:
        """Writes the three files of a corpus; its digest is that of the corpus."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        drawn, seconds = self._drawn(corpus)
        if not drawn:
            raise CorpusError(
                f"no training utterance fits into {self.minutes:g} minutes" + self._of_whom(),
                where=str(corpus.root),
                next_step="ask for more minutes; `orature ingest` tells what each split holds",
            )
        store = "" if self.corpus.is_external else str(corpus.root.parent)
        rejects: list[Reject] = []
        summary = save_corpus(
            ctx.writing,
            _rows(corpus, store, drawn, rejects, unlabelled=self.rest == "unlabelled"),
            rejects,
            root=ctx.out,
        )
        ctx.note(train_minutes=round(seconds / 60, 3), train_utterances=len(drawn))
        ctx.conserve(
            total=len(corpus), kept=summary["utterances"], rejected={NOT_DRAWN: len(rejects)}, reject_limit=1.0
        )
        ctx.declare_digest(summary["digest"])

    def _of_whom(self) -> str:
        return f" of {', '.join(self.speakers)}" if self.speakers else ""

    def _drawn(self, corpus: Corpus) -> tuple[set[str], float]:
        """Ids of the drawn rows and their seconds."""
        asked = set(self.speakers)
        rows = [
            (row.id, row.audio.duration_s)
            for row in corpus.split("train")
            if row.text and (not asked or row.speaker in asked)
        ]
        seconds, drawn = 0.0, set()
        for name, length_s in sorted(rows, key=lambda row: (draw_order(self.seed, row[0]), row[0])):
            if seconds + length_s <= 60 * self.minutes:
                drawn.add(name)
                seconds += length_s
        return drawn, seconds


def _rows(
    corpus: Corpus, store: str, drawn: set[str], rejects: list[Reject], *, unlabelled: bool
) -> Iterator[tuple[Utterance, dict[str, Any]]]:
    for where, row, custom in rows_of(corpus, store):
        if row.split != "train" or row.id in drawn:
            yield row, custom
        elif unlabelled:
            yield replace(row, split="unlabelled", text=None, speaker=None), custom
        else:
            rejects.append(Reject(row.id, NOT_DRAWN, "", where))
