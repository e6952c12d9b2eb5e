"""The steps of speech translation before the target: rich recogniser, translators, labels, translating models.

Each takes the `Work` of one request and gives artefacts; what was found is noted for the report.

Example::

    rich = recogniser(work)
    labels = labelled(work, "st_good", 1.0)
    model = translating_model(work, "st_good", labels, rich)
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.translators import open_translator
from orature.flow import Ref, Resources, Run
from orature.recipes.registry import Request, tagged
from orature.recipes.rehearsal import Rehearsal
from orature.recipes.train_translator import made_translator, pairs_stage
from orature.recipes.training import UpOptions, named_start, only_language, split_stage
from orature.recipes.translating import Translating, read_translation_account, searching_of, translated
from orature.recipes.translation_settings import JOINT, TranslationConfig, config_of, label_arms, translator_options
from orature.stages.evaluate_translation import EvaluateTranslation, EvaluateTranslator
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import made_corpus, model_ref, translator_ref
from orature.stages.language_model import text_ref
from orature.stages.model_folder import training_of as facts_of
from orature.stages.pair_portion import PairPortion
from orature.stages.pool import Pool
from orature.stages.pretrain_decoder import PretrainDecoder
from orature.stages.split import describe, read_splits
from orature.stages.train import Train
from orature.stages.transcribe import Transcribe
from orature.stages.translate import Searching
from orature.stages.translation_score import score_in
from orature.stages.translation_texts import HumanTranslations
from orature.text.parallel import ParallelCorpus
from orature.text.sentences import kind_of
from orature.train.config import TrainConfig

_COUNTED: tuple[str, ...] = ("rows", "kept", "kept_hours", "rejected")
_SHOWN = ("bleu", "chrf", "normalised", "sentences", "empty", "refused")


@dataclass(slots=True)
class Work:
    """One request on its way: its corpora, and what the report will say."""

    job: Run
    request: Request
    settings: TranslationConfig
    target: Ref
    target_name: str
    target_language: str
    rich: Ref | None = None
    rich_name: str = ""
    rich_language: str = ""
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By arm: the translator with its score on held-out pairs, what was kept, and the score of the model's own."""
    notes: list[str] = field(default_factory=list)

    @property
    def on(self) -> Resources:
        return self.request.resources

    def corpus(self, ref: Ref) -> Corpus:
        """An artefact or a folder as a corpus."""
        return Corpus.open(self.path(ref))

    def path(self, ref: Ref) -> Path:
        """Where an artefact or an input lies."""
        return Path(ref.path) if ref.is_external else self.job.path_of(ref)

    def config(self, phase: str, corpus: Ref) -> TrainConfig:
        """The settings of a step for the speech of `corpus`."""
        part = self.corpus(corpus).summary()["splits"].get("train", {"hours": 0.0, "utterances": 0})
        hours, count = float(part["hours"]), int(part["utterances"])
        return config_of(self.settings, self.request, phase, hours=hours, mean_s=3600 * hours / max(1, count))

    def note(self, sentence: str) -> None:
        """A sentence for the person who waits and for the report."""
        say(f"speech translation: {sentence}")
        self.notes.append(sentence)

    def note_once(self, sentence: str) -> None:
        """A sentence that may come up for several arms."""
        if sentence not in self.notes:
            self.note(sentence)


def opened(job: Run, request: Request, settings: TranslationConfig, target: tuple[str, Ref] | None = None) -> Work:
    """The corpora read and split (`target`: its name and splits, where that was done before).

    ConfigError where a language that is needed is not known.
    """
    name, target_splits = target or _read(job, request, settings, request.sources[0])
    language = settings.language or only_language(Corpus.open(job.path_of(target_splits)))
    work = Work(job, request, settings, target_splits, name, language)
    if settings.rich is not None:
        work.rich_name, work.rich = _read(job, request, settings, settings.rich)
        work.rich_language = only_language(Corpus.open(job.path_of(work.rich)))
        for which, tag, place in (("target", language, name), ("rich", work.rich_language, work.rich_name)):
            if not tag:
                raise ConfigError(
                    f"which language is the {which} corpus {place} in?",
                    next_step="name it: TAG=PATH before the corpus, as in qu=kichwa/ or --set rich=es=spanish/",
                )
    return work


