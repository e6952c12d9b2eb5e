"""What is read, in which order and how: the plan of a synthesis, in memory that does not grow with the texts.

Every draw (speaker or prompt, rate, pitch, expression, seed) follows from (seed, sentence id) alone, and the order of
the rows from a hash of both: so neither length nor voice is tied to a place, and neither depends on workers or shards.

Example::

    plan = make_plan(TextCorpus.open(folder), embargo, seed=1, readings=1, folder=ctx.state)
    for batch in plan.batches(500): ...            # each row is one line of JSON, see `Row`
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orature.core.errors import ConfigError, CorpusError
from orature.core.files import write_beside, write_json, write_json_lines
from orature.core.types import Reject
from orature.data.corpus import Corpus, reject_json
from orature.engines.voice import SpeechRequest, Traits
from orature.text.leaks import Breach, EmbargoIndex
from orature.text.text_corpus import Sentence

Span = tuple[float, float]
PROMPT_S: Span = (1.0, 16.0)
"""Recordings that may serve as prompts, in seconds: cloning engines take up to 16 s (design of Speech-BT's release)."""
_PLAN, _REJECTS, _FACTS, _SPOOL = "plan.jsonl", "plan-rejects.jsonl", "plan.json", "plan-spool.jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """One reading of one sentence."""

    id: str
    sentence_id: str
    reading: int
    text: str
    spoken: str
    source: str
    licence: str

    def line(self) -> str:
        """As one line of the plan."""
        return json.dumps(astuple(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def of(cls, line: str) -> Row:
        """What `line` gave."""
        return cls(*json.loads(line))


def readings_of(sentence: Sentence, readings: int) -> Iterator[Row]:
    """The rows of a sentence: `<id>` when it is read once, else `<id>-r1`, `<id>-r2` ..."""
    for number in range(readings):
        ident = sentence.id if readings == 1 else f"{sentence.id}-r{number + 1}"
        yield Row(ident, sentence.id, number, sentence.text, sentence.spoken, sentence.source, sentence.licence)


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows to be read lie in a file in their order; `rejected` counts those that the embargo took, by reason."""

    folder: Path
    rows: int
    characters: int
    rejected: dict[str, int]

    @property
    def total(self) -> int:
        """Rows that came in."""
        return self.rows + sum(self.rejected.values())

    def batches(self, size: int) -> Iterator[list[str]]:
        """The lines of each shard, read as they are asked for."""
        batch: list[str] = []
        with (self.folder / _PLAN).open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                batch.append(line.rstrip("\n"))
                if len(batch) == size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def rejects(self) -> Iterator[Reject]:
        """Why rows were not planned."""
        with (self.folder / _REJECTS).open(encoding="utf-8") as lines:
            for line in lines:
                yield Reject(**json.loads(line))


def make_plan(
    sentences: Iterable[Sentence],
    embargo: EmbargoIndex | None,
    *,
    seed: int,
    readings: int,
    folder: Path,
    on_row: Callable[[int], None] = lambda rows: None,
) -> Plan:
    """The plan in `folder`, at once if it is there already; 16 bytes of memory a row while it is made.

    CorpusError where two sentences have one id.
    """
    if (folder / _FACTS).is_file():
        return Plan(folder, **json.loads((folder / _FACTS).read_text(encoding="utf-8")))
    keys, places = array("Q"), array("Q")
    rejected: Counter[str] = Counter()
    characters = 0
    spool = folder / _SPOOL

    def sieved() -> Iterator[Reject]:
        nonlocal characters
        with spool.open("wb") as out:
            for sentence in sentences:
                on_row(readings)
                found = None if embargo is None else breach_of(sentence, embargo)
                for row in readings_of(sentence, readings):
                    if found is not None:
                        rejected[f"embargo-{found.kind}"] += 1
                        yield Reject(row.id, f"embargo-{found.kind}", found.sentence(sentence.text), sentence.source)
                        continue
                    keys.append(order_key(seed, row.id))
                    places.append(out.tell())
                    out.write(row.line().encode("utf-8") + b"\n")
                    characters += len(row.spoken)

    with write_beside(folder / _REJECTS) as part:
        write_json_lines(part, (reject_json(reject) for reject in sieved()))
    _in_order(spool, folder / _PLAN, keys, places)
    facts = {"rows": len(keys), "characters": characters, "rejected": dict(sorted(rejected.items()))}
    write_json(folder / _FACTS, facts)
    spool.unlink()
    return Plan(folder, len(keys), characters, dict(sorted(rejected.items())))


def breach_of(sentence: Sentence, embargo: EmbargoIndex) -> Breach | None:
    """The dev or test sentence that `sentence` is, as it is written or as it is read."""
    found = embargo.sentence_breach(sentence.text)
    if found is None and sentence.spoken != sentence.text:
        found = embargo.sentence_breach(sentence.spoken)
    return found


def _in_order(spool: Path, plan: Path, keys: array[int], places: array[int]) -> None:
    hashes = np.frombuffer(keys, np.uint64) if keys else np.zeros(0, np.uint64)
    order = np.argsort(hashes, kind="stable")
    twice = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    with spool.open("rb") as lines, write_beside(plan) as part, part.open("wb") as out:
        if twice.size:
            lines.seek(places[int(order[int(twice[0])])])
            ident = Row.of(lines.readline().decode("utf-8")).sentence_id
            raise CorpusError(
                f"the text corpus holds the id {ident!r} twice", next_step="give every sentence an id of its own"
            )
        for number in order.tolist():
            lines.seek(places[number])
            out.write(lines.readline())


def _hash(*parts: object, size: int) -> int:
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=size).digest(), "little")


