"""Synthesise: a text corpus read aloud by a voice becomes a corpus of synthetic speech, at any scale.

Example::

    voice = voice_ref("espeak")
    stage = Synthesise(text=text_corpus_ref(Path("text")), voice=voice, language="sw", target=corpus_ref(Path("real")))
    speech = run.do(stage, on=Resources(workers=2))         # or Resources(workers=64, executor="ray", address="auto")

The artefact is an ordinary corpus folder whose recordings lie in `shar/` (Lhotse Shar, see `data/shar.py`); beside it
`synthesis.json` says how it was made. Its digest is that of the corpus: independent of workers, executor and kills.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from orature.core.errors import ConfigError, CorpusError
from orature.core.files import link_or_copy, write_json
from orature.core.types import RATE_HZ, Reject, Split, Utterance
from orature.data.acoustics import Profile, profile_of
from orature.data.corpus import Corpus, save_corpus
from orature.data.rows import utterance_of
from orature.data.shar import CUTS, RECORDINGS, cut_with_path, read_cuts, shar_name
from orature.data.speech_checks import DurationBounds, bounds_of
from orature.engines.voices import voice_files
from orature.flow.context import StageContext
from orature.flow.ref import Ref, Resources
from orature.flow.shards import shard_name
from orature.flow.stage import Stage
from orature.stages.inputs import VoiceRef
from orature.stages.split import EMBARGO, OWN_FIELDS
from orature.stages.synthesis_plan import Manner, Plan, Span, make_plan
from orature.stages.synthesis_shard import REJECTS, ShardWork, close_voices
from orature.text.leaks import EmbargoIndex
from orature.text.text_corpus import TextCorpus

SHAR, SHARDS, FACTS, PROFILE = "shar", "shards", "synthesis.json", "acoustics.json"


class Synthesise(Stage):
    """Reads every sentence of `text` `readings` times; speakers, rate, pitch and expression drawn by (seed, sentence).

    `target` is a corpus whose train recordings the speech shall sound like (`realism` "match") and whose train
    transcripts bound the seconds a letter; `embargo` one (or an artefact with an embargo.json) whose dev and test
    sentences must not be read; `prompts` one whose train speakers are imitated, for voices that do so. `rate` and
    `expression` are factors, `pitch` semitones: ranges that are drawn from. `speakers` () means all of the voice.
    """

    name: ClassVar[str] = "synthesise"
    version: ClassVar[int] = 2

    text: Ref
    voice: VoiceRef
    language: str
    target: Ref | None = None
    embargo: Ref | None = None
    prompts: Ref | None = None
    speakers: tuple[str, ...] = ()
    readings: int = Field(default=1, ge=1)
    rate: Span = (0.9, 1.15)
    pitch: Span = (-2.0, 2.0)
    expression: Span = (0.8, 1.25)
    realism: Literal["match", "none"] = "match"
    audio_format: Literal["flac", "opus"] = "flac"
    unchecked: tuple[Literal["truncated", "clipped", "too-fast", "too-slow", "cut-off"], ...] = ()
    """Faults of `data/speech_checks.py` that are let pass, for voices that are no usual speech."""
    split: Split = "train"
    seed: int = 0
    per_shard: int = Field(default=500, ge=1)
    reject_limit: float = Field(default=0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Synthesise:
        for name, (low, high), least in (("rate", self.rate, 0.1), ("expression", self.expression, 0.0)):
            if not least <= low <= high <= 10.0 or low <= 0:
                raise ValueError(f"{name} must be two factors above 0, the smaller one first")
        if not -24 <= self.pitch[0] <= self.pitch[1] <= 24:
            raise ValueError("pitch must be two numbers of semitones, the smaller one first")
        return self

    def run(self, ctx: StageContext) -> None:
        """Writes shar/, cuts.jsonl.gz, rejects.jsonl, corpus.json, synthesis.json (and acoustics.json)."""
        corpus = TextCorpus.open(ctx.path_of(self.text))
        if not len(corpus):
            raise CorpusError("there is no sentence to read", where=str(corpus.root), next_step="see its rejects.jsonl")
        with ctx.progress("plan", len(corpus) * self.readings, "rows") as bar:
            plan = make_plan(
                corpus, self._embargo(ctx), seed=self.seed, readings=self.readings, folder=ctx.state, on_row=bar.advance
            )
        work = self.work(ctx.path_of, ctx.resources, self._kept_profile(ctx))
        batches = plan.batches(self.per_shard)
        try:
            shards = ctx.map_shards(
                batches, work, folder=SHARDS, total=plan.rows, unit="sentences", aside=True, needs=self._needs(ctx)
            )
        finally:
            close_voices()
        rejected = Counter(plan.rejected)
        for shard in shards:
            rejected.update(shard["rejected"])
        kept = sum(shard["kept"] for shard in shards)
        where = ctx.state / SHARDS
        filled = [number for number, shard in enumerate(shards) if shard["kept"]]
        with ctx.writing(SHAR) as folder:
            folder.mkdir()
            for number in filled:
                for name in (CUTS, RECORDINGS):
                    link_or_copy(where / shard_name(number) / name, folder / shar_name(name, number))
        rejects = _rejects(plan, where, len(shards))
        summary = save_corpus(ctx.writing, _rows(where, filled, ctx.out), rejects, root=ctx.out)
        with ctx.writing(FACTS) as part:
            write_json(part, self._facts(corpus, shards, work.bounds, rejected, kept))
        ctx.note(hours=summary["hours"], voice=self.voice.public_name, matched=work.profile is not None)
        ctx.conserve(total=plan.total, kept=kept, rejected=rejected, reject_limit=self.reject_limit)
        ctx.declare_digest(summary["digest"])

    def _embargo(self, ctx: StageContext) -> EmbargoIndex | None:
        if self.embargo is None:
            return None
        folder = ctx.path_of(self.embargo)
        return read_embargo(folder)

    def work(self, locate: Callable[[Ref], Path], on: Resources, profile: Profile | None) -> ShardWork:
        """What is done with each shard; `profile` is that of the target, None to leave the speech clean."""
        target = None if self.target is None else Corpus.open(locate(self.target))
        return ShardWork(
            voice=self.voice,
            language=self.language,
            manner=Manner(self.seed, self.readings, self.rate, self.pitch, self.expression),
            speakers=self.speakers,
            prompts="" if self.prompts is None else str(locate(self.prompts)),
            profile=profile,
            bounds=DurationBounds() if target is None else bounds_of(target.split("train")),
            audio_format=self.audio_format,
            split=self.split,
            unchecked=self.unchecked,
            device=on.device,
            threads=on.threads or (1 if on.workers > 1 else None),
        )

    def profile(self, locate: Callable[[Ref], Path]) -> Profile | None:
        """The sound of the target's train recordings; None where nothing is to be matched."""
        if self.target is None or self.realism == "none":
            return None
        return profile_of(Corpus.open(locate(self.target)).split("train"))

    def _kept_profile(self, ctx: StageContext) -> Profile | None:
        """The profile, measured once however often the stage is resumed."""
        saved = ctx.state / PROFILE
        if saved.is_file():
            profile: Profile | None = Profile.from_json(json.loads(saved.read_text(encoding="utf-8")))
        else:
            profile = self.profile(ctx.path_of)
        if profile is not None:
            write_json(saved, profile.to_json())
            with ctx.writing(PROFILE) as part:
                write_json(part, profile.to_json())
        return profile

    def _needs(self, ctx: StageContext) -> list[Path]:
        """What a worker reads that is not in its task."""
        files = voice_files(self.voice.spec)
        return files if self.prompts is None else [*files, ctx.path_of(self.prompts)]

    def _facts(
        self,
        corpus: TextCorpus,
        shards: list[dict[str, Any]],
        bounds: DurationBounds,
        rejected: Counter[str],
        kept: int,
    ) -> dict[str, Any]:
        least, most = bounds.slowest, bounds.fastest
        return {
            "format": 1,
            "text": {"digest": corpus.digest, "sentences": len(corpus), "readings": self.readings},
            "voice": {"name": self.voice.public_name, "revision": self.voice.revision},
            "language": self.language,
            "seed": self.seed,
            "kept": kept,
            "rejected": dict(sorted(rejected.items())),
            "hours": round(sum(shard["samples"] for shard in shards) / RATE_HZ / 3600, 6),
            "characters": sum(shard["characters"] for shard in shards),
            "shards": len(shards),
            "audio_format": self.audio_format,
            "letters_per_second": {"slowest": least, "fastest": most, "from": bounds.source},
        }


