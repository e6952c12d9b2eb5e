"""The arms of a back-translation experiment as one scored folder: the published arm's score, and all beside it.

Example::

    arms = (ArmScore(name="real", role="real", test=real), ArmScore(name="real + 2 x synthetic", role="synthetic", ...))
    run.do(CompareArms(arms=arms, published="real + 2 x synthetic", metric="cer"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from orature.core.errors import ConfigError, StoreError
from orature.evaluate.arms import Evidence, against, verdict
from orature.evaluate.diversity import narrower
from orature.evaluate.folder import ScoredFolder, open_scored
from orature.flow import Ref, Stage, StageContext
from orature.stages.evaluate import write_compared

Role = Literal["start", "real", "synthetic", "merged", "loop"]
Plain = str | int | float | bool | None
_RATES = ("wer", "cer", "utterances", "words")
_JUDGED = ("norm_i", "wer_real", "wer_syn", "cer_real", "cer_syn", "metric", "normaliser", "judge", "family", "floor")


class ArmScore(BaseModel, frozen=True, extra="forbid"):
    """One arm: its scores on dev and (where it is in the final table) on test, and what its training passed."""

    name: str
    role: Role
    about: str = ""
    ratio: float = 0.0
    dev: Ref | None = None
    test: Ref | None = None
    updates: int | None = None
    audio_hours: float | None = None
    hours_seen: dict[str, float] = Field(default_factory=dict)
    note: str = ""


class CompareArms(Stage):
    """The scored folder of the arm `published` with all arms, the sweep, the judgement and a verdict in its score.

    `arms` with a test score make the final table (the first of role "real" is the one that differences are against);
    those of role "synthetic" make the sweep on dev. `judgement` is a folder with judge.json, `text` one with text.json.
    """

    name: ClassVar[str] = "compare-arms"
    version: ClassVar[int] = 1
    arms: tuple[ArmScore, ...]
    published: str
    metric: Literal["cer", "wer"] = "cer"
    failed: dict[str, str] = Field(default_factory=dict)
    """Ratios that could not be trained, and why."""
    why_none: str = ""
    """Why there is no arm with synthetic speech."""
    judgement: Ref | None = None
    calibration: Ref | None = None
    text: Ref | None = None
    synthetic: dict[str, Plain] = Field(default_factory=dict)
    """Voice, sentences, hours, rejects and the like."""
    merged: tuple[dict[str, Plain], ...] = ()
    """What was merged in which amounts, and how it did on dev."""
    rounds: tuple[dict[str, Plain], ...] = ()
    """What each round of a closed loop brought on dev, and whether it was kept."""
    notes: tuple[str, ...] = ()
    threshold: float | None = None
    fallback: str = ""

    def run(self, ctx: StageContext) -> None:
        """Writes score.json and hypotheses.jsonl; the digest is over what was said, heard and found."""
        scored = {arm.name: open_scored(ctx.path_of(arm.test)) for arm in self.arms if arm.test is not None}
        real = next((arm.name for arm in self.arms if arm.role == "real"), None)
        if self.published not in scored or real not in scored:
            raise ConfigError("the published and the real-only arm must both be scored on test")
        baseline = scored[real]
        rows = [self._row(ctx, arm, scored.get(arm.name), baseline, arm.name == real) for arm in self.arms]
        found = scored[self.published]
        score: dict[str, Any] = dict(found.score)
        score["arms"] = {
            "metric": self.metric,
            "against": real,
            "published": self.published,
            "rows": [row for row in rows if row["test"] is not None],
            "sweep": [row for row in rows if row["role"] in ("real", "synthetic")],
            "failed": dict(sorted(self.failed.items())),
            "merged": list(self.merged),
            "rounds": list(self.rounds),
            "notes": list(self.notes),
        }
        score["synthetic"] = self._synthetic(ctx)
        score["arms"]["verdict"] = self._verdict(rows, score["synthetic"])
        write_compared(ctx, found, score)

    def _row(
        self, ctx: StageContext, arm: ArmScore, test: ScoredFolder | None, baseline: ScoredFolder, is_base: bool
    ) -> dict[str, Any]:
        dev = None if arm.dev is None else _rates(open_scored(ctx.path_of(arm.dev)).score)
        return {
            **arm.model_dump(exclude={"dev", "test"}),
            "dev": dev,
            "test": None if test is None else _rates(test.score),
            "difference": None if test is None or is_base else against(baseline, test),
        }

    def _synthetic(self, ctx: StageContext) -> dict[str, Any]:
        found: dict[str, Any] = {"facts": dict(self.synthetic), "threshold": self.threshold, "fallback": self.fallback}
        if self.text is not None:
            found["text"] = read_json(ctx.path_of(self.text) / "text.json")
        if self.judgement is not None:
            judged = read_json(ctx.path_of(self.judgement) / "judge.json")
            found["judgement"] = {name: judged[name] for name in _JUDGED if name in judged}
            found["judgement"] |= {name: judged[name] for name in ("warnings", "diversity") if name in judged}
        if self.calibration is not None:
            found["calibration"] = read_json(ctx.path_of(self.calibration) / "calibration.json")
        return found

    def _verdict(self, rows: list[dict[str, Any]], synthetic: Mapping[str, Any]) -> dict[str, Any]:
        """On the arm with synthetic speech that is in the final table, which dev chose."""
        tried = [row for row in rows if row["role"] == "synthetic"]
        chosen = next((row for row in tried if row["test"] is not None), None)
        base = next(row for row in rows if row["role"] == "real")
        judged = synthetic.get("judgement") or {}
        metric = str(judged.get("metric") or "wer")
        facts = synthetic["facts"]
        evidence = Evidence(
            norm_i=value_of(judged.get("norm_i")),
            threshold=self.threshold,
            metric=metric,
            real_rate=value_of(judged.get(f"{metric}_real")),
            synthetic_rate=value_of(judged.get(f"{metric}_syn")),
            fallback=self.fallback,
            narrow=_narrow(judged.get("diversity") or {}),
            reject_share=float(facts.get("reject_share") or 0.0),
            sentences=None if facts.get("sentences") is None else int(facts["sentences"]),
            ratio=None if chosen is None else chosen["ratio"],
            ratios=[row["ratio"] for row in tried],
            base_rate=None if base["dev"] is None else base["dev"][self.metric]["value"],
        )
        difference = None if chosen is None else chosen["difference"]
        said = verdict(difference, metric=self.metric, evidence=evidence, why_none=self.why_none)
        return {"helped": said.helped, "sentences": list(said.sentences)}


def _rates(score: Mapping[str, Any]) -> dict[str, Any]:
    return {name: score[name] for name in _RATES}


def _narrow(diversity: Mapping[str, Any]) -> list[str]:
    """What varies less in the voice than in people, where both sides were measured."""
    real, made = diversity.get("real"), diversity.get("syn") or diversity.get("synthetic")
    if not isinstance(real, Mapping) or not isinstance(made, Mapping):
        return []
    return narrower(made, real)


def value_of(rate: Any) -> float | None:
    """The number of a rate, which may stand alone or as {"value": ...}."""
    if isinstance(rate, Mapping):
        rate = rate.get("value")
    return float(rate) if isinstance(rate, int | float) and not isinstance(rate, bool) else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of an artefact; StoreError where it is missing or broken."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"a result cannot be read: {error}", where=str(path), next_step="run the whole command again"
        ) from error
    return found
