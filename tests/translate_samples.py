"""A corpus of a rich language, one of the target language, and stages of translation with made-up words, for tests."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import save_corpus
from orature.engines.translator import TextSearch, TranslationRequest
from orature.engines.translators import open_translator
from orature.flow import Ref, Resources, Run, Store
from orature.stages.filter_translations import FilterTranslations
from orature.stages.inputs import corpus_ref, translator_ref
from orature.stages.translate import Translate
from orature.stages.translation_sieve import Screening
from orature.text.translation_checks import TranslationBounds

QUIET = Resources(progress=False, threads=1)
WORDS = (
    "casa roja campo tiene puerta grande mesas madera junto río lluvia cae sobre tejado viejo perro duerme cerca fuego "
    "mujer vende flores blancas mercado niños corren calle larga abuelo cuenta historias noche luna brilla montaña "
    "agua fresca baja piedra camino lleva pueblo vecino gente canta fiesta maíz crece verde huerta maestra escribe "
    "pizarra"
).split()
SPOKEN = [" ".join(random.Random(n).sample(WORDS, 4 + n % 4)) for n in range(34)]
"""Different sentences of four to seven words: train are the first 30, then two of dev and two of test."""
LOOSE = TranslationBounds(most_unseen=None, most_ratio=None)

RowSpec = tuple[str, str, str | None, str]
ROWS: list[RowSpec] = [
    *((f"t{n:02}", "train", text, "es") for n, text in enumerate(SPOKEN[:30])),
    ("t30", "train", SPOKEN[3], "es"),
    ("t31", "train", "esto se debe refuse hoy", "es"),
    ("t32", "train", "un texto endless sin fin", "es"),
    ("t33", "train", None, "es"),
    ("t34", "train", "hello to the english world", "en"),
    ("d1", "dev", SPOKEN[30], "es"),
    ("d2", "dev", SPOKEN[31], "es"),
    ("x1", "test", SPOKEN[32], "es"),
    ("x2", "test", SPOKEN[33], "es"),
    ("u1", "unlabelled", None, "es"),
]


def speech(folder: Path, rows: Sequence[RowSpec] = ROWS, seed: int = 4) -> Path:
    """A corpus folder of short hisses with these ids, splits, texts and languages; a seed gives the recordings."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    made = []
    for name, split, text, language in rows:
        samples = (0.1 * rng.standard_normal(RATE_HZ // 8)).astype(np.float32)
        save_flac(folder / f"{name}.flac", samples)
        span = AudioSpan(str(folder / f"{name}.flac"), 0.0, len(samples) / RATE_HZ, audio_digest(samples))
        made.append(Utterance(name, span, text, language, f"s-{name}", split=split))  # type: ignore[arg-type]
    save_corpus(lambda name: write_beside(folder / name), made, [])
    return folder


def said(text: str, target: str = "qu", **search: Any) -> list[str]:
    """What the translator of made-up words says for a text."""
    with open_translator("fake") as translator:
        (found,) = translator.translate([TranslationRequest(text, "es", target)], TextSearch(**search))
    return [one.text for one in found]  # type: ignore[union-attr]


def translating(corpus: Ref, **fields: Any) -> Translate:
    """The stage with the translator of made-up words."""
    given = {"texts": corpus, "translator": translator_ref("fake"), "source": "es", "target": "qu"}
    return Translate(**(given | fields))


def made(root: Path, corpus: Path, *, on: Resources = QUIET, human: Ref | None = None, **fields: Any) -> Path:
    """The folder of a translated corpus; `fields` of either stage or of the screening."""
    store = Store(root)
    run = Run(store, "test", "test")
    ref, own = corpus_ref(corpus), dict(fields)
    screening = {name: own.pop(name) for name in list(own) if name in Screening.model_fields}
    both = {name: own.pop(name) for name in list(own) if name in ("splits", "seed")}
    last = {name: own.pop(name) for name in list(own) if name in FilterTranslations.model_fields}
    found = run.do(translating(ref, human=human, **both, **own), on=on)
    screen = Screening(target="qu", human=human, **({"bounds": LOOSE} | screening))
    stage = FilterTranslations(corpus=ref, translations=found, source="es", screening=screen, **both, **last)
    return store.path_of(run.do(stage, on=on))


def rejects(folder: Path) -> dict[str, str]:
    """Reasons by the ids of rejected rows."""
    lines = (folder / "rejects.jsonl").read_text("utf-8").splitlines()
    return {row["id"]: row["reason"] for row in map(json.loads, lines)}


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The lines of translations.jsonl by id."""
    lines = (folder / "translations.jsonl").read_text("utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}
