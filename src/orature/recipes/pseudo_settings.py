"""Settings of the recipe `pseudo_label`, and the training stages that they make.

Example::

    settings = settings_of(Request(sources=("digits",), to=Path("out"), settings={"preset": "100h"}))
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from orature.core.errors import ConfigError
from orature.data.corpus import Corpus
from orature.engines.shipped import BASE
from orature.flow import Ref, Run
from orature.recipes.arms import NEVER
from orature.recipes.labelling import filters_of
from orature.recipes.registry import Request, tagged
from orature.recipes.settings import nearest, override
from orature.recipes.training import UpOptions, config_for, named_start, train_stage, with_table
from orature.stages.inputs import model_ref
from orature.stages.prefer import Prefer
from orature.stages.train import Train
from orature.stages.train_pseudo import TrainPseudo
from orature.text.sentences import read_sentences
from orature.train.config import TrainConfig
from orature.train.preference_config import PreferenceConfig
from orature.train.pseudo_config import PUBLISHED, PseudoConfig

Final = Literal["continue", "scratch", "larger", "none"]
SlimOver = Literal["each", "all", "both"]
Scored = Literal["test", "dev"]
SIZES = ("micro", "tiny", "compact", "small", "wide", "base")
LAST_SHARE = 0.1
"""Updates of a short last training, of those of the one before."""
_SLOWER, _LATER, _GENTLER = 0.5, 0.1, 0.1
_TRAININGS = ("train", "tune", "slim", "student", "last")
"""Settings that hold fields of `TrainConfig`."""
_LOOKED_AT = 1000
_ANY = Ref(key="external", stage="corpus", digest="0" * 64)


class PseudoSettings(BaseModel, frozen=True, extra="forbid"):
    """What the recipe does; `train` holds fields of every training, the others those of one."""

    start: str = BASE
    """What the first training starts from: a model folder, "base", or "none"."""
    preset: str = "10h"
    """Published settings of slimIPL, scaled to the run (see `PseudoConfig.scaled`)."""
    pseudo: dict[str, Any] = Field(default_factory=dict)
    """Fields of `PseudoConfig`, over the preset."""
    train: dict[str, Any] = Field(default_factory=dict)
    tune: dict[str, Any] | None = Field(default_factory=dict)
    """Of a language's training on labelled speech alone that comes first: slimIPL and `alone` both go on from its model
    at half of the learning rate, slimIPL without a warm-up. None: slimIPL warms up instead."""
    slim: dict[str, Any] = Field(default_factory=dict)
    """Of the training with labels made on the way (`TrainPseudo`), and of `alone`, which has the same compute."""
    slim_over: SlimOver = "each"
    """slimIPL for each language on its own untranscribed speech; one for all together, with as many updates as theirs
    in sum (which Lugosch et al. 2022 found to mix scripts); or both, to compare (labels are then those of each)."""
    unlabelled: dict[str, str] = Field(default_factory=dict)
    """By the name of a corpus, another one whose recordings stand in for its untranscribed speech (`LendSpeech`):
    speech in another language or of another kind."""
    alone: bool = True
    """Whether labelled speech alone is trained on, too, with as many updates, to compare with."""
    text: dict[str, str] = Field(default_factory=dict)
    """By the name of a corpus, sentences of its language (.txt, .tsv, .jsonl): final labels are searched with language
    models of them and of the train transcripts, weighed on dev (as by Park et al. 2020). Figures are without them."""
    filters: dict[str, Any] = Field(default_factory=dict)
    """Of the final labels, see `orature.recipes.labelling.filters_of`."""
    final: Final = "continue"
    """The student on final labels: from the model that the recipe began with, from nothing, from nothing and a size
    larger, or none."""
    student: dict[str, Any] = Field(default_factory=dict)
    last_pass: bool = True
    """Whether the student is trained on labelled speech alone once more, with a tenth of the updates."""
    last: dict[str, Any] = Field(default_factory=dict)
    prefer: dict[str, Any] | None = None
    """Preference self-training of each language's model (`Prefer`) as the very last step: fields of `PreferenceConfig`
    and of its training ({}: the defaults, with a tenth of the updates and of the learning rate). None: left out."""
    minutes: float = Field(default=0.0, ge=0)
    """To measure with a corpus that is transcribed: only so much of train keeps its transcripts (0: all)."""
    speakers: tuple[str, ...] = ()
    """Only these speakers of train keep their transcripts; all others count as untranscribed."""
    split: Scored = "test"
    """What is scored: test, or dev while settings are chosen."""
    language: str = ""


def settings_of(request: Request) -> PseudoSettings:
    """The settings checked before anything is read: ConfigError for unknown names and values out of range."""
    _refuse_for_all(request.settings)
    settings = override(PseudoSettings(), request.settings)
    if not request.sources:
        raise ConfigError("which corpora?", next_step="orature run pseudo_label CORPUS ... --to DIR")
    if settings.preset not in PUBLISHED:
        raise ConfigError(
            f"there is no setting {settings.preset!r} of slimIPL", next_step="choose of " + ", ".join(PUBLISHED)
        )
    names = [name for name, _, _ in corpora_of(request)]
    for _, corpus, _ in corpora_of(request):
        if not corpus.exists():
            raise ConfigError("there is no such file or folder", where=str(corpus), next_step="name a corpus")
    for option, places in (("unlabelled", settings.unlabelled), ("text", settings.text)):
        for name, place in places.items():
            if name not in names:
                raise ConfigError(f"--set {option}.{name}: no corpus is named so", next_step=nearest(name, names))
            if not Path(place).exists():
                raise ConfigError(f"there is nothing at {place}", next_step=f"give --set {option}.{name}=PATH")
    for place in settings.text.values():
        if not any(one.strip() for one in islice(read_sentences(Path(place)), _LOOKED_AT)):
            raise ConfigError(f"no sentences are at the beginning of {place}", next_step="name a file of sentences")
    if settings.slim_over != "each" and len(names) == 1:
        raise ConfigError(
            "one corpus has nothing to be pooled with", next_step="name several corpora, or leave slim_over out"
        )
    override(PseudoConfig(), settings.pseudo, "pseudo.")
    filters_of(_ANY, "unlabelled", settings.filters, "filters.")
    for part in _TRAININGS:
        fields = getattr(settings, part) or {}
        override(TrainConfig(), with_table(fields), f"{part}.")
        options_of(settings, request, named_start(settings.start), {} if part == "train" else fields)
    if settings.final == "larger" and "size" not in settings.student:
        larger(config_for(options_of(settings, request, None, {}), hours=1.0).size)
    if settings.prefer is not None:
        preference, fields = _parted(settings.prefer)
        override(PreferenceConfig(), preference, "prefer.")
        options_of(settings, request, named_start(settings.start), fields)
    return settings


def _refuse_for_all(given: Mapping[str, Any]) -> None:
    """ConfigError for an option of a training that does not say of which one."""
    for name in given:
        if name in TrainConfig.model_fields and name not in PseudoSettings.model_fields:
            raise ConfigError(
                f"there are several trainings here, so there is no option {name!r}",
                next_step=f"--set train.{name}=... for all of them, or {', '.join(_TRAININGS[1:])} in place of train",
            )


def _parted(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of `PreferenceConfig` and those of `TrainConfig`; ConfigError for one that neither has."""
    known = {*PreferenceConfig.model_fields, *TrainConfig.model_fields}
    for name in fields:
        if name not in known:
            raise ConfigError(f"there is no option 'prefer.{name}'", next_step=nearest(name, known))
    own = {name: value for name, value in fields.items() if name in PreferenceConfig.model_fields}
    return own, {name: value for name, value in fields.items() if name not in own}