def ready(work: Work, arms: Sequence[str]) -> None:
    """What the arms translate with is looked at before anything is trained.

    ConfigError for one language on both sides, and all that is wrong with the given translator, the table of persons or
    the pairs: after hours of training it would come too late.
    """
    named = label_arms(work.settings)
    used = [named[arm] for arm in arms if arm in named]
    used += list(named.values())[:1] if JOINT in arms else []
    if not used:
        return
    if work.rich_language == work.target_language:
        raise ConfigError(
            f"the rich corpus {work.rich_name} is in {work.target_language}, as the target is",
            next_step="name a corpus of another language: --set rich=CORPUS (TAG=PATH states its language)",
        )
    if "translator" in used:
        with open_translator(str(work.settings.translator)) as translator:
            translator.check(work.rich_language, work.target_language)
    if "human" in used:
        HumanTranslations.read(Path(str(work.settings.human)))
    if not isinstance(work.job, Rehearsal) and any(not isinstance(label, str) for label in used):
        pairs_of(work)


def _read(job: Run, request: Request, settings: TranslationConfig, given: str) -> tuple[str, Ref]:
    """The name of a corpus and its splits."""
    place, language = tagged(given)
    corpus = made_corpus(place) or job.do(ingest_stage(place, language=language), on=request.resources)
    stage = split_stage(corpus, UpOptions(seed=request.seed, split=settings.splitting))
    splits = job.do(stage, on=request.resources)
    for line in describe(read_splits(job.path_of(splits))):
        say(f"split {place.name}: {line}")
    return place.name.split(".")[0] or "corpus", splits


def start_of(settings: TranslationConfig) -> Ref | None:
    """What the rich recogniser, and an arm without one, take their encoder from; None: nothing."""
    named = named_start(settings.start)
    return None if named is None else model_ref(named)


def trained(work: Work, stage: Train) -> Ref:
    """The model of a training."""
    return work.job.do(stage, on=work.on)


def recogniser(work: Work, rich: Ref, *, longer: int = 0) -> Ref:
    """The recogniser of the rich language; with `longer` so many more updates, for an arm of equal compute in all."""
    config, start = work.config("rich_asr", rich), start_of(work.settings)
    updates = config.updates + longer
    fields = {"updates": updates, "start_parts": "all" if start is None else "encoder"}
    name = f"{work.rich_name} recogniser" + (", longer" if longer else "")
    stage = Train(
        corpus=rich,
        config=config.model_copy(update=fields),
        start=start,
        language=work.rich_language,
        model_name=name,
    )
    return trained(work, stage)


def pairs_of(work: Work) -> Ref:
    """The sentence pairs, fit to train on: dev and test of the target are kept out of them."""
    settings = work.settings
    options = translator_options(settings, work.request, work.rich_language, work.target_language)
    stage = pairs_stage([Path(path) for path in settings.parallel], options)
    return work.job.do(stage.model_copy(update={"embargo": (work.target,)}), on=work.on)


def translator_of(work: Work, label: float | str) -> tuple[str, dict[str, Any]]:
    """The spec of the translator behind a label and its facts: trained on a share of the pairs, or given."""
    settings, job = work.settings, work.job
    if label == "translator":
        spec = str(settings.translator)
        facts: dict[str, Any] = {"by": translator_ref(spec).public_name, "pairs": None, "share": None}
        if settings.parallel:
            scored = job.do(EvaluateTranslator(translator=translator_ref(spec), pairs=pairs_of(work)), on=work.on)
            facts["held_out"] = _shown(score_in(job.path_of(scored)))
        return spec, facts
    share, pairs = float(label), pairs_of(work)
    if share < 1:
        pairs = job.do(PairPortion(pairs=pairs, share=share, seed=work.request.seed), on=work.on)
    count = int(ParallelCorpus.open(job.path_of(pairs)).summary()["splits"]["train"]["pairs"])
    options = translator_options(settings, work.request, work.rich_language, work.target_language)
    made = made_translator(job, pairs, options, on=work.on, name=f"{count} pairs", searching=_searching(settings))
    folder = job.path_of(made)
    trained_as = facts_of(folder)
    by = f"trained on {count} pairs"
    if trained_as["kind"] == "dictionary":
        by = f"a dictionary of words from {count} pairs, no translator of sentences"
    choice = trained_as.get("choice")
    if choice is not None:
        work.note_once(f"of {count} pairs {choice['sentence']}")
    return str(folder), {
        "by": by,
        "pairs": count,
        "share": share,
        "held_out": _shown(score_in(folder)),
        "choice": None if choice is None else choice["sentence"],
    }


