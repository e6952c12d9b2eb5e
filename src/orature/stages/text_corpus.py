"""The stage that makes a text corpus: sentences fit to be read aloud, each line kept or rejected for a reason.

Lines are read, split, cleaned and judged in shards, so that a killed run loses one shard at most; what needs all lines
at once (duplicates, choice) follows.

Example::

    stage = text_stage([Path("news.txt")], language="yo", corpora=[Path("corpus")])
    corpus = TextCorpus.open(run.path_of(run.do(stage)))
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from orature.core.errors import RejectLimitExceeded
from orature.core.files import part_path, remove, write_beside
from orature.core.progress import say
from orature.core.types import Reject
from orature.data.corpus import Corpus
from orature.flow import Ref, Stage, StageContext
from orature.stages.inputs import corpus_ref
from orature.stages.text_options import expand, phone_reader, source_of, tools, train_rows, with_names
from orature.stages.text_shards import ShardWork, TextSource, batches, judge_of, lines_of, make_shard, reject_row
from orature.text.language import canonical_tag
from orature.text.language_check import ALARM_SHARE, OTHER_LANGUAGE, Method, short_code
from orature.text.near_duplicates import exact_duplicates, near_duplicates
from orature.text.select import NOT_SELECTED, Selection, choose
from orature.text.spoken import number_code
from orature.text.text_corpus import REJECTS, SENTENCES, SUMMARY, Sentence, Tally, write_sentences
from orature.text.text_guide import Bounds, Guide, Judge, Rules
from orature.text.text_pool import Fates, Pool

DUPLICATE, NEAR = "duplicate", "near-duplicate"
SHARDS = "shards"
_LOOK = "`orature text --help` says how each check is widened or switched off"


class MakeText(Stage):
    """Sentences of `sources` in `language`, fit to be read aloud.

    Training transcripts of `corpora` say what is usual; their dev and test, and those of `exclude`, are embargoed.

    `tools` names the optional packages with their versions, because results depend on them. Bounds of None: those of
    the training transcripts, or the usual ones. `near_duplicates` is an overlap, 0 leaves them in. `phones` names the
    voice by whose phones coverage is counted, "" for letters instead.
    """

    name: ClassVar[str] = "text"
    version: ClassVar[int] = 1

    sources: tuple[TextSource, ...]
    language: str
    corpora: tuple[Ref, ...] = ()
    exclude: tuple[Ref, ...] = ()
    split: bool = True
    abbreviations: tuple[str, ...] = ()
    transcript: Literal["spoken", "written"] = "spoken"
    numbers: Literal["num2words", "none"] = "none"
    language_check: Method = "none"
    near_duplicates: float = Field(default=0.0, ge=0, le=1)
    max_unseen_share: float = Field(default=0.02, ge=0, le=1)
    min_characters: int | None = None
    max_characters: int | None = None
    min_words: int | None = None
    max_words: int | None = None
    most: int | None = Field(default=None, ge=1)
    most_hours: float | None = Field(default=None, gt=0)
    domain_share: float = Field(default=0.5, gt=0, le=1)
    dense_share: float = Field(default=0.1, ge=0, le=1)
    phones: str = ""
    seed: int = 0
    tools: tuple[str, ...] = ()
    reject_limit: float = Field(default=0.99, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes sentences.jsonl.gz, rejects.jsonl, text.json; the digest is that of the sentences."""
        guide = self.guide(ctx)
        place = ctx.state / "guide"
        with write_beside(place) as part:
            guide.save(part)
        work = partial(make_shard, self._work(place))
        lines = lines_of(self.sources, ctx.path_of)
        shards = ctx.map_shards(batches(lines), work, folder=SHARDS, unit="lines")
        folders = [ctx.out / SHARDS / f"{number:05d}" for number in range(len(shards))]
        pool = Pool.gathered(folders, ctx.state / "pool.jsonl")
        try:
            fates = self._duplicates(pool)
            self._hold_limit(pool, shards, fates)
            about = self._select(pool, fates, guide, ctx)
            tally, rejected = _write(ctx, pool, fates)
        finally:
            pool.close()
        self._summarise(ctx, guide, shards, tally, rejected, about)
        _drop(ctx.out / SHARDS)

    def guide(self, ctx: StageContext) -> Guide:
        """What the corpora say."""
        own = [Corpus.open(ctx.path_of(ref)) for ref in self.corpora]
        guarded = [*own, *(Corpus.open(ctx.path_of(ref)) for ref in self.exclude)]
        if not guarded:
            say("text: no corpus is named, so nothing is kept out: name the one you will test on (--corpus, --exclude)")
        foreign = [corpus.root.name for corpus in own if not _speaks(corpus, self.language)]
        if foreign:
            names = ", ".join(foreign)
            say(f"text: no row of {names} is in {self.language}: all its training transcripts are taken as such")
        train = chain.from_iterable(train_rows(corpus, self.language) for corpus in own)
        return Guide.of(train, (corpus.split(name) for corpus in guarded for name in ("dev", "test")))

    def _rules(self) -> Rules:
        return Rules(
            bounds=Bounds(self.min_characters, self.max_characters, self.min_words, self.max_words),
            max_unseen_share=self.max_unseen_share,
            numbers=self.numbers == "num2words",
            written=self.transcript == "written",
            language_check=self.language_check,
        )

    def _work(self, place: Path) -> ShardWork:
        return ShardWork(
            guide=place,
            key=self.key(),
            rules=self._rules(),
            language=self.language,
            split=self.split,
            abbreviations=self.abbreviations,
            sources=tuple((source.name, source.licence) for source in self.sources),
            signatures=bool(self.near_duplicates),
            seed=self.seed,
        )

    def _duplicates(self, pool: Pool) -> Fates:
        """What is there already, exactly or nearly."""
        fates = Fates()
        fates.leave_out(exact_duplicates(pool.marks()), DUPLICATE)
        if self.near_duplicates:
            rows = _left(pool, fates)
            fates.leave_out(near_duplicates(pool.bands(rows), pool.spoken, threshold=self.near_duplicates), NEAR)
        return fates

    def _hold_limit(self, pool: Pool, shards: Sequence[dict[str, Any]], fates: Fates) -> None:
        total = sum(shard["rows"] for shard in shards)
        reasons = fates.counts()
        lost = total - len(pool) + reasons.total()
        if total and lost < total and lost / total <= self.reject_limit:
            return
        for shard in shards:
            reasons.update(shard["rejected"])
        where = ", ".join(source.name for source in self.sources)
        if not total:
            raise RejectLimitExceeded("there is no line of text in the sources", where=where, next_step=_LOOK)
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(5))
        raise RejectLimitExceeded(
            f"{lost} of {total} sentences cannot be used, more than the {self.reject_limit:.0%} allowed: {said}"
            + _example(pool, reasons.most_common(1)[0][0]),
            where=where,
            next_step=_LOOK,
        )

    def _select(self, pool: Pool, fates: Fates, guide: Guide, ctx: StageContext) -> dict[str, Any]:
        if self.most is None and self.most_hours is None:
            return {}
        rows = _left(pool, fates)
        asked = Selection(
            most=self.most,
            most_seconds=None if self.most_hours is None else 3600 * self.most_hours,
            characters_per_s=guide.characters_per_s,
            domain_share=self.domain_share,
            dense_share=self.dense_share,
            seed=self.seed,
        )
        with ctx.progress("choose", len(rows), "sentences") as bar, ExitStack() as stack:
            reader = None
            if self.phones:
                reader, _, close = phone_reader(self.phones, self.language)
                stack.callback(close)
            chosen, about = choose(rows, pool.sentence, guide.transcripts, asked, phones=reader, advance=bar.advance)
        fates.choose(chosen, of=len(pool))
        return about

    def _summarise(
        self,
        ctx: StageContext,
        guide: Guide,
        shards: Sequence[dict[str, Any]],
        tally: Tally,
        rejected: Counter[str],
        about: dict[str, Any],
    ) -> None:
        total = sum(shard["rows"] for shard in shards)
        ctx.conserve(total=total, kept=tally.sentences, rejected=rejected)
        judge = judge_of(ctx.state / "guide", self.key(), self._rules(), self.language)
        warnings = self._warnings(total, rejected, judge)
        summary = tally.summary(self.language)
        facts = {
            **summary,
            "lines": sum(shard["lines"] for shard in shards),
            "rows": {"total": total, "kept": tally.sentences, "rejected": dict(sorted(rejected.items()))},
            "reasons": dict(sorted(rejected.items())),
            "embargo": {"sentences": len(guide.embargo), "exempt": guide.embargo.exempt},
            "language_check": judge.check.to_json() if judge.check is not None else {"method": "none"},
            "numbers": {"by": self.numbers, "language": judge.reader.code if judge.reader.reads_numbers else ""},
            "transcript": self.transcript,
            "characters_per_s": round(guide.characters_per_s, 4),
            "tools": list(self.tools),
            "selection": about,
            "warnings": warnings,
        }
        if guide.characters_per_s:
            facts["hours_estimated"] = round(tally.characters / guide.characters_per_s / 3600, 4)
        with ctx.writing(SUMMARY) as path:
            path.write_text(json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        ctx.note(sentences=tally.sentences, language=self.language)
        ctx.declare_digest(str(summary["digest"]))
        for warning in warnings:
            say(f"text: {warning}")

    def _warnings(self, total: int, rejected: Counter[str], judge: Judge) -> list[str]:
        found: list[str] = []
        other = rejected[OTHER_LANGUAGE]
        if total and other > ALARM_SHARE * total:
            found.append(
                f"the language check rejected {other} of {total} sentences, more than {ALARM_SHARE:.0%}: look at them "
                "in rejects.jsonl; --language-check none switches it off"
            )
        if self.numbers == "none" and rejected["digits-unreadable"]:
            known = number_code(self.language)
            why = "num2words was not used" if known else f"nobody here knows the numbers of {self.language}"
            found.append(f"{rejected['digits-unreadable']} sentences with figures were left out: {why}")
        if judge.reader.inflected:
            found.append(
                f"numbers of {self.language} are written out in their citation form, which can be wrong in a sentence"
            )
        return found


def _write(ctx: StageContext, pool: Pool, fates: Fates) -> tuple[Tally, Counter[str]]:
    """The sentences that stay, and every line that does not with its reason, both in the order of the sources."""
    rejected: Counter[str] = Counter()

    def stays() -> Iterator[Sentence]:
        for number, row in pool.rows():
            if number >= 0 and fates.of(number) is None:
                yield Sentence.from_json(row["keep"])

    with ctx.writing(SENTENCES) as path:
        tally = write_sentences(path, stays())
    with ctx.writing(REJECTS) as path, path.open("w", encoding="utf-8", newline="\n") as stream:
        for number, row in pool.rows():
            fate = fates.of(number) if number >= 0 else None
            if number >= 0 and fate is None:
                continue
            out = row["reject"] if fate is None else _fate_row(pool, Sentence.from_json(row["keep"]), *fate)
            rejected[out["reason"]] += 1
            stream.write(json.dumps(out, ensure_ascii=False) + "\n")
    return tally, rejected


def _speaks(corpus: Corpus, language: str) -> bool:
    tags = corpus.summary()["languages"]
    return "und" in tags or any(short_code(tag) == short_code(language) for tag in tags)


def _left(pool: Pool, fates: Fates) -> array[int]:
    return array("q", (number for number in range(len(pool)) if fates.of(number) is None))


def _example(pool: Pool, reason: str) -> str:
    for _, row in pool.rows():
        found = row.get("reject")
        if found and found["reason"] == reason:
            return f". The first {reason}, {found['id']}: {found['detail']}: “{found['text'][:80]}”"
    return ""


def _fate_row(pool: Pool, sentence: Sentence, reason: str, twin: int) -> dict[str, str]:
    if reason == NOT_SELECTED:
        detail = "good, but not among those chosen"
    else:
        other = pool.sentence(twin)
        detail = f"{'the same as' if reason == DUPLICATE else 'nearly the same as'} {other.id}: “{other.text}”"
    return reject_row(Reject(sentence.id, reason, detail, sentence.id), sentence.text)


def _drop(folder: Path) -> None:
    """Shards have served their turn: they go under an unfinished name first, so that a crash leaves no half of one."""
    aside = part_path(folder)
    folder.rename(aside)
    remove(aside)


def text_stage(
    sources: Sequence[Path],
    *,
    language: str,
    corpora: Sequence[Path] = (),
    exclude: Sequence[Path] = (),
    kind: str = "auto",
    column: str = "",
    licences: Sequence[str] = (),
    numbers: str = "auto",
    language_check: str = "auto",
    near_duplicates: float | None = None,
    phones: str = "",
    **options: Any,
) -> MakeText:
    """The stage for files, folders and patterns, after a look at them; `options` are further fields of MakeText.

    What is "auto" (and near duplicates when None) is decided here by what is installed, and said aloud where something
    is left out. `licences` is one for all sources or one for each. BadInput, ConfigError and MissingExtra as they come.
    """
    language = canonical_tag(language)
    paths = expand(sources)
    found = tuple(source_of(path, kind, column) for path in paths)
    named = with_names(found, licences)
    refs = tuple(map(corpus_ref, corpora))
    chosen = tools(language, refs, numbers, language_check, near_duplicates)
    if phones:
        _, tool, close = phone_reader(phones, language)
        close()
        chosen["tools"] = (*chosen["tools"], tool)
    return MakeText(
        sources=named,
        language=language,
        corpora=refs,
        exclude=tuple(map(corpus_ref, exclude)),
        phones=phones,
        **chosen,
        **options,
    )