def options_of(settings: PseudoSettings, request: Request, start: str | None, fields: dict[str, Any]) -> UpOptions:
    """Options of a training that has `fields` of its own over `train`."""
    train = {"patience": NEVER, "stop_on_blanks": False, **settings.train, **fields}
    return UpOptions(
        scale=request.scale, seed=request.seed, start=start, train=train, language=settings.language or None
    )


class Trainings:
    """Makes the stages of one request; `job` is the run that they belong to."""

    def __init__(self, job: Run, settings: PseudoSettings, request: Request) -> None:
        self.job, self.settings, self.request = job, settings, request

    def start(self) -> Ref | None:
        """What the first training starts from; None: nothing."""
        named = named_start(self.settings.start)
        return None if named is None else model_ref(named)

    def supervised(self, corpus: Ref, name: str, start: Ref | None, fields: dict[str, Any]) -> Train:
        """A training on labelled rows (pseudo-labelled ones among them).

        From a model of this run it goes on with that model's letters: they are all there are, labels are made of them.
        """
        if start is not None and not start.is_external:
            fields = {"head": "keep", **fields}
        path = None if start is None else _path(self.job, start)
        stage = train_stage(self.job, corpus, options_of(self.settings, self.request, path, fields), name=name)
        return stage.model_copy(update={"start": start, "model_name": name})

    def tuned(self, corpus: Ref, name: str, start: Ref | None) -> Train:
        """The training on labelled speech alone that slimIPL and its counterpart go on from."""
        return self.supervised(corpus, name, start, self.settings.tune or {})

    def alone(self, corpus: Ref, name: str, start: Ref | None) -> Train:
        """Labelled speech alone, with the updates of slimIPL; after `tune` at half of the learning rate, as slimIPL."""
        stage = self.supervised(corpus, name, start, self.settings.slim)
        if self.settings.tune is None or "peak_lr" in self.settings.slim:
            return stage
        slower = {"peak_lr": _SLOWER * stage.config.peak_lr}
        return stage.model_copy(update={"config": stage.config.model_copy(update=slower)})

    def slim(self, corpus: Ref, name: str, start: Ref | None, *, pooled: int = 0) -> tuple[TrainPseudo, str]:
        """slimIPL on the rows without transcripts of `corpus`, and what was scaled, in words.

        Over so many languages `pooled` it has the updates of all their trainings, `tune` too, and a warm-up of its own.
        """
        tuned = self.settings.tune is not None and not pooled
        base = self.supervised(corpus, name, start, self.settings.slim) if pooled else self.alone(corpus, name, start)
        if pooled:
            before = 0 if self.settings.tune is None else self.tuned(corpus, name, start).config.updates
            updates = pooled * (base.config.updates + before)
            base = base.model_copy(update={"config": base.config.model_copy(update={"updates": updates})})
        config, summary = base.config, Corpus.open(self.job.path_of(corpus)).summary()["splits"]
        hours = float(summary.get("unlabelled", {"hours": 0.0})["hours"])
        batches = max(1, round(3600 * hours / (config.batch_seconds * config.accumulate)))
        pseudo = PseudoConfig.scaled(self.settings.preset, updates=config.updates, batches=batches)
        if start is None:
            pseudo = pseudo.model_copy(update={"warmup_updates": max(pseudo.warmup_updates, config.updates // 3)})
        elif tuned:
            pseudo = pseudo.model_copy(update={"warmup_updates": 0})
        pseudo = override(pseudo, self.settings.pseudo, "pseudo.")
        fields = {name: getattr(base, name) for name in Train.model_fields}
        said = pseudo.scaling_said(self.settings.preset)
        return TrainPseudo(**fields, pseudo=pseudo), f"{said}; the warm-up came before" if tuned else said

    def student(self, corpus: Ref, name: str, start: Ref | None) -> Train | None:
        """The final student: continued with half of the learning rate, or from nothing with later masks, as published.

        None where none is asked for.
        """
        how, fields = self.settings.final, dict(self.settings.student)
        if how == "none":
            return None
        if how == "continue":
            stage = self.supervised(corpus, name, start, fields)
            if "peak_lr" in fields:
                return stage
            return stage.model_copy(
                update={"config": stage.config.model_copy(update={"peak_lr": _SLOWER * stage.config.peak_lr})}
            )
        stage = self.supervised(corpus, name, None, fields)
        config = stage.config
        augment = config.augment.model_copy(update={"masks_from_update": round(_LATER * config.updates)})
        bigger = how == "larger" and "size" not in fields
        size = larger(config.size) if bigger else config.size
        return stage.model_copy(update={"config": config.model_copy(update={"augment": augment, "size": size})})

    def last(self, corpus: Ref, name: str, student: Ref, updates: int) -> Train:
        """The last pass, on labelled speech alone."""
        stage = self.supervised(corpus, name, student, self.settings.last)
        return stage.model_copy(update={"config": _shorter(stage.config, self.settings.last, updates, _SLOWER)})

    def prefer(self, corpus: Ref, name: str, start: Ref) -> Prefer:
        """Preference self-training on labelled speech, with small steps from `start`."""
        own, train = _parted(self.settings.prefer or {})
        base = self.supervised(corpus, name, start, train)
        fields = {field: getattr(base, field) for field in Train.model_fields if field != "reject_limit"}
        fields |= {"config": _shorter(base.config, train, base.config.updates, _GENTLER), "start": start}
        return Prefer(**fields, preference=override(PreferenceConfig(), own, "prefer."))


def _shorter(config: TrainConfig, given: dict[str, Any], updates: int, slower: float) -> TrainConfig:
    """A tenth of `updates`, and `slower` times the learning rate, unless they were `given`."""
    fields: dict[str, Any] = {}
    if "updates" not in given:
        fields["updates"] = max(1, round(LAST_SHARE * updates))
        fields["evaluate_every"] = max(1, fields["updates"] // 4)
    if "peak_lr" not in given:
        fields["peak_lr"] = slower * config.peak_lr
    return config.model_copy(update=fields)


def _path(job: Run, ref: Ref) -> str:
    return str(ref.path) if ref.is_external else str(job.path_of(ref))


def larger(size: str) -> str:
    """The next size; ConfigError for the largest."""
    if size not in SIZES or size == SIZES[-1]:
        raise ConfigError(f"there is no size above {size!r}", next_step="name one: --set student.size=...")
    return SIZES[SIZES.index(size) + 1]


def corpora_of(request: Request) -> list[tuple[str, Path, str | None]]:
    """Name, folder and (TAG=PATH) language of each source; ConfigError for two of one name."""
    found: list[tuple[str, Path, str | None]] = []
    for given in request.sources:
        place, language = tagged(given)
        name = place.name.split(".")[0] or "corpus"
        if name in [one for one, _, _ in found]:
            raise ConfigError(f"two corpora are called {name!r}", next_step="give one of the folders another name")
        found.append((name, place, language))
    return found
