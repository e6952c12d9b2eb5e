"""Untranscribed speech brought in by pseudo-labels: one language or several, from any start, each step measured.

After Lugosch et al. 2022 (arXiv 2111.00161): (1) with several languages a common model from their labelled speech; (2)
for each language fine-tuning on its labelled speech (`tune`), from the common model (or from the start), then slimIPL
with its untranscribed speech, or one slimIPL for all of them (`slim_over`); (3) final labels by that language's model,
with a language model where there is `text`, filtered, each refused one with its reason; (4) a student on all labelled
and pseudo-labelled speech; (5) a last pass on labelled speech alone; (6) where `prefer` is set, preference
self-training of each language's best model so far. Beside slimIPL each language gets a training on its labelled speech
alone, from the same fine-tuned model and with as many updates. Dev decides which model a language keeps; one that is
not the student is named. Every step is a stage of the store in `to/.orature`: run again after a crash it goes on.

Example::

    outcome = run(Request(sources=("digits",), to=Path("out"), settings={"preset": "10h", "slim": {"updates": 1000}}))

    orature run pseudo_label digits/ --to out --set slim.updates=1000
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError, CorpusError
from orature.core.files import refuse_unwritable
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.flow import Ref, Run, open_store
from orature.flow.store import refuse_foreign
from orature.recipes.fusion import fuse
from orature.recipes.judging import Listening
from orature.recipes.labelling import label_lines, labelled, read_account
from orature.recipes.pseudo_plan import Speech, planned, speech_of, told
from orature.recipes.pseudo_report import (
    ALONE,
    COMMON,
    LAST,
    PAGE,
    POOLED,
    PREFERENCE,
    SLIM,
    STUDENT,
    TUNED,
    Language,
    dev_cer,
    facts_of,
    lines_of,
    measured,
    models_in,
    score,
    write,
)
from orature.recipes.pseudo_settings import PseudoSettings, Trainings, corpora_of, settings_of
from orature.recipes.registry import Outcome, Request
from orature.recipes.rehearsal import rehearsed
from orature.recipes.settings import nearest
from orature.recipes.training import UpOptions, split_stage
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import made_corpus
from orature.stages.lend_speech import LendSpeech
from orature.stages.pool import Pool
from orature.stages.portion import Portion

ABOUT = "untranscribed speech brought in by pseudo-labels (slimIPL), beside labelled speech alone"
TRAININGS = ("train", "train-pseudo", "prefer")
"""Stages that train."""


def run(request: Request) -> Outcome:
    """Runs the whole way; raises the errors of its stages, each of which says what to do next."""
    settings = settings_of(request)
    _refuse_places(request)
    job = Run(
        open_store(request.store, beside=request.to),
        recipe="pseudo_label",
        command=request.command or f"orature run pseudo_label --to {request.to}",
    )
    return _finish(request, job, settings, experiment(job, request, settings))


def experiment(job: Run, request: Request, settings: PseudoSettings) -> list[Language]:
    """All trainings, labels and scores; nothing is written outside the store."""
    trainings = Trainings(job, settings, request)
    languages = [_read(job, request, settings, *source) for source in corpora_of(request)]
    _refuse_idle(languages)
    begin = _common(job, request, trainings, languages)
    for language in languages:
        _tune(job, request, trainings, language, begin)
    for language in languages:
        _alone(job, request, trainings, language, begin)
    for language in languages:
        if settings.slim_over != "all":
            _slim(job, request, trainings, language, begin)
    if settings.slim_over != "each":
        _slim_pooled(job, request, trainings, languages, begin)
    for language in languages:
        _label(job, request, settings, language)
    _students(job, request, trainings, languages, begin)
    _prefer(job, request, trainings, languages)
    for language in languages:
        score(request, job, settings, language)
    return languages


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do and take, as far as it can be known without doing it."""
    settings = settings_of(request)
    _refuse_places(request)
    home = open_store(request.store, beside=request.to)
    job = rehearsed(home, "pseudo_label", _outline(settings, len(request.sources)))
    steps = job.walk(lambda: experiment(job, request, settings))
    corpora = [name for name, _, _ in corpora_of(request)]
    speech = speech_of(home, request, settings)
    if speech is None:
        some = [Speech(name, labelled_s=(1.0,), untranscribed_s=(1.0,)) for name in corpora]
        known: dict[str, Any] = {
            "trainings": len(planned(request, settings, some)),
            "cost": "known once the corpora have been read: orature ingest SOURCE --to CORPUS",
        }
    else:
        trainings = planned(request, settings, speech)
        done = sum(step["stage"] in TRAININGS and step["state"] == "done" for step in steps)
        known = told(trainings, done, request, settings)
    return {"settings": settings.model_dump(mode="json"), "corpora": corpora, "steps": steps, **known}


