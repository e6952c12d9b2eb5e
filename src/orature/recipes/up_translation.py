"""Speech translation on the main path: `orature up SOURCE --rich CORPUS --parallel FILE`.

The arms of the recipe `speech_translation` that matter most are trained beside the usual recogniser; dev decides.

Example::

    done = translated_arms(run, splits, options, name="kichwa", on=resources)
    done.facts["verdicts"]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orature.engines.shipped import NOTHING
from orature.flow import Ref, Resources, Run
from orature.recipes.registry import Request
from orature.recipes.speech_translation import Done, arms_on
from orature.recipes.training import UpOptions
from orature.recipes.translation_settings import BODY, TEXT, TranslationConfig, label_arms, settings_of
from orature.recipes.translation_steps import opened


def translated_arms(run: Run, splits: Ref, options: UpOptions, *, name: str, on: Resources) -> Done:
    """The arms on a target that is split already."""
    request = request_of(options, on)
    return arms_on(opened(run, request, translation_settings(options, on), target=(name, splits)))


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
