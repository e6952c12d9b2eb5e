"""The one command as one page: from a corpus in any known format to a measured recogniser and its report.

Ingest, split (with the embargo), train, decode test once, score, report. Every step is a stage of the store in
`to/.orature`: run again after a crash it goes on, run again after success it does nothing.

Example::

    result = up(Path("my_corpus"), Path("my_model"), scale="dev")
    print(result.score["wer"]["value"], result.report)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.files import refuse_unwritable, write_json
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.families import family_of
from orature.flow import Ref, Resources, Run, Stage, Store, open_store
from orature.recipes.back_settings import BackTranslateConfig, by_scale, checked
from orature.recipes.back_translate import outline, translated
from orature.recipes.estimate import cost
from orature.recipes.fusion import fuse, gain
from orature.recipes.published import REPORT, circumstances_of, published_keys, train_log
from orature.recipes.rehearsal import Rehearsal, rehearsed
from orature.recipes.scoring import decode_and_score, forgetting, score_of, zero_shot
from orature.recipes.settings import override
from orature.recipes.speech_steps import reads_itself
from orature.recipes.speech_translation import arms_on, publish_page
from orature.recipes.training import (
    UpOptions,
    describe_recipe,
    only_language,
    split_stage,
    start_of_up,
    train_stage,
)
from orature.recipes.translation_costs import translator_costs
from orature.recipes.translation_settings import outline as translation_outline
from orature.recipes.up_translation import opened_arms, translation_settings
from orature.stages.evaluate import Extras, lineage_rows, publish_results
from orature.stages.ingest import ingest_stage
from orature.stages.split import describe, read_splits
from orature.stages.train import Train
from orature.train.config import Scale
from orature.train.devices import usable_cores

TRANSLATION = "speech_translation"


@dataclass(frozen=True, slots=True)
class UpResult:
    """Where the results lie, and the whole score file."""

    report: Path
    model: Path
    score: dict[str, Any]
    fresh: bool
    """False when everything had been done before."""


def up(
    source: Path,
    to: Path,
    *,
    scale: Scale = "dev",
    seed: int = 1,
    language: str | None = None,
    format: str = "auto",
    split: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
    rehearse: Sequence[str | Path] = (),
    guards: Sequence[str | Path] = (),
    texts: Sequence[str | Path] = (),
    extras: Sequence[str] | None = None,
    voice: str = "espeak",
    translation: Mapping[str, Any] | None = None,
    rich: str | Path | None = None,
    parallel: Sequence[str | Path] = (),
    speech_translation: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    store: Path | None = None,
    command: str = "",
) -> UpResult:
    """The Python form of `orature up`; `split` and `train` override fields of `MakeSplits` and `TrainConfig`.

    `start` is a model folder, "none" for random weights, or None for the model that comes with the package (random
    weights where `train` describes a network). `extras` is `--with` (None: what the material allows), `translation`
    holds fields of `BackTranslateConfig`; `rich` is a corpus of a richer language, `parallel` sentence pairs with it,
    and `speech_translation` holds fields of `TranslationConfig`.
    """
    old, watched = tuple(map(str, rehearse)), tuple(map(str, guards))
    first = start_of_up(None if start is None else str(start), train or {})
    options = UpOptions(
        format=format,
        language=language,
        scale=scale,
        seed=seed,
        split=split or {},
        train=train or {},
        start=first,
        rehearse=old,
        guards=watched,
        texts=tuple(map(str, texts)),
        extras=None if extras is None else tuple(extras),
        voice=voice,
        translation=translation or {},
        rich=None if rich is None else str(rich),
        parallel=tuple(map(str, parallel)),
        speech_translation=speech_translation or {},
    )
    return run_up(source, to, options, resources=resources, store=store, command=command)


def run_up(
    source: Path,
    to: Path,
    options: UpOptions,
    *,
    resources: Resources | None = None,
    store: Path | None = None,
    command: str = "",
) -> UpResult:
    """Runs the whole way; raises the errors of its stages, each of which says what to do next."""
    refuse_unwritable(to)
    if options.rich is not None:
        translation_settings(options, resources)
    home = open_store(store, beside=to)
    run = Run(home, recipe="up", command=command or f"orature up {source} --to {to} --scale {options.scale}")
    done = _computed(run, source, options, resources or Resources())
    fresh = published_keys(to) != done.keys
    if fresh:
        _publish(to, run, done)
    else:
        say(f"everything was done before; the report is {to / 'report.html'}")
    score = json.loads((to / REPORT).read_text(encoding="utf-8"))
    return UpResult(report=to / "report.html", model=to / "model", score=score, fresh=fresh)


def _computed(run: Run, source: Path, options: UpOptions, on: Resources) -> _Done:
    """All stages, in order."""
    name = source.name
    several = on.model_copy(update={"workers": on.threads or usable_cores()})
    corpus = run.do(ingest_stage(source, format=options.format, language=options.language), on=several)
    splits = run.do(split_stage(corpus, options), on=on)
    for line in describe(read_splits(run.path_of(splits))):
        say(f"split: {line}")
    stage = train_stage(run, splits, options, name=name)
    if run.planned(stage) == "todo":
        say(describe_recipe(Corpus.open(run.path_of(splits)), options))
        say(cost(stage, on))
    extras = extras_of(Corpus.open(run.path_of(splits)), options, on)
    make = _translated if "back_translation" in extras else _trained
    done = (_translating if "speech_translation" in extras else make)(run, splits, stage, options, name, on)
    if "lm" in extras:
        _fuse(run, splits, stage, done, options, name, on)
    elif options.extras is None and family_of(run.path_of(done.model)).kind == "ctc":
        say("language model: none; --with lm makes one of the train transcripts (and of --text) and weighs it on dev")
    guarded = [Path(folder) for folder in (*options.rehearse, *options.guards)]
    if guarded:
        done.facts["guards"] = forgetting(run, stage, done.model, guarded, on)
    return done


def _trained(run: Run, splits: Ref, stage: Train, options: UpOptions, name: str, on: Resources) -> _Done:
    """One training on the train split."""
    before = zero_shot(run, stage, splits, name, on)
    model = run.do(stage, on=on)
    heard, scored = decode_and_score(
        run,
        model=model,
        corpus=splits,
        split="test",
        language=stage.language,
        name=stage.model_name,
        corpus_name=name,
        on=on,
    )
    return _Done(model, heard, scored, zero_shot=before)


def _translated(run: Run, splits: Ref, stage: Train, options: UpOptions, name: str, on: Resources) -> _Done:
    """The arms of back-translation; the better one on dev goes on."""
    settings = translation_of(options)
    made = translated(run, splits, settings, options, name=name, on=on)
    return _Done(
        made.published.model,
        made.heard,
        made.scored,
        zero_shot=made.zero_shot,
        compared=made.compared,
        facts=dict(made.facts),
    )


def _translating(run: Run, splits: Ref, stage: Train, options: UpOptions, name: str, on: Resources) -> _Done:
    """The usual training, and the arms of speech translation; the best on dev goes on."""
    work = None if isinstance(run, Rehearsal) else opened_arms(run, splits, options, name=name, on=on)
    usual = _trained(run, splits, stage, options, name, on)
    found = arms_on(work or opened_arms(run, splits, options, name=name, on=on))
    best = next(row for row in found.facts["arms"] if row["name"] == found.facts["chosen"])
    _, dev = decode_and_score(
        run,
        model=usual.model,
        corpus=splits,
        split="dev",
        language=stage.language,
        name=stage.model_name,
        corpus_name=name,
        on=on,
    )
    usual_cer = float(score_of(run, dev)["cer"]["value"])
    chosen = best["dev"]["cer"]["value"] < usual_cer
    say(
        f"dev CER {100 * usual_cer:.1f} % as usual, {100 * best['dev']['cer']['value']:.1f} % of {best['name']}: "
        f"{best['name'] if chosen else 'the usual model'} is published"
    )
    usual.facts[TRANSLATION] = {**found.facts, "usual_dev_cer": usual_cer, "published": chosen}
    if not chosen:
        return usual
    return _Done(found.model, found.heard, found.scored, zero_shot=usual.zero_shot, facts=usual.facts)


def _fuse(run: Run, splits: Ref, stage: Train, done: _Done, options: UpOptions, name: str, on: Resources) -> None:
    """A language model on top, where the family can use one."""
    texts = [Path(text) for text in options.texts]
    done.decoder = fuse(run, done.model, splits, texts, language=stage.language, on=on)
    if done.decoder is None:
        return
    before = done.scored
    done.heard, done.scored = decode_and_score(
        run,
        model=done.model,
        corpus=splits,
        split="test",
        language=stage.language,
        name=f"{stage.model_name} + language model",
        corpus_name=name,
        decoder=done.decoder,
        on=on,
    )
    done.facts["language_model"] = gain(run, before=before, after=done.scored)


def translation_of(options: UpOptions) -> BackTranslateConfig:
    """The settings of back-translation that `up` was given; ConfigError for wrong ones."""
    given = {"text": options.texts, "voice": options.voice, "language": options.language, **options.translation}
    settings = override(BackTranslateConfig(), by_scale(options.scale, given), "back_translation.")
    same = {"start": options.start, "train": dict(options.train), "split": dict(options.split)}
    return checked(settings.model_copy(update=same), options.scale, options.seed)


def extras_of(corpus: Corpus, options: UpOptions, on: Resources) -> tuple[str, ...]:
    """What was asked for; else speech translation where there is a rich corpus, and with the text a language model
    and, where there is a voice of the language itself, back-translation."""
    if options.extras is not None:
        return options.extras
    if options.rich is not None:
        return ("lm", TRANSLATION) if options.texts else (TRANSLATION,)
    if not options.texts:
        return ()
    language = options.language or only_language(corpus)
    why = reads_itself(options.voice, language, on) if language else "the corpus does not say its language"
    if why:
        say(f"no back-translation: {why} (ask for it nevertheless with --with lm,back_translation)")
        return ("lm",)
    return ("lm", "back_translation")


def plan(
    source: Path, to: Path, options: UpOptions, store: Path | None = None, on: Resources | None = None
) -> dict[str, Any]:
    """What `up` would do, as far as it can be known without doing it (`--dry-run`)."""
    home = open_store(store, beside=to)
    if options.texts or options.rich is not None or options.extras:
        return _plan_with_text(home, source, options, on or Resources())
    run = Run(home, recipe="up", command="")
    steps: list[dict[str, Any]] = []
    ingest = ingest_stage(source, format=options.format, language=options.language)
    corpus = _planned(run, home, ingest, steps)
    if corpus is None:
        return {"steps": _unknown(steps), "train": None, "cost": "known once the corpus has been read"}
    splits = _planned(run, home, split_stage(corpus, options), steps)
    if splits is None:
        return {"steps": _unknown(steps), "train": None, "cost": "known once the corpus has been split"}
    train = train_stage(run, splits, options, name=source.name)
    _planned(run, home, train, steps)
    recipe = describe_recipe(Corpus.open(home.path_of(splits)), options)
    return {
        "steps": _unknown(steps),
        "recipe": recipe,
        "train": train.config.model_dump(mode="json"),
        "cost": cost(train, on),
    }


def _plan_with_text(home: Store, source: Path, options: UpOptions, on: Resources) -> dict[str, Any]:
    """The way with a language model, with back-translation, or with both; with speech translation."""
    text = ("lm", "back_translation") if options.rich is None else ("lm",)
    extras = options.extras or (*(text if options.texts else ()), *((TRANSLATION,) if options.rich else ()))
    settings = translation_of(options) if "back_translation" in extras else None
    if settings is not None:
        outlined = outline(settings)
    else:
        zero = ["transcribe", "evaluate"] if options.start is not None else []
        outlined = ["ingest", "split", *zero, "train", "transcribe", "evaluate"]
    if TRANSLATION in extras:
        arms = translation_settings(options, on)
        outlined += translation_outline(arms)
    if "lm" in extras:
        outlined += ["lm", "lm", "tune-decoder", "transcribe", "evaluate"]
    run = rehearsed(home, "up", outlined, phases=1 if settings is None else 2)
    shown = run.through(lambda: _computed(run, source, options, on), on)
    if TRANSLATION in extras and (costs := translator_costs(arms, shown["steps"], None)):
        shown["translators"] = costs
    if settings is not None:
        shown["back_translation"] = settings.model_dump(mode="json")
    if options.extras is None and options.rich is None:
        shown["note"] = "back-translation is left out where the voice cannot read the language itself"
    return shown


def _planned(run: Run, home: Store, stage: Stage, steps: list[dict[str, Any]]) -> Ref | None:
    steps.append({"stage": stage.name, "state": run.planned(stage), "key": stage.key()[:12]})
    return home.get(stage.key())


def _unknown(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {step["stage"] for step in steps}
    rest = ("split", "train", "transcribe", "evaluate")
    return steps + [{"stage": name, "state": "todo", "key": ""} for name in rest if name not in known]


@dataclass(slots=True)
class _Done:
    """The artefacts of a run that are published, and what report.json says beside the score."""

    model: Ref
    heard: Ref
    scored: Ref
    zero_shot: Ref | None = None
    decoder: Ref | None = None
    compared: Ref | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, str]:
        refs = {"model": self.model, "scored": self.scored, "zero_shot": self.zero_shot, "decoder": self.decoder}
        refs["compared"] = self.compared
        return {name: ref.key for name, ref in refs.items() if ref is not None}


def _publish(to: Path, run: Run, done: _Done) -> None:
    """Model, decoder, score, report and last report.json, each written beside and renamed."""
    home = run.store
    home.publish(done.model, to / "model")
    if done.decoder is not None:
        home.publish(done.decoder, to / "decoder")
    circumstances = circumstances_of(run, done.heard, to)
    if done.zero_shot is not None:
        found = score_of(run, done.zero_shot)
        done.facts["zero_shot"] = {name: found[name] for name in ("model", "wer", "cer", "utterances", "words")}
    extras = Extras(
        train_log=train_log(run, done.model), lineage=lineage_rows(home, done.compared or done.scored), facts=done.facts
    )
    if TRANSLATION in done.facts:
        publish_page(done.facts[TRANSLATION], to / f"{TRANSLATION}.html", run.record.command)
    whole = publish_results(to, scored=run.path_of(done.scored), circumstances=circumstances, extras=extras)
    write_json(to / REPORT, whole | {"artefacts": done.keys})
