"""The stage that puts a ladder of judged qualities and trained recognisers together: where synthetic speech helps.

Example::

    rung = JudgedRung(name="bands 4", judgement=judgement, scored=(scored_seed_1, scored_seed_2))
    run.do(Calibration(rungs=(clean, rung), baseline=(alone_seed_1, alone_seed_2)))      # calibration.json
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from orature.core.errors import BadInput
from orature.core.files import write_json
from orature.evaluate.folder import ScoredFolder, open_scored
from orature.evaluate.intelligibility import Metric, norm_i_draws, probe_of
from orature.evaluate.norm_i_threshold import Drawn, Rung, threshold
from orature.evaluate.score import Drawing, Scored, align_rows
from orature.evaluate.statistics import RESAMPLES, SEED, drawn_rates, resampling_unit
from orature.flow import Ref, Stage, StageContext
from orature.stages.inputs import read_result
from orature.stages.judge import read_judgement, read_sides

CALIBRATION_FILE = "calibration.json"
FORMAT = 1
_STREAM = 12


class JudgedRung(BaseModel, frozen=True, extra="forbid"):
    """One quality of synthetic speech: how it was judged, and the dev scores of the recognisers trained with it."""

    name: str
    judgement: Ref
    scored: tuple[Ref, ...] = Field(min_length=1)
    """One `Evaluate` folder a training seed."""


class Calibration(Stage):
    """calibration.json: Norm_I against dev error over a ladder of qualities, and the threshold where it helps.

    `baseline` are the scores of the recognisers trained without synthetic speech at equal compute, one a seed. All must
    be of the same utterances.
    """

    name: ClassVar[str] = "calibration"
    version: ClassVar[int] = 1
    baseline: tuple[Ref, ...] = Field(min_length=1)
    rungs: tuple[JudgedRung, ...] = Field(min_length=2)
    metric: Literal["auto", "wer", "cer"] = "auto"
    about: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What a reader should know: voice, judge, ratio, updates."""
    resamples: int = Field(default=RESAMPLES, ge=1)
    seed: int = SEED

    def run(self, ctx: StageContext) -> None:
        """Draws dev, seeds and probe together; the file holds every part."""
        judgements = [read_judgement(ctx.path_of(rung.judgement)) for rung in self.rungs]
        metric = _one_metric(self.metric, judgements)
        drawing = Drawing("auto", self.resamples, self.seed)
        arms = [self.baseline, *(rung.scored for rung in self.rungs)]
        scored = [[open_scored(ctx.path_of(ref)) for ref in arm] for arm in arms]
        _refuse_unlike([one for arm in scored for one in arm])
        errors = [self._error(arm, metric, number) for number, arm in enumerate(scored)]
        rungs, probe_units = [], []
        for rung, judgement, (error, _) in zip(self.rungs, judgements, errors[1:], strict=True):
            norm, units = _norm_i(ctx.path_of(rung.judgement), judgement, metric, drawing)
            probe_units.append(units)
            rungs.append(Rung(rung.name, norm, error))
        found = threshold(rungs, errors[0][0], units=min(errors[0][1], *probe_units))
        first = scored[0][0].score
        whole: dict[str, Any] = {
            "format": FORMAT,
            "metric": metric,
            "normaliser": first["normaliser"],
            "split": first.get("split", ""),
            "split_fingerprint": first.get("split_fingerprint", ""),
            "language": first.get("language", ""),
            "judge": judgements[0]["judge"],
            "family": judgements[0]["family"],
            "seeds": len(self.baseline),
            "about": dict(self.about),
            "intervals": {"resamples": self.resamples, "seed": self.seed},
            **found,
            "warnings": [*_cautions(found, len(self.baseline)), *_warned(judgements)],
        }
        with ctx.writing(CALIBRATION_FILE) as part:
            write_json(part, whole)
        ctx.note(verdict=whole["verdict"], threshold=whole["threshold"])

    def _error(self, arm: Sequence[ScoredFolder], metric: Metric, number: int) -> tuple[Drawn, int]:
        """Mean error over the seeds of an arm; dev is drawn alike for all arms, seeds for each arm on their own."""
        rates, values, units = [], [], 0
        for folder in arm:
            aligned = _aligned(folder)
            counts = [item.words.counts if metric == "wer" else item.characters.counts for item in aligned]
            errors, lengths = [one.errors for one in counts], [one.reference for one in counts]
            owners = [item.row.speaker for item in aligned]
            by = resampling_unit(owners)
            drawn, units = drawn_rates(errors, lengths, owners, by=by, resamples=self.resamples, seed=self.seed)
            rates.append(drawn)
            values.append(sum(errors) / sum(lengths))
        picked = np.random.default_rng([self.seed, _STREAM, number]).integers(len(arm), size=(len(arm), self.resamples))
        draws = np.take_along_axis(np.stack(rates), picked, axis=0).mean(axis=0)
        return Drawn(float(np.mean(values)), draws), units