def order_key(seed: int, row_id: str) -> int:
    """64 bits by which the rows are put in order."""
    return _hash("order", seed, row_id, size=8)


def generator(seed: int, sentence_id: str, what: str, reading: int) -> np.random.Generator:
    """Random draws for one reading of a sentence; `what` keeps different draws apart."""
    return np.random.default_rng(_hash(what, seed, sentence_id, reading, size=16))


class Prompt(NamedTuple):
    """A recording whose speaker is imitated."""

    id: str
    speaker: str
    text: str
    path: str
    start_s: float
    duration_s: float


def read_prompts(folder: Path) -> dict[str, list[Prompt]]:
    """Train recordings of a corpus that are fit to be prompts, by speaker; CorpusError where there is none.

    Speakers of dev and test are never imitated (a voice that a recogniser is tested on must not be in its training).
    """
    found: dict[str, list[Prompt]] = {}
    kept_out = {row.speaker for name in ("dev", "test") for row in Corpus.open(folder).split(name)}
    for row in Corpus.open(folder).split("train"):
        speaker = row.speaker or row.id
        if PROMPT_S[0] <= row.audio.duration_s <= PROMPT_S[1] and (row.speaker is None or speaker not in kept_out):
            prompt = Prompt(row.id, speaker, row.text or "", row.audio.path, row.audio.start_s, row.audio.duration_s)
            found.setdefault(speaker, []).append(prompt)
    if not found:
        raise CorpusError(
            f"no train recording of {PROMPT_S[0]:g} to {PROMPT_S[1]:g} s whose speaker is not in dev or test",
            where=str(folder),
            next_step="name another corpus of prompts",
        )
    return {speaker: found[speaker] for speaker in sorted(found)}


@dataclass(frozen=True, slots=True)
class Manner:
    """How sentences are to be read: the ranges that are drawn from, and by whom."""

    seed: int
    readings: int
    rate: Span
    pitch: Span
    expression: Span

    def request(
        self,
        row: Row,
        language: str,
        traits: Traits,
        speakers: Sequence[str],
        prompts: dict[str, list[Prompt]],
    ) -> tuple[SpeechRequest, Prompt | None]:
        """What the voice is asked for; what it cannot vary is left alone. `prompts` come before `speakers`."""
        names = list(prompts) if prompts else list(speakers)
        whom = generator(self.seed, row.sentence_id, "speakers", 0)
        chosen = whom.choice(len(names), size=min(self.readings, len(names)), replace=False)
        name = names[int(chosen[row.reading % len(chosen)])]
        rng = generator(self.seed, row.sentence_id, "manner", row.reading)
        rate, expression = (float(np.exp(rng.uniform(*np.log(span)))) for span in (self.rate, self.expression))
        pitch, number, place = float(rng.uniform(*self.pitch)), int(rng.integers(1 << 31)), float(rng.random())
        prompt = prompts[name][int(place * len(prompts[name]))] if prompts else None
        request = SpeechRequest(
            text=row.spoken,
            language=language,
            speaker="" if prompt is not None else name,
            seed=number,
            rate=round(rate, 3) if traits.rate else 1.0,
            pitch=round(pitch, 2) if traits.pitch else 0.0,
            expression=round(expression, 3) if traits.expression else 1.0,
            prompt="" if prompt is None else prompt.path,
            prompt_text="" if prompt is None else prompt.text,
        )
        return request, prompt


def checked_speakers(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """The speakers to draw from: all that the voice has, or those `wanted`; ConfigError for one that it has not."""
    strange = [name for name in wanted if name not in known]
    if strange:
        some = ", ".join(name or "(its own)" for name in known[:12]) + (" ..." if len(known) > 12 else "")
        raise ConfigError(f"the voice has no speaker {strange[0]!r}", next_step=f"choose among: {some}")
    return list(wanted) or list(known)
