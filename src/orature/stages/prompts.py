"""A pool of prompts: recordings of train speakers, for voices that imitate the speaker of a recording.

Speakers of dev and test are never in it (a recogniser must not be trained on the voices it is tested on), nor are rows
under the embargo or made by a machine. Two prompts of different speakers that sound alike are near-duplicates, and one
of them goes. Licence and consent stand beside each prompt: imitating a person needs their leave.

Example::

    ref = run.do(MakePrompts(corpus=splits, embargo=splits, per_speaker=4))
    for prompt in read_prompts(run.path_of(ref)):
        print(prompt.id, prompt.speaker, prompt.path, prompt.consent)

The artefact is a corpus of one split, train (so `Synthesise(prompts=ref)` takes it), with `prompts.jsonl` beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from orature.core.errors import AudioError, ConfigError, CorpusError
from orature.core.files import write_json_lines
from orature.core.identity import digest_file, digest_json
from orature.core.types import RATE_HZ, AudioSpan, Reject, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import CUTS, SUMMARY, Corpus, save_corpus
from orature.data.rows import utterance_of
from orature.flow.context import StageContext
from orature.flow.ref import Ref
from orature.flow.stage import Stage
from orature.stages.prompt_material import Candidate, Wishes, candidates_of
from orature.stages.speaker_embedding import Embedder, embedder, embedder_files
from orature.stages.synthesise import read_embargo
from orature.text.leaks import EmbargoIndex, reject_of

PROMPTS = "prompts.jsonl"
AUDIO = "audio"
NOT_STATED = "not stated"
_PER_FOLDER = 1000


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt; `path` is absolute once read, `parts` are the ids of the rows that it was made of.

    `consent` is what the corpus says in a row's custom value "consent", or "not stated".
    """

    id: str
    speaker: str
    text: str
    language: str
    path: str
    duration_s: float
    licence: str
    consent: str
    source: str
    parts: tuple[str, ...]


