"""A base model of our own: phones of many languages, from text alone, spoken by espeak-ng while it trains.

Steps: phone text from folders of text (`PhoneText`), then the training (`TrainBase`). Every step is a stage of the
store in `to/.orature`: run again after a crash it goes on, run again after success it does nothing.

Example::

    outcome = run(Request(sources=("text_udhr",), to=Path("base"), scale="dev"))

    orature run base corpora/text_udhr --to base --set train.size=compact --set train.updates=4000
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from orature.core.errors import ConfigError
from orature.core.files import refuse_unwritable, write_json
from orature.core.progress import say
from orature.flow import Ref, Run, open_store
from orature.recipes.registry import Outcome, Request
from orature.recipes.settings import override
from orature.recipes.training import UpOptions, split_stage
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.phone_text import PhoneText, phone_text_stage
from orature.stages.phone_text_plan import PhoneTextSettings
from orature.stages.split import MakeSplits
from orature.stages.train_base import TrainBase
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.devices import usable_cores
from orature.train.speech_config import SpeechConfig

ABOUT = "a start for every language: phones from synthetic speech in many languages"
FACTS = "base.json"
AUGMENT = AugmentConfig(
    speeds=(1.0,),
    noise_probability=0.5,
    snr_db=(0.0, 30.0),
    reverb_probability=0.4,
    babble_probability=0.1,
    codec_probability=0.25,
    codecs=("telephone", "gsm", "band", "vorbis", "mp3"),
)
"""Tempo and mouth are varied by the speech source; Opus is left out, it takes more time than all the rest."""
SHARED: dict[str, Any] = {"case": "keep", "punctuation": "keep", "overfit_clips": 0, "augment": AUGMENT.model_dump()}
BY_SCALE: dict[str, dict[str, Any]] = {
    "smoke": {"size": "micro", "updates": 8, "evaluate_every": 4, "batch_seconds": 12.0, "average": 2},
    "dev": {
        "size": "compact",
        "updates": 4000,
        "evaluate_every": 200,
        "batch_seconds": 100.0,
        "peak_lr": 1e-3,
        "lid_weight": 0.1,
        "patience": 100,
    },
    "full": {
        "size": "wide",
        "updates": 60_000,
        "evaluate_every": 1000,
        "batch_seconds": 400.0,
        "peak_lr": 1e-3,
        "lid_weight": 0.1,
        "precision": "bf16",
        "patience": 100,
    },
}
TEXT_BY_SCALE: dict[str, dict[str, Any]] = {
    "smoke": {"per_language": 20, "measured": 2, "dev_per_language": 2},
    "dev": {"per_language": 500},
    "full": {"per_language": 4000, "pseudo_share": 0.6},
}


class BaseSettings(BaseModel, frozen=True, extra="forbid"):
    """The recipe's own settings; `text`, `speech` and `train` hold fields of their configs."""

    text: dict[str, Any] = Field(default_factory=dict)
    speech: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    licences: tuple[str, ...] = ()
    """Of the texts."""
    embargo: tuple[str, ...] = ()
    """Corpora (made by `orature ingest`) whose dev and test sentences are not spoken in training."""
    real: tuple[str, ...] = ()
    """Corpora whose train rows are mixed in, after `orature split`; their dev and test are embargoed."""
    neighbours: bool = False
    """Real speech of a language that espeak-ng has no voice for: its phones by the nearest voice, instead of none."""
    judge: tuple[str, ...] = ()
    """Corpora whose dev and test rows are measured at the end; they are embargoed, too."""
    dev_sentences: int = Field(default=300, ge=1)
    feature_weight: float = Field(default=0.0, ge=0.0)
    half: bool = True
    start: str = ""
    """A model of phones whose training goes on ("base": the one of the package); "": from nothing."""
    voices: int = Field(default=2, ge=1)
    """Processes that speak while the model trains (how, not what)."""
    name: str = "orature-base"


