"""One shard of phone text: candidates of one language get their phones from espeak-ng, or a reason why not.

Runs in a worker process; espeak-ng is opened once a process and kept.

Example::

    PhoneTextWork(settings, revision)(candidates, folder)     # writes rows.jsonl, rejects.jsonl; returns counts
"""

from __future__ import annotations

import atexit
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.core.files import write_json_lines
from orature.core.types import Refusal, Reject
from orature.data.corpus import reject_json
from orature.engines.espeak_pipe import EspeakPipe
from orature.engines.voice import SpeechRequest
from orature.stages.phone_text_plan import Candidate, PhoneTextSettings
from orature.text.phone_corpus import PhoneRow
from orature.text.phones import foreign_share, phones_of

KEPT, OUT = "rows.jsonl", "rejects.jsonl"
FOREIGN, BROKEN = "spelt-out", "voice-failed"


@dataclass(frozen=True)
class PhoneTextWork:
    """What a shard depends on beside its candidates."""

    settings: PhoneTextSettings
    revision: str

    def __call__(self, lines: Sequence[str], folder: Path) -> dict[str, Any]:
        """Phones for candidates (each a line of JSON); counts, and seconds and phones of what was spoken, by voice."""
        espeak = the_espeak(self.revision)
        candidates = [Candidate(**json.loads(line)) for line in lines]
        by_voice: dict[str, list[int]] = defaultdict(list)
        for place, candidate in enumerate(candidates):
            by_voice[candidate.voice].append(place)
        made: dict[int, PhoneRow | Reject] = {}
        for voice, places in sorted(by_voice.items()):
            heard = espeak.phonemes_or_none([candidates[place].text for place in places], voice)
            for place, ipa in zip(places, heard, strict=True):
                made[place] = self._row(candidates[place], ipa)
        outcomes = [made[place] for place in range(len(candidates))]
        rows = [row for row in outcomes if isinstance(row, PhoneRow)]
        rejects = [row for row in outcomes if isinstance(row, Reject)]
        write_json_lines(folder / KEPT, map(asdict, rows))
        write_json_lines(folder / OUT, map(reject_json, rejects))
        rejected = dict(sorted(Counter(reject.reason for reject in rejects).items()))
        return {"kept": len(rows), "rejected": rejected, "tempo": self._tempo(espeak, rows)}

    def _row(self, candidate: Candidate, ipa: str | None) -> PhoneRow | Reject:
        if ipa is None:
            return Reject(candidate.id, BROKEN, f"espeak-ng breaks down at {candidate.text[:60]!r}")
        foreign = foreign_share(ipa, candidate.spoken)
        if foreign > self.settings.foreign_limit:
            return Reject(candidate.id, FOREIGN, f"{100 * foreign:.0f} % would be spoken in another language")
        phones = phones_of(ipa, candidate.voice)
        if isinstance(phones, Refusal):
            return Reject(candidate.id, phones.reason, phones.detail)
        return PhoneRow(**asdict(candidate), phones=" ".join(phones))

    def _tempo(self, espeak: EspeakPipe, rows: Sequence[PhoneRow]) -> dict[str, list[tuple[int, float]]]:
        """Phones and seconds of the first rows of each voice, spoken plainly."""
        by_voice: dict[str, list[PhoneRow]] = defaultdict(list)
        for row in rows:
            if len(by_voice[row.voice]) < self.settings.measured:
                by_voice[row.voice].append(row)
        chosen = [row for _, some in sorted(by_voice.items()) for row in some]
        spoken = espeak.speak([SpeechRequest(row.text, language=row.voice) for row in chosen])
        found: dict[str, list[tuple[int, float]]] = {}
        for row, speech in zip(chosen, spoken, strict=True):
            if not isinstance(speech, Refusal):
                found.setdefault(row.voice, []).append((row.count, round(len(speech) / espeak.rate_hz, 4)))
        return found


_OPEN: dict[str, EspeakPipe] = {}


def the_espeak(revision: str) -> EspeakPipe:
    """espeak-ng, opened at its first use in this process; ConfigError where it is not the revision asked for."""
    if revision not in _OPEN:
        opened = EspeakPipe()
        if opened.card.revision != revision:
            opened.close()
            raise ConfigError(
                f"espeak-ng is {opened.card.revision!r} here, {revision!r} was asked for: it would speak otherwise",
                next_step="install the same espeakng-loader on every machine",
            )
        if not _OPEN:
            atexit.register(close_espeak)
        _OPEN[revision] = opened
    return _OPEN[revision]


def close_espeak() -> None:
    """Ends the workers of this process."""
    while _OPEN:
        _OPEN.popitem()[1].close()
