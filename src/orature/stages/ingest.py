"""Ingest: any source of speech becomes a corpus of 16 kHz mono FLAC with every row kept or rejected for a reason.

Example::

    run = Run(store, recipe="ingest", command="orature ingest kichwa --to corpus")
    ref = run.do(ingest_stage(Path("kichwa"), language="que-EC"))
    corpus = Corpus.open(run.path_of(ref))
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from orature.core.errors import AudioError, CorpusError, RejectLimitExceeded
from orature.core.identity import SetDigest, digest_file, digest_json
from orature.core.types import RATE_HZ, AudioSpan, Reject, Utterance
from orature.data.audio import Limits, Segment, audio_digest, decode, quality, save_flac
from orature.data.corpus import REJECTS, id_hash, reject_json, save_corpus
from orature.data.draft import Draft, Reader, Seen
from orature.data.readers.registry import choose, make_reader
from orature.data.rows import cut_of, encode_line, fold, utterance_of
from orature.data.tree import Tree, open_tree
from orature.flow.context import StageContext
from orature.flow.ref import Ref
from orature.flow.stage import Stage
from orature.text.language import canonical_tag

CLIPS_PER_SHARD = 128
BYTES_PER_SHARD = 48 << 20
ROWS = "rows.jsonl.gz"
EXPECTED_REASONS = frozenset({"cv-invalidated", "audio-without-row"})
"""Rows that a release itself refuses; they are counted, but say nothing against the reading of the rest."""
_LOOK = "look at that list, mend the source or choose another --format"


class Ingest(Stage):
    """Reads `source` in `format` (never "auto" here) and writes a corpus.

    `language` and `licence` fill rows that state none.
    """

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 1

    source: Ref
    format: str
    language: str | None = None
    licence: str | None = None
    min_seconds: float = Field(default=0.1, ge=0)
    max_seconds: float = Field(default=120.0, gt=0)
    max_unlabelled_seconds: float = Field(default=3600.0, gt=0)
    silence_dbfs: float = -60.0
    reject_limit: float = Field(default=0.5, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes audio/<shard>/*.flac, cuts.jsonl.gz, rejects.jsonl, corpus.json; digest = that of the corpus."""
        tree = open_tree(ctx.path_of(self.source))
        seen = Seen()
        work = partial(_make_shard, self._limits(labelled=True), self._limits(labelled=False))
        items = settled(read_source(make_reader(self.format), tree, seen), self.language, self.licence)
        shards = ctx.map_shards(_batches(items), work, folder="audio", unit="clips")
        kept = sum(shard["kept"] for shard in shards)
        rejected = Counter[str]()
        for shard in shards:
            rejected.update(shard["rejected"])
        folder = ctx.out / "audio"
        summary = save_corpus(ctx.writing, _kept(folder, len(shards)), _rejected(folder, len(shards)), root=ctx.out)
        ctx.note(format=self.format, hours=summary["hours"], **seen.notes)
        self._hold_limit(seen.rows, rejected, ctx.out / REJECTS)
        ctx.conserve(total=seen.rows, kept=kept, rejected=rejected)
        ctx.declare_digest(summary["digest"])

    def _limits(self, *, labelled: bool) -> Limits:
        most = self.max_seconds if labelled else self.max_unlabelled_seconds
        return Limits(self.min_seconds, most, self.silence_dbfs)

    def _hold_limit(self, total: int, rejected: Counter[str], where: Path) -> None:
        """The share of bad rows among those that the source does not refuse itself; an empty result is none either."""
        unforeseen = {reason: n for reason, n in rejected.items() if reason not in EXPECTED_REASONS}
        lost = sum(unforeseen.values())
        asked = total - (sum(rejected.values()) - lost)
        if not asked:
            raise RejectLimitExceeded("not one usable row is in the source", where=str(where), next_step=_LOOK)
        if lost / asked <= self.reject_limit and lost < asked:
            return
        reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(unforeseen).most_common(4))
        first = _first_reject(where, Counter(unforeseen).most_common(1)[0][0])
        raise RejectLimitExceeded(
            f"{lost} of {asked} rows cannot be used, more than the {self.reject_limit:.0%} allowed: {reasons}{first}",
            where=str(where),
            next_step=_LOOK,
        )


