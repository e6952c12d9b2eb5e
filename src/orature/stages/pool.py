"""Several corpora as one, and one language of a corpus.

Pooling keeps every row or rejects it for a reason (law 1), and the embargo (law 5) holds across all of them: a training
sentence or recording of one corpus that is in dev or test of another is rejected, and so is a dev row that is in test
of another. Ids that several corpora use are led by the name of their corpus.

Example::

    pooled = run.do(Pool(corpora=(kichwa, yoruba), names=("kichwa", "yoruba")))
    alone = run.do(OfLanguage(corpus=pooled, language="yo"))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.files import write_json
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus, id_hash, save_corpus
from orature.flow.context import StageContext
from orature.flow.ref import Ref
from orature.flow.stage import Stage
from orature.stages.corpus_rows import rows_of
from orature.stages.split import EMBARGO
from orature.text.leaks import EmbargoIndex, reject_of

POOL_FILE = "pool.json"
OTHER_LANGUAGE = "other-language"
Row = tuple[Utterance, dict[str, Any]]


class Pool(Stage):
    """All rows of `corpora` (with their splits) as one corpus; `names` lead the ids that would be there twice.

    `reject_limit` is the share of rows that the embargo across corpora may take.
    """

    name: ClassVar[str] = "pool"
    version: ClassVar[int] = 1

    corpora: tuple[Ref, ...]
    names: tuple[str, ...]
    reject_limit: float = Field(default=0.5, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes cuts.jsonl.gz, rejects.jsonl, corpus.json, embargo.json, pool.json; digest = that of the corpus."""
        sources = self._sources(ctx)
        shared = _shared_ids(sources)
        for source in sources:
            source.shared = shared
        test = EmbargoIndex.of(row for source in sources for row in source.of("test"))
        both = EmbargoIndex.of(row for source in sources for name in ("test", "dev") for row in source.of(name))
        total = sum(len(source.corpus) for source in sources)
        rejects: list[Reject] = []
        with ctx.progress("pool", total, "rows") as bar:
            rows = (row for source in sources for row in _screened(source, test, both, rejects, bar.advance))
            summary = save_corpus(ctx.writing, rows, rejects, root=ctx.out)
        with ctx.writing(EMBARGO) as path:
            both.save(path)
        with ctx.writing(POOL_FILE) as path:
            write_json(path, {"format": 1, "corpora": [source.facts() for source in sources]})
        rejected = Counter(reject.reason for reject in rejects)
        ctx.note(languages=summary["languages"], prefixed=sum(source.prefixed for source in sources))
        ctx.conserve(total=total, kept=summary["utterances"], rejected=rejected, reject_limit=self.reject_limit)
        ctx.declare_digest(summary["digest"])

    def _sources(self, ctx: StageContext) -> list[_Source]:
        if len(self.names) != len(self.corpora) or len(set(self.names)) != len(self.names):
            raise CorpusError(
                "each corpus of a pool needs a name of its own", next_step="give every corpus another name"
            )
        sources = []
        seen: dict[str, str] = {}
        for name, ref in zip(self.names, self.corpora, strict=True):
            corpus = Corpus.open(ctx.path_of(ref))
            twin = seen.setdefault(corpus.digest, name)
            if twin != name:
                raise CorpusError(
                    f"the corpora {twin!r} and {name!r} hold the same rows", next_step="name each corpus once"
                )
            sources.append(_Source(name, corpus, "" if ref.is_external else str(corpus.root.parent)))
        return sources


@dataclass(slots=True)
class _Source:
    """One corpus of the pool; `store` is the folder of artefacts that it lies in, if it does."""

    name: str
    corpus: Corpus
    store: str
    shared: frozenset[int] = frozenset()
    """Hashes of the ids that several corpora use."""
    prefixed: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def pooled_id(self, old: str) -> str:
        return f"{self.name}/{old}" if id_hash(old) in self.shared else old

    def of(self, split: str) -> Iterator[Utterance]:
        """Rows of one split with the ids they have in the pool."""
        for row in self.corpus.split(split):
            yield replace(row, id=self.pooled_id(row.id))

    def rows(self) -> Iterator[tuple[str, Row]]:
        """All rows as they shall stand in the pool, each with its place."""
        for where, row, custom in rows_of(self.corpus, self.store, self.name):
            pooled = replace(row, id=self.pooled_id(row.id))
            self.prefixed += pooled.id != row.id
            yield where, (pooled, custom)

    def facts(self) -> dict[str, Any]:
        """What pool.json says of this corpus."""
        return {
            "name": self.name,
            "digest": self.corpus.digest,
            "utterances": len(self.corpus),
            "languages": self.corpus.summary()["languages"],
            "kept": self.kept,
            "prefixed_ids": self.prefixed,
            "rejected": dict(sorted(self.rejected.items())),
        }


def _shared_ids(sources: list[_Source]) -> frozenset[int]:
    """Hashes of the ids that more than one corpus uses."""
    seen: set[int] = set()
    shared: set[int] = set()
    for source in sources:
        own = {id_hash(row.id) for row in source.corpus}
        shared |= seen & own
        seen |= own
    return frozenset(shared)


def _screened(
    source: _Source, test: EmbargoIndex, both: EmbargoIndex, rejects: list[Reject], advance: Any
) -> Iterator[Row]:
    """Rows of one corpus that the embargo of all lets through."""
    own_test = {id_hash(row.id) for row in source.of("test")}
    for where, (row, custom) in source.rows():
        advance(1)
        found = None
        if row.split in ("train", "unlabelled"):
            found = both.breach(row)
        elif row.split == "dev":
            found = test.breach(row)
            if found is not None and id_hash(found.row.id) in own_test:
                found = None  # an official dev that overlaps its own test is kept, as `orature split` said aloud
        if found is not None:
            reject = reject_of(row, found)
            source.rejected[reject.reason] += 1
            rejects.append(replace(reject, where=where))
            continue
        source.kept += 1
        yield row, custom


class OfLanguage(Stage):
    """The rows of `corpus` in one `language`, ids and splits as they are; all others are rejected by that reason."""

    name: ClassVar[str] = "of-language"
    version: ClassVar[int] = 1

    corpus: Ref
    language: str

    def run(self, ctx: StageContext) -> None:
        """Writes the three files of a corpus; its digest is that of the corpus."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        if self.language not in corpus.summary()["languages"]:
            raise CorpusError(
                f"the corpus has no rows in {self.language!r}",
                where=str(corpus.root),
                next_step="it has: " + ", ".join(corpus.summary()["languages"]),
            )
        source = _Source("", corpus, "" if self.corpus.is_external else str(corpus.root.parent))
        rejects: list[Reject] = []
        summary = save_corpus(ctx.writing, self._rows(source, rejects), rejects, root=ctx.out)
        ctx.conserve(
            total=len(corpus), kept=summary["utterances"], rejected={OTHER_LANGUAGE: len(rejects)}, reject_limit=1.0
        )
        ctx.declare_digest(summary["digest"])

    def _rows(self, source: _Source, rejects: list[Reject]) -> Iterator[Row]:
        for where, (row, custom) in source.rows():
            if row.language == self.language:
                yield row, custom
            else:
                rejects.append(Reject(row.id, OTHER_LANGUAGE, row.language, where))