class MakePrompts(Stage):
    """Prompts of `min_seconds` to `max_seconds` from the train rows of `corpus`, at most `per_speaker` of a speaker.

    `embargo` is a corpus (or an artefact with an embargo.json) whose dev and test speakers are kept out too; `embedder`
    a network of speakers (`embedder_ref`), without it a stand-in is used. `alike` is the cosine of near-duplicates, 0
    for the embedder's own; `within_speaker` also compares prompts of one speaker. `most` limits the pool (0: no limit).
    """

    name: ClassVar[str] = "prompts"
    version: ClassVar[int] = 1

    corpus: Ref
    embargo: Ref | None = None
    embedder: Ref | None = None
    min_seconds: float = Field(default=3.0, gt=0)
    max_seconds: float = Field(default=16.0, gt=0, le=60)
    per_speaker: int = Field(default=4, ge=1)
    most: int = Field(default=0, ge=0)
    alike: float = Field(default=0.0, ge=0, le=1)
    within_speaker: bool = False
    pause_seconds: float = Field(default=0.2, ge=0, le=2)
    most_silence: float = Field(default=0.6, gt=0, le=1)
    most_clipped: float = Field(default=0.001, ge=0, le=1)
    least_dbfs: float = -45.0
    least_bandwidth_hz: float = Field(default=3000.0, ge=0)
    seed: int = 0

    def run(self, ctx: StageContext) -> None:
        """Writes audio/*/*.flac, prompts.jsonl and the three files of a corpus; digest = that of the corpus."""
        if self.max_seconds < self.min_seconds:
            raise ConfigError("max_seconds is less than min_seconds", next_step="give a wider range")
        corpus = Corpus.open(ctx.path_of(self.corpus))
        rejects: list[Reject] = []
        by_speaker, consents = self._rows(ctx, corpus, rejects)
        total = sum(map(len, by_speaker.values())) + len(rejects)
        embed = embedder(None if self.embedder is None else ctx.path_of(self.embedder))
        found: list[tuple[Candidate, npt.NDArray[np.float32]]] = []
        with ctx.progress("prompts", len(by_speaker), "speakers") as bar:
            for speaker, rows in sorted(by_speaker.items()):
                found += self._embedded(
                    candidates_of(speaker, rows, self._wishes(), seed=self.seed, rejects=rejects), embed, rejects
                )
                bar.advance(1)
        kept = self._distinct(found, embed, rejects)
        if not kept:
            raise CorpusError(
                _none(rejects), where=str(corpus.root), next_step="widen the bounds or name another corpus"
            )
        written = self._write(ctx, kept, consents)
        summary = save_corpus(ctx.writing, (_row_of(prompt) for prompt in written), rejects, root=ctx.out)
        ctx.note(
            prompts=len(kept),
            speakers=len({candidate.speaker for candidate in kept}),
            embedder=embed.name,
            stand_in=not embed.trained,
            alike=self._threshold(embed),
            consent_stated=sum(prompt.consent != NOT_STATED for prompt, _ in written),
        )
        used = sum(len(candidate.parts) for candidate in kept)
        ctx.conserve(total=total, kept=used, rejected=Counter(reject.reason for reject in rejects))
        ctx.declare_digest(summary["digest"])

    def _rows(
        self, ctx: StageContext, corpus: Corpus, rejects: list[Reject]
    ) -> tuple[dict[str, list[Utterance]], dict[str, str]]:
        """Train rows that may be imitated by speaker (a row without one is its own), and what is said of consent."""
        held_out = _held_out(corpus)
        index: EmbargoIndex | None = None
        if self.embargo is not None:
            folder = ctx.path_of(self.embargo)
            index = read_embargo(folder)
            if (folder / SUMMARY).is_file():
                held_out |= _held_out(Corpus.open(folder))
        rows: dict[str, list[Utterance]] = {}
        consents: dict[str, str] = {}
        for number, cut in enumerate(corpus.cuts()):
            row = utterance_of(cut, str(corpus.root), f"{CUTS}:{number + 1}")
            if row.split != "train":
                continue
            where = f"{CUTS}:{number + 1}"
            if row.speaker is not None and row.speaker in held_out:
                rejects.append(Reject(row.id, "speaker-held-out", f"speaker {row.speaker} is in dev or test", where))
            elif row.origin == "synthetic":
                rejects.append(Reject(row.id, "synthetic", "made by a voice already", where))
            elif index is not None and (found := index.breach(row)):
                rejects.append(replace(reject_of(row, found), where=where))
            else:
                rows.setdefault(row.speaker or row.id, []).append(row)
                if said := str(cut["custom"].get("consent") or ""):
                    consents[row.id] = said
        return rows, consents

    def _wishes(self) -> Wishes:
        return Wishes(
            self.min_seconds,
            self.max_seconds,
            self.per_speaker,
            self.pause_seconds,
            self.most_silence,
            self.most_clipped,
            self.least_dbfs,
            self.least_bandwidth_hz,
        )

    def _embedded(
        self, candidates: Sequence[Candidate], embed: Embedder, rejects: list[Reject]
    ) -> Iterator[tuple[Candidate, npt.NDArray[np.float32]]]:
        for candidate in candidates:
            try:
                yield candidate, embed.vector(candidate.samples(self.pause_seconds))
            except AudioError as error:
                rejects += [Reject(part.id, error.reason, error.what) for part in candidate.parts]

    def _threshold(self, embed: Embedder) -> float:
        return self.alike or embed.threshold

    def _distinct(
        self, found: Sequence[tuple[Candidate, npt.NDArray[np.float32]]], embed: Embedder, rejects: list[Reject]
    ) -> list[Candidate]:
        """Those that are like none before them: first each speaker's best, then each one's second, and so on."""
        if not found:
            return []
        speakers = [candidate.speaker for candidate, _ in found]
        towards_ND = embed.directions([vector for _, vector in found], speakers)
        ranks: Counter[str] = Counter()
        order = []
        for place, speaker in enumerate(speakers):
            order.append((ranks[speaker], place))
            ranks[speaker] += 1
        chosen: list[int] = []
        for _, place in sorted(order):
            candidate = found[place][0]
            if self.most and len(chosen) == self.most:
                rejects += [Reject(part.id, "enough", f"the pool has {self.most} prompts") for part in candidate.parts]
                continue
            likeness = towards_ND[chosen] @ towards_ND[place]
            if not self.within_speaker:
                likeness[[speakers[other] == candidate.speaker for other in chosen]] = -1.0
            if len(chosen) and float(likeness.max()) >= self._threshold(embed):
                twin = found[chosen[int(likeness.argmax())]][0]
                detail = f"{float(likeness.max()):.2f} like {twin.id} of speaker {twin.speaker}"
                rejects += [Reject(part.id, "near-duplicate", detail) for part in candidate.parts]
                continue
            chosen.append(place)
        return [found[place][0] for place in sorted(chosen)]

    def _write(
        self, ctx: StageContext, kept: Sequence[Candidate], consents: dict[str, str]
    ) -> list[tuple[Prompt, str]]:
        """Writes the sound and prompts.jsonl; each prompt with the digest of its sound."""
        written = []
        with ctx.writing(AUDIO) as folder:
            for number, candidate in enumerate(kept):
                samples = candidate.samples(self.pause_seconds)
                name = f"{number // _PER_FOLDER:05}/{number:07}.flac"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                save_flac(folder / name, samples)
                prompt = _prompt_of(candidate, f"{AUDIO}/{name}", len(samples) / RATE_HZ, consents)
                written.append((prompt, audio_digest(samples)))
        with ctx.writing(PROMPTS) as path:
            write_json_lines(path, (_line(prompt) for prompt, _ in written))
        return written


