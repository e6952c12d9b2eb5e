"""The stage that says how intelligible synthetic speech is to a judge, against real speech: Norm_I and its parts.

Example::

    ref = run.do(Judge(synthetic=made, synthetic_heard=heard_made, reference=real, reference_heard=heard, judge=model))
    read_judgement(run.path_of(ref))["norm_i"]     # {"value": 0.62, "low": 0.55, "high": 0.7, "by": "sentence"}

`judge.json` holds the judgement; `real.jsonl` and `synthetic.jsonl` every recording with what was said and heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from orature.core.errors import AudioError, BadInput
from orature.core.files import write_json, write_json_lines
from orature.core.identity import canonical_json, digest_json, digest_rows
from orature.core.types import Utterance
from orature.data import audio
from orature.data.corpus import Corpus, id_hash
from orature.engines.facts import facts_of
from orature.engines.families import family_of
from orature.engines.language_codes import codes_of
from orature.evaluate.diversity import Spoken, diversity
from orature.evaluate.folder import HYPOTHESES_FILE
from orature.evaluate.intelligibility import FLOOR, MOST_GROUPS, judge_groups, judge_rows
from orature.evaluate.judge_warnings import JudgeFacts, cautions
from orature.evaluate.pitch import Pitch, pitch_of
from orature.evaluate.rows import Row, read_rows
from orature.evaluate.score import Drawing
from orature.evaluate.statistics import RESAMPLES, SEED
from orature.flow import Ref, Stage, StageContext
from orature.stages.evaluate import refuse_lost_rows
from orature.stages.inputs import read_result
from orature.stages.model_folder import training_of
from orature.text import normalise
from orature.text.normalise import NORMALISER

JUDGE_FILE, REAL_FILE, SYNTHETIC_FILE = "judge.json", "real.jsonl", "synthetic.jsonl"
FORMAT = 1
MOST_MEASURED = 400
"""So many recordings a side, drawn by a hash of their ids, are measured for pitch."""
_SHARD = 50


class Judge(Stage):
    """Both sides as the same `judge` heard them -> `judge.json`.

    `synthetic_heard` and `reference_heard` are what `Transcribe` made of the named splits. `trained`, where given, is
    the model that the synthetic speech is for (or `trained_family`, its family): kin of the judge is warned of.
    """

    name: ClassVar[str] = "judge"
    version: ClassVar[int] = 1
    synthetic: Ref
    synthetic_heard: Ref
    reference: Ref
    reference_heard: Ref
    judge: Ref
    synthetic_split: str = "train"
    reference_split: str = "dev"
    judge_name: str = ""
    trained: Ref | None = None
    trained_family: str = ""
    metric: Literal["auto", "wer", "cer"] = "auto"
    normaliser: str = NORMALISER
    floor: float = Field(default=FLOOR, gt=0, lt=1)
    by: str = "auto"
    resamples: int = Field(default=RESAMPLES, ge=1)
    seed: int = SEED

    def run(self, ctx: StageContext) -> None:
        """Checks that no row is lost, measures, judges; the digest leaves out where recordings lie."""
        sides = {
            "real": _Side.of(ctx, self.reference, self.reference_heard, self.reference_split),
            "synthetic": _Side.of(ctx, self.synthetic, self.synthetic_heard, self.synthetic_split),
        }
        pitches = self._pitches(ctx, list(sides.values()))
        drawing = Drawing(self.by, self.resamples, self.seed)
        real, synthetic = sides["real"], sides["synthetic"]
        found = judge_rows(
            real.rows, synthetic.rows, normaliser=self.normaliser, metric=self.metric, floor=self.floor, drawing=drawing
        )
        found["diversity"] = {name: diversity(self._spoken(side, pitches)) for name, side in sides.items()}
        found |= {name: self._groups(sides, found, drawing, name) for name in ("voices", "speakers")}
        found = {"format": FORMAT, **self._about(ctx, found, sides), **found}
        records = {name: [side.record(row) for row in side.rows] for name, side in sides.items()}
        for name, file in (("real", REAL_FILE), ("synthetic", SYNTHETIC_FILE)):
            with ctx.writing(file) as part:
                write_json_lines(part, records[name])
        with ctx.writing(JUDGE_FILE) as part:
            write_json(part, found)
        self._account(ctx, found, sides)
        heard = (_without_place(record) for one in records.values() for record in one)
        ctx.declare_digest(digest_json({"judge": found, "rows": digest_rows(heard)}))

    def _pitches(self, ctx: StageContext, sides: Sequence[_Side]) -> dict[str, Pitch]:
        """Pitch of a drawn part of both sides, by side and id."""
        drawn = [(side.name, row) for side in sides for row in side.drawn()]
        batches = [drawn[first : first + _SHARD] for first in range(0, len(drawn), _SHARD)]
        shards = ctx.map_shards(batches, _pitch_shard, folder="pitch", total=len(drawn), unit="recordings")
        return {name: Pitch(*values) for shard in shards for name, values in shard["pitch"].items()}

    def _spoken(self, side: _Side, pitches: Mapping[str, Pitch]) -> list[Spoken]:
        clean = normalise.get(self.normaliser)
        return [
            Spoken(
                row.speaker,
                side.customs.get(row.id, {}).get("prompt", ""),
                row.duration_s,
                clean(row.reference),
                pitches.get(f"{side.name}/{row.id}"),
            )
            for row in side.rows
        ]

    def _groups(
        self, sides: Mapping[str, _Side], found: Mapping[str, Any], drawing: Drawing, kind: str
    ) -> list[dict[str, Any]]:
        """Norm_I of each voice, or of each speaker, where there are several."""
        side = sides["synthetic"]
        own = {row.id: side.customs.get(row.id, {}).get("voice", "") for row in side.rows}
        if kind == "speakers":
            own = {row.id: row.speaker or "" for row in side.rows}
        if len(set(own.values())) < 2:
            return []
        how: dict[str, Any] = {"metric": found["metric"], "floor": self.floor, "drawing": drawing}
        return judge_groups(sides["real"].rows, side.rows, own, normaliser=self.normaliser, **how)

    def _about(self, ctx: StageContext, found: Mapping[str, Any], sides: Mapping[str, _Side]) -> dict[str, Any]:
        """Who judged, whether it is kin of what is trained, and the warnings."""
        judge, languages = judge_facts(ctx.path_of(self.judge), self.judge.digest, self.judge_name)
        trained = JudgeFacts("", self.trained_family) if self.trained_family else None
        if self.trained is not None:
            trained, _ = judge_facts(ctx.path_of(self.trained), self.trained.digest)
        spoken = sides["real"].languages
        said = cautions(
            found,
            judge,
            trained=trained,
            reference=self.reference.digest,
            reference_split=self.reference_split,
            unknown=[tag for tag in spoken if not _knows(languages, tag)],
        )
        real = sum(row.origin != "synthetic" for row in sides["synthetic"].utterances)
        for kind in ("voices", "speakers"):
            if len(found[kind]) == MOST_GROUPS:
                said.append(f"Norm_I is given for the {MOST_GROUPS} {kind} with most utterances; there may be more.")
        if real:
            said.append(f"{real:,} recordings on the synthetic side are not marked as synthetic.")
        return {
            "judge": judge.name,
            "judge_digest": judge.digest,
            "family": judge.family,
            "judge_languages": list(languages),
            "trained": None if trained is None else {"name": trained.name, "family": trained.family},
            "languages": spoken,
            "reference": {"digest": self.reference.digest, "split": self.reference_split},
            "synthetic": {"digest": self.synthetic.digest, "split": self.synthetic_split},
            "warnings": said,
        }

    def _account(self, ctx: StageContext, found: Mapping[str, Any], sides: Mapping[str, _Side]) -> None:
        total = sum(len(side.rows) for side in sides.values())
        kept = found["size_real"]["utterances"] + found["size_syn"]["utterances"]
        unpaired = found["probe"]["left_out_real"] + found["probe"]["left_out_syn"]
        rejected = {"sentence-not-on-both-sides": unpaired, "no-transcript": total - kept - unpaired}
        ctx.conserve(total=total, kept=kept, rejected={why: times for why, times in rejected.items() if times})
        ctx.note(norm_i=found["norm_i"], metric=found["metric"], paired=found["probe"]["paired"])


class _Side:
    """The rows of one split as the judge heard them, and what the corpus says of them beside."""

    def __init__(self, name: str, rows: list[Row], utterances: list[Utterance], customs: dict[str, dict[str, str]]):
        self.name, self.rows, self.utterances, self.customs = name, rows, utterances, customs
        self.languages = sorted({row.language for row in utterances})

    @classmethod
    def of(cls, ctx: StageContext, corpus_ref: Ref, heard: Ref, split: str) -> _Side:
        corpus = Corpus.open(ctx.path_of(corpus_ref))
        source = ctx.path_of(heard) / HYPOTHESES_FILE
        rows, utterances = read_rows(source), list(corpus.split(split))
        refuse_lost_rows(utterances, rows, where=str(source))
        if not rows:
            raise BadInput(f"there are no utterances in split {split!r}", where=str(corpus.root))
        ids = {row.id for row in utterances}
        customs = {cut["id"]: _named(cut["custom"]) for cut in corpus.cuts() if cut["id"] in ids}
        return cls(f"{corpus_ref.digest[:12]}-{split}", rows, utterances, customs)

    def drawn(self) -> list[Utterance]:
        """At most `MOST_MEASURED` recordings, the same whatever their order."""
        return sorted(self.utterances, key=lambda row: (id_hash(row.id), row.id))[:MOST_MEASURED]

    def record(self, row: Row) -> dict[str, Any]:
        """One line of real.jsonl or synthetic.jsonl; it can be read again with `evaluate.rows.read_rows`."""
        return {
            "id": row.id,
            "reference": row.reference,
            "hypothesis": row.hypothesis,
            "speaker": row.speaker,
            "language": row.language,
            "origin": row.origin,
            "duration_s": row.duration_s,
            "refusal": None if row.refusal is None else dict(row.refusal),
            "audio": dict(row.audio),
            **self.customs.get(row.id, {}),
        }


def _named(custom: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(custom[name]) for name in ("voice", "prompt") if custom.get(name)}


def _without_place(record: Mapping[str, Any]) -> bytes:
    return canonical_json({name: value for name, value in record.items() if name != "audio"}).encode()


def _pitch_shard(rows: Sequence[tuple[str, Utterance]], folder: Path) -> dict[str, Any]:
    """Pitch of each recording that can be read and has a voice; rounded, so that machines agree."""
    found: dict[str, list[float]] = {}
    for side, row in rows:
        try:
            samples = audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s)
        except AudioError:
            continue
        pitch = pitch_of(samples)
        if pitch is not None:
            found[f"{side}/{row.id}"] = [round(value, 3) for value in asdict(pitch).values()]
    return {"rows": len(rows), "pitch": found}


def judge_facts(folder: Path, digest: str, name: str = "") -> tuple[JudgeFacts, tuple[str, ...]]:
    """What a model folder says of itself, and the languages that it claims to know (none: it does not say)."""
    family = family_of(folder)
    facts = facts_of(folder, family)
    training = training_of(folder)
    start = training.get("start") or {}
    languages = tuple(tag for tag in facts.get("languages", "").split(",") if tag)
    own = JudgeFacts(
        name or facts.get("name", folder.name),
        family.name,
        digest,
        trained_on=str(training.get("corpus_digest", "")),
        start=str(start.get("digest", "")) if isinstance(start, dict) else "",
    )
    return own, languages


def _knows(languages: Sequence[str], tag: str) -> bool:
    """Whether a judge with these languages claims to know `tag`; one that states none is not doubted."""
    if not languages or tag == "und":
        return True
    wanted = set(codes_of(tag)[1:])
    return any(wanted & set(codes_of(one)[1:]) for one in languages)


def read_judgement(folder: Path) -> dict[str, Any]:
    """judge.json of a folder; BadInput where there is none."""
    return read_result(
        folder / JUDGE_FILE,
        what="judgement",
        version=FORMAT,
        needed="norm_i",
        make="make one with `orature judge CORPUS --reference CORPUS --judge MODEL --to FOLDER`",
        again="make it again with `orature judge`",
    )


def read_sides(folder: Path) -> Iterator[tuple[str, list[Row]]]:
    """The rows of both sides of a judgement: ("real", rows), ("synthetic", rows)."""
    for name, file in (("real", REAL_FILE), ("synthetic", SYNTHETIC_FILE)):
        yield name, read_rows(folder / file)
