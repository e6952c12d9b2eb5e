"""The stage that estimates an n-gram language model from text, with dev and test kept out of it (law 5).

Example::

    stage = language_model_stage([Path("news.txt")], corpus=Path("corpus"), order=3)
    lm = run.do(stage)           # lm.arpa.gz, lm.json, words.txt, rejects.jsonl
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from orature.core.errors import BadInput, ModelError
from orature.core.files import write_json
from orature.core.identity import digest_file
from orature.core.progress import Progress, say
from orature.core.types import AudioSpan, Reject, Utterance
from orature.data.corpus import Corpus, reject_json
from orature.engines.arpa import ArpaModel, Perplexity, perplexity
from orature.engines.beam import symbol
from orature.engines.kenlm import words_of_arpa
from orature.engines.kneser_ney import MEMORY_BYTES, LmFacts, check_options, estimate
from orature.flow import Ref, Stage, StageContext
from orature.stages.inputs import corpus_ref
from orature.text.alphabet import Case, Punctuation, TextPolicy, prepare
from orature.text.leaks import EmbargoIndex, reject_of
from orature.text.sentences import Kind, kind_of, read_sentences

LM, LM_FACTS, WORDS, REJECTS = "lm.arpa.gz", "lm.json", "words.txt", "rejects.jsonl"
EMPTY = "text-empty"
Unit = Literal["word", "character"]
ORDERS: dict[str, int] = {"word": 3, "character": 6}


class LanguageModel(Stage):
    """A language model over words or characters of `texts` and of the train transcripts of `corpus`.

    Every sentence is prepared by the text policy that the recogniser's transcripts were prepared by. Sentences that
    are, nearly are or hold a dev or test sentence of `corpus` or of one of `exclude` are rejected, counted and listed.
    `names` and `kinds` belong to `texts`; `licences` are what a person said of them.
    """

    name: ClassVar[str] = "language-model"
    version: ClassVar[int] = 1

    texts: tuple[Ref, ...] = ()
    names: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    licences: tuple[str, ...] = ()
    corpus: Ref | None = None
    exclude: tuple[Ref, ...] = ()
    unit: Unit = "word"
    order: int = 3
    prune: tuple[int, ...] = ()
    vocabulary: int | None = None
    case: Case = "lower"
    punctuation: Punctuation = "strip"
    turkic: bool = False
    replace: tuple[tuple[str, str], ...] = ()
    reject_limit: float = Field(default=0.95, ge=0, le=1)

    _memory_bytes: int = PrivateAttr(default=MEMORY_BYTES)
    """How it is computed, not what: the result is the same with any."""

    def within(self, memory_mb: int) -> LanguageModel:
        """The same work in other memory."""
        self._memory_bytes = memory_mb << 20
        return self

    @property
    def policy(self) -> TextPolicy:
        return TextPolicy(self.case, self.punctuation, self.turkic, self.replace)

    def run(self, ctx: StageContext) -> None:
        """Writes lm.arpa.gz, lm.json, words.txt, rejects.jsonl."""
        check_options(self.order, self.prune, self.vocabulary)
        guarded = [Corpus.open(ctx.path_of(ref)) for ref in (self.corpus, *self.exclude) if ref is not None]
        index = EmbargoIndex.of(*(part for corpus in guarded for part in (corpus.split("dev"), corpus.split("test"))))
        if not guarded:
            say("language-model: no corpus is named, so nothing is kept out: name the one you will test on (--exclude)")
        reader = _Reader(self, index)
        with (
            ctx.writing(LM) as arpa,
            ctx.writing(REJECTS) as part,
            part.open("w", encoding="utf-8", newline="\n") as rejects,
            ctx.progress("language model", unit="sentences") as bar,
        ):
            sentences = reader.sentences(self._sources(ctx), rejects, bar)
            facts = estimate(
                sentences,
                arpa,
                order=self.order,
                prune=self.prune,
                vocabulary=self.vocabulary,
                memory_bytes=self._memory_bytes,
                folder=ctx.state,
            )
        ctx.conserve(
            total=reader.total, kept=reader.kept, rejected=dict(reader.rejected), reject_limit=self.reject_limit
        )
        _say_fallback(facts)
        dev = [self.tokens(row.text) for corpus in guarded for row in corpus.split("dev") if row.text]
        found = _perplexity_of(ctx.out / LM, dev)
        with ctx.writing(WORDS) as path:
            words = sorted(set(words_of_arpa(ctx.out / LM)) - {"<s>", "</s>", "<unk>"})
            path.write_text("".join(word + "\n" for word in words), encoding="utf-8")
        with ctx.writing(LM_FACTS) as path:
            write_json(path, self._facts(facts, reader, index, found, guarded))
        ctx.note(ngrams=list(facts.ngrams), dev=None if found is None else found.to_json())

    def tokens(self, text: str) -> list[str]:
        """The units of one raw sentence: words, or characters with "|" for a space."""
        done = prepare(text, self.policy)
        return [symbol(letter) for letter in done] if self.unit == "character" else done.split()

    def _sources(self, ctx: StageContext) -> Iterator[tuple[str, Iterator[str]]]:
        for ref, name, kind in zip(self.texts, self.names, self.kinds, strict=True):
            yield name, read_sentences(ctx.path_of(ref), kind)
        if self.corpus is not None:
            rows = Corpus.open(ctx.path_of(self.corpus)).split("train")
            yield "train transcripts", (row.text for row in rows if row.text)

    def _facts(
        self,
        facts: LmFacts,
        reader: _Reader,
        index: EmbargoIndex,
        found: Perplexity | None,
        guarded: Sequence[Corpus],
    ) -> dict[str, Any]:
        own = guarded[0].summary().get("licences", []) if self.corpus is not None else []
        return {
            "format": 1,
            "unit": self.unit,
            **asdict(facts),
            "text_policy": self.policy.to_json(),
            "sources": [{"name": name, "sentences": count} for name, count in reader.sources.items()],
            "licences": sorted({*self.licences, *map(str, own)} - {""}),
            "kept": reader.kept,
            "rejected": dict(sorted(reader.rejected.items())),
            "embargo": {"sentences": len(index), "corpora": [corpus.digest for corpus in guarded]},
            "dev": None if found is None else found.to_json(),
        }


class _Reader:
    """Sentences on their way into the estimator: prepared, screened, counted."""

    def __init__(self, stage: LanguageModel, index: EmbargoIndex) -> None:
        self._stage, self._index = stage, index
        self.total = self.kept = 0
        self.rejected: Counter[str] = Counter()
        self.sources: dict[str, int] = {}

    def sentences(
        self, sources: Iterator[tuple[str, Iterator[str]]], rejects: IO[str], bar: Progress
    ) -> Iterator[list[str]]:
        for name, texts in sources:
            before = self.kept
            for number, text in enumerate(texts, 1):
                self.total += 1
                bar.advance(1)
                tokens = self._stage.tokens(text)
                reject = self._reject(f"{name}:{number}", text, tokens, name)
                if reject is None:
                    self.kept += 1
                    yield tokens
                    continue
                self.rejected[reject.reason] += 1
                rejects.write(json.dumps(reject_json(reject), ensure_ascii=False) + "\n")
            self.sources[name] = self.kept - before

    def _reject(self, place: str, text: str, tokens: list[str], source: str) -> Reject | None:
        if not tokens:
            return Reject(place, EMPTY, "nothing is left under the text policy", source)
        found = self._index.sentence_breach(text)
        return None if found is None else reject_of(_as_row(place, text, source), found)


def _as_row(place: str, text: str, source: str) -> Utterance:
    return Utterance(id=place, audio=AudioSpan("", 0.0, 0.0), text=text, source=source)


def _perplexity_of(path: Path, sentences: list[list[str]]) -> Perplexity | None:
    if not any(sentences):
        return None
    return perplexity(ArpaModel.load(path, {token for sentence in sentences for token in sentence}), sentences)


def _say_fallback(facts: LmFacts) -> None:
    if facts.fallback_orders:
        orders = ", ".join(map(str, facts.fallback_orders))
        say(
            f"language-model: the text is too small or too regular to estimate discounts of order {orders}; "
            "fixed ones (0.5, 1, 1.5) are used there"
        )


def policy_of_model(folder: Path) -> TextPolicy:
    """The text policy that a model was trained with (training.json); ModelError where it says none."""
    try:
        return TextPolicy.from_json(json.loads((folder / "training.json").read_text(encoding="utf-8"))["text_policy"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            "the model does not say how its transcripts were prepared (no text_policy in training.json)",
            where=str(folder),
            next_step="leave --model out and choose --text keep or --text normalise",
        ) from error


def text_ref(path: Path) -> Ref:
    """A text file as an input; BadInput where there is none."""
    if not path.is_file():
        raise BadInput("there is no such text file", where=str(path), next_step="name a file of sentences")
    return Ref(key="external", stage="text", digest=digest_file(path), path=str(path.absolute()))


def language_model_stage(
    texts: Sequence[Path],
    *,
    corpus: Path | Ref | None = None,
    exclude: Sequence[Path] = (),
    policy: TextPolicy | None = None,
    licences: Sequence[str] = (),
    unit: Unit = "word",
    order: int | None = None,
    **options: Any,
) -> LanguageModel:
    """The stage for files; `options` are further fields of LanguageModel. BadInput when there is no text at all."""
    if not texts and corpus is None:
        raise BadInput("there is no text", next_step="name a text file, or a corpus with --corpus")
    policy = policy or TextPolicy("lower", "strip")
    return LanguageModel(
        texts=tuple(map(text_ref, texts)),
        names=tuple(path.name for path in texts),
        kinds=tuple(map(kind_of, texts)),
        licences=tuple(licences),
        corpus=corpus_ref(corpus) if isinstance(corpus, Path) else corpus,
        exclude=tuple(map(corpus_ref, exclude)),
        unit=unit,
        order=order if order is not None else ORDERS[unit],
        case=policy.case,
        punctuation=policy.punctuation,
        turkic=policy.turkic,
        replace=policy.replace,
        **options,
    )
