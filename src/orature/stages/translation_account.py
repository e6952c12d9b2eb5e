"""The account of what became of translations: counts by reason, round trips, examples; `translation.json`.

Example::

    for reason, count in read_translation_account(folder)["rejected"].items():
        print(reason, count)
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.types import Refusal
from orature.stages.corpus_rows import draw_order
from orature.stages.translation_sieve import HUMAN, Choice
from orature.stages.translation_texts import Candidate

ACCOUNT = "translation.json"
FORMAT = 1
KEPT = "kept"


@dataclass
class TranslationAccount:
    """Counts the rows that become of translated ones and draws examples by the seed; the order of rows is no matter."""

    seed: int = 1
    examples: int = 3
    rows: int = 0
    kept: int = 0
    human: int = 0
    seconds: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    later: int = 0
    """Rows whose best translation was refused and another one kept."""
    _points: list[float] = field(default_factory=list)
    _drawn: dict[str, list[tuple[bytes, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(list))

    def keep(self, row_id: str, choice: Choice, one: Candidate, seconds: float = 0.0) -> None:
        """A row that was kept with the translation `one`."""
        self.rows += 1
        self.kept += 1
        self.human += choice.by == HUMAN
        self.later += one is choice.kept[0] and bool(choice.candidates) and one is not choice.candidates[0]
        self.seconds += seconds
        if one.round_trip is not None:
            self._points.append(one.round_trip)
        self._draw(KEPT, row_id, _shown(row_id, choice, one))

    def refuse(self, row_id: str, choice: Choice, why: Refusal) -> None:
        """A row that was not."""
        self.rows += 1
        self.rejected[why.reason] += 1
        one = choice.candidates[0] if choice.candidates else Candidate("")
        self._draw(why.reason, row_id, _shown(row_id, choice, one) | {"detail": why.detail})

    def _draw(self, kind: str, row_id: str, shown: dict[str, Any]) -> None:
        drawn = self._drawn[kind]
        drawn.append((draw_order(self.seed, row_id), shown))
        if len(drawn) > 2 * self.examples + 16:
            self._drawn[kind] = self._first(drawn)

    def _first(self, drawn: list[tuple[bytes, dict[str, Any]]]) -> list[tuple[bytes, dict[str, Any]]]:
        return sorted(drawn, key=lambda pair: (pair[0], pair[1]["id"]))[: self.examples]

    def to_json(self) -> dict[str, Any]:
        """Everything that was counted; the same for the same rows in any order."""
        points = sorted(self._points)
        return {
            "format": FORMAT,
            "rows": self.rows,
            "kept": self.kept,
            "kept_human": self.human,
            "kept_later_candidate": self.later,
            "kept_hours": round(self.seconds / 3600, 6),
            "rejected": dict(sorted(self.rejected.items())),
            "round_trip": {"median": points[len(points) // 2], "rows": len(points)} if points else None,
            "examples": {
                kind: [shown for _, shown in self._first(drawn)] for kind, drawn in sorted(self._drawn.items())
            },
        }


def _shown(row_id: str, choice: Choice, one: Candidate) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": row_id, "source": choice.source, "text": one.text, "by": choice.by}
    if choice.by != HUMAN:
        shown["score"] = one.score
    return shown if one.round_trip is None else {**shown, "round_trip": one.round_trip}


def read_translation_account(folder: Path) -> dict[str, Any]:
    """translation.json of a translated corpus; CorpusError where it has none."""
    try:
        found: dict[str, Any] = json.loads((folder / ACCOUNT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"this corpus holds no account of translations ({ACCOUNT})",
            where=str(folder),
            next_step="make one with: orature translate CORPUS --into xx --translator SPEC --to NEW",
        ) from error
    return found


def account_lines(account: Mapping[str, Any]) -> list[str]:
    """What became of the rows, for a terminal: counts by reason, each with its examples."""
    by = account.get("translator") or {"name": HUMAN}
    human = f", {account['kept_human']:,} of them by persons" if account["kept_human"] else ""
    hours = f" ({account['kept_hours']:.2f} h)" if account["kept_hours"] else ""
    lines = [f"translations by {by['name']}: {account['kept']:,} of {account['rows']:,} rows kept{hours}{human}"]
    if account["kept_later_candidate"]:
        lines.append(f"  {account['kept_later_candidate']:>8,} with a later candidate, since the best one was refused")
    if account["round_trip"]:
        lines.append(f"  round trip: chrF {account['round_trip']['median']:.1f} in the median of what is kept")
    kinds = sorted(account["rejected"].items(), key=lambda pair: (-pair[1], pair[0]))
    for reason, count in [*kinds, (KEPT, account["kept"])]:
        lines.append(f"  {count:>8,} {reason}")
        for one in account["examples"].get(reason, []):
            why = f": {one['detail']}" if "detail" in one else ""
            lines.append(f"           {one['id']} “{one['source']}” → “{one['text']}”{why}")
    return lines
