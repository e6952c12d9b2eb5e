"""N-gram language models in the ARPA format: writing, and a reader that scores without any extra library.

Scores are natural logarithms. `KenLm` (engines/kenlm.py) does the same much faster for whole models; this reader can
load only what a given set of words needs, so that the perplexity of a small text costs little memory.

Example::

    model = ArpaModel.load(Path("lm.arpa.gz"), words={"shuk", "wasi"})
    state, log_probability = model.score(model.begin(), "shuk")
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from orature.core.errors import ModelError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
LN10 = math.log(10.0)
_NEXT = "estimate it again with: orature lm TEXT --to LM"


class LanguageScorer(Protocol):
    """What a search asks of a language model over words or characters; scores are natural logarithms."""

    def begin(self) -> Any:
        """The state at the beginning of a sentence."""
        ...

    def score(self, state: Any, word: str) -> tuple[Any, float]:
        """The state after `word` and its log-probability (that of <unk> for a word outside)."""
        ...

    def end(self, state: Any) -> float:
        """Log-probability that the sentence ends here."""
        ...

    def knows(self, word: str) -> bool:
        """True for a word of the vocabulary."""
        ...


Section = Iterable[tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.float64] | None]]
"""Rows of one order: words (M, N), log10 probabilities (M,), log10 backoffs (M,) or None at the highest order."""


def write_arpa(path: Path, names: Sequence[str], counts: Sequence[int], sections: Iterable[Section]) -> None:
    """Writes an ARPA file, compressed where `path` ends in .gz; equal models give equal bytes."""
    with _writer(path) as stream:
        stream.write("\\data\\\n")
        for order, number in enumerate(counts, 1):
            stream.write(f"ngram {order}={number}\n")
        for order, section in enumerate(sections, 1):
            stream.write(f"\n\\{order}-grams:\n")
            for words_MN, log_M, backoff_M in section:
                stream.write(_lines(words_MN, log_M, backoff_M, names))
        stream.write("\n\\end\\\n")


def _lines(
    words_MN: npt.NDArray[np.int32],
    log_M: npt.NDArray[np.float64],
    backoff_M: npt.NDArray[np.float64] | None,
    names: Sequence[str],
) -> str:
    texts = [" ".join([names[word] for word in row]) for row in words_MN.tolist()]
    logs = log_M.tolist()
    if backoff_M is None:
        return "".join([f"{log:.7g}\t{text}\n" for log, text in zip(logs, texts, strict=True)])
    rows = zip(logs, texts, backoff_M.tolist(), strict=True)
    return "".join([f"{log:.7g}\t{text}\t{backoff:.7g}\n" for log, text, backoff in rows])


@contextmanager
def _writer(path: Path) -> Iterator[IO[str]]:
    with path.open("wb") as raw:
        if not path.name.endswith(".gz"):
            with io.TextIOWrapper(io.BufferedWriter(raw, 1 << 20), encoding="utf-8", newline="\n") as stream:
                yield stream
            return
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
            io.TextIOWrapper(io.BufferedWriter(packed, 1 << 20), encoding="utf-8", newline="\n") as stream,
        ):
            yield stream


@dataclass(frozen=True)
class ArpaModel:
    """N-grams with (log10 probability, log10 backoff); a state is the tuple of the last words."""

    order: int
    ngrams: dict[tuple[str, ...], tuple[float, float]]

    @classmethod
    def load(cls, path: Path, words: Iterable[str] | None = None) -> ArpaModel:
        """Reads an ARPA file (or .gz); with `words`, only n-grams of these. ModelError says which line is wrong."""
        wanted = None if words is None else {*words, BEGIN, END, UNKNOWN}
        ngrams: dict[tuple[str, ...], tuple[float, float]] = {}
        order = 0
        for place, number, line in _numbered(path):
            if line.startswith("\\"):
                order = _order_of(line, order)
                continue
            if not order:
                continue
            parts = line.split("\t")
            own = tuple(parts[1].split(" ")) if len(parts) > 1 else ()
            try:
                if len(own) != order:
                    raise ValueError(f"an {order}-gram has {len(own)} words")
                values = (float(parts[0]), float(parts[2]) if len(parts) > 2 else 0.0)
            except ValueError as error:
                raise ModelError(f"this ARPA line cannot be read: {error}", where=f"{place}:{number}") from error
            if wanted is None or wanted.issuperset(own):
                ngrams[own] = values
        if (UNKNOWN,) not in ngrams or (END,) not in ngrams:
            raise ModelError("this is no language model with <unk> and </s>", where=str(path), next_step=_NEXT)
        return cls(max(map(len, ngrams)), ngrams)

    def begin(self) -> Hashable:
        return (BEGIN,)

    def knows(self, word: str) -> bool:
        return (word,) in self.ngrams

    def score(self, state: Any, word: str) -> tuple[Any, float]:
        word = word if self.knows(word) else UNKNOWN
        total = 0.0
        context: tuple[str, ...] = state[-(self.order - 1) :]
        while (*context, word) not in self.ngrams:
            total += self.ngrams.get(context, (0.0, 0.0))[1]
            context = context[1:]
        total += self.ngrams[(*context, word)][0]
        return (*state, word)[-(self.order - 1) :], total * LN10

    def end(self, state: Any) -> float:
        return self.score(state, END)[1]


def _order_of(line: str, before: int) -> int:
    """The order that a section line begins; \\data\\ and \\end\\ are none."""
    head = line[1:].partition("-grams:")[0]
    return int(head) if head.isdecimal() else 0


def _numbered(path: Path) -> Iterator[tuple[Path, int, str]]:
    opened = gzip.open if path.name.endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rt", encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if line := line.rstrip("\n"):
                    yield path, number, line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the language model cannot be read: {error}", where=f"{path}:{number + 1}", next_step=_NEXT
        ) from error


@dataclass(frozen=True, slots=True)
class Perplexity:
    """Perplexity per word or character, sentence ends counted: over all, and over the known ones alone."""

    all: float
    known: float
    tokens: int
    unknown: int

    def to_json(self) -> dict[str, float | int]:
        return {
            "perplexity": round(self.all, 4),
            "perplexity_of_known": round(self.known, 4),
            "tokens": self.tokens,
            "unknown": self.unknown,
        }


def perplexity(model: LanguageScorer, sentences: Iterable[Sequence[str]]) -> Perplexity | None:
    """How well `model` foresees tokenised `sentences`; None where they hold nothing."""
    total = known = 0.0
    tokens = unknown = 0
    for sentence in sentences:
        if not sentence:
            continue
        state = model.begin()
        for word in sentence:
            state, log_probability = model.score(state, word)
            total += log_probability
            if model.knows(word):
                known += log_probability
            else:
                unknown += 1
        last = model.end(state)
        total, known, tokens = total + last, known + last, tokens + len(sentence) + 1
    if not tokens:
        return None
    return Perplexity(math.exp(-total / tokens), math.exp(-known / max(tokens - unknown, 1)), tokens, unknown)
