"""The better of several translators of the same pairs, by chrF on the same dev rows; test is never looked at for it.

Example::

    found = Candidate(kind="dictionary", model=made, dev=run.do(EvaluateTranslator(translator=..., split="dev")))
    chosen = run.do(ChooseTranslator(candidates=(other, found)))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from orature.core.errors import ConfigError
from orature.core.files import link_or_copy, write_json
from orature.evaluate.translation import compare_translations, require_metrics
from orature.evaluate.translator_choice import choice_of
from orature.evaluate.translator_report import translator_page
from orature.flow import Ref, Stage, StageContext
from orature.flow.artefact import INFO_NAME, walk_files
from orature.stages.model_folder import TRAINING, write_texts
from orature.stages.translation_score import REPORT_FILE, TRANSLATIONS_FILE, score_in
from orature.stages.translator_card import translator_card

_CARD, _LOG = "README.md", "train_log.jsonl"
_WRITTEN = (INFO_NAME, TRAINING, REPORT_FILE, _CARD)
"""What is not taken over from the candidate's folder."""


class Candidate(BaseModel, frozen=True, extra="forbid"):
    """A translator's folder and its score on dev (`EvaluateTranslator`)."""

    kind: Literal["transformer", "dictionary"]
    model: Ref
    dev: Ref


class ChooseTranslator(Stage):
    """The folder with the highest chrF on dev; of equals the first. What all reached is in its facts, report and card.

    `failed` holds by kind why a translator could not be made.
    """

    name: ClassVar[str] = "choose-translator"
    version: ClassVar[int] = 1
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    failed: dict[str, str] = Field(default_factory=dict)

    def run(self, ctx: StageContext) -> None:
        """Compares, takes over the better folder, and writes anew what tells of it."""
        require_metrics()
        scores = [score_in(ctx.path_of(one.dev)) for one in self.candidates]
        _refuse_unlike(scores)
        best = max(range(len(scores)), key=lambda place: (scores[place]["chrf"]["value"], -place))
        folder = ctx.path_of(self.candidates[best].model)
        choice = choice_of(
            {one.kind: score for one, score in zip(self.candidates, scores, strict=True)},
            taken=self.candidates[best].kind,
            lead=self._lead(ctx, best),
            failed=self.failed,
        )
        for name in walk_files(folder):
            if name not in _WRITTEN:
                with ctx.writing(name) as part:
                    link_or_copy(folder / name, part)
        facts = {**_json(folder / TRAINING), "choice": choice}
        score = score_in(folder)
        rows, log = _lines(folder / TRANSLATIONS_FILE), _lines(folder / _LOG)
        page = translator_page(facts, score=score, rows=rows, train_log=log)
        with ctx.writing(TRAINING) as part:
            write_json(part, facts)
        write_texts(ctx, {REPORT_FILE: page, _CARD: translator_card(facts, score)})
        ctx.note(taken=choice["taken"], dev_chrf=scores[best]["chrf"]["value"], test_chrf=score["chrf"]["value"])

    def _lead(self, ctx: StageContext, best: int) -> dict[str, Any] | None:
        """By how much the one that is taken beats the next, with a paired interval; None where there is one only."""
        others = [place for place in range(len(self.candidates)) if place != best]
        if not others:
            return None
        rows = [_lines(ctx.path_of(self.candidates[place].dev) / TRANSLATIONS_FILE) for place in (others[0], best)]
        other, own = ([row["translation"] for row in part] for part in rows)
        found = compare_translations(other, own, [row["reference"] for row in rows[0]])["chrf"]
        edges = (None if edge is None else round(edge, 4) for edge in (found.low, found.high))
        return {"delta": round(found.delta, 4), **dict(zip(("low", "high"), edges, strict=True))}


def _refuse_unlike(scores: Sequence[Mapping[str, Any]]) -> None:
    """ConfigError for scores of another split than dev, or of unlike rows: they choose nothing."""
    splits = {score["split"] for score in scores}
    if splits != {"dev"}:
        raise ConfigError(
            f"a translator is chosen on dev, not on {', '.join(sorted(splits - {'dev'}))}",
            next_step='score every candidate with EvaluateTranslator(split="dev")',
        )
    if len({score["split_fingerprint"] for score in scores}) > 1:
        raise ConfigError(
            "the candidates were scored on unlike dev rows",
            next_step="score them on the same pairs, with the same `most`",
        )


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
