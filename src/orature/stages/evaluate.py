"""Scores the hypotheses of one split, once and pinned; publishes the scored folder with its report.

Example::

    ref = run.do(Evaluate(hypotheses=hypotheses, corpus=corpus, split="test", model="kichwa-small"))
    publish_results(Path("results"), scored=run.path_of(ref), circumstances=Circumstances(command="orature up ..."))
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from orature.core.errors import AudioError, BadInput, RowsVanished
from orature.core.files import write_beside, write_json, write_json_lines
from orature.core.identity import digest_json, digest_rows
from orature.core.provenance import now, versions
from orature.core.types import Utterance
from orature.data import audio
from orature.data.corpus import Corpus
from orature.evaluate.folder import (
    HYPOTHESES_FILE,
    LINEAGE_FILE,
    SCORE_FILES,
    TRAIN_LOG_FILE,
    ScoredFolder,
    open_scored,
)
from orature.evaluate.html.listening import Audio, Clip
from orature.evaluate.languages import by_language
from orature.evaluate.report import write_report
from orature.evaluate.rows import Row, read_rows
from orature.evaluate.score import Drawing, score, stable_part, with_circumstances
from orature.evaluate.statistics import RESAMPLES, SEED
from orature.flow import Ref, Stage, StageContext, Store
from orature.text.normalise import NORMALISER

SCORE_FILE = SCORE_FILES[0]
REPORT_FILE = "report.html"
_PEAKS = 96
_NAMED = 5


class Evaluate(Stage):
    """`hypotheses.jsonl` of one split against its corpus -> `score.json` (no times in it) and `hypotheses.jsonl`.

    Every utterance of the split must be there once with the reference of the corpus: a decoding that lost a row is
    refused (RowsVanished), never scored on the rest.
    """

    name: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 2
    hypotheses: Ref
    corpus: Ref
    split: str = "test"
    model: str = ""
    corpus_name: str = ""
    language: str = ""
    decoder: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    normaliser: str = NORMALISER
    by: str = "auto"
    resamples: int = RESAMPLES
    seed: int = SEED

    def run(self, ctx: StageContext) -> None:
        """Checks that no row is lost, scores, writes both files; the digest is over what was said and heard."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        source = ctx.path_of(self.hypotheses) / HYPOTHESES_FILE
        rows = read_rows(source)
        total = refuse_lost_rows(corpus.split(self.split), rows, where=str(source))
        result = score(
            rows,
            normaliser=self.normaliser,
            model=self.model,
            corpus=self.corpus_name,
            split=self.split,
            split_fingerprint=corpus.fingerprint(self.split),
            language=self.language,
            decoder=self.decoder,
            drawing=Drawing(self.by, self.resamples, self.seed),
        )
        result |= by_language(rows, self.normaliser, Drawing(self.by, self.resamples, self.seed))
        result["licences"] = sorted(str(licence) for licence in corpus.summary().get("licences", []) if licence)
        ctx.conserve(total=total, kept=result["utterances"], rejected=result["refused"])
        with ctx.writing(HYPOTHESES_FILE) as part:
            shutil.copyfile(source, part)
        with ctx.writing(SCORE_FILE) as part:
            write_json(part, result)
        ctx.declare_digest(content_digest(result, rows))


def write_compared(ctx: StageContext, found: ScoredFolder, score: Mapping[str, Any]) -> None:
    """The artefact of a comparison: the scored folder `found` with its score widened to `score`."""
    with ctx.writing(HYPOTHESES_FILE) as part:
        shutil.copyfile(found.root / HYPOTHESES_FILE, part)
    with ctx.writing(SCORE_FILE) as part:
        write_json(part, score)
    ctx.conserve(total=len(found.rows), kept=len(found.rows), rejected={})
    ctx.declare_digest(content_digest(score, found.rows))


def content_digest(result: Mapping[str, Any], rows: Iterable[Row]) -> str:
    """Digest over the deterministic part of the score and what was said and heard; no path, no time."""
    heard = (digest_json([row.id, row.reference, row.hypothesis, row.refusal]).encode() for row in rows)
    return digest_json({"score": stable_part(result), "rows": digest_rows(heard)})


