"""Transfer by speech translation, its arms side by side: what translated speech of a rich language brings the target.

After Wang, Pino, Gu 2020, "Improving cross-lingual transfer learning for end-to-end speech recognition with speech
translation" (arXiv 2006.05474): an encoder-decoder that translates the rich language's speech into the target language
learns to write the target language before it hears it. The steps: (1) a recogniser of the rich language; (2) its
transcripts translated, by persons, by a translator that is given, by translators trained on shares of the sentence
pairs at hand; (3) speech translation from (1)'s encoder; (4) the target recogniser from all of (3). Beside it, with the
same training on the target: from nothing of the rich language, from the encoder of (1), from its encoder and the body
of its decoder, both also from a (1) that was trained as much longer as (3) takes; from translation and recognition
trained together; from a decoder that learned from text alone, which is what is left where nothing translates. Dev
chooses, test is opened once for each arm. Every step is a stage of the store in `to/.orature`: run again after a crash
it goes on.

Example::

    request = Request(sources=("kichwa",), to=Path("out"), settings={"rich": "spanish/", "parallel": "es-qu.tsv"})
    outcome = run(request)

    orature run speech_translation kichwa/ --to out --set rich=spanish/ --set parallel=es-qu.tsv
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.files import refuse_unwritable, write_beside, write_json
from orature.core.progress import say
from orature.evaluate.arms import against
from orature.evaluate.folder import open_scored
from orature.evaluate.html.translation_page import translation_page
from orature.evaluate.translation import require_metrics
from orature.evaluate.translation_arms import verdicts
from orature.flow import Ref, Run, open_store
from orature.recipes.published import train_log
from orature.recipes.registry import Outcome, Request
from orature.recipes.rehearsal import rehearsed
from orature.recipes.said import points_said, rate_said
from orature.recipes.scoring import decode_and_score, publish_scores, score_of
from orature.recipes.translation_costs import translator_costs
from orature.recipes.translation_settings import (
    BODY,
    BODY_LONGER,
    DIRECT,
    JOINT,
    LONGER,
    SCRATCH,
    TEXT,
    TranslationConfig,
    default_arms,
    label_arms,
    missing,
    outline,
    settings_of,
)
from orature.recipes.translation_steps import (
    Work,
    joint_model,
    labelled,
    opened,
    ready,
    recogniser,
    rich_facts,
    start_of,
    text_model,
    trained,
    training_of,
    translating_model,
)
from orature.stages.train import Train

ABOUT = "what speech translation from a rich language brings, beside scratch and direct transfer"
_PINS = ("split_fingerprint", "normaliser", "utterances", "words")
FACTS, PAGE = "speech_translation.json", "report.html"


@dataclass(frozen=True, slots=True)
class Begun:
    """What the training on the target begins with: a model, which parts of it, and the trainings before it."""

    about: str
    start: Ref | None
    parts: str = "all"
    before: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The facts of the report; of the arm that dev chooses the model, what it heard at the end, and its score."""

    facts: dict[str, Any]
    model: Ref
    heard: Ref
    scored: Ref
    scores: dict[str, Ref]
    """Of every arm."""


Scores = dict[str, tuple[Ref, Ref]]
"""Of each arm what was heard, and its score."""


def run(request: Request) -> Outcome:
    """Trains and scores every arm; the errors of the stages say what to do next."""
    settings = settings_of(request)
    refuse_unwritable(request.to)
    if label_arms(settings):
        require_metrics()
    job = Run(
        open_store(request.store, beside=request.to),
        recipe="speech_translation",
        command=request.command or f"orature run speech_translation --to {request.to}",
    )
    done = experiment(job, request, settings)
    job.store.publish(done.model, request.to / "model")
    publish_scores(job, request.to / "scores", done.scores)
    write_json(request.to / FACTS, done.facts)
    publish_page(done.facts, request.to / PAGE, job.record.command)
    lines = [*lines_of(done.facts), f"model:  {request.to / 'model'}", f"report: {request.to / PAGE}"]
    return Outcome(done.facts, lines)


