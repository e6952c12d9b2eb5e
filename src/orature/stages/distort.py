"""The stages behind calibration: rows drawn from a corpus, and a corpus whose speech is made worse by known amounts.

Example::

    some = run.do(DrawRows(corpus=made, split="train", most=2000))
    worse = run.do(Distort(corpus=some, steps=(Distortion(kind="bands", amount=4),)))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from orature.core.errors import AudioError, CorpusError
from orature.core.types import RATE_HZ, AudioSpan, Reject, Utterance
from orature.data import audio
from orature.data.corpus import CUTS, Corpus, id_hash, save_corpus
from orature.data.distortions import Kind, check_amount, distort
from orature.data.rows import utterance_of
from orature.flow import Ref, Stage, StageContext
from orature.stages.split import OWN_FIELDS, place_in_store

AUDIO = "audio"
NOT_DRAWN, OTHER_SPLIT = "not-drawn", "other-split"
_SHARD = 100
_STREAM = 11
"""Sets these random draws apart from others of the same seed."""
_Row = tuple[Utterance, dict[str, Any]]


class Distortion(BaseModel, frozen=True, extra="forbid"):
    """One kind of distortion and how much of it, see `data.distortions`."""

    kind: Kind
    amount: float

    @model_validator(mode="after")
    def _possible(self) -> Self:
        check_amount(self.kind, self.amount)
        return self

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:g}"


class Distort(Stage):
    """A corpus with the rows, texts and ids of `corpus` and its audio distorted by `steps`, one after the other.

    What is drawn at random follows from the seed and the id of an utterance alone. A recording that cannot be read is
    rejected with its reason.
    """

    name: ClassVar[str] = "distort"
    version: ClassVar[int] = 1
    corpus: Ref
    steps: tuple[Distortion, ...] = Field(min_length=1)
    seed: int = 1
    reject_limit: float = Field(default=0.05, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Shards of 100 recordings as 16 kHz FLAC, then the three files of a corpus; digest = that of the corpus."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        rows = [row for row, _ in _rows(corpus, "")]
        batches = (rows[first : first + _SHARD] for first in range(0, len(rows), _SHARD))
        work = partial(_distorted_shard, self.steps, self.seed)
        shards = ctx.map_shards(batches, work, folder=AUDIO, total=len(rows), unit="recordings")
        made: dict[str, dict[str, Any]] = {one["id"]: one for shard in shards for one in shard["made"]}
        rejects = [Reject(**one) for shard in shards for one in shard["rejects"]]
        place = {row.id: number // _SHARD for number, row in enumerate(rows)}
        about = " + ".join(map(str, self.steps))

        def written() -> Iterator[_Row]:
            for row, custom in _rows(corpus, ""):
                one = made.get(row.id)
                if one is not None:
                    path = str(ctx.out / AUDIO / f"{place[row.id]:05d}" / str(one["file"]))
                    span = AudioSpan(path, 0.0, one["samples"] / RATE_HZ, one["digest"])
                    yield replace(row, audio=span), custom | {"distorted": about}

        summary = save_corpus(ctx.writing, written(), rejects, root=ctx.out)
        reasons = Counter(reject.reason for reject in rejects)
        ctx.conserve(total=len(rows), kept=summary["utterances"], rejected=reasons, reject_limit=self.reject_limit)
        ctx.declare_digest(summary["digest"])


def _distorted_shard(
    steps: tuple[Distortion, ...], seed: int, rows: Sequence[Utterance], folder: Path
) -> dict[str, Any]:
    made, rejects = [], []
    for number, row in enumerate(rows):
        try:
            samples = audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s)
        except AudioError as error:
            rejects.append(
                {"id": row.id, "reason": error.reason, "detail": error.what, "where": Path(row.audio.path).name}
            )
            continue
        for turn, step in enumerate(steps):
            rng = np.random.default_rng([seed, _STREAM, turn, id_hash(row.id)])
            samples = distort(samples, step.kind, step.amount, rng)
        file = f"{number:03d}.flac"
        audio.save_flac(folder / file, samples)
        made.append({"id": row.id, "file": file, "samples": len(samples), "digest": audio.audio_digest(samples)})
    return {"rows": len(rows), "made": made, "rejects": rejects}


class DrawRows(Stage):
    """The rows of one split of `corpus`, at most `most` utterances and `most_hours` of speech, drawn by the seed.

    All others are rejected, counted by reason. `as_split` puts the drawn rows into that split.
    """

    name: ClassVar[str] = "draw-rows"
    version: ClassVar[int] = 1
    corpus: Ref
    split: str = "train"
    most: int | None = Field(default=None, ge=1)
    most_hours: float | None = Field(default=None, gt=0)
    as_split: str = ""
    seed: int = 1

    def run(self, ctx: StageContext) -> None:
        """Writes the three files of a corpus, its audio where it is; digest = that of the corpus."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        drawn = self._drawn(corpus)
        if not drawn:
            raise CorpusError(
                f"the corpus has no utterances in split {self.split!r}",
                where=str(corpus.root),
                next_step="it has: " + (", ".join(corpus.summary()["splits"]) or "none"),
            )
        store = "" if self.corpus.is_external else str(corpus.root.parent)
        rejects: list[Reject] = []
        summary = save_corpus(ctx.writing, self._kept(corpus, drawn, store, rejects), rejects, root=ctx.out)
        ctx.conserve(
            total=len(corpus),
            kept=summary["utterances"],
            rejected=Counter(reject.reason for reject in rejects),
            reject_limit=1.0,
        )
        ctx.declare_digest(summary["digest"])

    def _drawn(self, corpus: Corpus) -> set[str]:
        """Ids in an order that follows from the seed and the ids alone, as long as there is room."""
        rows = [(_lot(self.seed, row.id), row.id, row.audio.duration_s) for row in corpus.split(self.split)]
        drawn: set[str] = set()
        seconds = 0.0
        for _, name, duration_s in sorted(rows):
            if self.most is not None and len(drawn) >= self.most:
                break
            if self.most_hours is not None and drawn and seconds + duration_s > 3600 * self.most_hours:
                break
            drawn.add(name)
            seconds += duration_s
        return drawn

    def _kept(self, corpus: Corpus, drawn: set[str], store: str, rejects: list[Reject]) -> Iterator[_Row]:
        for number, (row, custom) in enumerate(_rows(corpus, store)):
            if row.split != self.split:
                rejects.append(Reject(row.id, OTHER_SPLIT, str(row.split), f"{CUTS}:{number + 1}"))
            elif row.id not in drawn:
                rejects.append(Reject(row.id, NOT_DRAWN, "", f"{CUTS}:{number + 1}"))
            else:
                yield (replace(row, split=self.as_split or row.split), custom)  # type: ignore[arg-type]


def _lot(seed: int, name: str) -> int:
    return id_hash(f"{seed}|{name}")


def _rows(corpus: Corpus, store: str) -> Iterator[_Row]:
    """All rows with the values of `custom` that an utterance does not carry itself."""
    root = str(corpus.root)
    for number, cut in enumerate(corpus.cuts()):
        row = utterance_of(cut, root, f"{CUTS}:{number + 1}")
        custom = {name: value for name, value in cut["custom"].items() if name not in OWN_FIELDS}
        if store:
            row = replace(row, audio=replace(row.audio, path=place_in_store(row.audio.path, store)))
        yield row, custom
