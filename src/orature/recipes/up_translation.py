"""Speech translation on the main path: `orature up SOURCE --rich CORPUS --parallel FILE`.

The arms of the recipe `speech_translation` that matter most are trained beside the usual recogniser; dev decides.

Example::

    done = arms_on(opened_arms(run, splits, options, name="kichwa", on=resources))
    done.facts["verdicts"]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orature.engines.shipped import NOTHING
from orature.flow import Ref, Resources, Run
from orature.recipes.registry import Request
from orature.recipes.training import UpOptions
from orature.recipes.translation_settings import BODY, TEXT, TranslationConfig, label_arms, settings_of
from orature.recipes.translation_steps import Work, opened, ready


def opened_arms(run: Run, splits: Ref, options: UpOptions, *, name: str, on: Resources) -> Work:
    """The rich corpus read, and what translates looked at, for a target that is split already."""
    settings = translation_settings(options, on)
    work = opened(run, request_of(options, on), settings, target=(name, splits))
    ready(work, settings.arms)
    return work


def translation_settings(options: UpOptions, on: Resources | None = None) -> TranslationConfig:
    """The settings checked; ConfigError for wrong ones. Without `arms` there are two: direct transfer, and the best
    labels that the material gives, or the decoder that learns from text."""
    settings = settings_of(request_of(options, on or Resources()))
    if settings.arms:
        return settings
    best = next(iter(label_arms(settings)), TEXT)
    return settings.model_copy(update={"arms": (BODY, best)})


def request_of(options: UpOptions, on: Resources) -> Request:
    """The options of `up` as those of the recipe; the source is read before it begins."""
    given: Mapping[str, Any] = {
        "rich": options.rich,
        "parallel": options.parallel,
        "text": options.texts,
        "language": options.language or "",
        "start": options.start or NOTHING,
        "splitting": dict(options.split),
        **options.speech_translation,
    }
    train = {**options.train, **given.get("train", {})}
    return Request(
        sources=("",),
        to=Path(),
        scale=options.scale,
        seed=options.seed,
        settings={**given, "train": train},
        resources=on,
    )
