"""One recogniser for several languages: corpora pooled, one shared inventory of characters, and what each gains by it.

After Lugosch et al. 2022, "Pseudo-labeling for massively multilingual speech recognition", sections 2 to 4 and 6: CTC
over all characters, a language-identification loss in training, no balancing of languages, checkpoints by the plain
mean of the languages' dev CER, and for each language the same network trained on it alone. Every step is a stage of the
store in `to/.orature`: run again after a crash it goes on, run again after success it does nothing.

Settings (`--set`): `with_lid` (true, false, or both: a second model without it at the same budget), `baselines` (false
leaves the models of single languages out), `split.NAME`, `format`, and every training option, above all `network`
(conformer; transformer, the source's, at scale full), `lid_weight`, `select` (cer, macro-cer, language:xx), `updates`.

Example::

    from orature.recipes.registry import Request
    outcome = run(Request(sources=("kichwa", "yo=yoruba.tar.gz"), to=Path("pooled"), settings={"with_lid": "both"}))
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from orature.core.errors import ConfigError, CorpusError
from orature.core.files import refuse_unwritable, write_json
from orature.core.progress import clock, say
from orature.data.corpus import Corpus
from orature.evaluate.languages import worse_languages
from orature.flow import Ref, Run, Stage, open_store
from orature.recipes.estimate import cost
from orature.recipes.published import REPORT, circumstances_of, published_keys, train_log
from orature.recipes.registry import Outcome, Request, tagged
from orature.recipes.settings import nearest, override
from orature.recipes.training import UpOptions, split_stage, train_stage
from orature.stages.evaluate import Evaluate, Extras, lineage_rows, publish_results
from orature.stages.ingest import Ingest, ingest_stage
from orature.stages.languages import Baseline, CompareLanguages, train_hours
from orature.stages.pool import OfLanguage, Pool
from orature.stages.split import describe, read_splits
from orature.stages.train import Train
from orature.stages.transcribe import Transcribe
from orature.train.config import TrainConfig
from orature.train.devices import usable_cores

ABOUT = "one model for several languages, beside one for each alone"
ALONE = "trained on the language alone"
WITHOUT = "trained without language identification"
DEFAULTS: dict[str, Any] = {"lid_weight": 1.0, "loss_scale": "sqrt-length", "select": "macro-cer"}
"""Training settings of the source, where they differ from Orature's own; `--set` overrides them."""
BY_SCALE: dict[str, dict[str, Any]] = {
    "smoke": {
        "size": "micro",
        "updates": 12,
        "evaluate_every": 6,
        "batch_seconds": 10.0,
        "overfit_clips": 0,
        "average": 2,
    },
    "dev": {},
    "full": {"network": "transformer"},
}
"""At scale smoke every model is only begun, to see that all works. The source's Transformer is taken where there is the
time to train it: two toy languages of tones cost it twice the updates that the Conformer needs."""


class MultilingualConfig(BaseModel, frozen=True, extra="forbid"):
    """The recipe's own settings; `split` holds fields of `MakeSplits`, `train` those of `TrainConfig`."""

    with_lid: Literal["both"] | bool = True
    baselines: bool = True
    start: str | None = None
    """Model folder (or allowed hub id) that the common model and those for each language alone start from."""
    format: str = "auto"
    split: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """A corpus as it was named: `TAG=PATH` gives the language of rows that state none."""

    name: str
    path: Path
    language: str | None


@dataclass(frozen=True, slots=True)
class _System:
    """One trained and scored model: a name and, for a single language, its tag."""

    train: Train
    model: Ref
    heard: Ref
    scored: Ref


