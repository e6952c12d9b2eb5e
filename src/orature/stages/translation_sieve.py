"""Which of the translations of a text are kept, and why the others are not: the embargo, then the checks.

Example::

    sieve = Screening(target="qu", like=(real,)).sieve(run.path_of, run.path_of(found))
    choice = sieve.choose("u7", "la casa es grande")
    [one.text for one in choice.kept] or choice.refusals[0].detail
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from orature.core.errors import RowsVanished
from orature.core.types import Refusal
from orature.data.corpus import Corpus
from orature.data.rows import fold
from orature.flow import Ref
from orature.stages.synthesise import read_embargo
from orature.stages.text_options import train_rows
from orature.stages.translate import read_facts
from orature.stages.translation_texts import (
    TRANSLATIONS,
    Candidate,
    Found,
    HumanTranslations,
    is_text_corpus,
    read_found,
)
from orature.text.language_check import MOST_SENTENCES, sample
from orature.text.leaks import EmbargoIndex
from orature.text.text_corpus import TextCorpus
from orature.text.translation_checks import Rendering, TranslationBounds, TranslationJudge

HUMAN, NO_HUMAN, NO_MORE = "human", "no-human-translation", "no-further-variant"
Test = Callable[[str], Refusal | None]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was kept of the translations of one row, the best first, and why each other one was not.

    There are as many entries in both together as variants were asked for, or more; `by` is the translator.
    """

    source: str
    by: str
    kept: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    candidates: tuple[Candidate, ...] = ()

    def to_json(self, row_id: str) -> dict[str, Any]:
        """One line of `translations.jsonl` of what was filtered."""
        return {
            "id": row_id,
            "source": self.source,
            "by": self.by,
            "kept": [one.text for one in self.kept],
            "candidates": [one.to_json() for one in self.candidates],
            "refusals": [{"reason": one.reason, "detail": one.detail} for one in self.refusals],
        }


class Screening(BaseModel, frozen=True, extra="forbid"):
    """What decides on translations into `target`.

    `embargo` are corpora (or artefacts with an embargo.json) whose dev and test sentences and recordings stay out;
    `like` corpora and text corpora of the target language: their train transcripts and sentences say what its texts
    look like, and the dev and test of the corpora stay out as well. `human` is a table of translations by persons,
    which come before those of a translator, and of which only the empty and the embargoed are refused. Of `variants`
    different translations of a row each becomes a row.
    """

    target: str
    embargo: tuple[Ref, ...] = ()
    like: tuple[Ref, ...] = ()
    human: Ref | None = None
    bounds: TranslationBounds = TranslationBounds()
    variants: int = Field(default=1, ge=1)

    def sieve(self, locate: Callable[[Ref], Path], translations: Path | None) -> Sieve:
        """With the embargo and the bounds of these corpora; `translations` is an artefact of `Translate`."""
        found = {} if translations is None else read_found(translations)
        facts = {} if translations is None else read_facts(translations)
        held = [read_embargo(locate(ref)) for ref in self.embargo]
        for place in map(locate, self.like):
            if not is_text_corpus(place):
                corpus = Corpus.open(place)
                held.append(EmbargoIndex.of(corpus.split("dev"), corpus.split("test")))
        pairs = [rendering_of(text, one.candidates[0]) for text, one in found.items() if one.candidates]
        texts = sample(_texts(map(locate, self.like), self.target), MOST_SENTENCES)
        return Sieve(
            found=found,
            facts=facts,
            human=None if self.human is None else HumanTranslations.read(locate(self.human)),
            held=tuple(held),
            judge=TranslationJudge.of(pairs, texts, self.target, self.bounds),
            variants=self.variants,
        )


def rendering_of(source: str, one: Candidate) -> Rendering:
    """A candidate with its source, as it is judged."""
    return Rendering(source, one.text, one.score, one.known, one.round_trip)


def like_texts(place: Path, target: str) -> Iterator[str]:
    """Texts in the target language that may be trained on: transcripts of train, or sentences of a text corpus."""
    if is_text_corpus(place):
        yield from (sentence.text for sentence in TextCorpus.open(place))
    else:
        yield from (row.text for row in train_rows(Corpus.open(place), target) if row.text)


def _texts(places: Iterable[Path], target: str) -> Iterator[str]:
    for place in places:
        yield from like_texts(place, target)