def _aligned(folder: ScoredFolder) -> list[Scored]:
    return align_rows(sorted(folder.rows, key=lambda row: row.id), folder.score["normaliser"])[0]


def _norm_i(folder: Path, judgement: dict[str, Any], metric: Metric, drawing: Drawing) -> tuple[Drawn, int]:
    """Norm_I of a judgement by the common metric with its resamples."""
    sides = dict(read_sides(folder))
    normaliser = judgement["normaliser"]
    real, made = (
        align_rows(sorted(sides[name], key=lambda row: row.id), normaliser)[0] for name in ("real", "synthetic")
    )
    draws, units, _ = norm_i_draws(probe_of(real, made), metric, drawing, judgement["floor"]["value"])
    return Drawn(judgement["norm_i_by_metric"][metric]["value"], draws), units


def _one_metric(wanted: str, judgements: Sequence[dict[str, Any]]) -> Metric:
    """The metric of the whole ladder: as asked for, else characters as soon as one judgement is by characters."""
    if wanted != "auto":
        return "cer" if wanted == "cer" else "wer"
    return "cer" if any(one["metric"] == "cer" for one in judgements) else "wer"


def _refuse_unlike(folders: Sequence[ScoredFolder]) -> None:
    first = {row.id: row.reference for row in folders[0].rows}
    for other in folders[1:]:
        if {row.id: row.reference for row in other.rows} != first:
            raise BadInput(
                "the recognisers of a calibration were scored on different utterances",
                where=str(other.root),
                next_step="score all of them on the same dev split",
            )


def _cautions(found: dict[str, Any], seeds: int) -> list[str]:
    said = []
    if seeds == 1:
        said.append(
            "One training a quality: the intervals hold chance in the test set, not in training. More seeds (--set "
            "seeds=3) hold both."
        )
    norms = [row["norm_i"]["value"] for row in found["rungs"]]
    if any(later > earlier * 1.05 for earlier, later in pairwise(norms)):
        said.append("The judge does not find every rung worse than the one before; rungs are placed by their Norm_I.")
    shares = found["shares"]
    if shares is not None and max(shares.values()) < 0.9:
        said.append(
            f"The verdict is not settled: of the resamples {100 * shares['always']:.0f} % always gain, "
            f"{100 * shares['crosses']:.0f} % cross, {100 * shares['never']:.0f} % never gain."
        )
    return said


def _warned(judgements: Sequence[dict[str, Any]]) -> list[str]:
    """What the judgement of the best quality was warned of."""
    best = max(judgements, key=lambda one: float(one["norm_i"]["value"]))
    return [f"Judgement: {sentence}" for sentence in best["warnings"]]


def read_calibration(folder: Path) -> dict[str, Any]:
    """calibration.json of a folder; BadInput where there is none."""
    return read_result(
        folder / CALIBRATION_FILE,
        what="calibration",
        version=FORMAT,
        needed="verdict",
        make="make one with `orature judge --calibrate CORPUS --synthetic CORPUS --judge MODEL --to FOLDER`",
        again="make it again",
    )
