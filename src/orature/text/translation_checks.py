"""Is this a translation worth training on? Checks of one text against its source, and against how the language looks.

Example::

    judge = TranslationJudge.of(pairs, transcripts, "que-EC", TranslationBounds())
    judge.refusal(Rendering("la casa es grande", "wasi hatunmi"))        # None, or a Refusal with reason and detail

The checks and most of their bounds are those of Granary (2025, arXiv 2505.13404) for machine translations: ratio of
lengths below 4, four fifths of the letters in the alphabet, the language, and a score. What a Latin-script European
pair does not need is put right here: lengths are held against the usual ratio of the run (a Chinese sentence has a
third of the characters of an English one), words are not counted in scripts without spaces, and a language that no
identifier knows is compared with the spelling of its own transcripts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median
from typing import Any
from unicodedata import category, normalize

from pydantic import BaseModel, Field

from orature.core.types import Refusal
from orature.text.label_checks import LONG_LETTERS, disagreement, other_script_share, outside_share, repeated_share
from orature.text.language import is_spaceless
from orature.text.language_check import LEAST_LETTERS, LanguageCheck, Method, usable_check
from orature.text.leaks import sentence_key
from orature.text.normalise import normalise
from orature.text.text_guide import ALPHABET, SCRIPT, own_scripts, scripts_of_tag

EMPTY, RATIO, COPIED, REPEATED, SAME = "translation-empty", "length-ratio", "copied-source", "repeated", "same-for-many"
UNSURE, UNKNOWN_WORDS, ROUND_TRIP = "unsure", "unknown-words", "round-trip"
_LEAST_WORDS = 5
_LEAST_PAIRS = 20
_MOST_USUAL = 4.0


class TranslationBounds(BaseModel, frozen=True, extra="forbid"):
    """Bounds on one translation; None (for `language_check`: "none"): not looked at.

    - `most_ratio`: the letters of one side by those of the other may be so many times the usual ratio, and so may the
      words; both ways. Pairs of fewer than 20 letters (5 words) are not judged. Usual is the median of the run, from 20
      pairs on, else 1.
    - `most_unseen`, `most_other_script`: shares of the letters outside of the alphabet, and in other scripts, of the
      texts in the language; without such texts the script that the language tag names, else not looked at.
    - `least_changed`: share of the characters that must differ from the source, or it was copied; sentences of fewer
      than 12 letters, often names, are not judged. Closely related languages may need 0.
    - `most_repeated`: see `repeated_share`; a source that repeats more may be followed.
    - `most_same`: so many different sentences may have one translation of 12 letters or more.
    - `language_check`: as of `orature.text.language_check`.
    - `min_score`: the score that the translator gave; `min_known`: share of the source words that it could render.
    - `min_round_trip`: chrF, in points, of the source against its translation translated back, where that was done.
      Of pairs of unrelated sentences of 20 letters or more half have 12 to 18; one in a hundred has more than 24 in
      Bambara, 26 in French, 27 in Spanish, 36 in Kichwa, whose words share long endings.

    With a language check by n-grams of other sentences they refused 0.7 % of 12,437 translations by persons from
    Bambara into French, and 1.4 % of 887 from Kichwa into Spanish.
    """

    most_ratio: float | None = Field(default=4.0, gt=1)
    most_unseen: float | None = Field(default=0.2, ge=0, le=1)
    most_other_script: float | None = Field(default=0.1, ge=0, le=1)
    least_changed: float | None = Field(default=0.1, ge=0, le=1)
    most_repeated: float | None = Field(default=0.5, ge=0, le=1)
    most_same: int | None = Field(default=5, ge=1)
    language_check: Method = "none"
    min_score: float | None = Field(default=None, le=0)
    min_known: float | None = Field(default=0.5, ge=0, le=1)
    min_round_trip: float | None = Field(default=30.0, ge=0, le=100)


OFF = TranslationBounds(
    most_ratio=None,
    most_unseen=None,
    most_other_script=None,
    least_changed=None,
    most_repeated=None,
    most_same=None,
    min_known=None,
    min_round_trip=None,
)
"""Nothing is looked at."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A sentence and what a translator made of it; `round_trip` in points of chrF, None where that was not done."""

    source: str
    text: str
    score: float = 0.0
    known: float = 1.0
    round_trip: float | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """Letters and words of a translation for one of its source, in the median of a run."""

    letters: float = 1.0
    words: float = 1.0
    pairs: int = 0

    @classmethod
    def of(cls, pairs: Iterable[Rendering]) -> Usual:
        """From pairs long enough to be judged; a median beyond 4 (or a quarter) is held there: that is no language."""
        by_letters: list[float] = []
        by_words: list[float] = []
        for pair in pairs:
            (mine, words), (its, its_words) = _lengths(pair.text), _lengths(pair.source)
            if min(mine, its) and max(mine, its) >= LEAST_LETTERS:
                by_letters.append(mine / its)
                if min(words, its_words):
                    by_words.append(words / its_words)
        return cls(_middle(by_letters), _middle(by_words), len(by_letters))


def _middle(ratios: Sequence[float]) -> float:
    return min(_MOST_USUAL, max(1 / _MOST_USUAL, median(ratios))) if len(ratios) >= _LEAST_PAIRS else 1.0


@lru_cache(maxsize=4096)
def _lengths(text: str) -> tuple[int, int]:
    """Letters (with marks and digits) and words; no words where most letters stand without spaces between words."""
    plain = normalise(text)
    count = sum(category(one)[0] in "LMN" for one in plain)
    return count, 0 if 2 * sum(map(is_spaceless, plain)) > count else len(plain.split())


