"""Speech of one language with its transcripts translated into another, where the translations are worth training on.

Example::

    found = run.do(Translate(texts=corpus, translator=translator_ref("marian:opus"), source="es", target="qu"))
    stage = FilterTranslations(corpus=corpus, translations=found, source="es", screening=Screening(target="qu"))
    read_translation_account(run.path_of(run.do(stage)))["rejected"]

The artefact is a corpus (origin "translated"); beside `rejects.jsonl` it holds `translations.jsonl`, a line a row that
was translated: its source text, what was kept, all candidates with their scores, and why others were refused; and
`translation.json`: counts by reason, the bounds as they came out, examples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TextIO

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.files import write_json
from orature.core.types import Origin, Refusal, Reject, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Ref, Stage, StageContext
from orature.stages.corpus_rows import rows_of
from orature.stages.translation_account import ACCOUNT, TranslationAccount
from orature.stages.translation_sieve import NO_HUMAN, Choice, Screening, Sieve
from orature.stages.translation_texts import TRANSLATIONS, Candidate, Translated, in_source, why_not
from orature.text.leaks import EmbargoIndex

_TRANSLATED: Origin = "translated"
Row = tuple[Utterance, dict[str, Any]]


class FilterTranslations(Stage):
    """Rows of `splits` with the first of their translations that passes the screening, in its language.

    A train row is rejected where its recording or its own transcript is one of dev or test of the corpus, its recording
    one of dev or test of an embargoed corpus, or all its translations are refused: as one of embargoed sentences or of
    translated dev rows (nearly), or by the checks (`TranslationBounds`); the reason is that of the best one. Test rows
    are never translated. `translations` (None: persons' alone) is what `Translate` found for this corpus.
    """

    name: ClassVar[str] = "filter-translations"
    version: ClassVar[int] = 1
    corpus: Ref
    source: str
    screening: Screening
    translations: Ref | None = None
    splits: tuple[Translated, ...] = ("train",)
    seed: int = 1
    examples: int = Field(default=3, ge=0)
    reject_limit: float = Field(default=1.0, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes the files of a corpus, translations.jsonl and translation.json."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        found = None if self.translations is None else ctx.path_of(self.translations)
        sieve = self.screening.sieve(ctx.path_of, found)
        store = "" if self.corpus.is_external else str(corpus.root.parent)
        sorter = _Sorter(self, corpus, sieve, store)
        with (
            ctx.progress(self.name, len(corpus), "rows") as bar,
            ctx.writing(TRANSLATIONS) as part,
            part.open("w", encoding="utf-8", newline="\n") as records,
        ):
            summary = save_corpus(ctx.writing, sorter.rows(records, bar.advance), sorter.rejects, root=ctx.out)
        counts = Counter(reject.reason for reject in sorter.rejects)
        about = {"source": self.source, "target": self.screening.target, "splits": list(self.splits)}
        facts = sorter.account.to_json() | sieve.to_json() | about
        with ctx.writing(ACCOUNT) as part:
            write_json(part, facts)
        ctx.conserve(total=sorter.total, kept=summary["utterances"], rejected=counts, reject_limit=self.reject_limit)
        if not summary["utterances"]:
            told = Counter(facts["rejected"]).most_common(4)
            raise CorpusError(
                f"not one of {facts['rows']} translations can be used "
                f"({', '.join(f'{count} {reason}' for reason, count in told) or 'none was there'})",
                where=str(corpus.root),
                next_step=_next_step(told[0][0] if told else ""),
            )
        ctx.note(kept=facts["kept"], kept_hours=facts["kept_hours"], rejected=dict(counts))
        ctx.declare_digest(summary["digest"])


def _next_step(reason: str) -> str:
    """What to do where nothing is kept, by the commonest reason."""
    if reason == NO_HUMAN:
        return "give a table whose `sentence` or `id` are those of the corpus, or name a translator with --translator"
    return "use a better translator, or loosen what rejects the most; None switches a check off"


@dataclass
class _Sorter:
    """Streams the corpus: what its rows become, rejects aside."""

    stage: FilterTranslations
    corpus: Corpus
    sieve: Sieve
    store: str
    rejects: list[Reject] = field(default_factory=list)
    total: int = 0
    account: TranslationAccount = field(init=False)
    own: EmbargoIndex = field(init=False)
    dev: EmbargoIndex = field(init=False)
    tags: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.account = TranslationAccount(self.stage.seed, self.stage.examples)
        self.tags = in_source(self.corpus, self.stage.source)
        self.own = EmbargoIndex.of(self.corpus.split("dev"), self.corpus.split("test"))
        self.dev = EmbargoIndex.of(self._translated_dev())

    def _translated_dev(self) -> Iterator[Utterance]:
        if "dev" in self.stage.splits:
            for row in self.corpus.split("dev"):
                if why_not(row, self.stage.splits, self.tags) is None:
                    for one in self.sieve.choose(row.id, row.text or "").kept:
                        yield replace(row, text=one.text)

    def rows(self, records: TextIO, advance: Any) -> Iterator[Row]:
        for where, row, custom in rows_of(self.corpus, self.store):
            advance(1)
            why = why_not(row, self.stage.splits, self.tags)
            if why is not None:
                self.total += 1
                self.rejects.append(Reject(row.id, why.reason, why.detail, where))
                continue
            self.total += self.sieve.variants
            choice = self._choice(row)
            records.write(json.dumps(choice.to_json(row.id), ensure_ascii=False) + "\n")
            kept, refused = self.sieve.places(row.id, choice)
            for name, refusal in refused:
                self.account.refuse(name, choice, refusal)
                self.rejects.append(Reject(name, refusal.reason, _told(choice, refusal), where))
            for name, one in kept:
                self.account.keep(name, choice, one, row.audio.duration_s)
                made = replace(row, id=name, text=one.text, language=self.stage.screening.target, origin=_TRANSLATED)
                yield made, custom | self._custom(row, choice, one)

    def _choice(self, row: Utterance) -> Choice:
        if row.split == "dev":
            choice = self.sieve.choose(row.id, row.text or "")
        else:
            choice = self.sieve.choose(row.id, row.text or "", self._meets_dev)
        breach = None if row.split == "dev" else self.own.breach(row)
        offered = row.id if breach is not None and breach.kind == "audio" else (row.text or "")
        own = None if breach is None else Refusal(f"embargo-{breach.kind}", breach.sentence(offered))
        why = own or self.sieve.audio_breach(row.audio.digest)
        if why is None:
            return choice
        return replace(choice, kept=(), refusals=(why,) * self.sieve.variants)

    def _meets_dev(self, text: str) -> Refusal | None:
        breach = self.dev.sentence_breach(text)
        return None if breach is None else Refusal(f"embargo-{breach.kind}", breach.sentence(text))

    def _custom(self, row: Utterance, choice: Choice, one: Candidate) -> dict[str, Any]:
        """How a row was made, for its cut: enough to see what it was."""
        made: dict[str, Any] = {"source_text": row.text, "source_language": row.language, "translator": choice.by}
        translator = self.sieve.facts.get("translator") or {}
        if choice.by == translator.get("name"):
            made |= {"translator_licence": translator["licence"], "translation_score": one.score}
        return made if one.round_trip is None else {**made, "round_trip": one.round_trip}


def _told(choice: Choice, refusal: Refusal) -> str:
    """The detail with the two texts, so that a reject can be judged without looking elsewhere."""
    best = f" → “{choice.candidates[0].text}”" if choice.candidates else ""
    return f"{refusal.detail}: “{choice.source}”{best}"
