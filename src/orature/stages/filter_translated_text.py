"""A text corpus translated into another language, where the translations are worth it: sentences to read aloud.

Example::

    found = run.do(Translate(texts=text, translator=translator_ref("fake"), source="es", target="qu"))
    run.do(FilterTranslatedText(text=text, translations=found, source="es", screening=Screening(target="qu")))

The artefact is a text corpus; beside `rejects.jsonl` (with the text that was left out) it holds `translations.jsonl`
and `translation.json` as `FilterTranslations` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar, TextIO

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.files import write_json, write_json_lines
from orature.core.types import Reject
from orature.flow import Ref, Stage, StageContext
from orature.stages.text_shards import reject_row
from orature.stages.translation_account import ACCOUNT, TranslationAccount
from orature.stages.translation_sieve import Screening, Sieve
from orature.stages.translation_texts import TRANSLATIONS
from orature.text.text_corpus import REJECTS, SENTENCES, SUMMARY, Sentence, TextCorpus, write_sentences


class FilterTranslatedText(Stage):
    """Every sentence with the first of its translations that passes the screening, or a reason why none does."""

    name: ClassVar[str] = "filter-translated-text"
    version: ClassVar[int] = 1
    text: Ref
    source: str
    screening: Screening
    translations: Ref | None = None
    seed: int = 1
    examples: int = Field(default=3, ge=0)
    reject_limit: float = Field(default=1.0, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes the files of a text corpus, translations.jsonl and translation.json."""
        corpus = TextCorpus.open(ctx.path_of(self.text))
        found = None if self.translations is None else ctx.path_of(self.translations)
        sieve = self.screening.sieve(ctx.path_of, found)
        account = TranslationAccount(self.seed, self.examples)
        rejects: list[dict[str, str]] = []
        with (
            ctx.progress(self.name, len(corpus), "sentences") as bar,
            ctx.writing(TRANSLATIONS) as part,
            part.open("w", encoding="utf-8", newline="\n") as records,
            ctx.writing(SENTENCES) as sentences,
        ):
            tally = write_sentences(sentences, _sentences(corpus, sieve, account, rejects, records, bar.advance))
        with ctx.writing(REJECTS) as part:
            write_json_lines(part, rejects)
        facts = account.to_json() | sieve.to_json() | {"source": self.source, "target": self.screening.target}
        with ctx.writing(ACCOUNT) as part:
            write_json(part, facts)
        summary = tally.summary(self.screening.target)
        rows = {"total": account.rows, "kept": account.kept, "rejected": facts["rejected"]}
        with ctx.writing(SUMMARY) as part:
            whole = {**summary, "rows": rows, "reasons": facts["rejected"], "warnings": []}
            part.write_text(json.dumps(whole, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        total = len(corpus) * sieve.variants
        ctx.conserve(total=total, kept=tally.sentences, rejected=account.rejected, reject_limit=self.reject_limit)
        if not tally.sentences:
            raise CorpusError(
                f"not one of {total} translations can be used",
                where=str(corpus.root),
                next_step="use a better translator, or loosen what rejects the most; None switches a check off",
            )
        ctx.note(kept=account.kept, rejected=facts["rejected"])
        ctx.declare_digest(str(summary["digest"]))


def _sentences(
    corpus: TextCorpus,
    sieve: Sieve,
    account: TranslationAccount,
    rejects: list[dict[str, str]],
    records: TextIO,
    advance: Any,
) -> Iterator[Sentence]:
    for sentence in corpus:
        advance(1)
        choice = sieve.choose(sentence.id, sentence.text)
        records.write(json.dumps(choice.to_json(sentence.id), ensure_ascii=False) + "\n")
        kept, refused = sieve.places(sentence.id, choice)
        for name, why in refused:
            account.refuse(name, choice, why)
            rejects.append(reject_row(Reject(name, why.reason, why.detail, sentence.source), sentence.text))
        for name, one in kept:
            account.keep(name, choice, one)
            yield Sentence(name, one.text, sentence.source, sentence.licence, sentence.line)
