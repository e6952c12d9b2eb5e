"""What the recipe `pseudo_label` would train and what that takes, before any of it is done.

Example::

    trainings = planned(request, settings, [Speech("digits", labelled_s=(0.5, 0.6), untranscribed_s=(0.4,))])
    told(trainings, 0, request, settings)["cost"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orature.core.progress import clock
from orature.data.corpus import Corpus
from orature.engines.families import family_of
from orature.engines.hub import model_folder
from orature.flow import Store
from orature.recipes.estimate import LETTERS, estimate_job
from orature.recipes.pseudo_settings import LAST_SHARE, PseudoSettings, corpora_of, larger, options_of
from orature.recipes.registry import Request
from orature.recipes.settings import override
from orature.recipes.training import UpOptions, config_for, named_start, recipe_family, split_stage, with_table
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import made_corpus
from orature.train.batches import plan_epoch
from orature.train.config import TrainConfig
from orature.train.job import Job
from orature.train.presets import preset_for

_MOST_ROWS = 20_000
"""So many lengths are looked at to tell how full batches are."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Seconds of the recordings of a corpus that the recipe trains on."""

    name: str
    labelled_s: tuple[float, ...] = ()
    untranscribed_s: tuple[float, ...] = ()
    speakers: int = 1


@dataclass(frozen=True, slots=True)
class Training:
    """One training to come; `family` is that of the model it begins with (None: from nothing), `audio_s` all of it."""

    corpus: str
    model: str
    config: TrainConfig
    family: str | None
    audio_s: float


def speech_of(store: Store, request: Request, settings: PseudoSettings) -> list[Speech] | None:
    """What there is to train on, from what has been read so far; None where a source has not been read yet."""
    found: list[Speech] = []
    for name, place, language in corpora_of(request):
        rows = _rows(store, place, language, request)
        lent = settings.unlabelled.get(name)
        other = None if lent is None else _rows(store, Path(lent), None, request)
        if rows is None or (lent is not None and other is None):
            return None
        speech = _portioned(name, rows, settings)
        if other is not None:
            seconds = [row[1] for row in other if row[0] in ("train", "unlabelled")]
            speech = replace(speech, untranscribed_s=tuple(seconds))
        found.append(speech)
    return found


Row = tuple[str, float, str | None, bool]
"""Split, seconds, speaker, and whether it is transcribed."""


def _rows(store: Store, place: Path, language: str | None, request: Request) -> list[Row] | None:
    """The rows of a source, split where that has been done; None where it has not been read."""
    given = made_corpus(place) or store.get(ingest_stage(place, language=language).key())
    if given is None:
        return None
    split = store.get(split_stage(given, UpOptions(seed=request.seed)).key())
    corpus = Corpus.open(store.path_of(split or given))
    return [(row.split or "train", row.audio.duration_s, row.speaker, bool(row.text)) for row in corpus]


def _portioned(name: str, rows: Sequence[Row], settings: PseudoSettings) -> Speech:
    """The labelled and untranscribed rows, after `speakers` and `minutes` have taken transcripts away."""
    labelled, free, seconds = [], [], 0.0
    for split, length_s, speaker, transcribed in rows:
        asked = not settings.speakers or speaker in settings.speakers
        fits = not settings.minutes or seconds + length_s <= 60 * settings.minutes
        if split == "train" and transcribed and asked and fits:
            labelled.append((length_s, speaker))
            seconds += length_s
        elif split in ("train", "unlabelled"):
            free.append(length_s)
    return Speech(name, tuple(one for one, _ in labelled), tuple(free), len({who for _, who in labelled}))


def planned(request: Request, settings: PseudoSettings, speeches: Sequence[Speech]) -> list[Training]:
    """The trainings in the order in which the recipe does them."""
    start, several = named_start(settings.start), len(speeches) > 1
    begin = None if start is None else recipe_family(model_folder(start))
    trained = (
        str(settings.train.get("network", "conformer"))
        if start is None
        else family_of(model_folder(start)).name
        if begin == "phones"
        else begin
    )
    plan, whole = _Plan(request, settings), "all" if several else speeches[0].name
    every = tuple(one for speech in speeches for one in speech.labelled_s)
    free = tuple(one for speech in speeches for one in speech.untranscribed_s)
    if several:
        plan.add(whole, "common model", {}, begin, every)
        begin = trained
    if settings.tune is not None:
        for speech in speeches:
            plan.add(speech.name, "fine-tuned", settings.tune, begin, speech.labelled_s)
    after = begin if settings.tune is None else trained
    for speech in speeches if settings.alone else ():
        plan.add(speech.name, "labels alone", settings.slim, after, speech.labelled_s)
    for speech in speeches if settings.slim_over != "all" else ():
        if speech.untranscribed_s:
            plan.add(speech.name, "slimIPL", settings.slim, after, speech.labelled_s, speech.untranscribed_s)
    if settings.slim_over != "each" and free:
        times = sum(bool(speech.untranscribed_s) for speech in speeches)
        before = 0 if settings.tune is None else plan.config(settings.tune, begin, every).updates
        updates = times * (plan.config(settings.slim, begin, every).updates + before)
        plan.add(whole, "slimIPL, pooled", {**settings.slim, "updates": updates}, begin, every, free)
    if settings.final != "none" and free:
        _students(plan, settings, whole, (begin, trained), every, free)
    for speech in speeches if settings.prefer is not None else ():
        plan.shorter(speech.name, "preference", settings.prefer or {}, trained, speech.labelled_s)
    return plan.trainings