def refuse_lost_rows(utterances: Iterable[Utterance], rows: Sequence[Row], where: str) -> int:
    """How many utterances there are; RowsVanished when one is not among `rows`, BadInput for others or old texts."""
    left = {row.id: row for row in rows}
    lost: list[str] = []
    changed: list[str] = []
    total = 0
    for utterance in utterances:
        total += 1
        row = left.pop(utterance.id, None)
        if row is None:
            lost.append(utterance.id)
        elif row.reference != (utterance.text or ""):
            changed.append(utterance.id)
    if lost:
        raise RowsVanished(
            f"{len(lost)} of {total} utterances were never decoded ({_some(lost)})",
            where=where,
            next_step="decode the whole split again; a score over a part would be too good or too bad",
        )
    if left or changed:
        what = f"{len(left)} hypotheses are of no utterance of this split" if left else "the transcripts have changed"
        raise BadInput(
            f"these hypotheses are not of this corpus: {what} ({_some(sorted(left) or changed)})",
            where=where,
            next_step="decode this corpus and split, then evaluate again",
        )
    return total


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What differs from run to run and is only for reading: command, run, real-time factor, machine, date, place."""

    command: str = ""
    run: str = ""
    rtf: float | None = None
    machine: str = ""
    at: str = ""
    model_path: str = ""


@dataclass(frozen=True, slots=True)
class Extras:
    """What a report can show besides the score; `corpus_root` is where relative audio paths begin."""

    train_log: Sequence[Mapping[str, Any]] | None = None
    lineage: Sequence[Mapping[str, Any]] | None = None
    licences: Sequence[str] = ()
    corpus_root: Path | None = None
    title: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Joins the score file: zero_shot, language_model, guards (see `evaluate.html.before_after`)."""


def publish_results(
    to: Path, *, scored: Path, circumstances: Circumstances | None = None, extras: Extras | None = None
) -> dict[str, Any]:
    """Fills the folder `to` with score.json (whole), hypotheses.jsonl, report.html and what else there is to show.

    Returns the whole score. Every file is written beside and renamed; other files in `to` are left alone.
    """
    how, extras = circumstances or Circumstances(), extras or Extras()
    found = open_scored(scored)
    made_by: dict[str, Any] = {"command": how.command, "run": how.run, "at": how.at or now(), "versions": versions()}
    if how.model_path:
        made_by["model_path"] = how.model_path
    whole = with_circumstances(found.score, rtf=how.rtf, machine=how.machine or describe_machine(), made_by=made_by)
    whole |= dict(extras.facts)
    with write_beside(to / HYPOTHESES_FILE) as part:
        shutil.copyfile(scored / HYPOTHESES_FILE, part)
    if extras.train_log is not None:
        with write_beside(to / TRAIN_LOG_FILE) as part:
            write_json_lines(part, extras.train_log)
    if extras.lineage is not None:
        write_json(to / LINEAGE_FILE, list(extras.lineage))
    write_json(to / SCORE_FILE, whole)
    report_from_folder(to, extras=extras)
    return whole


def report_from_folder(folder: Path, to: Path | None = None, *, extras: Extras | None = None) -> Path:
    """Writes report.html from a scored folder (by default into it) and returns its path."""
    extras = extras or Extras()
    found = open_scored(folder)
    made_on = str((found.score.get("made_by") or {}).get("at") or now())[:10]
    return write_report(
        to or found.root / REPORT_FILE,
        score=found.score,
        rows=found.rows,
        train_log=extras.train_log if extras.train_log is not None else found.train_log,
        lineage=extras.lineage if extras.lineage is not None else found.lineage,
        audio=recordings(extras.corpus_root or found.root),
        licences=extras.licences or list(found.score.get("licences") or ()),
        title=extras.title,
        made_on=made_on,
        model_path=str((found.score.get("made_by") or {}).get("model_path") or ""),
    )


def recordings(root: Path) -> Audio:
    """A function that gives the recording of a row as FLAC with its outline; None where the file is gone."""

    def clip(row: Row) -> Clip | None:
        if not row.audio.get("path"):
            return None
        place = row.audio
        try:
            samples = audio.load(root / str(place["path"]), float(place.get("start_s") or 0.0), place.get("duration_s"))
        except AudioError:
            return None
        return clip_of(samples)

    return clip


def clip_of(samples: audio.Samples) -> Clip | None:
    """Samples (float32, 16 kHz mono, shape (samples,)) as an embedded FLAC file and 96 peaks for its outline."""
    if not len(samples):
        return None
    peaks = np.array([np.abs(part).max() if len(part) else 0.0 for part in np.array_split(samples, _PEAKS)])
    peaks /= max(float(peaks.max()), 1e-6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.flac")
        audio.save_flac(path, samples)
        return Clip(path.read_bytes(), tuple(round(float(peak), 3) for peak in peaks))


def lineage_rows(store: Store, ref: Ref) -> list[dict[str, Any]]:
    """The stages behind an artefact as the report shows them: stage, key, digest, inputs; the oldest first."""
    return [
        {
            "stage": info.stage,
            "key": info.key,
            "digest": info.digest,
            "inputs": [{"stage": one.stage, "key": one.key, "digest": one.digest} for one in info.inputs],
        }
        for info in store.lineage(ref)
    ]


def describe_machine() -> str:
    """Processor, cores and (when torch runs on one) the GPU, in words."""
    parts = [_processor(), f"{os.cpu_count()} cores"]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.insert(0, str(torch.cuda.get_device_name(0)))
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