def _refuse_places(request: Request) -> None:
    """Where nothing can be written, or where other files lie: before the hours, not after."""
    refuse_unwritable(request.to)
    for name, _, _ in corpora_of(request):
        refuse_foreign(models_in(request.to) / name)


def _outline(settings: PseudoSettings, languages: int) -> list[str]:
    """The stages of the whole way, in about their order, for a plan."""
    read = ["split", *(["portion"] if settings.minutes or settings.speakers else [])]
    steps = [*read * languages, *["lend-speech"] * len(settings.unlabelled)]
    common = ["pool", "train"] if languages > 1 else []
    own = ["train"] * ((settings.tune is not None) + settings.alone) * languages
    slim = ["train-pseudo"] * (languages * (settings.slim_over != "all") + (settings.slim_over != "each"))
    searched = ["language-model", "language-model", "tune-decoder"] * len(settings.text)
    steps += [*common, *own, *slim, *searched, *["transcribe", "filter-labels"] * languages]
    if settings.final != "none":
        student = ["train"] * (1 + settings.last_pass)
        steps += [*(["pool"] if languages > 1 else []), *student]
    each = bool(common) + (settings.tune is not None) + settings.alone
    each += 2 if settings.slim_over == "both" else 1
    each += 0 if settings.final == "none" else 1 + settings.last_pass
    if settings.prefer is not None:
        steps, each = steps + ["prefer"] * languages, each + 1
    return [*steps, *["transcribe", "evaluate"] * (languages * each)]


def _read(
    job: Run, request: Request, settings: PseudoSettings, name: str, place: Path, language: str | None
) -> Language:
    corpus = _opened(job, request, place, language)
    splits = job.do(split_stage(corpus, UpOptions(seed=request.seed)), on=request.resources)
    _refuse_strangers(name, Corpus.open(job.path_of(splits)), settings.speakers)
    if settings.minutes or settings.speakers:
        minutes = settings.minutes or 1e9
        portion = Portion(
            corpus=splits, minutes=minutes, rest="unlabelled", speakers=settings.speakers, seed=request.seed
        )
        splits = job.do(portion, on=request.resources)
    lent = settings.unlabelled.get(name, "")
    if lent:
        splits = job.do(LendSpeech(corpus=splits, speech=_opened(job, request, Path(lent))), on=request.resources)
    sizes = Corpus.open(job.path_of(splits)).summary()["splits"]
    for lacking in ("train", "dev", settings.split):
        if not sizes.get(lacking, {}).get("utterances"):
            raise CorpusError(
                f"{name} has no transcribed utterance in its split {lacking}; training needs train and dev, "
                f"and {settings.split} is scored",
                where=str(place),
                next_step="make splits with: orature split CORPUS --to NEW",
            )
    untranscribed = bool(sizes.get("unlabelled", {}).get("utterances"))
    if not untranscribed:
        say(f"{name}: no untranscribed speech, so it is trained on labelled speech alone until the student")
    return Language(name, splits, untranscribed=untranscribed, lent=Path(lent).name)


def _refuse_idle(languages: list[Language]) -> None:
    """CorpusError where there is nothing to label."""
    if not any(language.untranscribed for language in languages):
        raise CorpusError(
            f"there is no untranscribed speech in {', '.join(language.name for language in languages)}",
            next_step="ingest recordings into the split `unlabelled` (plain corpora: rows without a sentence), or "
            "name a corpus that has some: --set unlabelled.NAME=CORPUS",
        )


def _refuse_strangers(name: str, corpus: Corpus, asked: tuple[str, ...]) -> None:
    """ConfigError where train has not one of the speakers that were asked for."""
    known = {row.speaker for row in corpus.split("train") if row.speaker} if asked else set()
    if asked and not known & set(asked):
        raise ConfigError(
            f"no training utterance of {name} is by {', '.join(asked)}",
            next_step=nearest(asked[0], known) if known else "its speakers are not known: leave speakers out",
        )


def _opened(job: Run, request: Request, place: Path, language: str | None = None) -> Ref:
    """A corpus made before, or one of any known format."""
    return made_corpus(place) or job.do(ingest_stage(place, language=language), on=request.resources)


def _common(job: Run, request: Request, trainings: Trainings, languages: list[Language]) -> Ref | None:
    """What each language goes on from: with several, a model of all their labelled speech; else the start."""
    start = trainings.start()
    if len(languages) == 1:
        return start
    pooled = _pooled(job, request, languages)
    common = job.do(trainings.supervised(pooled, COMMON, start, {}), on=request.resources)
    for language in languages:
        language.models[COMMON] = common
    return common


