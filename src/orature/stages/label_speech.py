"""Real speech with the transcripts that a recogniser gives it, as a corpus to train a voice on.

Example::

    heard = run.do(Transcribe(model=model, corpus=splits, split="unlabelled"))
    labelled = run.do(LabelSpeech(corpus=splits, hypotheses=heard, split="unlabelled", min_score=-0.2))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from orature.core.errors import CorpusError, RowsVanished
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Ref, Stage, StageContext
from orature.stages.corpus_rows import rows_of
from orature.stages.transcribe import HYPOTHESES
from orature.text.leaks import EmbargoIndex, reject_of

REFUSED, EMPTY, UNSURE, OTHER = "recogniser-refused", "text-empty", "unsure", "other-split"


class LabelSpeech(Stage):
    """Train rows whose text is what `hypotheses` heard (origin "pseudo"), and the corpus's own dev rows.

    `split` is "unlabelled", or "train", whose own transcripts are then not used. With `keep_train` the train rows with
    their own transcripts join those of "unlabelled". Rows whose mean log-probability a frame is below `min_score` are
    rejected ("unsure"), and so is what breaches the embargo on dev and test. The test split is left out.
    """

    name: ClassVar[str] = "label-speech"
    version: ClassVar[int] = 1
    corpus: Ref
    hypotheses: Ref
    split: Literal["unlabelled", "train"] = "unlabelled"
    keep_train: bool = True
    min_score: float = Field(default=-1.0, le=0.0)
    reject_limit: float = Field(default=1.0, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes the three files of a corpus; RowsVanished where a row was never decoded."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        heard = _records(ctx.path_of(self.hypotheses) / HYPOTHESES)
        index = EmbargoIndex.of(corpus.split("dev"), corpus.split("test"))
        rejects: list[Reject] = []
        store = "" if self.corpus.is_external else str(corpus.root.parent)
        rows = self._rows(corpus, heard, index, rejects, store)
        summary = save_corpus(ctx.writing, rows, rejects, root=ctx.out)
        counts = Counter(reject.reason for reject in rejects)
        ctx.conserve(total=len(corpus), kept=summary["utterances"], rejected=counts, reject_limit=self.reject_limit)
        if not summary["splits"].get("train", {}).get("utterances"):
            raise CorpusError(
                "no recording could be labelled", next_step="see rejects.jsonl, or lower min_score (it is a log)"
            )
        ctx.note(train=summary["splits"]["train"], rejected=dict(counts))
        ctx.declare_digest(summary["digest"])

    def _rows(
        self,
        corpus: Corpus,
        heard: dict[str, dict[str, Any]],
        index: EmbargoIndex,
        rejects: list[Reject],
        store: str,
    ) -> Iterator[tuple[Utterance, dict[str, Any]]]:
        for where, row, custom in rows_of(corpus, store):
            made = self._labelled(row, heard, index)
            if isinstance(made, Reject):
                rejects.append(replace(made, where=where))
            else:
                yield made, custom

    def _labelled(self, row: Utterance, heard: dict[str, dict[str, Any]], index: EmbargoIndex) -> Utterance | Reject:
        if row.split == "dev" or (row.split == "train" and self.split != "train" and self.keep_train):
            return row
        if row.split != self.split:
            return Reject(row.id, OTHER, f"it is in {row.split}")
        record = heard.get(row.id)
        if record is None:
            raise RowsVanished(f"{row.id} was never decoded", where=HYPOTHESES, next_step="run the whole command again")
        if record.get("refusal"):
            return Reject(row.id, REFUSED, str(record["refusal"].get("detail", "")))
        text = str(record["hypothesis"]).strip()
        if not text:
            return Reject(row.id, EMPTY, "the recogniser heard nothing")
        if float(record["score"]) < self.min_score:
            return Reject(row.id, UNSURE, f"{float(record['score']):.2f} a frame; at least {self.min_score:g} is asked")
        labelled = replace(row, text=text, split="train", origin="pseudo")
        breach = index.breach(labelled)
        return labelled if breach is None else reject_of(labelled, breach)


def _records(path: Any) -> dict[str, dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return {record["id"]: record for record in map(json.loads, lines)}
