"""One shard of a text corpus: lines of the sources in, sentences with their judgement out, in a worker process.

Example::

    results = ctx.map_shards(batches(lines_of(sources, ctx.path_of)), partial(make_shard, work), folder="shards")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from orature.core.types import Refusal, Reject
from orature.data.corpus import reject_json
from orature.flow import Ref
from orature.text.clean import tidy
from orature.text.near_duplicates import mark_of, signatures_of
from orature.text.split_sentences import split_sentences
from orature.text.text_corpus import Sentence
from orature.text.text_guide import Guide, Judge, Rules
from orature.text.text_pool import write_shard
from orature.text.text_sources import SourceKind, find_files, read_lines

LINES_PER_SHARD = 4096
CHARACTERS_PER_SHARD = 1 << 20


class TextSource(BaseModel, frozen=True, extra="forbid"):
    """One source as a person named it: a file or a folder, how it is read, its licence."""

    ref: Ref
    name: str
    kind: SourceKind | Literal["auto"] = "auto"
    column: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class ShardWork:
    """All that a worker needs; `guide` is the folder of a saved Guide, `key` that of the stage."""

    guide: Path
    key: str
    rules: Rules
    language: str
    split: bool
    abbreviations: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    """Name and licence of each source."""
    signatures: bool
    seed: int


Line = tuple[int, str, int, int, str, tuple[str, str] | None]
"""Source, file inside it, line, paragraph of the line, text, trouble."""


def lines_of(sources: Sequence[TextSource], path_of: Callable[[Ref], Path]) -> Iterator[Line]:
    """Every line of every source, in order."""
    for number, source in enumerate(sources):
        root = path_of(source.ref)
        for file in find_files(root, source.kind, source.column):
            inside = "" if root.is_file() else file.name
            for line in read_lines(file):
                yield number, inside, line.number, line.part, line.text, line.trouble


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lists bounded in lines and characters, the same on every machine."""
    batch: list[Line] = []
    weight = 0
    for line in lines:
        size = len(line[4])
        if batch and (len(batch) >= LINES_PER_SHARD or weight + size > CHARACTERS_PER_SHARD):
            yield batch
            batch, weight = [], 0
        batch.append(line)
        weight += size
    if batch:
        yield batch


@lru_cache(maxsize=2)
def judge_of(guide: Path, key: str, rules: Rules, language: str) -> Judge:
    """One judge a process; `key` tells the stages of one process apart."""
    return Judge(Guide.load(guide), rules, language)


def make_shard(work: ShardWork, batch: Sequence[Line], folder: Path) -> dict[str, Any]:
    """Judges the lines of one batch and writes them to `folder`; returns how many lines, sentences, and rejects."""
    judge = judge_of(work.guide, work.key, work.rules, work.language)
    rows: list[dict[str, Any]] = []
    kept: list[str] = []
    rejected: Counter[str] = Counter()
    for number, file, line, part, text, trouble in batch:
        name, licence = work.sources[number]
        where = f"{name}/{file}:{line}" if file else f"{name}:{line}"
        place = f"{where}-{part + 1}" if part else where
        for count, sentence in enumerate(_sentences(text, trouble, work), 1):
            own = f"{place}.{count}" if count > 1 else place
            found = sentence if isinstance(sentence, Refusal) else judge.judge(sentence)
            if isinstance(found, Refusal):
                rejected[found.reason] += 1
                shown = text if isinstance(sentence, Refusal) else sentence
                rows.append({"reject": reject_row(Reject(own, found.reason, found.detail, where), shown)})
                continue
            rows.append({"keep": Sentence(own, found.text, name, licence, line, found.spoken).to_json()})
            kept.append(found.spoken)
    signatures = signatures_of(kept, work.seed) if work.signatures else None
    write_shard(folder, rows, [mark_of(text) for text in kept], signatures)
    return {"lines": len(batch), "rows": len(rows), "rejected": dict(sorted(rejected.items()))}


def _sentences(text: str, trouble: tuple[str, str] | None, work: ShardWork) -> Sequence[str | Refusal]:
    if trouble is not None:
        return [Refusal(*trouble)]
    done = tidy(text)
    if isinstance(done, Refusal):
        return [done]
    return split_sentences(done, work.language, work.abbreviations) if work.split else [done]


def reject_row(reject: Reject, text: str) -> dict[str, str]:
    """A line of rejects.jsonl: who, why, and the text that was left out."""
    return {**reject_json(reject), "text": text.encode("utf-8", "backslashreplace").decode("utf-8")}
