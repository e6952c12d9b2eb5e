"""What `orature train-voice` does: the settings of a voice by scale and size, its training stage, and its cost.

Example::

    options = VoiceOptions(scale="dev", size="tiny", settings={"updates": 2000})
    voice = run.do(voice_stage(corpus_ref(Path("corpus")), options, name="yoruba"), on=resources)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from orature.core.errors import ConfigError
from orature.data.corpus import Corpus
from orature.engines.families import read_config
from orature.flow import Ref, Resources
from orature.recipes.settings import nearest, override
from orature.recipes.training import SCALES
from orature.stages.inputs import model_ref
from orature.stages.train_voice import TrainVoice, voice_start
from orature.stages.voice_material import gather_voice
from orature.train.config import Scale
from orature.train.devices import prepare_device
from orature.train.voice.architecture import from_checkpoint, from_nothing
from orature.train.voice.config import SIZES, Size, VoiceConfig
from orature.train.voice.cost import VoiceCost, measure_voice
from orature.train.voice.text import VoiceText

__all__ = ["VoiceOptions", "mean_length_s", "voice_config", "voice_cost", "voice_stage"]

MEAN_S = 5.0
"""Taken for the length of utterances where nobody says it."""


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """What is wanted: `settings` are fields of `VoiceConfig`; a `start` brings its own size."""

    scale: str = "dev"
    size: str = "tiny"
    start: str | None = None
    judge: str | None = None
    language: str = ""
    seed: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)


def voice_config(options: VoiceOptions, mean_s: float = MEAN_S) -> VoiceConfig:
    """The settings by scale, size, start and mean length of the utterances, then overridden; ConfigError as needed."""
    for what, value, known in (("scale", options.scale, SCALES), ("size", options.size, SIZES)):
        if value not in known:
            raise ConfigError(f"there is no {what} {value!r} of a voice", next_step=nearest(value, known))
    tuned = options.start is not None
    config = VoiceConfig.for_scale(
        cast(Scale, options.scale), size=cast(Size, options.size), fine_tune=tuned, mean_s=mean_s
    )
    return override(config.model_copy(update={"seed": options.seed}), options.settings, "")


def mean_length_s(corpus: Corpus) -> float:
    """Mean length of the train utterances in seconds."""
    train = corpus.summary()["splits"].get("train", {"hours": 0.0, "utterances": 0})
    return 3600 * float(train["hours"]) / int(train["utterances"]) if train["utterances"] else MEAN_S


def voice_stage(
    corpus: Ref, options: VoiceOptions, *, name: str = "", embargo: tuple[Ref, ...] = (), mean_s: float = MEAN_S
) -> TrainVoice:
    """The training stage on `corpus`, whose utterances are `mean_s` long; ModelError where start or judge are none."""
    config = voice_config(options, mean_s)
    start = None if options.start is None else voice_start(options.start)
    if start is not None and read_config(Path(start.path)).get("model_type") != "vits":
        raise ConfigError(
            "what --start names is no VITS voice and no XTTS",
            where=str(options.start),
            next_step="name a folder of MMS-TTS, XTTS-v2 or `orature train-voice`, or leave it out to begin anew",
        )
    judge = None if options.judge is None else model_ref(options.judge)
    label = config.size if start is None else "tuned"
    return TrainVoice(
        corpus=corpus,
        config=config,
        start=start,
        judge=judge,
        embargo=embargo,
        language=options.language,
        voice_name=f"{name}-{label}" if name else "",
    )


def voice_cost(stage: TrainVoice, folder: Path, on: Resources) -> VoiceCost:
    """What the stage takes on this machine, on the corpus in `folder`; the same errors as the stage for its rows."""
    device = prepare_device(on.device, on.threads)
    material = gather_voice(Corpus.open(folder), [], stage.config)
    if stage.start is None:
        text = VoiceText.of(material.texts, language=stage.language)
        return measure_voice(from_nothing(stage.config, text, material.speakers), stage.config, device=device)
    made = from_checkpoint(Path(stage.start.path), stage.config, material.texts, material.speakers)
    return measure_voice(made, stage.config, device=device)
