"""Untranscribed speech brought in by pseudo-labels: one language or several, from any start, each step measured.

After Lugosch et al. 2022 (arXiv 2111.00161): (1) with several languages a common model from their labelled speech; (2)
for each language slimIPL on its own labelled and untranscribed speech, from the common model (or from the start); (3)
final labels by that language's model, filtered, each refused one with its reason; (4) a student on all labelled and
pseudo-labelled speech; (5) a last pass on labelled speech alone; (6) where `prefer` is set, preference self-training of
each language's best model so far. Beside them each language gets a training on its
labelled speech alone with as many updates as (2). Dev decides which model a language keeps; one that is not the student
is named. Every step is a stage of the store in `to/.orature`: run again after a crash it goes on.

Example::

    outcome = run(Request(sources=("digits",), to=Path("out"), settings={"preset": "10h", "slim": {"updates": 1000}}))

    orature run pseudo_label digits/ --to out --set slim.updates=1000
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.files import refuse_unwritable, write_json
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.evaluate.compare import compare
from orature.evaluate.folder import open_scored
from orature.flow import Ref, Run, open_store
from orature.recipes.labelling import label_lines, labelled, read_account
from orature.recipes.pseudo_settings import PseudoSettings, Trainings, corpora_of, settings_of
from orature.recipes.published import train_log
from orature.recipes.registry import Outcome, Request
from orature.recipes.said import points_said, rate_said
from orature.recipes.scoring import decode_and_score, score_of
from orature.recipes.training import UpOptions, split_stage
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import corpus_ref
from orature.stages.pool import Pool
from orature.stages.portion import Portion

ABOUT = "untranscribed speech brought in by pseudo-labels (slimIPL), beside labelled speech alone"
STORE, FACTS = ".orature", "pseudo_label.json"
ALONE, COMMON, SLIM, STUDENT, LAST = "labels alone", "common model", "slimIPL", "student", "student, last pass"
PREFERENCE = "preference"
_CORPUS_FILE = "corpus.json"


@dataclass(slots=True)
class _Language:
    """A corpus on its way: its splits, its models by name, its final labels."""

    name: str
    splits: Ref
    models: dict[str, Ref] = field(default_factory=dict)
    labels: Ref | None = None
    untranscribed: bool = True
    preferred: str = ""
    """The model that preference self-training went on from."""


def run(request: Request) -> Outcome:
    """Runs the whole way; raises the errors of its stages, each of which says what to do next."""
    settings = settings_of(request)
    refuse_unwritable(request.to)
    job = Run(
        open_store(request.store or request.to / STORE),
        recipe="pseudo_label",
        command=request.command or f"orature run pseudo_label --to {request.to}",
    )
    trainings = Trainings(job, settings, request)
    languages = [_read(job, request, settings, *source) for source in corpora_of(request)]
    begin = _common(job, request, trainings, languages)
    for language in languages:
        _alone(job, request, trainings, language, begin)
    for language in languages:
        _slim(job, request, settings, trainings, language, begin)
    _students(job, request, trainings, languages, begin)
    _prefer(job, request, trainings, languages)
    return _finish(request, job, settings, languages)


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do."""
    settings = settings_of(request)
    found = corpora_of(request)
    each = 1 + settings.alone
    trainings = len(found) * each + (len(found) > 1) + (settings.final != "none") * (1 + settings.last_pass)
    trainings += len(found) * (settings.prefer is not None)
    return {
        "settings": settings.model_dump(mode="json"),
        "corpora": [name for name, _, _ in found],
        "trainings": trainings,
        "cost": "each training tells its own before it begins",
    }


def _read(
    job: Run, request: Request, settings: PseudoSettings, name: str, place: Path, language: str | None
) -> _Language:
    given = corpus_ref(place) if (place / _CORPUS_FILE).is_file() else None
    corpus = given or job.do(ingest_stage(place, language=language), on=request.resources)
    splits = job.do(split_stage(corpus, UpOptions(seed=request.seed)), on=request.resources)
    if settings.minutes or settings.speakers:
        minutes = settings.minutes or 1e9
        portion = Portion(
            corpus=splits, minutes=minutes, rest="unlabelled", speakers=settings.speakers, seed=request.seed
        )
        splits = job.do(portion, on=request.resources)
    sizes = Corpus.open(job.path_of(splits)).summary()["splits"]
    untranscribed = bool(sizes.get("unlabelled", {}).get("utterances"))
    if not untranscribed:
        say(f"{name}: no untranscribed speech, so it is trained on labelled speech alone until the student")
    return _Language(name, splits, untranscribed=untranscribed)


def _common(job: Run, request: Request, trainings: Trainings, languages: list[_Language]) -> Ref | None:
    """What each language goes on from: with several, a model of all their labelled speech; else the start."""
    start = trainings.start()
    if len(languages) == 1:
        return start
    names = tuple(language.name for language in languages)
    pooled = job.do(Pool(corpora=tuple(one.splits for one in languages), names=names), on=request.resources)
    common = job.do(trainings.supervised(pooled, COMMON, start, {}), on=request.resources)
    for language in languages:
        language.models[COMMON] = common
    return common


def _alone(job: Run, request: Request, trainings: Trainings, language: _Language, begin: Ref | None) -> None:
    if trainings.settings.alone:
        stage = trainings.supervised(language.splits, ALONE, begin, trainings.settings.slim)
        language.models[ALONE] = job.do(stage, on=request.resources)


