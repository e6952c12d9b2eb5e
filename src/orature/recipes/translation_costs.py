"""What the translators of speech translation will take, for a plan: of each share of the pairs one or two are trained.

Example::

    translator_costs(settings, shown["steps"], work)      # {"shares": [0.25, 1.0], "kind": "auto", "cost": [...]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orature.recipes.train_translator import DICTIONARY_COST, translator_plan
from orature.recipes.translation_settings import TranslationConfig, shares_used, translator_options
from orature.recipes.translation_steps import Work

_TRAINED = ("train_translator", "train_dictionary")
_UNKNOWN = "a Transformer, in minutes to hours: `orature train-translator PAIRS ... --dry-run` measures it"


def translator_costs(
    settings: TranslationConfig, steps: Sequence[Mapping[str, Any]], work: Work | None
) -> dict[str, Any]:
    """The shares of the pairs, and what a translator of all of them takes; measured with `work`, where that is known.

    {} where no translator is left to train. The errors of the real run for pairs that cannot be used.
    """
    if not any(step["stage"] in _TRAINED and step["state"] == "todo" for step in steps):
        return {}
    told = {"shares": sorted(shares_used(settings)), "kind": settings.kind}
    if work is None:
        return {**told, "cost": _unmeasured(settings)}
    options = translator_options(settings, work.request, work.rich_language, work.target_language)
    found = translator_plan([Path(path) for path in settings.parallel], options, work.on)
    return {**told, "cost": found.costs()}


def _unmeasured(settings: TranslationConfig) -> list[str]:
    if settings.kind == "dictionary":
        return [DICTIONARY_COST]
    return [_UNKNOWN] if settings.kind == "transformer" else [_UNKNOWN, DICTIONARY_COST]