def publish_page(facts: dict[str, Any], path: Path, command: str) -> None:
    """The arms and all that belongs to them as one page."""
    with write_beside(path) as part:
        part.write_text(translation_page(facts, command=command), encoding="utf-8", newline="\n")


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do, as far as it can be known without doing it."""
    settings = settings_of(request)
    arms = settings.arms or default_arms(settings)
    home = open_store(request.store, beside=request.to)
    job = rehearsed(home, "speech_translation", outline(settings))
    works: list[Work] = []

    def whole() -> None:
        works.append(opened(job, request, settings))
        arms_on(works[0])

    shown = job.through(whole, request.resources)
    if costs := translator_costs(settings, shown["steps"], works[0] if works else None):
        shown["translators"] = costs
    return {**shown, "arms": list(arms), "missing": missing(settings), "settings": settings.model_dump(mode="json")}


def experiment(job: Run, request: Request, settings: TranslationConfig) -> Done:
    """All arms, and the model that dev chooses of them."""
    return arms_on(opened(job, request, settings))


def arms_on(work: Work) -> Done:
    """All arms on corpora that are read and split."""
    settings = work.settings
    for lack in missing(settings):
        work.note(f"no transfer by translation in full: {lack}")
    arms = settings.arms or default_arms(settings)
    ready(work, arms)
    models: dict[str, Ref] = {}
    begun: dict[str, Begun] = {}
    for name in arms:
        made = _begin(work, name)
        if made is None:
            continue
        begun[name] = made
        models[name] = _train(work, name, made)
        say(f"speech translation: {name}: trained")
    dev = {name: _score(work, name, model, "dev") for name, model in models.items()}
    last = {name: _score(work, name, model, settings.split) for name, model in models.items()}
    scored = score_of(work.job, next(iter(last.values()))[1])
    facts = _facts(work, _rows(work, begun, models, (dev, last)), scored)
    chosen = facts["chosen"]
    return Done(facts, models[chosen], *last[chosen], {name: score for name, (_, score) in last.items()})


def _begin(work: Work, name: str) -> Begun | None:
    """What an arm starts from; None, said aloud, where its labels came to nothing."""
    makers: dict[str, Callable[[Work], Begun]] = {
        SCRATCH: _scratch,
        TEXT: _text,
        **dict.fromkeys(DIRECT, lambda work: _direct(work, name)),
    }
    if name in makers:
        return makers[name](work)
    try:
        return _joint(work) if name == JOINT else _translated(work, name)
    except CorpusError as error:
        work.note(f"{name} is left out: {error.what}")
        return None


def _scratch(work: Work) -> Begun:
    start = start_of(work.settings)
    if start is None:
        return Begun("from nothing", None)
    return Begun(f"the encoder of {work.settings.start}, nothing of the rich language", start, "encoder")


def _rich(work: Work, *, longer: bool = False) -> Ref:
    """The rich recogniser, trained as much longer as speech translation takes where that is asked for."""
    if work.rich is None:
        raise CorpusError("there is no rich corpus")
    more = work.config("st", work.rich).updates if longer else 0
    return recogniser(work, work.rich, longer=more)


def _direct(work: Work, name: str) -> Begun:
    longer, body = name in (LONGER, BODY_LONGER), name in (BODY, BODY_LONGER)
    rich = _rich(work, longer=longer)
    what = "encoder and decoder body" if body else "encoder"
    about = f"direct transfer of the {what}" + (", trained as long as with translation" if longer else "")
    return Begun(about, rich, "encoder+decoder" if body else "encoder", (rich,))


def _translated(work: Work, name: str) -> Begun:
    rich = _rich(work)
    labels = labelled(work, name, label_arms(work.settings)[name])
    model = translating_model(work, name, labels, rich)
    return Begun(f"speech translation, labels: {work.labels[name]['by']}", model, "all", (rich, model))


def _joint(work: Work) -> Begun:
    """With the labels of the first arm of translated speech, which are the best there are."""
    rich = _rich(work)
    best = next(iter(label_arms(work.settings).values()))
    model = joint_model(work, labelled(work, JOINT, best, dev=False), rich)
    about = f"translation and recognition trained together, labels: {work.labels[JOINT]['by']}"
    return Begun(about, model, "all", (rich, model))


def _text(work: Work) -> Begun:
    rich = None if work.rich is None else _rich(work)
    model = text_model(work, rich or start_of(work.settings))
    before = (model,) if rich is None else (rich, model)
    return Begun("decoder trained on text alone", model, "all", before)


def _train(work: Work, name: str, begun: Begun) -> Ref:
    """The training on the target: the same in every arm but for what it begins with."""
    config = work.config("target", work.target)
    kept = {"start_parts": begun.parts, "head": "keep" if begun.parts == "all" and begun.start else "auto"}
    stage = Train(
        corpus=work.target,
        config=config.model_copy(update=kept),
        start=begun.start,
        language=work.target_language,
        model_name=f"{work.target_name}: {name}",
    )
    return trained(work, stage)


def _rows(
    work: Work, begun: dict[str, Begun], models: dict[str, Ref], scored: tuple[Scores, Scores]
) -> list[dict[str, Any]]:
    """Every arm with its scores on dev and on the last split, and the difference to the better direct transfer."""
    dev, last = ({name: pair[1] for name, pair in part.items()} for part in scored)
    base = _baseline({name: score_of(work.job, ref)["cer"]["value"] for name, ref in dev.items()})
    first = open_scored(work.job.path_of(last[base]))
    rows = []
    for name, model in models.items():
        facts, log = training_of(work, model), train_log(work.job, model)
        found = None if name == base else against(first, open_scored(work.job.path_of(last[name])))
        rows.append(
            {
                "name": name,
                "about": begun[name].about,
                "updates": facts["updates"],
                "audio_hours": facts["audio_hours_seen"],
                "parameters": facts["parameters"],
                "before": _before(work, begun[name].before),
                "dev": _rates(score_of(work.job, dev[name])),
                "test": _rates(score_of(work.job, last[name])),
                "difference": found,
                "against": base,
                "curve": [[row["update"], row["dev_cer"]] for row in log if "dev_cer" in row],
                "labels": work.labels.get(name),
            }
        )
    return rows


def _score(work: Work, name: str, model: Ref, split: str) -> tuple[Ref, Ref]:
    """What was heard, and its score."""
    return decode_and_score(
        work.job,
        model=model,
        corpus=work.target,
        split=split,
        name=name,
        corpus_name=work.target_name,
        language=work.target_language,
        search=work.settings.search,
        on=work.on,
    )


def _baseline(dev: dict[str, float]) -> str:
    """What is compared with: the better direct transfer on dev, or scratch where there is none."""
    direct = [name for name in dev if name in DIRECT] or [name for name in dev if name == SCRATCH] or list(dev)
    return min(direct, key=lambda name: (dev[name], direct.index(name)))


def _before(work: Work, models: tuple[Ref, ...]) -> dict[str, float]:
    """What was computed before the target's own training."""
    found = [training_of(work, model) for model in models]
    return {
        "updates": sum(int(one["updates"]) for one in found),
        "audio_hours": round(sum(float(one["audio_hours_seen"]) for one in found), 4),
    }