def _first_reject(path: Path, reason: str) -> str:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["reason"] == reason:
                return f". The first {reason}: {row['where']}: {row['detail']}"
    return ""


def ingest_stage(source: Path, *, format: str = "auto", language: str | None = None, **options: Any) -> Ingest:
    """The stage for `source`, after a look at it: CorpusError or ArchiveError for what is no corpus.

    ConfigError for a `language` that is no BCP-47 tag.

    The format is decided here, and the content digest of the source taken (each file is read once). `options` are
    further fields of Ingest.
    """
    source = Path(source)
    language = None if language is None else canonical_tag(language)
    reader = make_reader(format) if format != "auto" else None
    tree = open_tree(source)
    reader = reader or choose(tree)
    digest = source_digest(reader, tree)
    ref = Ref(key="external", stage="source", digest=digest, path=str(source.absolute()))
    return Ingest(source=ref, format=reader.name, language=language, **options)


def source_digest(reader: Reader, tree: Tree) -> str:
    """Digest of an archive's bytes, or of what the reader sees in a folder: its rows and the audio that they name.

    The name of the source is part of it, because rows carry it as `source`. CorpusError where there is no row at all.
    """
    if tree.archived:
        if not any(True for _ in tree.names()) and not tree.rejects:
            raise CorpusError("the archive holds no files", where=str(tree.path), next_step="download it again")
        return digest_json({"name": tree.label, "archive": digest_file(tree.path)})
    rows = SetDigest()
    empty = True
    digest_of = lru_cache(maxsize=64)(_digest_or_nothing)  # many rows may be parts of one long recording
    for item in read_source(reader, tree, Seen()):
        empty = False
        fields = asdict(item)
        if isinstance(item, Draft) and isinstance(item.audio, Path):
            fields["audio"] = digest_of(item.audio)
            fields["audio_name"] = item.audio_name.removeprefix(f"{tree.path}/")
        rows.add(json.dumps(fields, sort_keys=True).encode("utf-8"))
    if empty:
        raise CorpusError("there is no row in it", where=str(tree.path), next_step="is the manifest empty?")
    return digest_json({"name": tree.label, "reader": reader.name, "rows": rows.hexdigest()})


def _digest_or_nothing(path: Path) -> str:
    try:
        return digest_file(path)
    except (OSError, ValueError):
        return "unreadable"


