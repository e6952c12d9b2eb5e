"""The sentences of a split as a text corpus: what a voice reads aloud to be judged beside the people who read it.

Only dev serves for that (law 5): what is made from it is marked as dev and never trained on.

Example::

    text = run.do(ProbeText(corpus=splits, most=300))
    probe = run.do(Synthesise(text=text, voice="espeak", split="dev", ...))
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.files import write_json, write_json_lines
from orature.core.types import Reject
from orature.data.corpus import Corpus, reject_json
from orature.flow import Ref, Stage, StageContext
from orature.text.leaks import sentence_key
from orature.text.text_corpus import REJECTS, SENTENCES, SUMMARY, Sentence, write_sentences

REPEATED, BEYOND, EMPTY = "repeated", "not-drawn", "text-empty"


class ProbeText(Stage):
    """Each sentence of the split once, at most `most` of them, drawn by a hash of the sentence and the seed."""

    name: ClassVar[str] = "probe-text"
    version: ClassVar[int] = 1
    corpus: Ref
    split: Literal["dev", "train"] = "dev"
    language: str = ""
    """BCP-47; "" for that of the rows."""
    most: int = Field(default=300, ge=1)
    seed: int = 1

    def run(self, ctx: StageContext) -> None:
        """Writes sentences.jsonl.gz, rejects.jsonl and text.json; CorpusError where the split has no sentence."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        found: dict[str, Sentence] = {}
        rejects: list[Reject] = []
        languages: set[str] = set()
        total = 0
        for row in sorted(corpus.split(self.split), key=lambda row: row.id):
            total += 1
            key = sentence_key(row.text or "")
            if not key:
                rejects.append(Reject(row.id, EMPTY, "there is nothing to read"))
            elif key in found:
                rejects.append(Reject(row.id, REPEATED, f"as {found[key].id}"))
            else:
                languages.add(row.language)
                found[key] = Sentence(f"probe-{row.id}", row.text or "", row.source, row.licence or "")
        if not found:
            raise CorpusError(
                f"the split {self.split!r} has no sentences to read aloud",
                where=str(corpus.root),
                next_step="make splits with: orature split CORPUS --to CORPUS",
            )
        order = sorted(found, key=lambda key: hashlib.sha256(f"{self.seed}|{key}".encode()).digest())
        rejects += [Reject(found[key].id, BEYOND, f"more than {self.most} sentences") for key in order[self.most :]]
        kept = sorted((found[key] for key in order[: self.most]), key=lambda sentence: sentence.id)
        with ctx.writing(SENTENCES) as part:
            tally = write_sentences(part, kept)
        with ctx.writing(REJECTS) as part:
            write_json_lines(part, [reject_json(reject) for reject in rejects])
        reasons = dict(sorted(Counter(reject.reason for reject in rejects).items()))
        language = self.language or (languages.pop() if len(languages) == 1 else "und")
        summary = tally.summary(language)
        with ctx.writing(SUMMARY) as part:
            write_json(part, {**summary, "reasons": reasons})
        ctx.conserve(total=total, kept=len(kept), rejected=reasons)
        ctx.declare_digest(summary["digest"])
