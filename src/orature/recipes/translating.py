"""Translating transcripts (or text) as steps of a run: check what was asked, translate, keep what is worth it.

Example::

    asked = Translating(into="que-EC", translator="marian:opus-mt-es-qu", like=(Path("kichwa"),), embargo=())
    corpus = translated(run, Path("common_voice_es"), asked, on=Resources(workers=2))
    read_translation_account(run.path_of(corpus))["rejected"]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orature.core.errors import ConfigError
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.translators import open_translator, parse_translator
from orature.evaluate.translation import require_metrics
from orature.flow import Ref, Resources, Run
from orature.recipes.settings import nearest, override
from orature.recipes.training import only_language
from orature.stages.filter_translated_text import FilterTranslatedText
from orature.stages.filter_translations import FilterTranslations
from orature.stages.inputs import TranslatorRef, corpus_ref, text_corpus_ref, text_file_ref, translator_ref
from orature.stages.translate import Searching, Translate
from orature.stages.translation_account import account_lines, read_translation_account
from orature.stages.translation_shard import close_translators
from orature.stages.translation_sieve import Screening, like_texts
from orature.stages.translation_texts import (
    TRANSLATIONS,
    HumanTranslations,
    Translated,
    distinct_texts,
    in_source,
    is_text_corpus,
    why_not,
)
from orature.text.language import canonical_tag
from orature.text.language_check import LEAST_TRAINING, best_method
from orature.text.text_corpus import TextCorpus
from orature.text.translation_checks import OFF, TranslationBounds

__all__ = ["Translating", "account_lines", "read_translation_account", "stages_of", "translated", "translation_plan"]
Filter = FilterTranslations | FilterTranslatedText
_LANGUAGE_CHECK = "language_check"
_SAMPLE = 8
_TRAIN: tuple[Translated, ...] = ("train",)


@dataclass(frozen=True, slots=True)
class Translating:
    """What a person asked for; `options` are fields of `Searching` and `TranslationBounds` by their bare names.

    `translator` is a spec (see `open_translator`), "" where `human` alone, a table of translations, is to be used;
    `round_trip` the spec of one that translates back. `source` "": the one language of what is translated.
    """

    into: str
    translator: str = ""
    source: str = ""
    round_trip: str = ""
    backend: str = "auto"
    human: Path | None = None
    embargo: tuple[Path, ...] = ()
    like: tuple[Path, ...] = ()
    dev: bool = False
    variants: int = 1
    seed: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)


def translated(run: Run, place: Path | Ref, asked: Translating, *, on: Resources | None = None) -> Ref:
    """The translated corpus (of a corpus) or text corpus (of a text corpus), given as a folder or as a result.

    ConfigError, BadInput, ModelError, CorpusError or MissingExtra for what cannot be translated, before the work.
    """
    folder, given = (run.path_of(place), place) if isinstance(place, Ref) else (place, None)
    translate, screened = stages_of(folder, asked, given)
    if translate is None:
        return run.do(screened, on=on)
    found = run.do(translate, on=on)
    return run.do(screened.model_copy(update={"translations": found}), on=on)


def stages_of(place: Path, asked: Translating, ref: Ref | None = None) -> tuple[Translate | None, Filter]:
    """The two steps, the second one without what the first will find; the first None where a person did it all.

    `ref` is `place` as a result of a run, None for a folder outside.
    """
    place = Path(place)
    text = is_text_corpus(place)
    ref = ref or (text_corpus_ref(place) if text else corpus_ref(place))
    source, target = languages_of(place, asked)
    splits: tuple[Translated, ...] = ("train", "dev") if asked.dev and not text else _TRAIN
    screening = screening_of(target, asked, TranslationBounds())
    if not screening.embargo and not any(not is_text_corpus(Path(like.path)) for like in screening.like):
        say(
            f"translate: no corpus of {target} is named with --embargo or --like: nothing keeps the sentences that a "
            "recogniser of it will be tested on out of the translations"
        )
    common: dict[str, Any] = {"source": source, "screening": screening, "seed": asked.seed}
    last: Filter = (
        FilterTranslatedText(text=ref, **common) if text else FilterTranslations(corpus=ref, splits=splits, **common)
    )
    _refuse_nothing(place, splits, source)
    return translate_stage(ref, source, target, splits, asked, screening.human), last


def translate_stage(
    ref: Ref, source: str, target: str, splits: tuple[Translated, ...], asked: Translating, human: Ref | None
) -> Translate | None:
    """The stage that translates, its translators opened once to see that they can; None without a translator."""
    if not asked.translator:
        if human is None:
            raise ConfigError(
                "who translates?", next_step="name a translator with --translator ENGINE:MODEL, or --human FILE"
            )
        if asked.round_trip:
            raise ConfigError(
                "translations by persons are not translated back",
                next_step="leave --round-trip out, or name --translator",
            )
        return None
    back = None
    if asked.round_trip:
        require_metrics()
        back = _translator(asked.round_trip, target, source, asked.backend)
    return Translate(
        texts=ref,
        translator=_translator(asked.translator, source, target, asked.backend),
        source=source,
        target=target,
        splits=splits,
        human=human,
        searching=searching_of(asked),
        back=back,
        seed=asked.seed,
    )


def _translator(spec: str, source: str, target: str, backend: str) -> TranslatorRef:
    if parse_translator(spec).engine == "dictionary":
        say(f"translate: {spec} is a dictionary: it renders words one by one and makes no sentences of {target}")
    with open_translator(spec, backend=backend) as opened:
        opened.check(source, target)
        return translator_ref(spec, opened, backend=backend)


def searching_of(asked: Translating) -> Searching:
    """What was set, with as many texts as variants are asked for, and beams to find them."""
    given = _part(Searching, asked.options)
    wanted = given.setdefault("n_best", asked.variants)
    if isinstance(wanted, int) and wanted < asked.variants:
        raise ConfigError(
            f"{asked.variants} variants of {wanted} translations", next_step="raise --n-best, or lower --variants"
        )
    if isinstance(wanted, int) and not given.get("sample"):
        given.setdefault("beams", max(Searching().beams, wanted))
    return override(Searching(), given)


def screening_of(target: str, asked: Translating, bounds: TranslationBounds) -> Screening:
    """What decides on translations: `bounds` with what was set, the language check by what is there to check with."""
    _refuse_unknown(asked.options)
    like = tuple(text_corpus_ref(folder) if is_text_corpus(folder) else corpus_ref(folder) for folder in asked.like)
    given = _part(TranslationBounds, asked.options)
    if given.get(_LANGUAGE_CHECK, "none" if bounds == OFF else "auto") == "auto":
        given[_LANGUAGE_CHECK] = _best_check(target, asked.like)
    human = None
    if asked.human is not None:
        human = text_file_ref(asked.human)
        HumanTranslations.read(asked.human)
    return Screening(
        target=target,
        embargo=tuple(map(corpus_ref, asked.embargo)),
        like=like,
        human=human,
        bounds=override(bounds, given),
        variants=asked.variants,
    )


def _best_check(target: str, like: tuple[Path, ...]) -> str:
    texts: list[str] = []
    for text in chain.from_iterable(like_texts(folder, target) for folder in like):
        texts.append(text)
        if sum(map(len, texts)) >= LEAST_TRAINING:
            break
    method, why = best_method(target, texts)
    if method in ("ngrams", "none"):
        hint = "" if texts else " (name some with --like)"
        say(f"translate: {why}{hint}")
    return method


def _part(model: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are fields of `model`, "none" for None where a language check does not mean it."""
    named = {name: value for name, value in options.items() if name in model.model_fields}
    return {name: None if value == "none" and name != _LANGUAGE_CHECK else value for name, value in named.items()}


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    known = [*Searching.model_fields, *TranslationBounds.model_fields]
    for name in options:
        if name not in known:
            raise ConfigError(f"there is no option {name!r}", next_step=nearest(name, known))


