"""What the recipe `pseudo_label` measures of each language: its models side by side, its labels, what labels were like.

Example::

    rows = [measured(request, job, settings, language) for language in languages]
    write(request.to, facts_of(request, settings, rows), command="orature run pseudo_label ...")
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.files import write_beside, write_json
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.evaluate.compare import compare
from orature.evaluate.folder import open_scored
from orature.evaluate.html.pseudo_page import pseudo_page
from orature.flow import Ref, Run
from orature.recipes.labelling import read_account
from orature.recipes.pseudo_settings import PseudoSettings
from orature.recipes.published import train_log
from orature.recipes.registry import Request
from orature.recipes.said import points_said, rate_said
from orature.recipes.scoring import decode_and_score, publish_scores, score_of
from orature.train.pseudo_config import PUBLISHED, PUBLISHED_S
from orature.train.watch_rows import watch_rows

FACTS, PAGE = "pseudo_label.json", "report.html"
ALONE, COMMON, TUNED = "labels alone", "common model", "fine-tuned"
SLIM, POOLED = "slimIPL", "slimIPL, pooled"
STUDENT, LAST, PREFERENCE = "student", "student, last pass", "preference"


@dataclass(slots=True)
class Language:
    """A corpus on its way: its splits, its models by name, its final labels."""

    name: str
    splits: Ref
    models: dict[str, Ref] = field(default_factory=dict)
    scores: dict[str, Ref] = field(default_factory=dict)
    labels: Ref | None = None
    untranscribed: bool = True
    lent: str = ""
    """The corpus whose recordings stand in for its untranscribed speech."""
    preferred: str = ""
    """The model that preference self-training went on from."""
    remarks: list[str] = field(default_factory=list)
    """What was left out, and why."""

    def remark(self, what: str) -> None:
        """Says now, and in the report, what was left out."""
        say(f"{self.name}: {what}")
        self.remarks.append(what)


def models_in(to: Path) -> Path:
    """Where the models of a run lie, each in a folder of its corpus's name."""
    return to / "models"


def score(request: Request, job: Run, settings: PseudoSettings, language: Language) -> None:
    """All models of a language on the same utterances."""
    for name, model in language.models.items():
        _, language.scores[name] = decode_and_score(
            job,
            model=model,
            corpus=language.splits,
            split=settings.split,
            name=name,
            corpus_name=language.name,
            language=settings.language,
            on=request.resources,
        )


def measured(request: Request, job: Run, settings: PseudoSettings, language: Language) -> dict[str, Any]:
    """All models of a language side by side, after `score`, and which one dev gives it."""
    scored = language.scores
    arms = {
        name: _arm(job, model, score_of(job, scored[name]), language, settings)
        for name, model in language.models.items()
    }
    against = ALONE if ALONE in scored else next(iter(scored))
    for name in scored:
        if name != against:
            found = compare(open_scored(job.path_of(scored[against])), open_scored(job.path_of(scored[name])))
            arms[name]["difference"] = {unit: found[unit] for unit in ("cer", "wer")}
    publish_scores(job, request.to / "scores" / language.name, scored)
    kept = min(arms, key=lambda name: (arms[name]["dev_cer"], list(arms).index(name)))
    to = models_in(request.to) / language.name
    job.store.publish(language.models[kept], to)
    account = None if language.labels is None else read_account(job.path_of(language.labels))
    pooled = [arms[name]["dev_cer"] for name in (STUDENT, LAST) if name in arms]
    begun = language.preferred if kept == PREFERENCE else kept
    return {
        "corpus": language.name,
        "against": against,
        "arms": arms,
        "kept": kept,
        "model": str(to),
        "labels": account,
        "lent": language.lent,
        "remarks": language.remarks,
        "text": Path(settings.text[language.name]).name if language.name in settings.text else "",
        "worse_by_pooling": bool(pooled) and min(pooled) > arms[begun]["dev_cer"],
    }


def _arm(
    job: Run, model: Ref, score: Mapping[str, Any], language: Language, settings: PseudoSettings
) -> dict[str, Any]:
    facts, log = training_facts(job, model), train_log(job, model)
    arm = {
        **{unit: score[unit] for unit in ("cer", "wer")},
        "dev_cer": dev_cer(job, model, language),
        "updates": facts["updates"],
        "audio_hours_seen": facts["audio_hours_seen"],
        "train_hours_by_origin": facts["train_hours_by_origin"],
        "unlabelled_hours": facts.get("unlabelled_hours", 0.0),
        "log": log,
    }
    if "preference" in facts:
        arm["preference"] = facts["preference"]
    if "pseudo" in facts:
        notes = job.store.info(model.key).notes
        warm = notes.get("warm") or {}
        arm["watch"] = {"rows": watch_rows(log, warm), "rollbacks": notes.get("rollbacks", 0), "warm": warm}
        arm["scaled"] = _scaled(settings.preset, facts)
    return arm


def _scaled(preset: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Each published setting beside what it was here."""
    config, used = facts["config"], facts["pseudo"]
    published = {**PUBLISHED[preset], "replace": 0.1, "seconds an update": PUBLISHED_S}
    here = {**used, "seconds an update": config["batch_seconds"] * config["accumulate"]}
    return {name.replace("_", " "): {"published": value, "used": here[name]} for name, value in published.items()}


def training_facts(job: Run, model: Ref) -> dict[str, Any]:
    """training.json of a model."""
    facts: dict[str, Any] = json.loads((job.path_of(model) / "training.json").read_text(encoding="utf-8"))
    return facts


def dev_cer(job: Run, model: Ref, language: Language) -> float:
    """The CER on dev of a language's own utterances, from what training measured."""
    facts = training_facts(job, model)
    tags = Corpus.open(job.path_of(language.splits)).summary()["languages"]
    own = [facts["dev_cer_by_language"][tag] for tag in tags if tag in facts["dev_cer_by_language"]]
    return float(sum(own) / len(own) if own else facts["dev"]["cer"])


def facts_of(request: Request, settings: PseudoSettings, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of pseudo_label.json."""
    return {
        "format": 1,
        "seed": request.seed,
        "split": settings.split,
        "preset": settings.preset,
        "languages": rows,
    }


def write(to: Path, facts: Mapping[str, Any], *, command: str) -> None:
    """The figures, and a page of them."""
    write_json(to / FACTS, facts)
    with write_beside(to / PAGE) as part:
        part.write_text(pseudo_page(facts, command=command), encoding="utf-8", newline="\n")


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """What one language says to a person."""
    lines = [f"{row['corpus']}:"]
    for name, arm in row["arms"].items():
        line = f"  {name:<20} CER {rate_said(arm['cer'])}, WER {rate_said(arm['wer'])}"
        found = arm.get("difference", {}).get("cer")
        if found is not None and found.get("low") is not None:
            line += f"; against {row['against']}: CER {points_said(found)}"
        lines.append(line)
    if row["worse_by_pooling"]:
        lines.append(f"  WORSE by the student on dev: {row['corpus']} keeps the model of {row['kept']!r}")
    return [*lines, f"  model: {row['model']} ({row['kept']})"]
