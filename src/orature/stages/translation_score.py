"""A held-out set translated once and scored: what every stage that makes a translator does at its end.

Example::

    rows = translate_pairs(translator, pairs, ("es", "qu"), TextSearch())
    score = score_rows(rows, split="test", fingerprint=corpus.fingerprint("test"), language="qu")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orature.core.types import Refusal
from orature.engines.translator import TextSearch, TranslationRequest, Translator
from orature.evaluate.statistics import RESAMPLES, SEED
from orature.evaluate.translation import chrf, corpus_chrf, score_translations
from orature.text.parallel import Pair

SCORE_FILE, TRANSLATIONS_FILE, REPORT_FILE = "score.json", "translations.jsonl", "report.html"


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
) -> list[TranslatedRow]:
    """One row a pair, in order; a source that is refused has the translation ""."""
    source, target = languages
    translator.check(source, target)
    rows: list[TranslatedRow] = []
    for begin in range(0, len(pairs), translator.batch):
        part = pairs[begin : begin + translator.batch]
        asked = [TranslationRequest(pair.source, source, target) for pair in part]
        for pair, found in zip(part, translator.translate(asked, search), strict=True):
            refused = isinstance(found, Refusal)
            text = "" if isinstance(found, Refusal) else found[0].text
            why = found.reason if isinstance(found, Refusal) else ""
            alike = 0.0 if refused else chrf(text, pair.target)
            rows.append(TranslatedRow(pair.id, pair.source, pair.target, text, why, round(alike, 4)))
        advance(len(part))
    return rows


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
