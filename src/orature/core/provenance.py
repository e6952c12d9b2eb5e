"""When something was made and with which versions: for artefacts, runs and score files, never for a digest.

Example::

    {"at": now(), "versions": versions()}
"""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("orature", "torch", "numpy", "transformers", "lhotse", "jiwer", "soundfile", "soxr")


def now() -> str:
    """The time of day in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results can depend on; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
