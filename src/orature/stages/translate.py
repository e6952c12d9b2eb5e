"""Translate: the different texts of a corpus, a text corpus or a file, each with its best translations.

Example::

    translator = translator_ref("marian:models/opus-mt-es-qu")
    found = run.do(Translate(texts=corpus, translator=translator, source="es", target="qu"), on=Resources(workers=2))
    kept = run.do(FilterTranslations(corpus=corpus, translations=found, source="es", target="qu"))

A text that stands there many times is translated once. What is done with the translations is another stage
(`FilterTranslations`, `FilterTranslatedText`), so that filters can be tried without translating again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field, model_validator

from orature.core.errors import CorpusError
from orature.core.files import write_json
from orature.core.identity import digest_rows
from orature.engines.translator import TextSearch
from orature.engines.translators import translator_files
from orature.flow import Ref, Resources, Stage, StageContext
from orature.flow.shards import shard_name
from orature.stages.inputs import TranslatorRef
from orature.stages.translation_shard import TranslationWork, close_translators
from orature.stages.translation_texts import (
    FACTS,
    TRANSLATIONS,
    HumanTranslations,
    Translated,
    distinct_texts,
    nothing_said,
)
from orature.train.devices import prepare_device, usable_cores

SHARD = 256
"""Texts that a crash can cost."""
_FOLDER = "parts"


class Searching(BaseModel, frozen=True, extra="forbid"):
    """How a translator looks for texts, see `TextSearch`: a beam search, or with `sample` so many drawn texts."""

    beams: int = Field(default=5, ge=1)
    length_penalty: float = 1.0
    n_best: int = Field(default=1, ge=1)
    sample: bool = False
    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=0, ge=0)
    max_ratio: float = Field(default=4.0, gt=0)

    @model_validator(mode="after")
    def _found_by_beams(self) -> Searching:
        if not self.sample and self.n_best > self.beams:
            raise ValueError(f"a search with {self.beams} beams finds no {self.n_best} texts; raise beams, or sample")
        return self

    def search(self) -> TextSearch:
        """As an engine takes it."""
        return TextSearch(**self.model_dump())


class Translate(Stage):
    """Translates every different text from `source` into `target` (BCP-47), and back again where `back` is given.

    `texts` is a corpus (its rows of `splits` in the language `source`), a text corpus or a file of text. `human` is a
    table of translations by persons: what it covers is not translated. With `searching.sample` what is drawn follows
    from (seed, text). `back` translates every candidate back, by a beam search of `back_beams`, and the round trip is
    measured by chrF under the scoring normaliser.
    """

    name: ClassVar[str] = "translate"
    version: ClassVar[int] = 1
    texts: Ref
    translator: TranslatorRef
    source: str
    target: str
    splits: tuple[Translated, ...] = ("train",)
    human: Ref | None = None
    searching: Searching = Searching()
    back: TranslatorRef | None = None
    back_beams: int = Field(default=1, ge=1)
    seed: int = 1

    def run(self, ctx: StageContext) -> None:
        """Writes translations.jsonl (a line a text, a refused one with its reason) and translate.json."""
        human = None if self.human is None else HumanTranslations.read(ctx.path_of(self.human))
        place = ctx.path_of(self.texts)
        texts = distinct_texts(place, splits=self.splits, source=self.source, human=human)
        if not texts and not (human and human.rows):
            raise CorpusError(
                f"there is no text to translate ({nothing_said(place, self.splits)})",
                where=str(place),
                next_step="name a corpus with transcripts in train, or a text of lines (UTF-8)",
            )
        batches = (texts[first : first + SHARD] for first in range(0, len(texts), SHARD))
        try:
            shards = ctx.map_shards(
                batches,
                self.work(ctx.resources),
                folder=_FOLDER,
                total=len(texts),
                unit="texts",
                aside=True,
                needs=self._needs(),
            )
        finally:
            close_translators()
        with ctx.writing(TRANSLATIONS) as part, part.open("w", encoding="utf-8", newline="\n") as whole:
            kept = sum(whole.write(line) > 0 for line in _lines(ctx.state, len(shards)))
        with ctx.writing(FACTS) as part:
            write_json(part, self._facts(shards, len(texts)))
        ctx.conserve(total=len(texts), kept=kept, rejected={})
        ctx.note(refused=sum(shard["refused"] for shard in shards), translator=self.translator.public_name)
        ctx.declare_digest(digest_rows(line.encode("utf-8") for line in _lines(ctx.state, len(shards))))

    def work(self, on: Resources) -> TranslationWork:
        """What is done with each shard."""
        device, threads = on.device, on.threads or 1
        if on.executor == "local":
            threads = on.threads or max(1, usable_cores() // on.workers)
            device = prepare_device(on.device, threads)
        return TranslationWork(
            translator=self.translator,
            back=self.back,
            source=self.source,
            target=self.target,
            search=self.searching.search(),
            back_search=TextSearch(beams=self.back_beams),
            seed=self.seed,
            device=device,
            threads=threads,
        )

    def _needs(self) -> list[Path]:
        """What a worker reads that is not in its task."""
        return [path for one in (self.translator, self.back) if one is not None for path in translator_files(one.spec)]

    def _facts(self, shards: Sequence[dict[str, Any]], texts: int) -> dict[str, Any]:
        def of(one: TranslatorRef | None, key: str) -> dict[str, Any] | None:
            if one is None:
                return None
            licences = sorted({shard[key] for shard in shards})
            return {"name": one.public_name, "revision": one.revision, "licence": " and ".join(licences)}

        return {
            "format": 1,
            "source": self.source,
            "target": self.target,
            "translator": of(self.translator, "licence"),
            "back": of(self.back, "back_licence"),
            "searching": self.searching.model_dump(mode="json"),
            "seed": self.seed,
            "texts": texts,
            "refused": sum(shard["refused"] for shard in shards),
        }


def _lines(state: Path, shards: int) -> Iterator[str]:
    for number in range(shards):
        with (state / _FOLDER / shard_name(number) / TRANSLATIONS).open(encoding="utf-8") as lines:
            yield from lines


def read_facts(folder: Path) -> dict[str, Any]:
    """translate.json of an artefact of `Translate`."""
    found: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return found