def languages_of(place: Path, asked: Translating) -> tuple[str, str]:
    """Source and target as tags; ConfigError where the source is not clear, or both are one."""
    target = canonical_tag(asked.into)
    if asked.source:
        source = canonical_tag(asked.source)
    elif place.is_file():
        source = ""
    elif is_text_corpus(place):
        source = TextCorpus.open(place).language
    else:
        source = only_language(Corpus.open(place))
    if not source or source == "und":
        raise ConfigError(f"which language is {place} in?", next_step="name it with --from (BCP-47)")
    if source == target:
        raise ConfigError(f"{place} is in {target} already", next_step="name another language with --into")
    return source, target


def _refuse_nothing(place: Path, splits: tuple[Translated, ...], source: str) -> None:
    """ConfigError for a corpus without a row to translate, with what it holds instead."""
    if is_text_corpus(place):
        return
    corpus = Corpus.open(place)
    tags = in_source(corpus, source)
    if not any(why_not(row, splits, tags) is None for row in corpus):
        held = ", ".join(f"{part['utterances']} {name}" for name, part in corpus.summary()["splits"].items()) or "none"
        raise ConfigError(
            f"the corpus has no transcripts to translate in {' and '.join(splits)} (rows: {held})",
            where=str(place),
            next_step="make splits with `orature split`, or name a corpus with transcripts",
        )