def run(request: Request) -> Outcome:
    """Runs the whole way; raises the errors of its stages, each of which says what to do next."""
    settings, sources = read_settings_of(request), sources_of(request)
    refuse_unwritable(request.to)
    home = open_store(request.store, beside=request.to)
    job = Run(home, recipe="multilingual", command=request.command or f"orature run multilingual --to {request.to}")
    several = request.resources.model_copy(update={"workers": request.resources.threads or usable_cores()})
    splits = []
    for source in sources:
        corpus = job.do(_ingest(source, settings), on=several)
        splits.append(job.do(split_stage(corpus, _options(request, settings)), on=request.resources))
        for line in describe(read_splits(job.path_of(splits[-1]))):
            say(f"split {source.name}: {line}")
    pooled = job.do(_pool(sources, splits), on=request.resources)
    languages = _languages(job, pooled)
    stage = _together(job, request, settings, pooled)
    if job.planned(stage) == "todo":
        say(_cost(stage, request, settings, languages))
    main = _system(job, request, stage, " + ".join(source.name for source in sources))
    compared = CompareLanguages(
        scored=main.scored, corpus=pooled, baselines=_baselines(job, request, settings, main, languages)
    )
    return _finish(request, job, main, job.do(compared, on=request.resources))


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do, as far as it can be known without doing it."""
    settings, sources = read_settings_of(request), sources_of(request)
    home = open_store(request.store, beside=request.to)
    job = Run(home, recipe="multilingual", command="")
    steps: list[dict[str, Any]] = []

    def planned(stage: Stage, of: str) -> Ref | None:
        steps.append({"stage": stage.name, "of": of, "state": job.planned(stage), "key": stage.key()[:12]})
        return home.get(stage.key())

    splits = []
    for source in sources:
        corpus = planned(_ingest(source, settings), source.name)
        ready = None if corpus is None else planned(split_stage(corpus, _options(request, settings)), source.name)
        splits += [] if ready is None else [ready]
    shown = {"steps": steps, "settings": settings.model_dump(mode="json"), "languages": None, "train": None}
    if len(splits) < len(sources):
        return {**shown, "cost": "known once the corpora have been read and split"}
    pooled = planned(_pool(sources, splits), "all")
    if pooled is None:
        return {**shown, "cost": "known once the corpora have been pooled"}
    languages = _languages(job, pooled)
    stage = _together(job, request, settings, pooled)
    planned(stage, "all")
    return {
        **shown,
        "languages": languages,
        "train": stage.config.model_dump(mode="json"),
        "cost": _cost(stage, request, settings, languages),
    }


def read_settings_of(request: Request) -> MultilingualConfig:
    """The settings checked before a corpus is read: ConfigError for unknown names and values out of range."""
    own = {name: value for name, value in request.settings.items() if name in MultilingualConfig.model_fields}
    training = {name: value for name, value in request.settings.items() if name not in own}
    for name in training:
        if name not in TrainConfig.model_fields:
            known = {*MultilingualConfig.model_fields, *TrainConfig.model_fields}
            raise ConfigError(f"there is no option {name!r}", next_step=nearest(name, known))
    settings = override(MultilingualConfig(), own)
    merged = {**DEFAULTS, **BY_SCALE.get(request.scale, {}), **settings.train, **training}
    if settings.with_lid is False:
        merged["lid_weight"] = 0.0
    if settings.with_lid == "both" and not merged["lid_weight"]:
        raise ConfigError(
            "with_lid=both compares with a weight of 0, and lid_weight is 0 already", next_step="leave one of them out"
        )
    settings = settings.model_copy(update={"train": merged})
    _options(request, settings)
    return settings


def sources_of(request: Request) -> list[_Source]:
    """The corpora named, each with a name of its own."""
    if not request.sources:
        raise ConfigError("which corpora?", next_step="orature run multilingual CORPUS CORPUS ... --to DIR")
    found: list[_Source] = []
    for given in request.sources:
        place, language = tagged(given)
        name = place.name.split(".")[0] or "corpus"
        same = sum(one.name == name or one.name.startswith(f"{name}-") for one in found)
        found.append(_Source(f"{name}-{same + 1}" if same else name, place, language))
    return found


def _options(request: Request, settings: MultilingualConfig) -> UpOptions:
    return UpOptions(
        format=settings.format,
        scale=request.scale,
        seed=request.seed,
        split=settings.split,
        train=settings.train,
        start=settings.start,
    )


def _ingest(source: _Source, settings: MultilingualConfig) -> Ingest:
    return ingest_stage(source.path, format=settings.format, language=source.language)


def _pool(sources: list[_Source], splits: list[Ref]) -> Pool:
    return Pool(corpora=tuple(splits), names=tuple(source.name for source in sources))


def _languages(job: Run, pooled: Ref) -> dict[str, float]:
    """Hours of training by language; CorpusError where there are not several, or some rows state none."""
    corpus = Corpus.open(job.path_of(pooled))
    found: list[str] = corpus.summary()["languages"]
    if "und" in found:
        raise CorpusError(
            "some rows state no language, and a model of several must know it",
            next_step="name it before the corpus, as in: orature run multilingual yo=yoruba.tar.gz qu=kichwa/ --to DIR",
        )
    if len(found) < 2:
        raise CorpusError(
            f"all rows are in one language ({', '.join(found)})", next_step="for one language use: orature up"
        )
    hours = train_hours(corpus)
    return {language: hours.get(language, 0.0) for language in found}


def _together(job: Run, request: Request, settings: MultilingualConfig, pooled: Ref) -> Train:
    return train_stage(job, pooled, _options(request, settings), name="multilingual")


def _system(job: Run, request: Request, stage: Train, corpus_name: str) -> _System:
    """Trains, decodes test once and scores it."""
    model = job.do(stage, on=request.resources)
    heard = job.do(Transcribe(model=model, corpus=stage.corpus, split="test"), on=request.resources)
    scored = job.do(
        Evaluate(hypotheses=heard, corpus=stage.corpus, split="test", model=stage.model_name, corpus_name=corpus_name)
    )
    return _System(stage, model, heard, scored)


def _baselines(
    job: Run, request: Request, settings: MultilingualConfig, main: _System, languages: Mapping[str, float]
) -> tuple[Baseline, ...]:
    found = []
    stage = main.train
    if settings.with_lid == "both":
        plain = stage.model_copy(
            update={
                "config": stage.config.model_copy(update={"lid_weight": 0.0}),
                "model_name": f"{stage.model_name}-without-lid",
            }
        )
        without = _system(job, request, plain, "the pool")
        found.append(Baseline(name="without-lid", about=WITHOUT, parts=(without.scored,)))
    if settings.baselines:
        alone = [_alone(job, request, stage, language) for language in languages]
        parts = tuple(system.scored for system in alone if system is not None)
        if parts:
            found.append(Baseline(name="alone", about=ALONE, parts=parts))
    return tuple(found)


def _alone(job: Run, request: Request, together: Train, language: str) -> _System | None:
    """The same training on one language of the pool; None, said aloud, where it lacks a split for that."""
    own = job.do(OfLanguage(corpus=together.corpus, language=language), on=request.resources)
    sizes = Corpus.open(job.path_of(own)).summary()["splits"]
    missing = [split for split in ("train", "dev", "test") if not sizes.get(split, {}).get("utterances")]
    if missing:
        say(f"{language}: no rows in {', '.join(missing)}, so no model of this language alone")
        return None
    config = together.config.model_copy(update={"lid_weight": 0.0, "select": "cer"})
    stage = Train(
        corpus=own, config=config, start=together.start, language=language, model_name=f"{language}-{config.size}"
    )
    return _system(job, request, stage, language)


def _cost(stage: Train, request: Request, settings: MultilingualConfig, languages: Mapping[str, float]) -> str:
    trainings = 1 + (settings.with_lid == "both") + (len(languages) if settings.baselines else 0)
    named = ", ".join(f"{language} {clock(3600 * hours)}" for language, hours in languages.items())
    return f"{trainings} trainings of the same budget ({named} of speech); each: {cost(stage, request.resources)}"


def _finish(request: Request, job: Run, main: _System, compared: Ref) -> Outcome:
    to, home = request.to, job.store
    keys = {"model": main.model.key, "compared": compared.key}
    fresh = published_keys(to) != keys
    if fresh:
        home.publish(main.model, to / "model")
        circumstances = circumstances_of(job, main.heard, to)
        extras = Extras(train_log=train_log(job, main.model), lineage=lineage_rows(home, compared))
        whole = publish_results(to, scored=job.path_of(compared), circumstances=circumstances, extras=extras)
        write_json(to / REPORT, whole | {"artefacts": keys})
    else:
        say(f"everything was done before; the report is {to / 'report.html'}")
    score = json.loads((to / REPORT).read_text(encoding="utf-8"))
    facts = {"model": str(to / "model"), "report": str(to / "report.html"), "fresh": fresh, "score": score}
    return Outcome(facts, [*table(score), f"model:  {to / 'model'}", f"report: {to / 'report.html'}"], fresh)


def table(score: Mapping[str, Any]) -> list[str]:
    """CER by language for a terminal: this model, each baseline, and the difference with its interval."""
    baselines = score.get("baselines") or []
    lines = ["", f"CER on test  {'language':<12} {'together':>9}  " + "  ".join(f"{b['name']:>30}" for b in baselines)]
    rows = [*score["languages"].items(), ("macro", score["macro"])]
    for tag, one in rows:
        cells = [_cell(b["macro"] if tag == "macro" else b["languages"].get(tag)) for b in baselines]
        lines.append(f"{'':12} {tag:<12} {100 * one['cer']['value']:8.1f}%  " + "  ".join(cells))
    for baseline in baselines:
        worse = [f"{tag} by {100 * one['delta']:.1f} points" for tag, one in worse_languages(baseline).items()]
        if worse:
            lines.append(f"worse than when {baseline['about']}: {', '.join(worse)}")
    return lines


def _cell(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return f"{'not trained':>30}"
    found = one["difference"]["cer"]
    reach = "" if found["low"] is None else f" [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    return f"{100 * one['cer']['value']:7.1f}% {100 * found['delta']:+6.1f}{reach:<16}"
