"""A held-out set translated once and scored: what every stage that makes a translator does at its end.

Example::

    rows, known = translate_pairs(translator, pairs, ("es", "qu"), TextSearch())
    score = score_rows(rows, split="test", fingerprint=corpus.fingerprint("test"), language="qu")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orature.core.files import remove
from orature.core.types import Refusal
from orature.engines.translator import TextSearch, TranslationRequest, Translator
from orature.engines.translators import open_translator
from orature.engines.vocabulary import Files
from orature.evaluate.statistics import RESAMPLES, SEED
from orature.evaluate.translation import chrf, corpus_chrf, score_translations
from orature.flow import StageContext
from orature.text.parallel import Pair, ParallelCorpus

SCORE_FILE, TRANSLATIONS_FILE, REPORT_FILE = "score.json", "translations.jsonl", "report.html"


_MODEL = "model"


@dataclass(frozen=True, slots=True)
class TranslatedRow:
    """A pair, what the translator made of its source, and why it made nothing ("" where it did)."""

    id: str
    source: str
    reference: str
    translation: str
    refusal: str
    chrf: float

    def to_json(self) -> dict[str, Any]:
        """One line of translations.jsonl."""
        return asdict(self)


def translate_pairs(
    translator: Translator,
    pairs: Sequence[Pair],
    languages: tuple[str, str],
    search: TextSearch,
    advance: Callable[[float], None] = lambda by: None,
) -> tuple[list[TranslatedRow], float]:
    """One row a pair, in order, and the mean share of known words; a source that is refused has the translation ""."""
    source, target = languages
    translator.check(source, target)
    rows: list[TranslatedRow] = []
    known = 0.0
    for begin in range(0, len(pairs), translator.batch):
        part = pairs[begin : begin + translator.batch]
        asked = [TranslationRequest(pair.source, source, target) for pair in part]
        for pair, found in zip(part, translator.translate(asked, search), strict=True):
            refused = isinstance(found, Refusal)
            text = "" if isinstance(found, Refusal) else found[0].text
            why = found.reason if isinstance(found, Refusal) else ""
            known += 0.0 if isinstance(found, Refusal) else found[0].known
            alike = 0.0 if refused else chrf(text, pair.target)
            rows.append(TranslatedRow(pair.id, pair.source, pair.target, text, why, round(alike, 4)))
        advance(len(part))
    return rows, known / max(1, len(rows))


def tested(
    ctx: StageContext, engine: str, files: Files, corpus: ParallelCorpus, search: TextSearch, device: str
) -> tuple[list[TranslatedRow], float]:
    """Test, translated by the folder of `files` as it will be used; and the share of source words that were known."""
    folder = ctx.state / _MODEL
    remove(folder)
    folder.mkdir(parents=True)
    for name, write in files.items():
        write(folder / name)
    pairs = corpus.split("test")
    with (
        open_translator(f"{engine}:{folder}", device=device, threads=ctx.resources.threads) as translator,
        ctx.progress("train-translator: test", len(pairs), "sentences") as bar,
    ):
        return translate_pairs(translator, pairs, corpus.languages, search, bar.advance)


def score_rows(
    rows: Sequence[TranslatedRow],
    *,
    model: str,
    split: str,
    fingerprint: str,
    languages: tuple[str, str],
    decoder: Mapping[str, Any],
) -> dict[str, Any]:
    """The score file; a refused sentence counts as an empty translation."""
    references = [row.reference for row in rows]
    found = score_translations([row.translation for row in rows], references, language=languages[1])
    copied = corpus_chrf([row.source for row in rows], references)
    return {
        "model": model,
        "task": "translation",
        "split": split,
        "split_fingerprint": fingerprint,
        "source_language": languages[0],
        "language": languages[1],
        "decoder": dict(decoder),
        **found.as_json(),
        "refused": sum(bool(row.refusal) for row in rows),
        "copy": {"chrf": round(copied, 4)},
        "intervals": {"resamples": RESAMPLES, "seed": SEED, "level": 0.95},
    }


def score_in(folder: Path) -> dict[str, Any]:
    """The score file of a translator's folder."""
    found: dict[str, Any] = json.loads((folder / SCORE_FILE).read_text(encoding="utf-8"))
    return found