def read_source(reader: Reader, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:
    """Everything in the tree, once: members that an archive must not hold, then the reader's rows."""
    seen.rows += len(tree.rejects)
    yield from tree.rejects
    yield from reader.read(tree, seen)


def settled(
    items: Iterator[Draft | Reject], language: str | None, licence: str | None = None
) -> Iterator[Draft | Reject]:
    """Text folded, ids once, language and licence filled in; what cannot be a row is a Reject. Nothing is left out."""
    ids: set[int] = set()
    for item in items:
        if isinstance(item, Reject):
            yield item
            continue
        trouble = _trouble(item)
        mark = id_hash(item.id)
        if trouble is None and mark in ids:
            trouble = ("duplicate-id", "an earlier row has the same id")
        ids.add(mark)
        if trouble is not None:
            yield Reject(item.id, trouble[0], trouble[1], item.where)
            continue
        text = None if item.text is None else fold(item.text)
        if item.split == "unlabelled":
            text = text or None
        yield replace(item, text=text, language=item.language or language or "und", licence=item.licence or licence)


def _trouble(draft: Draft) -> tuple[str, str] | None:
    fields = (draft.id, draft.text, draft.language, draft.speaker, draft.licence, draft.source)
    try:
        for value in fields:
            if value:
                value.encode("utf-8")
    except UnicodeEncodeError:
        return "text-undecodable", "a field is no valid Unicode"
    except AttributeError:
        return "row-malformed", "a field that must be text is something else"
    if not draft.id:
        return "row-malformed", "the row has no id"
    if draft.split != "unlabelled" and not fold(draft.text or ""):
        return "text-empty", "a labelled row without a sentence"
    return None


def _batches(items: Iterator[Draft | Reject]) -> Iterator[list[Draft | Reject]]:
    """Lists bounded in rows and in bytes of sound, the same on every machine."""
    batch: list[Draft | Reject] = []
    weight = 0
    for item in items:
        size = _size(item)
        if batch and (len(batch) >= CLIPS_PER_SHARD or weight + size > BYTES_PER_SHARD):
            yield batch
            batch, weight = [], 0
        batch.append(item)
        weight += size
    if batch:
        yield batch


def _size(item: Draft | Reject) -> int:
    if isinstance(item, Reject) or item.audio is None:
        return 0
    if isinstance(item.audio, bytes):
        return len(item.audio)
    try:
        return item.audio.stat().st_size
    except (OSError, ValueError):
        return 0


def _make_shard(labelled: Limits, unlabelled: Limits, batch: Sequence[Draft | Reject], folder: Path) -> dict[str, Any]:
    """Decodes one batch into `folder` (runs in a worker process); its rows, kept and rejected, lie in rows.jsonl.gz."""
    rejected = Counter[str]()
    lines: list[bytes] = []
    for number, item in enumerate(batch):
        name = f"{number:05d}.flac"
        made = item if isinstance(item, Reject) else _make_row(item, labelled, unlabelled, folder / name)
        if isinstance(made, Reject):
            rejected[made.reason] += 1
            lines.append(encode_line({"reject": reject_json(made)}))
        else:
            lines.append(encode_line({"cut": made}))
    (folder / ROWS).write_bytes(gzip.compress(b"".join(lines), compresslevel=4, mtime=0))
    return {"kept": len(batch) - sum(rejected.values()), "rejected": dict(sorted(rejected.items()))}


def _make_row(draft: Draft, labelled: Limits, unlabelled: Limits, path: Path) -> dict[str, Any] | Reject:
    limits = unlabelled if draft.split == "unlabelled" else labelled
    segment = Segment(draft.start_s, draft.duration_s, draft.channel)
    try:
        if draft.audio is None:
            raise AudioError("there is no such file", where=draft.audio_name, reason="audio-missing")
        samples = decode(draft.audio, draft.audio_name, segment=segment, limits=limits)
        seconds = len(samples) / RATE_HZ
        if draft.expected_s is not None and seconds + 1.0 < 0.95 * draft.expected_s:
            what = f"the source says {draft.expected_s:.1f} s, {seconds:.1f} s are there"
            raise AudioError(what, where=draft.audio_name, reason="audio-truncated")
    except AudioError as error:
        return Reject(draft.id, error.reason, f"{error.what} ({draft.audio_name})", draft.where)
    save_flac(path, samples)
    utterance = Utterance(
        id=draft.id,
        audio=AudioSpan(path.name, 0.0, seconds, audio_digest(samples)),
        text=draft.text,
        language=draft.language or "und",
        speaker=draft.speaker,
        origin=draft.origin,
        source=draft.source,
        licence=draft.licence,
        split=draft.split,
    )
    return cut_of(utterance, {"quality": quality(samples)})


def _rows(folder: Path, shards: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(shards):
        name = f"{number:05d}"
        with gzip.open(folder / name / ROWS, "rb") as lines:
            for line in lines:
                yield name, json.loads(line)


def _kept(folder: Path, shards: int) -> Iterator[tuple[Utterance, dict[str, Any]]]:
    for name, row in _rows(folder, shards):
        if "cut" in row:
            yield utterance_of(row["cut"], f"audio/{name}"), {"quality": row["cut"]["custom"]["quality"]}


def _rejected(folder: Path, shards: int) -> Iterator[Reject]:
    return (Reject(**row["reject"]) for _, row in _rows(folder, shards) if "reject" in row)