def _tune(job: Run, request: Request, trainings: Trainings, language: Language, begin: Ref | None) -> None:
    """A language's training on its labelled speech, which the next two go on from."""
    if trainings.settings.tune is not None:
        language.models[TUNED] = job.do(trainings.tuned(language.splits, TUNED, begin), on=request.resources)


def _alone(job: Run, request: Request, trainings: Trainings, language: Language, begin: Ref | None) -> None:
    if trainings.settings.alone:
        stage = trainings.alone(language.splits, ALONE, language.models.get(TUNED) or begin)
        language.models[ALONE] = job.do(stage, on=request.resources)


def _slim(job: Run, request: Request, trainings: Trainings, language: Language, begin: Ref | None) -> None:
    """slimIPL on the labelled and untranscribed speech of one language."""
    if language.untranscribed:
        stage, said = trainings.slim(language.splits, SLIM, language.models.get(TUNED) or begin)
        say(f"{language.name}: {said}")
        language.models[SLIM] = job.do(stage, on=request.resources)


def _slim_pooled(
    job: Run, request: Request, trainings: Trainings, languages: list[Language], begin: Ref | None
) -> None:
    """One slimIPL over all languages, with as many updates as one a language would have in sum."""
    free = [language.untranscribed for language in languages].count(True)
    if not free:
        return
    together = _pooled(job, request, languages)
    stage, said = trainings.slim(together, POOLED, begin, pooled=free)
    say(f"all languages: {said}")
    made = job.do(stage, on=request.resources)
    for language in languages:
        language.models[POOLED] = made


def _label(job: Run, request: Request, settings: PseudoSettings, language: Language) -> None:
    """The final labels of one language, by its own slimIPL model where it has one."""
    model = language.models.get(SLIM) or language.models.get(POOLED)
    if model is None or not language.untranscribed:
        return
    decoder = _decoder(job, request, settings, language, model)
    # A tuned decoder's confidence is the share of words that are right, which few labels have half of where they help.
    filters = settings.filters if decoder is None else {"min_confidence": "none", **settings.filters}
    listening = Listening(language=settings.language, decoder=decoder)
    how: dict[str, Any] = {"listening": listening, "filters": filters, "on": request.resources}
    try:
        language.labels = labelled(job, language.splits, model, **how)
    except CorpusError as error:
        return language.remark(f"no final labels ({error.what})")
    for line in label_lines(read_account(job.path_of(language.labels))):
        say(f"{language.name}: {line}")


def _decoder(job: Run, request: Request, settings: PseudoSettings, language: Language, model: Ref) -> Ref | None:
    """How final labels are searched where there is text of the language; None: by best path."""
    text = settings.text.get(language.name)
    if text is None:
        return None
    return fuse(job, model, language.splits, [Path(text)], language=settings.language, on=request.resources)


def _pooled(job: Run, request: Request, languages: list[Language]) -> Ref:
    names = tuple(language.name for language in languages)
    return job.do(Pool(corpora=tuple(one.splits for one in languages), names=names), on=request.resources)


def _students(job: Run, request: Request, trainings: Trainings, languages: list[Language], begin: Ref | None) -> None:
    """One student for all languages, and its last pass."""
    on = request.resources
    corpora = tuple(language.labels or language.splits for language in languages)
    names = tuple(language.name for language in languages)
    several = len(languages) > 1
    together = job.do(Pool(corpora=corpora, names=names), on=on) if several else corpora[0]
    student = trainings.student(together, STUDENT, begin)
    if student is None:
        return
    if not any(language.labels for language in languages):
        for language in languages:
            language.remark("no student: there are no labels that it could learn from")
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


def _prefer(job: Run, request: Request, trainings: Trainings, languages: list[Language]) -> None:
    """Preference self-training of the model that dev gives a language so far; left out where nothing is preferred."""
    if trainings.settings.prefer is None:
        return
    for language in languages:
        begun = min(language.models, key=lambda name: dev_cer(job, language.models[name], language))
        say(f"{language.name}: preferences of the model of {begun!r}")
        try:
            stage = trainings.prefer(language.splits, PREFERENCE, language.models[begun])
            language.models[PREFERENCE] = job.do(stage, on=request.resources)
            language.preferred = begun
        except CorpusError as error:
            language.remark(f"no preference self-training ({error.what})")


def _finish(request: Request, job: Run, settings: PseudoSettings, languages: list[Language]) -> Outcome:
    rows = [measured(request, job, settings, language) for language in languages]
    facts = facts_of(request, settings, rows)
    write(request.to, facts, command=job.record.command)
    return Outcome(facts, [*(line for row in rows for line in lines_of(row)), f"report: {request.to / PAGE}"])
