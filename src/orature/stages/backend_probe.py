"""Which of several ways to run a model is the fastest here and still writes the same: measured on real speech.

Example::

    table = measure({"torch": lambda: load_recogniser("model"), "onnx": lambda: load_recogniser("exported")}, clips)
    name = fastest(table, fast=False)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from orature.core.errors import AudioError, ModelError
from orature.core.types import RATE_HZ, Hypothesis, Refusal
from orature.data import audio
from orature.data.corpus import Corpus
from orature.engines.backends import APPROXIMATE
from orature.engines.protocol import Recogniser, Samples

PLAIN = "torch"
"""The way that is always there: float32 in torch."""
FAST_LIMIT = 0.01
"""With leave to approximate: the largest character error rate between the texts of a way and those of the plain one."""
WORTH = 1.1
"""How many times as fast as the plain way another one has to be."""
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Way:
    """What was measured of one way: seconds of work a second of speech, and edits a character against the plain way."""

    name: str
    rtf: float
    cer_between: float
    trouble: str = ""

    def allowed(self, fast: bool) -> bool:
        """Whether its texts may stand for the plain way's: equal, or with `fast` nearly so."""
        if self.trouble:
            return False
        return self.cer_between <= FAST_LIMIT if fast and self.name in APPROXIMATE else self.cer_between == 0.0


def probe_clips(corpus: Corpus, split: str, seconds: float = 30.0) -> list[Samples]:
    """Recordings of a split of all lengths, about `seconds` in all; those that cannot be read are left out."""
    rows = corpus.split(split)
    lengths = np.fromiter((row.audio.duration_s for row in rows), dtype=np.float64)
    mean_s = float(lengths.mean()) if len(lengths) else 0.0
    count = min(len(lengths), max(1, round(seconds / max(mean_s, 0.1))))
    by_length = lengths.argsort(kind="stable")
    places = [int(by_length[(2 * index + 1) * len(lengths) // (2 * count)]) for index in range(count)]
    rank = {place: index for index, place in enumerate(places)}
    chosen = {rank[place]: row.audio for place, row in enumerate(rows) if place in rank}
    found: list[Samples] = []
    for _, span in sorted(chosen.items()):
        try:
            found.append(audio.load(span.path, span.start_s, span.duration_s))
        except AudioError:
            continue
    return found


def measure(ways: Mapping[str, Callable[[], Recogniser]], recordings: Sequence[Samples]) -> list[Way]:
    """Times each way on the same recordings, in alternation, after one round for warming up; the best round counts.

    `ways` must hold `PLAIN`. A way that cannot be opened is listed with its trouble.
    """
    ready: dict[str, Recogniser] = {}
    troubles: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    for name, opened in ways.items():
        try:
            ready[name] = opened()
            texts[name] = [_text(one) for one in ready[name].transcribe(recordings)]
        except ModelError as error:
            if name == PLAIN:
                raise
            ready.pop(name, None)
            troubles[name] = error.what
    spent: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(_ROUNDS):
        for name, recogniser in ready.items():
            began = time.perf_counter()
            recogniser.transcribe(recordings)
            spent[name].append(time.perf_counter() - began)
    seconds = max(sum(map(len, recordings)) / RATE_HZ, 1e-9)
    table = [
        Way(name, round(min(spent[name]) / seconds, 5), round(_cer(texts[PLAIN], texts[name]), 5)) for name in ready
    ]
    return table + [Way(name, 0.0, 0.0, trouble) for name, trouble in troubles.items()]


def fastest(table: Sequence[Way], *, fast: bool) -> str:
    """The name of the fastest way that is allowed; the plain one unless another is worth the change."""
    plain = next(way for way in table if way.name == PLAIN)
    best = min((way for way in table if way.allowed(fast)), key=lambda way: way.rtf)
    return best.name if best.rtf * WORTH <= plain.rtf else PLAIN


def told(table: Sequence[Way], chosen: str) -> str:
    """The measurement in a sentence for a person."""
    plain = next(way for way in table if way.name == PLAIN)
    parts = []
    for way in sorted(table, key=lambda way: way.rtf):
        if way.trouble:
            parts.append(f"{way.name} left out ({way.trouble})")
            continue
        ratio = f"{plain.rtf / max(way.rtf, 1e-9):.2f}x"
        other = f" but {100 * way.cer_between:.2f} % other letters" if way.cer_between else ""
        parts.append(f"{way.name} {ratio}{other}")
    return f"backend: {chosen} (measured on this speech: {'; '.join(parts)})"


def as_dict(table: Sequence[Way]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(way) for way in table]


def _cer(texts: Sequence[str], others: Sequence[str]) -> float:
    edits = sum(Levenshtein.distance(a, b) for a, b in zip(texts, others, strict=True))
    return edits / max(1, sum(map(len, texts)))


def _text(outcome: Hypothesis | Refusal) -> str:
    return outcome.text if isinstance(outcome, Hypothesis) else f"<{outcome.reason}>"