@dataclass
class Sieve:
    """Chooses among the translations of a row; what was judged once is remembered, by its text."""

    found: dict[str, Found]
    facts: dict[str, Any]
    human: HumanTranslations | None
    held: tuple[EmbargoIndex, ...]
    judge: TranslationJudge
    variants: int = 1
    _judged: dict[str, list[Refusal | None]] = field(default_factory=dict)

    @property
    def by(self) -> str:
        """The translator, "human" where there is none but persons."""
        return str((self.facts.get("translator") or {}).get("name", HUMAN))

    def choose(self, row_id: str, source: str, further: Test = lambda text: None) -> Choice:
        """The translations of a row that are kept; `further` is asked last about each text that passes.

        RowsVanished where a translator was at work and this text was never given to it.
        """
        source = fold(source)
        if not source:
            return self._none(source, self.by, Refusal("no-text", "there is nothing to translate"))
        texts = [] if self.human is None else self.human.of(row_id, source)
        if texts:
            candidates = tuple(map(Candidate, texts))
            verdicts = [self._breach(text) for text in texts]
            return self._choice(source, HUMAN, candidates, verdicts, further)
        if not self.facts:
            return self._none(source, HUMAN, Refusal(NO_HUMAN, "nobody has translated it"))
        found = self.found.get(source)
        if found is None:
            raise RowsVanished(
                f"{row_id} was never translated", where=TRANSLATIONS, next_step="run the whole command again"
            )
        if found.refusal is not None:
            return self._none(source, self.by, found.refusal)
        return self._choice(source, self.by, found.candidates, self._verdicts(found), further)

    def _verdicts(self, found: Found) -> list[Refusal | None]:
        if found.source not in self._judged:
            self._judged[found.source] = [
                self._breach(one.text) or self.judge.refusal(rendering_of(found.source, one))
                for one in found.candidates
            ]
        return self._judged[found.source]

    def _breach(self, text: str) -> Refusal | None:
        for index in self.held:
            if found := index.sentence_breach(text):
                return Refusal(f"embargo-{found.kind}", found.sentence(text))
        return None

    def _choice(
        self,
        source: str,
        by: str,
        candidates: Sequence[Candidate],
        verdicts: Sequence[Refusal | None],
        further: Test,
    ) -> Choice:
        kept: list[Candidate] = []
        refusals: list[Refusal] = []
        for one, verdict in zip(candidates, verdicts, strict=True):
            if len(kept) == self.variants:
                break
            why = verdict or further(one.text)
            if why is None:
                kept.append(one)
            else:
                refusals.append(why)
        return self._filled(Choice(source, by, tuple(kept), tuple(refusals), tuple(candidates)))

    def _none(self, source: str, by: str, why: Refusal) -> Choice:
        return self._filled(Choice(source, by, (), (why,)))

    def _filled(self, choice: Choice) -> Choice:
        """With a refusal for each variant that there is not."""
        lacking = self.variants - len(choice.kept) - len(choice.refusals)
        more = tuple(Refusal(NO_MORE, "no further translation was found") for _ in range(lacking))
        return Choice(choice.source, choice.by, choice.kept, choice.refusals + more, choice.candidates)

    def places(self, row_id: str, choice: Choice) -> tuple[list[tuple[str, Candidate]], list[tuple[str, Refusal]]]:
        """The ids of the rows that become of one: those that are kept, and those that are rejected.

        One variant keeps its id; of several they are `<id>-v1`, `<id>-v2` ... Every variant asked for is one of both.
        """
        names = [row_id] if self.variants == 1 else [f"{row_id}-v{n + 1}" for n in range(self.variants)]
        count = len(choice.kept)
        return list(zip(names, choice.kept, strict=False)), list(zip(names[count:], choice.refusals, strict=False))

    def audio_breach(self, digest: str) -> Refusal | None:
        """A recording that is one of dev or test of the embargoed corpora."""
        for index in self.held:
            if found := index.audio_breach(digest):
                return Refusal(f"embargo-{found.kind}", found.sentence(digest[:12]))
        return None

    def to_json(self) -> dict[str, Any]:
        """What decided, for the account."""
        return {
            "bounds": self.judge.to_json(),
            "embargo": {
                "sentences": sum(map(len, self.held)),
                "recordings": sum(index.recordings for index in self.held),
            },
            "translator": self.facts.get("translator"),
            "back": self.facts.get("back"),
            "searching": self.facts.get("searching"),
            "human": None if self.human is None else self.human.rows,
        }
