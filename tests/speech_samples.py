"""Small text corpora and synthesis stages over the voice of tones, for the tests of synthesis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orature.flow import Ref
from orature.stages.inputs import text_corpus_ref, voice_ref
from orature.stages.synthesise import Synthesise
from orature.text.text_corpus import SENTENCES, SUMMARY, Sentence, write_sentences

WORDS = "kayman shamuychik wawki pani ari yaku inti killa wasi runa shuk ishkay kimsa chusku pichka sukta".split()


def sentences(count: int) -> list[Sentence]:
    """Sentences of two to five words, all different."""
    size = len(WORDS)
    return [
        Sentence(
            f"s/{n:04d}",
            " ".join(WORDS[(n * 7 + n // size + k * 3) % size] for k in range(2 + n % 4)),
            "book",
            "CC0-1.0",
        )
        for n in range(count)
    ]


def text_corpus(folder: Path, rows: Sequence[Sentence], language: str = "que-EC") -> Ref:
    """A text corpus folder as `orature text` makes it."""
    folder.mkdir(parents=True)
    tally = write_sentences(folder / SENTENCES, rows)
    (folder / SUMMARY).write_text(json.dumps(tally.summary(language)), encoding="utf-8")
    (folder / "rejects.jsonl").write_text("", encoding="utf-8")
    return text_corpus_ref(folder)


def reading(text: Ref, **fields: Any) -> Synthesise:
    """The stage with the voice of tones; small shards."""
    given: dict[str, Any] = {"language": "que-EC", "per_shard": 8, "seed": 3, "realism": "none"} | fields
    return Synthesise(text=text, voice=given.pop("voice", None) or voice_ref("fake"), **given)