def _students(
    plan: _Plan,
    settings: PseudoSettings,
    whole: str,
    families: tuple[str | None, str | None],
    every: tuple[float, ...],
    free: tuple[float, ...],
) -> None:
    fields, (begin, trained) = dict(settings.student), families
    if settings.final != "continue":
        begin = None
    if settings.final == "larger" and "size" not in fields:
        fields["size"] = larger(plan.config(fields, None, every + free).size)
    plan.add(whole, "student", fields, begin, every + free)
    if settings.last_pass:
        updates = plan.trainings[-1].config.updates
        plan.shorter(whole, "student, last pass", settings.last, trained, every, updates)


class _Plan:
    """Collects trainings; configs are what `Trainings` would make of the same hours, but for starts not yet made."""

    def __init__(self, request: Request, settings: PseudoSettings) -> None:
        self.request, self.settings = request, settings
        self.trainings: list[Training] = []

    def config(self, fields: dict[str, Any], family: str | None, seconds: Sequence[float]) -> TrainConfig:
        """The training config for so much speech, from a model of `family` or from nothing."""
        own = {name: value for name, value in fields.items() if name in TrainConfig.model_fields}
        options = options_of(self.settings, self.request, None, own)
        hours = sum(seconds) / 3600
        if family is None:
            return config_for(options, hours=hours, mean_s=3600 * hours / max(1, len(seconds)))
        preset = preset_for(family, hours).overrides(self.request.scale, hours=hours)
        return override(override(TrainConfig(), preset, "preset."), with_table(options.train), "train.")

    def add(
        self,
        corpus: str,
        model: str,
        fields: dict[str, Any],
        family: str | None,
        labelled_s: Sequence[float],
        free_s: Sequence[float] = (),
    ) -> None:
        """A training on labelled speech, and with slots of untranscribed speech."""
        self._enter(corpus, model, self.config(fields, family, labelled_s), family, labelled_s, free_s)

    def shorter(
        self,
        corpus: str,
        model: str,
        fields: dict[str, Any],
        family: str | None,
        labelled_s: Sequence[float],
        updates: int = 0,
    ) -> None:
        """A training with a tenth of `updates`, or of those that are usual, where none are given."""
        config = self.config(fields, family, labelled_s)
        if "updates" not in fields:
            few = max(1, round(LAST_SHARE * (updates or config.updates)))
            config = config.model_copy(update={"updates": few})
        self._enter(corpus, model, config, family, labelled_s, ())

    def _enter(
        self,
        corpus: str,
        model: str,
        config: TrainConfig,
        family: str | None,
        labelled_s: Sequence[float],
        free_s: Sequence[float],
    ) -> None:
        filled = _filled_s(config, free_s) if free_s else _filled_s(config, labelled_s)
        audio_s = config.updates * config.accumulate * filled
        self.trainings.append(Training(corpus, model, config, family, audio_s))


def _filled_s(config: TrainConfig, seconds: Sequence[float]) -> float:
    """Seconds of audio of a batch: the fewer and the more unlike the recordings, the less of `batch_seconds`."""
    if not seconds:
        return config.batch_seconds
    batches = plan_epoch(
        seconds[:_MOST_ROWS],
        seed=config.seed,
        epoch=0,
        batch_seconds=config.batch_seconds,
        speeds=config.augment.speeds,
        join_probability=config.augment.join_probability,
    )
    return sum(item.duration_s for batch in batches for item in batch) / len(batches)


def seconds_of(trainings: Sequence[Training], request: Request, settings: PseudoSettings) -> list[float]:
    """How long each takes here, measured by a few updates of each kind of model."""
    start = named_start(settings.start)
    speeds: dict[tuple[str | None, str, str], float] = {}
    found = []
    for training in trainings:
        config = training.config
        path = None if training.family is None or start is None else str(model_folder(start))
        kind = (path, "" if path else config.network, "" if path else config.size)
        if kind not in speeds:
            job = Job(config=config, texts=LETTERS, languages=(), start=path, language=settings.language or None)
            speeds[kind] = estimate_job(job, hours=0.0, on=request.resources).audio_s_per_s
        found.append(training.audio_s / speeds[kind])
    return found


def told(trainings: Sequence[Training], done: int, request: Request, settings: PseudoSettings) -> dict[str, Any]:
    """The trainings and their cost for a plan; the first `done` of them are finished."""
    left = trainings[done:]
    took = seconds_of(left, request, settings)
    rows = [
        {
            "model": one.model,
            "corpus": one.corpus,
            "updates": one.config.updates,
            "audio_hours": round(one.audio_s / 3600, 3),
            "time": "done" if number < done else f"about {clock(took[number - done])}",
        }
        for number, one in enumerate(trainings)
    ]
    hours = sum(one.audio_s for one in left) / 3600
    cost = (
        f"{len(left)} trainings are left: {hours:.2g} h of audio, about {clock(sum(took))} here "
        "(evaluations, labels and searches not counted)"
    )
    return {"trainings": len(trainings), "each": rows, "seconds": round(sum(took), 1), "cost": cost}