def read_embargo(folder: Path) -> EmbargoIndex:
    """The embargo of a split artefact, else of the dev and test rows of a corpus; ConfigError where it has none."""
    if (folder / EMBARGO).is_file():
        return EmbargoIndex.load(folder / EMBARGO)
    corpus = Corpus.open(folder)
    index = EmbargoIndex.of(corpus.split("dev"), corpus.split("test"))
    if not len(index) and not index.exempt:
        raise ConfigError(
            "the corpus has neither dev nor test transcripts to keep out of the text",
            where=str(folder),
            next_step="make splits with: orature split CORPUS --to NEW",
        )
    return index


def _rows(where: Path, filled: list[int], out: Path) -> Iterator[tuple[Utterance, dict[str, Any]]]:
    for number in filled:
        tar = f"{SHAR}/{shar_name(RECORDINGS, number)}"
        for cut in read_cuts(where / shard_name(number) / CUTS):
            placed = cut_with_path(cut, tar)
            extra = {name: value for name, value in placed["custom"].items() if name not in OWN_FIELDS}
            yield utterance_of(placed, str(out)), extra


def _rejects(plan: Plan, where: Path, shards: int) -> Iterator[Reject]:
    yield from plan.rejects()
    for number in range(shards):
        with (where / shard_name(number) / REJECTS).open(encoding="utf-8") as lines:
            for line in lines:
                yield Reject(**json.loads(line))
