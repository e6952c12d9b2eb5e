"""One line of a check-up, as `orature doctor` lists them.

Example::

    Finding("alphabet", "problem", "12 % of the characters are not in the alphabet", next_step="train on these texts")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it stands, and what to type next where it is not well."""

    what: str
    level: Level
    says: str
    next_step: str = ""
