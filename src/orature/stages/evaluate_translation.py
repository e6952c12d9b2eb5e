"""Scores what a speech translation model writes, and what a translator writes, by BLEU and chrF with intervals.

Example::

    heard = run.do(Transcribe(model=model, corpus=translated, split="dev"))
    scored = run.do(EvaluateTranslation(hypotheses=heard, source="es", target="que-EC", split="dev"))
    score_in(run.path_of(scored))["chrf"]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from orature.core.errors import StoreError
from orature.core.files import write_json, write_json_lines
from orature.core.identity import digest_json
from orature.engines.translators import open_translator
from orature.evaluate.translation import chrf, require_metrics
from orature.flow import Ref, Stage, StageContext
from orature.stages.inputs import TranslatorRef
from orature.stages.transcribe import HYPOTHESES
from orature.stages.translate import Searching
from orature.stages.translation_score import SCORE_FILE, TRANSLATIONS_FILE, TranslatedRow, score_rows, translate_pairs
from orature.text.parallel import Pair, ParallelCorpus
from orature.train.devices import prepare_device


class EvaluateTranslation(Stage):
    """`score.json` and `translations.jsonl` of decoded speech whose references are translations.

    A refused recording counts as an empty translation; `copy` is the reference against itself and says nothing here.
    """

    name: ClassVar[str] = "evaluate-translation"
    version: ClassVar[int] = 1

    hypotheses: Ref
    source: str
    target: str
    split: str
    model: str = ""

    def run(self, ctx: StageContext) -> None:
        """Scores all that was decoded."""
        require_metrics()
        rows = [_row(line) for line in _lines(ctx.path_of(self.hypotheses) / HYPOTHESES)]
        fingerprint = digest_json(sorted([row.id, row.reference] for row in rows))
        score = score_rows(
            rows,
            model=self.model,
            split=self.split,
            fingerprint=fingerprint,
            languages=(self.source, self.target),
            decoder={},
        )
        score.pop("copy")
        _write(ctx, score, rows)


class EvaluateTranslator(Stage):
    """`score.json` and `translations.jsonl` of a translator on a held-out split of sentence pairs."""

    name: ClassVar[str] = "evaluate-translator"
    version: ClassVar[int] = 1

    translator: TranslatorRef
    pairs: Ref
    searching: Searching = Searching()
    split: Literal["test", "dev"] = "test"
    most: int | None = Field(default=None, ge=1)
    """At most so many pairs, spread evenly over the split; None: all."""
    model: str = ""
    """How the score file names the translator; "": by its engine and folder."""

    def run(self, ctx: StageContext) -> None:
        """Translates the pairs once."""
        require_metrics()
        corpus = ParallelCorpus.open(ctx.path_of(self.pairs))
        whole = corpus.split(self.split)
        pairs = spread(whole, self.most)
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        with (
            open_translator(
                self.translator.spec, device=device, threads=ctx.resources.threads, backend=self.translator.backend
            ) as translator,
            ctx.progress(f"translator: {self.split}", len(pairs), "sentences") as bar,
        ):
            rows, known = translate_pairs(translator, pairs, corpus.languages, self.searching.search(), bar.advance)
        part = digest_json(sorted([pair.source, pair.target] for pair in pairs))
        score = score_rows(
            rows,
            model=self.model or self.translator.public_name,
            split=self.split,
            fingerprint=corpus.fingerprint(self.split) if len(pairs) == len(whole) else part,
            languages=corpus.languages,
            decoder=self.searching.model_dump(mode="json"),
        )
        _write(ctx, {**score, "known": round(known, 4)}, rows)


def spread(pairs: Sequence[Pair], most: int | None) -> list[Pair]:
    """At most so many of the pairs in their order, spread evenly over them; None: all."""
    count = len(pairs) if most is None else min(most, len(pairs))
    return [pairs[place * len(pairs) // count] for place in range(count)]


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the hypotheses cannot be read: {error}", where=str(path), next_step="run the whole command again"
        ) from error


def _row(line: dict[str, Any]) -> TranslatedRow:
    said, heard, refusal = str(line["reference"]), str(line["hypothesis"]), line["refusal"]
    alike = chrf(heard, said) if heard else 0.0
    return TranslatedRow(line["id"], "", said, heard, "" if refusal is None else refusal["reason"], round(alike, 4))


def _write(ctx: StageContext, score: dict[str, Any], rows: Sequence[TranslatedRow]) -> None:
    with ctx.writing(SCORE_FILE) as part:
        write_json(part, score)
    with ctx.writing(TRANSLATIONS_FILE) as part:
        write_json_lines(part, [row.to_json() for row in rows])
    ctx.note(bleu=score["bleu"]["value"], chrf=score["chrf"]["value"])
