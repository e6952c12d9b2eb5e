"""A portion of the training pairs: what if there were only so many translated sentences to train a translator on?

Example::

    quarter = run.do(PairPortion(pairs=pairs, share=0.25))
"""

from __future__ import annotations

import json
from typing import ClassVar

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.files import write_json_lines
from orature.core.types import Reject
from orature.data.corpus import reject_json
from orature.flow import Ref, Stage, StageContext
from orature.stages.corpus_rows import draw_order
from orature.text.parallel import PAIRS, REJECTS, SUMMARY, Pair, ParallelCorpus, write_pairs

NOT_DRAWN = "not-drawn"


class PairPortion(Stage):
    """All pairs but those of train, of which `share` is drawn; the others are rejected.

    The order of drawing follows from `seed` and the ids alone: a smaller portion is part of every larger one.
    """

    name: ClassVar[str] = "pair-portion"
    version: ClassVar[int] = 1

    pairs: Ref
    share: float = Field(gt=0, lt=1)
    seed: int = 1

    def run(self, ctx: StageContext) -> None:
        """Writes the files of sentence pairs; the digest is that of the pairs."""
        corpus = ParallelCorpus.open(ctx.path_of(self.pairs))
        rows = list(corpus)
        train = sorted((row for row in rows if row.split == "train"), key=self._order)
        drawn = {row.id for row in train[: round(self.share * len(train))]}
        if not drawn:
            raise CorpusError(
                f"{100 * self.share:g} % of {len(train)} pairs are none",
                where=str(corpus.root),
                next_step="ask for a larger share",
            )
        kept = [row for row in rows if row.split != "train" or row.id in drawn]
        rejects = [Reject(row.id, NOT_DRAWN, "", row.id) for row in train if row.id not in drawn]
        with ctx.writing(PAIRS) as path:
            tally = write_pairs(path, kept)
        with ctx.writing(REJECTS) as path:
            write_json_lines(path, [reject_json(reject) for reject in rejects])
        summary = corpus.summary() | tally.summary(*corpus.languages) | {"share": self.share}
        summary.pop("rows", None)
        with ctx.writing(SUMMARY) as path:
            path.write_text(json.dumps(summary, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        ctx.conserve(total=len(rows), kept=len(kept), rejected={NOT_DRAWN: len(rejects)}, reject_limit=1.0)
        ctx.declare_digest(str(summary["digest"]))

    def _order(self, row: Pair) -> tuple[bytes, str]:
        return draw_order(self.seed, row.id), row.id
