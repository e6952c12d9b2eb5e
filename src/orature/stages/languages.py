"""A scored multilingual system beside its baselines, language by language: trained alone, or trained otherwise.

Example::

    alone = Baseline(name="alone", about="trained on the language alone", parts=(scored_qu, scored_sw))
    run.do(CompareLanguages(scored=scored, corpus=pooled, baselines=(alone,)))
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from orature.data.corpus import Corpus
from orature.evaluate.folder import ScoredFolder, open_scored
from orature.evaluate.languages import compare_languages
from orature.evaluate.score import Drawing
from orature.flow import Ref, Stage, StageContext
from orature.stages.evaluate import write_compared


class Baseline(BaseModel, frozen=True, extra="forbid"):
    """Scored folders (`Evaluate`) that together hold each utterance of the languages they cover once.

    `about` completes "trained ..." for a reader.
    """

    name: str
    about: str
    parts: tuple[Ref, ...]


class CompareLanguages(Stage):
    """The scored folder `scored` with `baselines` in its score, and the hours of training of each language."""

    name: ClassVar[str] = "compare-languages"
    version: ClassVar[int] = 1
    scored: Ref
    corpus: Ref
    baselines: tuple[Baseline, ...] = ()

    def run(self, ctx: StageContext) -> None:
        """Writes score.json and hypotheses.jsonl; a language that a baseline lacks is left out of its averages."""
        found = open_scored(ctx.path_of(self.scored))
        score: dict[str, Any] = dict(found.score)
        hours = train_hours(Corpus.open(ctx.path_of(self.corpus)))
        languages = score.get("languages", {})
        score["languages"] = {tag: {**one, "train_hours": hours.get(tag, 0.0)} for tag, one in languages.items()}
        score["baselines"] = [
            {"name": baseline.name, "about": baseline.about, **self._compared(ctx, baseline, found)}
            for baseline in self.baselines
        ]
        write_compared(ctx, found, score)

    def _compared(self, ctx: StageContext, baseline: Baseline, found: ScoredFolder) -> dict[str, Any]:
        theirs = [row for ref in baseline.parts for row in open_scored(ctx.path_of(ref)).rows]
        covered = {row.language for row in theirs}
        ours = [row for row in found.rows if row.language in covered]
        intervals = found.score["intervals"]
        drawing = Drawing(resamples=intervals["resamples"], seed=intervals["seed"])
        return compare_languages(theirs, ours, found.score["normaliser"], drawing)


def train_hours(corpus: Corpus) -> dict[str, float]:
    """Hours of the train split by language."""
    seconds: dict[str, float] = {}
    for row in corpus.split("train"):
        seconds[row.language] = seconds.get(row.language, 0.0) + row.audio.duration_s
    return {language: round(total / 3600, 4) for language, total in sorted(seconds.items())}