@dataclass(frozen=True)
class TranslationJudge:
    """All checks of one translation in a fixed order; the first that fails gives the reason."""

    bounds: TranslationBounds
    language: str
    usual: Usual = Usual()
    texts: int = 0
    alphabet: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()
    check: LanguageCheck | None = None
    same: Counter[str] = field(default_factory=Counter)
    """How many different sentences have the translation with this key."""

    @classmethod
    def of(
        cls, pairs: Sequence[Rendering], texts: Sequence[str], language: str, bounds: TranslationBounds
    ) -> TranslationJudge:
        """A judge of translations into `language`: `pairs` are the best ones of each different sentence of the run.

        `texts` are sentences of the language that may be trained on (never of dev or test). MissingExtra where
        `language_check` needs a package that is not there.
        """
        letters = Counter[str]()
        for text in texts:
            letters.update(normalize("NFD", normalise(text)))
        return cls(
            bounds=bounds,
            language=language,
            usual=Usual.of(pairs) if bounds.most_ratio is not None else Usual(),
            texts=len(texts),
            alphabet=frozenset(letter for letter in letters if category(letter)[0] in "LM"),
            scripts=frozenset(own_scripts(letters)) or scripts_of_tag(language),
            check=usable_check(texts, language, bounds.language_check),
            same=Counter(map(sentence_key, (pair.text for pair in pairs)))
            if bounds.most_same is not None
            else Counter(),
        )

    def refusal(self, pair: Rendering) -> Refusal | None:
        """Why `pair` is nothing to train on; None where nothing speaks against it."""
        if not any(category(one)[0] in "LN" for one in pair.text):
            return Refusal(EMPTY, "the translation holds neither a letter nor a number")
        tests: tuple[Callable[[Rendering], Refusal | None], ...] = (
            self._confidence,
            self._copied,
            self._letters,
            self._ratio,
            self._repeats,
            self._frequent,
        )
        for test in tests:
            if found := test(pair):
                return found
        found = None if self.check is None else self.check.refusal(pair.text)
        return found or self._round_trip(pair)

    def _confidence(self, pair: Rendering) -> Refusal | None:
        least, known = self.bounds.min_score, self.bounds.min_known
        if least is not None and pair.score < least:
            return Refusal(UNSURE, f"score {pair.score:.2f}; at least {least:g} is asked")
        if known is not None and pair.known < known:
            share = f"{100 * pair.known:.0f} % of the source's words"
            return Refusal(UNKNOWN_WORDS, f"the translator knew {share}; at least {100 * known:g} % is asked")
        return None

    def _letters(self, pair: Rendering) -> Refusal | None:
        most = self.bounds.most_other_script
        if most is not None and self.scripts and (share := other_script_share(pair.text, self.scripts)) > most:
            return Refusal(SCRIPT, f"{100 * share:.0f} % of its letters are not {' or '.join(sorted(self.scripts))}")
        most = self.bounds.most_unseen
        if most is not None and self.alphabet and (share := outside_share(pair.text, self.alphabet)) > most:
            return Refusal(ALPHABET, f"{100 * share:.0f} % of its letters are in no text of {self.language}")
        return None

    def _ratio(self, pair: Rendering) -> Refusal | None:
        most = self.bounds.most_ratio
        if most is None:
            return None
        (mine, words), (its, its_words) = _lengths(pair.text), _lengths(pair.source)
        checks = (
            ("letters", mine, its, self.usual.letters, LEAST_LETTERS),
            ("words", words, its_words, self.usual.words, _LEAST_WORDS),
        )
        for unit, count, source, usual, least in checks:
            if not min(count, source) or max(count, source) < least:
                continue
            off = count / source / usual
            if max(off, 1 / off) >= most:
                way = f"{off:.1f} times more" if off > 1 else f"{1 / off:.1f} times fewer"
                return Refusal(
                    RATIO, f"{count} {unit} for {source} of the source, {way} than usual ({usual:.2f} for 1)"
                )
        return None

    def _copied(self, pair: Rendering) -> Refusal | None:
        least = self.bounds.least_changed
        if least is None or _lengths(pair.source)[0] < LONG_LETTERS:
            return None
        changed = disagreement(pair.source, pair.text)
        if changed >= max(least, 1e-9):
            return None
        return Refusal(COPIED, f"{100 * changed:.0f} % of its characters differ from the source")

    def _repeats(self, pair: Rendering) -> Refusal | None:
        most = self.bounds.most_repeated
        if most is None or (share := repeated_share(pair.text)) <= most or share <= repeated_share(pair.source):
            return None
        return Refusal(REPEATED, f"{100 * share:.0f} % of it repeats the rest")

    def _frequent(self, pair: Rendering) -> Refusal | None:
        most = self.bounds.most_same
        key = sentence_key(pair.text)
        if most is None or self.same[key] <= most or len(key) < LONG_LETTERS:
            return None
        return Refusal(SAME, f"{self.same[key]} different sentences were translated so; at most {most} may be")

    def _round_trip(self, pair: Rendering) -> Refusal | None:
        least, found = self.bounds.min_round_trip, pair.round_trip
        if least is None or found is None or found >= least:
            return None
        return Refusal(
            ROUND_TRIP, f"translated back it has chrF {found:.1f} with the source; at least {least:g} is asked"
        )

    def to_json(self) -> dict[str, Any]:
        """The bounds as they came out, for a report."""
        return {
            "texts": self.texts,
            "usual_ratio": {
                "letters": round(self.usual.letters, 4),
                "words": round(self.usual.words, 4),
                "pairs": self.usual.pairs,
            },
            "scripts": sorted(self.scripts),
            "alphabet": len(self.alphabet),
            "language_check": {"method": "none"} if self.check is None else self.check.to_json(),
            "settings": self.bounds.model_dump(mode="json"),
        }
