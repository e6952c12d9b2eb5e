"""What a synthesis will cost, measured: a few sentences are read as they would be, and the rest is reckoned from them.

Example::

    estimate(stage, run.path_of, Resources(workers=2))["hours"]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from orature.core.types import RATE_HZ
from orature.data.shar import CUTS, RECORDINGS
from orature.flow.ref import Ref, Resources
from orature.stages.synthesis_plan import Row, readings_of
from orature.stages.synthesis_shard import close_voices
from orature.stages.synthesise import Synthesise
from orature.text.text_corpus import Sentence, TextCorpus

SAMPLE = 12


def estimate(
    stage: Synthesise, locate: Callable[[Ref], Path], on: Resources, *, sample: int = SAMPLE
) -> dict[str, Any]:
    """Seconds of work, hours of speech and bytes on disk, from `sample` sentences spread over the text.

    One process measures; `on.workers` are taken to share the work evenly.
    """
    corpus = TextCorpus.open(locate(stage.text))
    work = stage.work(locate, on, stage.profile(locate))
    step = max(1, len(corpus) // sample)
    drawn: Sequence[Sentence] = list(islice(corpus, step // 2, None, step))[:sample]
    rows = [row for sentence in drawn for row in islice(readings_of(sentence, stage.readings), 1)]
    measured_s = seconds = 0.0
    size = characters = 0
    if rows:
        with tempfile.TemporaryDirectory(prefix="orature-cost-") as place:
            work([rows[0].line()], _made(place, "warm"))  # opening the voice is paid once
            began = time.perf_counter()
            found = work([row.line() for row in rows], folder := _made(place, "shard"))
            measured_s = time.perf_counter() - began
            size = sum((folder / name).stat().st_size for name in (CUTS, RECORDINGS))
        close_voices()
        seconds, characters = found["samples"] / RATE_HZ, _characters(rows)
    whole = float(corpus.summary()["characters"]) * stage.readings
    scale = whole / characters if characters else 0.0
    return {
        "sentences": len(corpus),
        "rows": len(corpus) * stage.readings,
        "hours": round(seconds * scale / 3600, 3),
        "disk_bytes": round(size * scale),
        "seconds": round(measured_s * scale / on.workers, 1),
        "workers": on.workers,
        "measured": len(rows),
        "measured_s": round(measured_s, 3),
    }


def _characters(rows: Sequence[Row]) -> int:
    return sum(len(row.spoken) for row in rows)


def _made(place: str, name: str) -> Path:
    folder = Path(place, name)
    folder.mkdir()
    return folder