def run(request: Request) -> Outcome:
    """Makes phone text and trains; the errors of the stages say what to do next."""
    settings = read_settings_of(request)
    refuse_unwritable(request.to)
    home = open_store(request.store, beside=request.to)
    job = Run(home, recipe="base", command=request.command or f"orature run base --to {request.to}")
    text = _text(request, settings)
    on = request.resources
    phones = job.do(text, on=on.model_copy(update={"workers": on.threads or usable_cores()}))
    real = [job.do(stage, on=on) for stage in _splits(request, settings)]
    stage = _train(request, settings, phones, real)
    for line in _told(job, phones, stage):
        say(line)
    model = job.do(stage, on=on.model_copy(update={"workers": settings.voices}))
    return _finish(request, job, phones, model)


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do."""
    settings = read_settings_of(request)
    home = open_store(request.store, beside=request.to)
    job = Run(home, recipe="base", command="")
    text = _text(request, settings)
    before = [text, *_splits(request, settings)]
    steps = [{"stage": stage.name, "state": job.planned(stage), "key": stage.key()[:12]} for stage in before]
    config = _config(request, settings)
    shown = {"settings": settings.model_dump(mode="json"), "train": config.model_dump(mode="json"), "steps": steps}
    made = [home.get(stage.key()) for stage in before]
    found = [ref for ref in made if ref is not None]
    if len(found) < len(before):
        return {**shown, "cost": "known once the phone text and the splits have been made"}
    stage = _train(request, settings, found[0], found[1:])
    steps.append({"stage": stage.name, "state": job.planned(stage), "key": stage.key()[:12]})
    hours = config.updates * config.batch_seconds * config.accumulate / 3600
    return {**shown, "cost": f"{config.updates} updates, {hours:.0f} h of speech"}


def read_settings_of(request: Request) -> BaseSettings:
    """The settings checked before anything is read: ConfigError for unknown names and values out of range."""
    settings = override(BaseSettings(), request.settings)
    if not request.sources:
        raise ConfigError("which text?", next_step="orature run base FOLDER_OF_TEXT ... --to DIR")
    _config(request, settings)
    _speech(request, settings)
    _phone_settings(request, settings)
    return settings


def _config(request: Request, settings: BaseSettings) -> TrainConfig:
    base = TrainConfig.model_validate({**SHARED, **BY_SCALE[request.scale], "seed": request.seed})
    return override(base, settings.train, "train.")


def _speech(request: Request, settings: BaseSettings) -> SpeechConfig:
    return override(SpeechConfig(seed=request.seed), settings.speech, "speech.")


def _phone_settings(request: Request, settings: BaseSettings) -> PhoneTextSettings:
    base = PhoneTextSettings(seed=request.seed, **TEXT_BY_SCALE[request.scale])
    return override(base, settings.text, "text.")


def _text(request: Request, settings: BaseSettings) -> PhoneText:
    return phone_text_stage(
        [Path(source) for source in request.sources],
        _phone_settings(request, settings),
        embargo=[Path(one) for one in dict.fromkeys((*settings.embargo, *settings.real, *settings.judge))],
        licences=settings.licences,
    )


def _splits(request: Request, settings: BaseSettings) -> list[MakeSplits]:
    """Corpora of real speech without the rows of train that are too like their dev or test (law 5)."""
    return [split_stage(corpus_ref(Path(one)), UpOptions(seed=request.seed)) for one in settings.real]


def _train(request: Request, settings: BaseSettings, phones: Ref, real: Sequence[Ref]) -> TrainBase:
    return TrainBase(
        phones=phones,
        config=_config(request, settings),
        speech=_speech(request, settings),
        feature_weight=settings.feature_weight,
        real=tuple(real),
        neighbours=settings.neighbours,
        judge=tuple(corpus_ref(Path(one)) for one in settings.judge),
        dev_sentences=settings.dev_sentences,
        half=settings.half,
        start=model_ref(settings.start) if settings.start else None,
        model_name=settings.name,
        command=_card_command(request),
    )


def _card_command(request: Request) -> str:
    """The command without anybody's paths, and without what changes nothing of the model."""
    settings = {name: value for name, value in request.settings.items() if name != "voices"}
    named = " ".join(Path(source).name for source in request.sources)
    sets = "".join(f" --set {name}={json.dumps(value)}" for name, value in sorted(_flat(settings).items()))
    return f"orature run base {named} --scale {request.scale} --seed {request.seed}{sets}"


def _flat(tree: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {where: [_nameless(one) for one in tree] if isinstance(tree, list | tuple) else _nameless(tree)}
    return {
        name: value for key, part in tree.items() for name, value in _flat(part, f"{where}.{key}".strip(".")).items()
    }


def _nameless(value: Any) -> Any:
    """A path without its folders, as names of corpora are."""
    return Path(value).name if isinstance(value, str) and value.startswith(("/", ".", "~")) else value


def _told(job: Run, phones: Ref, stage: TrainBase) -> list[str]:
    if job.planned(stage) != "todo":
        return []
    facts = json.loads((job.path_of(phones) / "phones.json").read_text(encoding="utf-8"))
    return [
        f"phone text: {facts['sentences']['train']} sentences for {facts['voices']} voices, "
        f"{len(facts['phones'])} phones, about {facts['hours_expected']:.1f} h each time they are spoken"
    ]


def _finish(request: Request, job: Run, phones: Ref, model: Ref) -> Outcome:
    to, keys = request.to, {"phones": phones.key, "model": model.key}
    fresh = _published(to) != keys
    if fresh:
        job.store.publish(model, to / "model")
        training = json.loads((to / "model" / "training.json").read_text(encoding="utf-8"))
        write_json(to / FACTS, {"artefacts": keys, "dev_per": training["dev"]["cer"], "real": training["real"]})
    else:
        say(f"everything was done before; the model is {to / 'model'}")
    facts = json.loads((to / FACTS).read_text(encoding="utf-8"))
    lines = [f"phone error rate on dev: {100 * facts['dev_per']:.1f} %"]
    lines += [
        f"on {language}: {100 * one['per']:.1f} % ({one['utterances']} recordings, against readings by rule)"
        for language, one in facts["real"].items()
        if one["per"] is not None
    ]
    return Outcome({**facts, "model": str(to / "model"), "fresh": fresh}, [*lines, f"model: {to / 'model'}"], fresh)


def _published(to: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((to / FACTS).read_text(encoding="utf-8"))["artefacts"]
    except (OSError, ValueError, KeyError):
        return {}
    return found if (to / "model" / "model.safetensors").is_file() else {}