def _slim(
    job: Run,
    request: Request,
    settings: PseudoSettings,
    trainings: Trainings,
    language: _Language,
    begin: Ref | None,
) -> None:
    """slimIPL and the final labels of one language."""
    if not language.untranscribed:
        return
    stage, said = trainings.slim(language.splits, SLIM, begin)
    say(f"{language.name}: {said}")
    model = job.do(stage, on=request.resources)
    language.models[SLIM] = model
    try:
        language.labels = labelled(job, language.splits, model, filters=settings.filters, on=request.resources)
    except CorpusError as error:
        say(f"{language.name}: no final labels, the student has its labelled speech alone ({error.what})")
        return
    for line in label_lines(read_account(job.path_of(language.labels))):
        say(f"{language.name}: {line}")


def _students(job: Run, request: Request, trainings: Trainings, languages: list[_Language], begin: Ref | None) -> None:
    """One student for all languages, and its last pass."""
    on = request.resources
    corpora = tuple(language.labels or language.splits for language in languages)
    names = tuple(language.name for language in languages)
    several = len(languages) > 1
    together = job.do(Pool(corpora=corpora, names=names), on=on) if several else corpora[0]
    student = trainings.student(together, STUDENT, begin)
    if student is None or not any(language.labels for language in languages):
        return
    made = job.do(student, on=on)
    last: Ref | None = None
    if trainings.settings.last_pass:
        splits = tuple(language.splits for language in languages)
        own = job.do(Pool(corpora=splits, names=names), on=on) if several else splits[0]
        last = job.do(trainings.last(own, LAST, made, student.config.updates), on=on)
    for language in languages:
        language.models[STUDENT] = made
        if last is not None:
            language.models[LAST] = last


def _prefer(job: Run, request: Request, trainings: Trainings, languages: list[_Language]) -> None:
    """Preference self-training of the model that dev gives a language so far; left out where nothing is preferred."""
    if trainings.settings.prefer is None:
        return
    for language in languages:
        begun = min(language.models, key=lambda name: _dev_cer(job, language.models[name], language))
        say(f"{language.name}: preferences of the model of {begun!r}")
        try:
            stage = trainings.prefer(language.splits, PREFERENCE, language.models[begun])
            language.models[PREFERENCE] = job.do(stage, on=request.resources)
            language.preferred = begun
        except CorpusError as error:
            say(f"{language.name}: no preference self-training ({error.what})")


def _finish(request: Request, job: Run, settings: PseudoSettings, languages: list[_Language]) -> Outcome:
    rows = [_measured(request, job, settings, language) for language in languages]
    facts = {"format": 1, "seed": request.seed, "split": settings.split, "languages": rows}
    write_json(request.to / FACTS, facts)
    return Outcome(facts, [line for row in rows for line in lines_of(row)])


def _measured(request: Request, job: Run, settings: PseudoSettings, language: _Language) -> dict[str, Any]:
    """All models of a language on the same utterances, and which one dev gives it."""
    scored: dict[str, Ref] = {}
    arms: dict[str, dict[str, Any]] = {}
    for name, model in language.models.items():
        _, scored[name] = decode_and_score(
            job,
            model=model,
            corpus=language.splits,
            split=settings.split,
            name=name,
            corpus_name=language.name,
            language=settings.language,
            on=request.resources,
        )
        arms[name] = _arm(job, model, score_of(job, scored[name]), language)
    against = ALONE if ALONE in scored else next(iter(scored))
    for name in scored:
        if name != against:
            found = compare(open_scored(job.path_of(scored[against])), open_scored(job.path_of(scored[name])))
            arms[name]["difference"] = {unit: found[unit] for unit in ("cer", "wer")}
    kept = min(arms, key=lambda name: (arms[name]["dev_cer"], list(arms).index(name)))
    to = request.to / "models" / language.name
    job.store.publish(language.models[kept], to)
    account = None if language.labels is None else read_account(job.path_of(language.labels))
    pooled = [name for name in (STUDENT, LAST) if name in arms]
    begun = language.preferred if kept == PREFERENCE else kept
    row = {
        "corpus": language.name,
        "against": against,
        "arms": arms,
        "kept": kept,
        "model": str(to),
        "labels": account,
        "worse_by_pooling": bool(pooled) and begun not in pooled,
    }
    return row


def _arm(job: Run, model: Ref, score: Mapping[str, Any], language: _Language) -> dict[str, Any]:
    facts = _training(job, model)
    return {
        **{unit: score[unit] for unit in ("cer", "wer")},
        "dev_cer": _dev_cer(job, model, language),
        "updates": facts["updates"],
        "audio_hours_seen": facts["audio_hours_seen"],
        "train_hours_by_origin": facts["train_hours_by_origin"],
        "unlabelled_hours": facts.get("unlabelled_hours", 0.0),
        "log": train_log(job, model),
        **({"preference": facts["preference"]} if "preference" in facts else {}),
    }


def _training(job: Run, model: Ref) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((job.path_of(model) / "training.json").read_text(encoding="utf-8"))
    return facts


def _dev_cer(job: Run, model: Ref, language: _Language) -> float:
    """The CER on dev of a language's own utterances, from what training measured."""
    facts = _training(job, model)
    tags = Corpus.open(job.path_of(language.splits)).summary()["languages"]
    own = [facts["dev_cer_by_language"][tag] for tag in tags if tag in facts["dev_cer_by_language"]]
    return float(sum(own) / len(own) if own else facts["dev"]["cer"])


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
