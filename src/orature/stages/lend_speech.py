"""Recordings of another corpus as the untranscribed speech of a corpus: what if there were only that to label?

Lugosch et al. 2022 (arXiv 2111.00161, section 4) labelled speech in the wrong language and still gained; the other
corpus may also be speech of another kind.

Example::

    splits = run.do(LendSpeech(corpus=kichwa, speech=yoruba))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from orature.core.errors import CorpusError
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow.context import StageContext
from orature.flow.ref import Ref
from orature.flow.stage import Stage
from orature.stages.corpus_rows import rows_of
from orature.stages.label_speech import OTHER
from orature.text.leaks import EmbargoIndex, reject_of

REPLACED = "replaced"
_LENT = "lent"
Row = tuple[Utterance, dict[str, Any]]


class LendSpeech(Stage):
    """The transcribed rows of `corpus`; its untranscribed ones are the rows of train and unlabelled of `speech`.

    Those lose text and speaker, take the language of `corpus` (what they are labelled in) and have ids led by "lent/".
    The corpus's own untranscribed rows are rejected, and so is a lent recording that is in its dev or test. CorpusError
    where `corpus` is in several languages, or nothing is lent.
    """

    name: ClassVar[str] = "lend-speech"
    version: ClassVar[int] = 1

    corpus: Ref
    speech: Ref

    def run(self, ctx: StageContext) -> None:
        """Writes the three files of a corpus; its digest is that of the corpus."""
        corpus, speech = (Corpus.open(ctx.path_of(ref)) for ref in (self.corpus, self.speech))
        languages = corpus.summary()["languages"]
        if len(languages) != 1:
            raise CorpusError(
                f"speech can be lent to one language, not to {', '.join(languages)}",
                where=str(corpus.root),
                next_step="give each language a corpus of its own",
            )
        rejects: list[Reject] = []
        summary = save_corpus(ctx.writing, self._rows(corpus, speech, languages[0], rejects), rejects, root=ctx.out)
        counts = Counter(reject.reason for reject in rejects)
        ctx.conserve(total=len(corpus) + len(speech), kept=summary["utterances"], rejected=counts)
        lent = summary["splits"].get("unlabelled")
        if lent is None:
            raise CorpusError(
                "the corpus lends no recording: its train and unlabelled are empty", where=str(speech.root)
            )
        ctx.note(lent=lent, rejected=dict(counts))
        ctx.declare_digest(summary["digest"])

    def _rows(self, corpus: Corpus, speech: Corpus, language: str, rejects: list[Reject]) -> Iterator[Row]:
        index = EmbargoIndex.of(corpus.split("dev"), corpus.split("test"))
        for where, row, custom in rows_of(corpus, _store(self.corpus, corpus)):
            if row.split == "unlabelled":
                rejects.append(Reject(row.id, REPLACED, "another corpus lends its recordings", where))
            else:
                yield row, custom
        for where, row, custom in rows_of(speech, _store(self.speech, speech), _LENT):
            breach = index.audio_breach(row.audio.digest)
            if row.split not in ("train", "unlabelled"):
                rejects.append(Reject(row.id, OTHER, f"it is in {row.split or 'no split'}", where))
            elif breach is not None:
                rejects.append(replace(reject_of(row, breach), where=where))
            else:
                lent = replace(row, id=f"{_LENT}/{row.id}", text=None, speaker=None, language=language)
                yield replace(lent, split="unlabelled"), custom


def _store(ref: Ref, corpus: Corpus) -> str:
    return "" if ref.is_external else str(corpus.root.parent)
