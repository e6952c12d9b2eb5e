"""What every translator promises: a list of requests in, an equally long list of outcomes out, in the same order.

Example::

    with open_translator("marian:models/opus-mt-es-qu") as translator:
        found = translator.translate([TranslationRequest("la casa", source="es", target="qu")], TextSearch(n_best=3))[0]
        print(found[0].text if not isinstance(found, Refusal) else found.detail)

The translations of a request depend on the request and the search alone (law 7): not on its neighbours in the list, its
place or the number of workers. So translating may be cut, spread and resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from orature.core.errors import ConfigError
from orature.core.types import Card, Refusal


@dataclass(frozen=True, slots=True)
class TranslationRequest:
    """A text, its language and the language wanted (BCP-47); `seed` decides whatever is drawn when sampling."""

    text: str
    source: str
    target: str
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TextSearch:
    """How a translator looks for texts. With `sample`, `n_best` texts are drawn; else a beam search finds the best.

    `length_penalty` divides the log-probability of a text by its number of tokens to this power, as in transformers'
    `generate`; a search is done when `beams` texts have ended (its `early_stopping=True`). `temperature` and `top_k`
    (0: all tokens) are for sampling alone. `max_ratio` bounds the tokens of a translation by those of its source
    (counted in eights, and ten more): one that reaches the bound is a `Refusal` (`truncated`). `n_best` over `beams`
    makes so many beams.
    """

    beams: int = 5
    length_penalty: float = 1.0
    n_best: int = 1
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    max_ratio: float = 4.0

    def __post_init__(self) -> None:
        """ConfigError for numbers that make no search."""
        least = {"beams": 1, "n_best": 1, "top_k": 0}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise ConfigError(f"{name} is {getattr(self, name)}", where=name, next_step=f"give {number} or more")
        for name in ("temperature", "max_ratio"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}", where=name, next_step="give a number above 0")


@dataclass(frozen=True, slots=True)
class Translation:
    """A text and its score: the log-probability divided by the number of tokens to the power of the length penalty.

    `known` is the share of source words that the translator could render (1.0 where it cannot tell: neural ones).
    """

    text: str
    score: float
    known: float = 1.0


Translations = tuple[Translation, ...]
"""What was found for one text, the best first; at least one, at most `n_best` (fewer where no more differ)."""


SCORE_DIGITS = 3
"""Scores are rounded: the bits behind depend on what is computed beside."""


@runtime_checkable
class Translator(Protocol):
    """Turns texts of one language into another. It knows nothing of corpora, stores or files."""

    @property
    def card(self) -> Card:
        """Licence, languages, revision (engine and weights: it enters the identity of what is made) and determinism."""
        ...

    @property
    def batch(self) -> int:
        """How many requests of similar length are best given at a time."""
        ...

    def check(self, source: str, target: str) -> None:
        """ConfigError, with the nearest languages that it has, when it cannot translate in this direction."""
        ...

    def translate(self, requests: Sequence[TranslationRequest], search: TextSearch) -> list[Translations | Refusal]:
        """One outcome a request, in order; trouble with one request is its `Refusal`, never an exception.

        Reasons: those of `refusal_by`, too-long (the source), truncated (the translation), no-text (it is empty),
        translator-failed.
        """
        ...

    def close(self) -> None:
        """Lets go of processes and memory; it can be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def refusal_by(translator: Translator, request: TranslationRequest) -> Refusal | None:
    """What every translator refuses (empty-text, unknown-language); None where there is nothing to refuse."""
    if not request.text.strip():
        return Refusal("empty-text", "there is nothing to translate")
    try:
        translator.check(request.source, request.target)
    except ConfigError as error:
        return Refusal("unknown-language", f"{error.what}; {error.next_step}")
    return None