def _rates(score: dict[str, Any]) -> dict[str, Any]:
    return {name: score[name] for name in ("cer", "wer", "utterances", "words")}


def _facts(work: Work, rows: list[dict[str, Any]], score: dict[str, Any]) -> dict[str, Any]:
    """`score`: of any arm on the last split, whose pins are those of all."""
    settings = work.settings
    chosen = min(rows, key=lambda row: (row["dev"]["cer"]["value"], row["dev"]["wer"]["value"]))["name"]
    return {
        "format": 1,
        "seed": work.request.seed,
        "split": settings.split,
        "target": {"name": work.target_name, "language": work.target_language},
        "scored": {name: score[name] for name in _PINS},
        "rich": rich_facts(work),
        "start": settings.start,
        "search": settings.search.model_dump(mode="json"),
        "missing": missing(settings),
        "arms": rows,
        "chosen": chosen,
        "verdicts": verdicts(rows),
        "notes": work.notes,
    }


def lines_of(facts: dict[str, Any]) -> list[str]:
    """What came out, for a person."""
    lines = []
    for row in facts["arms"]:
        mark = "*" if row["name"] == facts["chosen"] else " "
        line = f"{mark} {row['name']:<22} CER {rate_said(row['test']['cer'])}, WER {rate_said(row['test']['wer'])}"
        if row["difference"] is not None:
            line += f"; against {row['against']}: CER {points_said(row['difference']['cer'])}"
        lines.append(line)
    return [*lines, *facts["verdicts"], *(f"missing: {lack}" for lack in facts["missing"])]