def _searching(settings: TranslationConfig) -> Searching:
    """How the rich transcripts will be translated."""
    return searching_of(Translating(into="", options=settings.translating))


def labelled(work: Work, arm: str, label: float | str, *, dev: bool = True) -> Ref:
    """The rich speech with translated transcripts; what was kept and why others were not is noted under `arm`."""
    rich = _needed(work)
    human = label == "human"
    spec, facts = ("", {"by": "persons", "pairs": None, "share": None}) if human else translator_of(work, label)
    asked = Translating(
        into=work.target_language,
        translator=spec,
        source=work.rich_language,
        human=Path(str(work.settings.human)) if human else None,
        like=(work.path(work.target),),
        dev=dev,
        seed=work.request.seed,
        options=work.settings.translating,
    )
    made = translated(work.job, work.path(rich), asked, on=work.on)
    account = read_translation_account(work.job.path_of(made))
    work.labels[arm] = {**facts, **{name: account[name] for name in _COUNTED}}
    return made


def _needed(work: Work) -> Ref:
    if work.rich is None:
        raise ConfigError("there is no rich corpus to translate", next_step="--set rich=CORPUS")
    return work.rich


def translating_model(work: Work, arm: str, labels: Ref, rich: Ref) -> Ref:
    """Speech translation from the encoder of the rich recogniser, with a vocabulary that the target also has.

    Its translations of the rich language's dev are scored.
    """
    stage = Train(
        corpus=labels,
        config=work.config("st", labels).model_copy(update={"start_parts": "encoder"}),
        start=rich,
        vocabulary=(work.target,),
        language=work.target_language,
        model_name=f"{arm}: {work.rich_name} into {work.target_language}",
    )
    model = trained(work, stage)
    decode = Transcribe(
        model=model, corpus=labels, split="dev", language=work.target_language, search=work.settings.search
    )
    heard = work.job.do(decode, on=work.on)
    scored = work.job.do(
        EvaluateTranslation(
            hypotheses=heard, source=work.rich_language, target=work.target_language, split="dev", model=arm
        )
    )
    work.labels[arm]["speech"] = _shown(score_in(work.job.path_of(scored)))
    return model


def joint_model(work: Work, labels: Ref, rich: Ref) -> Ref:
    """Translation and recognition in one training, of as many updates; the language of a row is what is written.

    `labels` hold translated train rows alone, so that no sentence of the target is lost to a dev of another corpus.
    """
    corpora, names = [labels, work.target], [f"{work.rich_name}-translated", work.target_name]
    if work.settings.joint_rich:
        corpora.append(_needed(work))
        names.append(work.rich_name)
    pooled = work.job.do(Pool(corpora=tuple(corpora), names=tuple(names)), on=work.on)
    config = work.config("joint", labels).model_copy(update={"start_parts": "encoder", "select": "cer"})
    stage = Train(corpus=pooled, config=config, start=rich, language=work.target_language, model_name="joint")
    return trained(work, stage)


def text_model(work: Work, start: Ref | None) -> Ref:
    """The decoder that learned from text alone, on the encoder of `start`."""
    files = [Path(path) for path in work.settings.text]
    stage = PretrainDecoder(
        corpus=work.target,
        config=work.config("text_pretraining", work.target),
        texts=tuple(map(text_ref, files)),
        names=tuple(path.name for path in files),
        kinds=tuple(map(kind_of, files)),
        start=start,
        language=work.target_language,
        model_name="decoder from text",
    )
    return work.job.do(stage, on=work.on)


def rich_facts(work: Work) -> dict[str, Any] | None:
    """The rich corpus as the report names it, with the hours of its train split by origin; None without one."""
    if work.rich is None:
        return None
    seconds: dict[str, float] = defaultdict(float)
    for row in work.corpus(work.rich).split("train"):
        seconds[row.origin] += row.audio.duration_s
    hours = {origin: round(one / 3600, 4) for origin, one in sorted(seconds.items())}
    return {"name": work.rich_name, "language": work.rich_language, "hours_by_origin": hours}


def training_of(work: Work, model: Ref) -> dict[str, Any]:
    """What a model says of its training."""
    found: dict[str, Any] = json.loads((work.path(model) / "training.json").read_text(encoding="utf-8"))
    return found


def _shown(score: dict[str, Any]) -> dict[str, Any]:
    return {name: score[name] for name in _SHOWN if name in score}
