"""The stage that makes sentence pairs fit to train a translator on, each row kept or rejected for a reason.

Example::

    stage = parallel_stage([Path("pairs.tsv")], source="es", target="qu", embargo=[Path("corpus")])
    corpus = ParallelCorpus.open(run.path_of(run.do(stage)))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from orature.core.errors import BadInput, ConfigError, CorpusError
from orature.core.files import write_json_lines
from orature.core.identity import digest_file
from orature.core.progress import say
from orature.core.types import Reject
from orature.data.corpus import Corpus, reject_json
from orature.data.draft import Seen
from orature.data.parallel import TEXTS, Columns, Direction, is_table, read_table, read_texts
from orature.engines.language_codes import codes_of
from orature.flow import Ref, Stage, StageContext
from orature.stages.inputs import corpus_ref
from orature.text.language import canonical_tag
from orature.text.leaks import Embargoed
from orature.text.pair_checks import PairRules, check_pairs, evaluation_rows, held_out, index_of, screen_pairs
from orature.text.parallel import PAIRS, REJECTS, SUMMARY, Pair, write_pairs

LEAST_PAIRS = 20
_SHOWN = 200
"""Characters of an example in a message."""
_HELD_OUT_SHARE, _MOST_HELD_OUT = 20, 1000
_KINDS = "give .tsv, .csv or .jsonl tables, a folder of them, or two .txt files whose lines translate each other"


class PairSource(BaseModel, frozen=True, extra="forbid"):
    """One table, or a text with its translation in `second`; rows are named after `name`."""

    ref: Ref
    second: Ref | None = None
    name: str
    licence: str = ""


class ParallelText(Stage):
    """Pairs of `sources` from `source` into `target`, in train, dev and test.

    Splits are those of the sources; a missing dev or test is drawn out of train (`held_out` pairs each, 0: a twentieth,
    at most 1000), sentence-disjoint. Train keeps the embargo with both sides of dev and test and with the dev and test
    sentences of the corpora in `embargo`.
    """

    name: ClassVar[str] = "parallel_text"
    version: ClassVar[int] = 1

    sources: tuple[PairSource, ...]
    source: str
    target: str
    source_column: str = ""
    target_column: str = ""
    embargo: tuple[Ref, ...] = ()
    held_out: int = Field(default=0, ge=0)
    max_characters: int = Field(default=600, ge=0)
    max_ratio: float = Field(default=4.0, ge=0)
    min_script_share: float = Field(default=0.8, ge=0, le=1)
    seed: int = 0

    def run(self, ctx: StageContext) -> None:
        """Writes pairs.jsonl.gz, rejects.jsonl and parallel.json; the digest is that of the pairs."""
        seen = Seen()
        pairs, rejects = parted(rows_of(self, ctx.path_of, seen))
        for note, count in seen.notes.items():
            say(f"pairs: {count} {note}")
        kept, more = check_pairs(pairs, PairRules(self.max_characters, self.max_ratio, self.min_script_share))
        rejects += more
        drawn = [part for part in ("dev", "test") if not any(pair.split == part for pair in kept)]
        kept = self._with_splits(kept, drawn)
        index = index_of(chain(evaluation_rows(kept), self._embargoed(ctx)))
        with ctx.progress("pairs: embargo", len(kept), "pairs") as bar:
            kept, more = screen_pairs(kept, index, bar.advance)
        rejects += more
        reasons = Counter(reject.reason for reject in rejects)
        self._hold(kept, reasons, rejects)
        ctx.conserve(total=seen.rows, kept=len(kept), rejected=reasons)
        about = {"drawn_from_train": drawn, "embargo": {"sentences": len(index), "exempt": index.exempt}}
        self._write(ctx, kept, rejects, about)

    def _with_splits(self, kept: list[Pair], drawn: Sequence[str]) -> list[Pair]:
        if not drawn:
            return kept
        train = sum(pair.split == "train" for pair in kept)
        count = self.held_out or max(1, min(_MOST_HELD_OUT, train // _HELD_OUT_SHARE))
        if train < LEAST_PAIRS + count * len(drawn):
            return kept
        say(f"pairs: no {' and no '.join(drawn)} among them: about {count} each are held out of train")
        return held_out(kept, drawn, count=count, seed=self.seed)

    def _embargoed(self, ctx: StageContext) -> Iterator[Embargoed]:
        for ref in self.embargo:
            corpus = Corpus.open(ctx.path_of(ref))
            for part in ("dev", "test"):
                for utterance in corpus.split(part):
                    if utterance.text:
                        yield Embargoed(f"{utterance.id} of {corpus.root.name}", part, utterance.text)

    def _hold(self, kept: Sequence[Pair], reasons: Counter[str], rejects: Sequence[Reject]) -> None:
        """CorpusError, with the commonest reasons and a row of the first, where too few pairs are left."""
        counts = Counter(pair.split for pair in kept)
        lacking = [part for part in ("dev", "test") if not counts[part]]
        if counts["train"] >= LEAST_PAIRS and not lacking:
            return
        common = reasons.most_common(5)
        why = ", ".join(f"{count} {reason}" for reason, count in common) or "there are no others"
        shown = next((one for one in rejects if common and one.reason == common[0][0]), None)
        why += "" if shown is None else f"; such as {shown.where}: {shown.detail[:_SHOWN]}"
        raise CorpusError(
            f"{counts['train']} pairs to train on, {counts['dev']} of dev and {counts['test']} of test are left, "
            f"which is too little (train: at least {LEAST_PAIRS}); left out: {why}",
            where=", ".join(one.name for one in self.sources),
            next_step="give more pairs, or look at why rows were left out: languages, empty sides, length, script, "
            "embargo",
        )

    def _write(self, ctx: StageContext, kept: list[Pair], rejects: list[Reject], about: dict[str, Any]) -> None:
        with ctx.writing(PAIRS) as path:
            tally = write_pairs(path, kept)
        with ctx.writing(REJECTS) as path:
            write_json_lines(path, [reject_json(reject) for reject in rejects])
        summary = tally.summary(self.source, self.target)
        facts = {**summary, **about, "sources": [one.name for one in self.sources]}
        if ctx.rows is not None:
            facts["rows"] = ctx.rows.model_dump(mode="json")
        with ctx.writing(SUMMARY) as path:
            path.write_text(json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        ctx.note(**{part: counts["pairs"] for part, counts in summary["splits"].items()})
        ctx.declare_digest(str(summary["digest"]))


def rows_of(stage: ParallelText, path_of: Callable[[Ref], Path], seen: Seen) -> Iterator[Pair | Reject]:
    """Every row of the sources once, before any check."""
    ways = Direction(tuple(codes_of(stage.source)), tuple(codes_of(stage.target)))
    columns = Columns(stage.source_column, stage.target_column)
    for one in stage.sources:
        path = path_of(one.ref)
        if one.second is not None:
            rows = read_texts(path, path_of(one.second), seen, name=one.name)
        else:
            rows = read_table(path, ways, columns, seen, name=one.name)
        for row in rows:
            if one.licence and isinstance(row, Pair) and not row.licence:
                yield replace(row, licence=one.licence)
            else:
                yield row


def parted(rows: Iterable[Pair | Reject]) -> tuple[list[Pair], list[Reject]]:
    """Pairs and rejects, each in their order."""
    pairs: list[Pair] = []
    rejects: list[Reject] = []
    for row in rows:
        if isinstance(row, Pair):
            pairs.append(row)
        else:
            rejects.append(row)
    return pairs, rejects


def pair_sources(paths: Sequence[Path], licence: str = "") -> tuple[PairSource, ...]:
    """Files and folders as sources with digests; text files are taken two by two. BadInput where that cannot be."""
    tables: list[Path] = []
    texts: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(one for one in path.iterdir() if one.is_file() and is_table(one))
            if not found:
                raise BadInput("no table of sentence pairs is in this folder", where=str(path), next_step=_KINDS)
            tables += found
        elif not path.is_file():
            raise BadInput("there is no such file or folder", where=str(path), next_step=_KINDS)
        elif path.name.lower().endswith(TEXTS):
            texts.append(path)
        elif is_table(path):
            tables.append(path)
        else:
            raise BadInput("this file is no table and no text", where=str(path), next_step=_KINDS)
    if len(texts) % 2:
        raise BadInput("a text file stands alone, without its translation", where=str(texts[-1]), next_step=_KINDS)
    files: list[tuple[Path, Path | None]] = [(path, None) for path in tables]
    files += zip(texts[::2], texts[1::2], strict=True)
    seen: Counter[str] = Counter()
    sources = []
    for first, second in files:
        seen[first.name] += 1
        name = first.name if seen[first.name] == 1 else f"{first.name}~{seen[first.name]}"
        other = None if second is None else _file_ref(second)
        sources.append(PairSource(ref=_file_ref(first), second=other, name=name, licence=licence))
    return tuple(sources)


def _file_ref(path: Path) -> Ref:
    return Ref(key="external", stage="pairs", digest=digest_file(path), path=str(path.absolute()))


def parallel_stage(
    paths: Sequence[Path],
    *,
    source: str,
    target: str,
    embargo: Sequence[Path] = (),
    licence: str = "",
    **options: Any,
) -> ParallelText:
    """The stage for files and folders; `options` are further fields of it. BadInput, ConfigError as needed."""
    source, target = canonical_tag(source), canonical_tag(target)
    if source == target:
        raise ConfigError(
            f"source and target are the same language ({source})", next_step="name two with --from and --to-lang"
        )
    return ParallelText(
        sources=pair_sources(paths, licence),
        source=source,
        target=target,
        embargo=tuple(map(corpus_ref, embargo)),
        **options,
    )
