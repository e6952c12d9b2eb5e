"""The settings of speech back-translation, checked before anything is computed.

Example::

    settings = read_settings_of(Request(sources=("kichwa",), to=Path("out"), settings={"text": "news.txt"}))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from orature.core.errors import ConfigError
from orature.data.corpus import Corpus
from orature.engines.families import family_of
from orature.engines.hub import model_folder
from orature.engines.voices import parse_voice
from orature.recipes.registry import Request
from orature.recipes.settings import nearest, override
from orature.recipes.training import UpOptions
from orature.train.config import TrainConfig

BY_SCALE: dict[str, dict[str, Any]] = {"smoke": {"ratios": (1.0,), "probes": 60}, "dev": {}, "full": {"probes": 1000}}
"""At scale smoke one ratio shows that all works."""
DEFAULT_GRID = ((0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (0.5, 1.0), (1.0, 0.5))


class BackTranslateConfig(BaseModel, frozen=True, extra="forbid"):
    """What the recipe does beside training; `split` holds fields of `MakeSplits`, `train` those of `TrainConfig`."""

    text: tuple[str, ...] = ()
    """Files or folders of text, or one folder that `orature text` made."""
    synthetic: str | None = None
    """A corpus of synthetic speech that is there already, instead of `text` and `voice`."""
    voice: str = "espeak"
    language: str | None = None
    """Of rows that state none, and what the voice reads (BCP-47); by default the corpus's only language."""
    text_options: dict[str, Any] = Field(default_factory=dict)
    """Fields of `MakeText`."""
    speech: dict[str, Any] = Field(default_factory=dict)
    """Fields of `Synthesise`: ranges of rate and pitch, speakers, realism, audio_format ..."""
    sentences: int | None = Field(default=None, ge=1)
    """At most so many; by default as many as training passes once."""
    readings: int | Literal["auto"] = "auto"
    """How often each sentence is read, by different speakers; auto: until the largest ratio has speech enough."""
    ratios: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
    """Seconds of synthetic speech for each real one; the best on dev is taken."""
    last_share: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Of the updates: the last phase, on real speech only."""
    choose: Literal["cer", "wer"] = "cer"
    """What chooses on dev."""
    judge: str | None = None
    """A recogniser that says how intelligible the voice is; by default the real-only arm itself."""
    metric: Literal["auto", "wer", "cer"] = "auto"
    probes: int = Field(default=300, ge=1)
    """Sentences of dev that the voice reads to be judged; of a small closed set each several times."""
    filter: Literal["auto", "judge", "duration", "none"] = "auto"
    """Which utterances are left out; auto: by the judge where it errs little on real speech, else by duration."""
    most_rejected: float = Field(default=0.1, ge=0.0, lt=1.0)
    threshold: float | None = Field(default=None, ge=0.0)
    """Norm_I from which synthetic speech is known to help here."""
    calibrate: bool = False
    """Find that threshold first, by training small recognisers."""
    calibration: dict[str, Any] = Field(default_factory=dict)
    """Options of the calibration."""
    go_on: bool = False
    """Train with synthetic speech also where Norm_I lies below the threshold."""
    merge: bool = False
    merge_grid: tuple[tuple[float, float], ...] = DEFAULT_GRID
    loop: int = Field(default=0, ge=0, le=10)
    """Rounds of the closed loop."""
    loop_labels: Literal["auto", "unlabelled", "train"] = "auto"
    loop_voice: dict[str, Any] = Field(default_factory=dict)
    """Fields of `TrainVoice`."""
    min_score: float = Field(default=-1.0, le=0.0)
    """Of the recogniser's labels: the least mean log-probability a frame."""
    start: str | None = None
    format: str = "auto"
    split: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    rehearse: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        """`--set text=FILE` and `--set ratios=5` name one thing each."""
        if isinstance(values, dict):
            values = dict(values)
            for name, kinds in (
                ("text", (str, Path)),
                ("ratios", (int, float)),
                ("rehearse", (str,)),
                ("guards", (str,)),
            ):
                if isinstance(values.get(name), kinds) and not isinstance(values[name], bool):
                    values[name] = (values[name],)
            if isinstance(values.get("text"), list | tuple):
                values["text"] = tuple(map(str, values["text"]))
        return values

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if not self.ratios or any(not 0 < ratio <= 1000 for ratio in self.ratios):
            raise ValueError("ratios must be above 0 and at most 1000")
        if len(set(self.ratios)) < len(self.ratios):
            raise ValueError("each ratio is named once")
        if isinstance(self.readings, int) and self.readings < 1:
            raise ValueError("readings must be 1 or more")
        return self


def read_settings_of(request: Request) -> BackTranslateConfig:
    """Settings and training options of a request; ConfigError for unknown names, wrong values, missing inputs."""
    fields = BackTranslateConfig.model_fields
    own = {name: value for name, value in request.settings.items() if name in fields}
    training = {name: value for name, value in request.settings.items() if name not in own}
    for name in training:
        if name not in TrainConfig.model_fields:
            raise ConfigError(
                f"there is no option {name!r}", next_step=nearest(name, {*fields, *TrainConfig.model_fields})
            )
    return checked(override(BackTranslateConfig(), by_scale(request.scale, own)), request.scale, request.seed, training)


def by_scale(scale: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a scale under what was given."""
    return {**BY_SCALE.get(scale, {}), **given}


def checked(
    settings: BackTranslateConfig, scale: str, seed: int, training: Mapping[str, Any] | None = None
) -> BackTranslateConfig:
    """`settings` with `training` options put in; ConfigError, CorpusError or ModelError where an input is missing."""
    settings = settings.model_copy(update={"train": {**settings.train, **(training or {})}})
    options_of(settings, scale, seed)
    if settings.synthetic is not None:
        if settings.text or settings.loop or settings.calibrate:
            raise ConfigError(
                "synthetic speech that is there already needs no text, loop or calibration",
                next_step="leave synthetic out, or text, loop and calibrate",
            )
        Corpus.open(Path(settings.synthetic))
    elif not settings.text:
        raise ConfigError("which text shall be read aloud?", next_step="--set text=FILE (or synthetic=CORPUS)")
    else:
        parse_voice(settings.voice)
        for text in settings.text:
            if not Path(text).exists():
                raise ConfigError("there is no such text", where=text, next_step="check the path")
    if settings.judge is not None:
        family_of(model_folder(settings.judge))
    if settings.merge and not settings.merge_grid:
        raise ConfigError("merge_grid is empty", next_step="give pairs, as in merge_grid=[[0.5,0.5]]")
    return settings


def options_of(settings: BackTranslateConfig, scale: str, seed: int) -> UpOptions:
    """What `up` and this recipe share; ConfigError for wrong training or splitting options."""
    return UpOptions(
        format=settings.format,
        language=settings.language,
        scale=scale,  # type: ignore[arg-type]
        seed=seed,
        split=settings.split,
        train=settings.train,
        start=settings.start,
        rehearse=settings.rehearse,
        guards=settings.guards,
    )