def embedder_ref(folder: Path) -> Ref:
    """A network of speakers as an input, its digest over the files that matter; ModelError where there is none."""
    files = embedder_files(folder)
    digest = digest_json({path.name: digest_file(path) for path in files})
    return Ref(key="external", stage="embedder", digest=digest, path=str(folder.absolute()))


def read_prompts(folder: Path) -> list[Prompt]:
    """The prompts of a pool, in their order, with absolute paths; CorpusError where there is none."""
    try:
        lines = (folder / PROMPTS).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line]
        whole = [{**row, "path": str((folder / row["path"]).absolute()), "parts": tuple(row["parts"])} for row in rows]
        return [Prompt(**row) for row in whole]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"this folder holds no pool of prompts ({type(error).__name__})",
            where=str(folder),
            next_step="make one with the stage MakePrompts",
        ) from error


def _held_out(corpus: Corpus) -> set[str]:
    return {row.speaker for split in ("dev", "test") for row in corpus.split(split) if row.speaker is not None}


def _none(rejects: Sequence[Reject]) -> str:
    reasons = Counter(reject.reason for reject in rejects).most_common(4)
    return "no train recording can be a prompt: " + (", ".join(f"{n} {why}" for why, n in reasons) or "there is none")


def _prompt_of(candidate: Candidate, path: str, seconds: float, consents: dict[str, str]) -> Prompt:
    said = {consents.get(part.id, NOT_STATED) for part in candidate.parts}
    first = candidate.parts[0]
    return Prompt(
        id=candidate.id,
        speaker=candidate.speaker,
        text=candidate.text,
        language=first.language,
        path=path,
        duration_s=seconds,
        licence=" and ".join(candidate.licences) or NOT_STATED,
        consent="; ".join(sorted(said)),
        source=first.source,
        parts=tuple(part.id for part in candidate.parts),
    )


def _line(prompt: Prompt) -> dict[str, Any]:
    return {name: getattr(prompt, name) for name in Prompt.__slots__}


def _row_of(written: tuple[Prompt, str]) -> tuple[Utterance, dict[str, Any]]:
    prompt, digest = written
    row = Utterance(
        id=prompt.id,
        audio=AudioSpan(prompt.path, 0.0, prompt.duration_s, digest),
        text=prompt.text or None,
        language=prompt.language,
        speaker=prompt.speaker,
        source=prompt.source,
        licence=None if prompt.licence == NOT_STATED else prompt.licence,
        split="train" if prompt.text else "unlabelled",
    )
    return row, {"consent": prompt.consent, "parts": list(prompt.parts)}