def translation_plan(run: Run, place: Path, asked: Translating, *, on: Resources | None = None) -> dict[str, Any]:
    """What translating would do and cost; a few texts are translated here, by one process, to measure it."""
    on = on or Resources()
    translate, last = (plain_stage(place, asked), None) if place.is_file() else stages_of(place, asked)
    human = None if asked.human is None else HumanTranslations.read(asked.human)
    if translate is None:
        return {"texts": 0, "characters": 0, "seconds": 0.0, "workers": on.workers, "translate": "by persons"}
    texts = distinct_texts(place, splits=translate.splits, source=translate.source, human=human)
    state = run.planned(translate)
    characters = sum(map(len, texts))
    spent_s = 0.0 if state == "done" else measured(translate, texts, on) * characters / on.workers
    bounds = None if last is None else last.screening.bounds.model_dump(mode="json")
    return {
        "source": translate.source,
        "target": translate.target,
        "translator": translate.translator.public_name,
        "texts": len(texts),
        "characters": characters,
        "translate": state,
        "seconds": round(spent_s, 3),
        "workers": on.workers,
        "searching": translate.searching.model_dump(mode="json"),
        "bounds": bounds,
    }


def plain_stage(place: Path, asked: Translating) -> Translate | None:
    """The stage for a file of text."""
    source, target = languages_of(place, asked)
    human = None if asked.human is None else text_file_ref(asked.human)
    return translate_stage(text_file_ref(place), source, target, _TRAIN, asked, human)


def measured(translate: Translate, texts: list[str], on: Resources) -> float:
    """Seconds a character, of a few texts translated as they would be."""
    step = max(1, len(texts) // _SAMPLE)
    drawn = list(islice(texts, step // 2, None, step))[:_SAMPLE]
    if not drawn:
        return 0.0
    work = translate.work(on.model_copy(update={"workers": 1, "executor": "local"}))
    try:
        with tempfile.TemporaryDirectory(prefix="orature-cost-") as folder:
            work(drawn[:1], Path(folder))  # opening the translator is paid once
            Path(folder, TRANSLATIONS).unlink()
            began = time.perf_counter()
            work(drawn, Path(folder))
            return (time.perf_counter() - began) / max(1, sum(map(len, drawn)))
    finally:
        close_translators()
