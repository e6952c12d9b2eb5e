"""Orature: from minutes to hours of transcribed speech to a measured, usable speech recogniser.

The commands are functions here as well: `orature.up`, `orature.ingest`, `orature.train` ... (see `orature.api`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orature.api import check, compare, doctor, ingest, judge, label, report, split, transcribe, translate, up

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "check",
    "compare",
    "doctor",
    "evaluate",
    "ingest",
    "judge",
    "label",
    "report",
    "split",
    "train",
    "transcribe",
    "translate",
    "up",
]


def __getattr__(name: str) -> Any:
    """The functions of `orature.api`, imported when first used: `import orature` stays instant."""
    if name in __all__:
        return getattr(import_module("orature.api"), name)
    raise AttributeError(f"module 'orature' has no attribute {name!r}")
