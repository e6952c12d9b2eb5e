"""Candidates for the pool of prompts: the train recordings of one speaker, whole or joined, that sound well enough.

Example::

    wishes = Wishes(min_s=3.0, max_s=16.0, per_speaker=4)
    found = candidates_of("ann", rows, wishes, seed=1, rejects=rejects)
    print(found[0].id, found[0].seconds, len(found[0].parts))
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orature.core.errors import AudioError
from orature.core.types import RATE_HZ, Reject, Utterance
from orature.data.audio import load, quality
from orature.data.audio_quality import bandwidth_hz, silence_share

Samples = npt.NDArray[np.float32]
BEST_S = 8.0
"""Prompts near this length come first: long enough to hear a speaker, short enough for every engine."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Bounds of a prompt; see the fields of `MakePrompts`."""

    min_s: float
    max_s: float
    per_speaker: int
    pause_s: float
    most_silence: float
    most_clipped: float
    least_dbfs: float
    least_bandwidth_hz: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One recording, or several joined by pauses, of one speaker."""

    id: str
    speaker: str
    parts: tuple[Utterance, ...]
    seconds: float

    @property
    def text(self) -> str:
        """What is said, "" where a part has no transcript."""
        texts = [part.text for part in self.parts]
        return " ".join(text for text in texts if text) if all(texts) else ""

    @property
    def licences(self) -> list[str]:
        """Licences of the parts, sorted, each once; empty where none is stated."""
        return sorted({part.licence for part in self.parts if part.licence})

    def samples(self, pause_s: float) -> Samples:
        """The sound at 16 kHz, shape (samples,); AudioError where a part cannot be read."""
        pause = np.zeros(round(pause_s * RATE_HZ), np.float32)
        sound = [load(part.audio.path, part.audio.start_s, part.audio.duration_s) for part in self.parts]
        return np.concatenate([piece for part in sound for piece in (part, pause)][:-1])


def candidates_of(
    speaker: str, rows: Sequence[Utterance], wishes: Wishes, *, seed: int, rejects: list[Reject]
) -> list[Candidate]:
    """At most `wishes.per_speaker` candidates; every row that is in none is added to `rejects` with its reason.

    Recordings of a fitting length come first, nearest to 8 s; short ones are joined only where those do not suffice.
    """
    ordered = sorted(rows, key=lambda row: (round(abs(row.audio.duration_s - BEST_S)), _mark(seed, row.id)))
    whole = [row for row in ordered if wishes.min_s <= row.audio.duration_s <= wishes.max_s]
    short = sorted((row for row in ordered if row.audio.duration_s < wishes.min_s), key=lambda row: _mark(seed, row.id))
    rejects += [
        Reject(row.id, "too-long", f"{row.audio.duration_s:.1f} s; at most {wishes.max_s:g}")
        for row in ordered
        if row.audio.duration_s > wishes.max_s
    ]
    found: list[Candidate] = []
    for row in whole:
        if len(found) == wishes.per_speaker:
            rejects.append(_enough(row, wishes))
        elif trouble := flaw_of(row, wishes):
            rejects.append(trouble)
        else:
            found.append(Candidate(row.id, speaker, (row,), row.audio.duration_s))
    return found + _joined(speaker, short, wishes, wishes.per_speaker - len(found), rejects)


def _joined(
    speaker: str, rows: Sequence[Utterance], wishes: Wishes, wanted: int, rejects: list[Reject]
) -> list[Candidate]:
    """Short recordings put together until they are long enough; those that are left over are rejected."""
    found: list[Candidate] = []
    parts: list[Utterance] = []
    seconds = 0.0
    for row in rows:
        if len(found) == wanted:
            rejects.append(_enough(row, wishes))
        elif trouble := flaw_of(row, wishes):
            rejects.append(trouble)
        elif seconds + row.audio.duration_s > wishes.max_s:
            rejects.append(Reject(row.id, "too-short", "with what is joined already it would be too long"))
        else:
            parts.append(row)
            seconds += row.audio.duration_s + (wishes.pause_s if len(parts) > 1 else 0.0)
            if seconds >= wishes.min_s:
                found.append(Candidate(f"{parts[0].id}+{len(parts) - 1}", speaker, tuple(parts), seconds))
                parts, seconds = [], 0.0
    detail = f"the recordings of speaker {speaker} do not fill another {wishes.min_s:g} s"
    rejects += [Reject(row.id, "too-short", detail) for row in parts]
    return found


def flaw_of(row: Utterance, wishes: Wishes) -> Reject | None:
    """Why a recording is no prompt: unreadable, clipped, quiet, mostly silent or narrow; None when it is fit."""
    try:
        samples = load(row.audio.path, row.audio.start_s, row.audio.duration_s)
    except AudioError as error:
        return Reject(row.id, error.reason, error.what)
    facts = quality(samples)
    silence, bandwidth = silence_share(samples), bandwidth_hz(samples)
    for reason, bad, detail in (
        (
            "clipped",
            facts["clipped_share"] > wishes.most_clipped,
            f"{100 * facts['clipped_share']:.2f} % at full scale",
        ),
        ("quiet", facts["rms_dbfs"] < wishes.least_dbfs, f"{facts['rms_dbfs']:.0f} dBFS"),
        ("mostly-silent", silence > wishes.most_silence, f"silent for {100 * silence:.0f} % of its time"),
        ("narrow", bandwidth < wishes.least_bandwidth_hz, f"nothing above {bandwidth:.0f} Hz"),
    ):
        if bad:
            return Reject(row.id, reason, detail)
    return None


def _enough(row: Utterance, wishes: Wishes) -> Reject:
    return Reject(row.id, "enough", f"its speaker has {wishes.per_speaker} prompts already")


def _mark(seed: int, row_id: str) -> str:
    """An order that depends on the seed and the id alone."""
    return hashlib.sha256(f"{seed}|{row_id}".encode("utf-8", "surrogatepass")).hexdigest()
