"""Is this label of a recogniser worth training on? Bounds from labelled speech of the same language.

Example::

    judge = LabelJudge.of(corpus.split("train"), "que-EC", LabelBounds())
    judge.refusal("shuk wasi", duration_s=1.2)     # None, or a Refusal with reason and detail

What is not looked at here, because it needs more than the label, its length and its language: whether a CTC network
has steps enough for it, scores, a second opinion, and what other recordings were given the same label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pydantic import BaseModel, Field

from orature.core.types import Refusal, Utterance
from orature.data.speech_checks import DurationBounds, letters
from orature.text.label_checks import (
    HALLUCINATED,
    is_phrase,
    other_script_share,
    outside_share,
    repeated_share,
)
from orature.text.language import is_spaceless
from orature.text.language_check import LanguageCheck, Method, usable_check
from orature.text.leaks import sentence_key
from orature.text.text_guide import ALPHABET, SCRIPT, Guide, scripts_of_tag

TOO_FAST, TOO_SLOW, REPEATED = "too-fast", "too-slow", "repeated"
_LEAST_ROWS = 20
"""Labelled rows from which a bound is taken; below, what is known of speech in general."""
_MAD_TO_DEVIATION = 1.4826
_LEAST_DEVIATION = 0.05
"""Of the logarithm of letters a second, as of speech that hardly varies."""
_REPEATS_QUANTILE = 0.999


class LabelBounds(BaseModel, frozen=True, extra="forbid"):
    """Bounds on one label; None: not looked at.

    - `rate_deviations`: letters (and digits) a second may lie so many robust standard deviations of their logarithm
      above the median of the labelled speech (at 4, none of 5,508 train transcripts of five corpora does; at 3,
      twelve); below 20 labelled rows 40 a second are allowed, 16 in scripts without spaces (`DurationBounds`).
      `slow_deviations` is the same below the median: off, since a recording may hold pauses.
    - `most_letters_per_s`: this bound in place of one from labelled speech.
    - `most_other_script` and `most_unseen`: shares of the letters in scripts, and outside of the alphabet, of the
      transcripts (Granary, 2025, keeps what has 80 % of its letters in the alphabet). Without transcripts the script
      that the language tag names.
    - `most_repeated`: see `repeated_share`; where one in a thousand transcripts repeats more, that much is allowed.
    - `language_check`: as of `orature.text.language_check`. "ngrams" works offline and for every language with 2,000
      characters of transcripts: it refused no held-out train transcript of three corpora, and about half of those of
      two of them once a fifth of their letters was replaced at random; "langid" and "both" need py3langid.
    - `phrases`: what a recogniser is known to make up ("thanks for watching"); refused where it makes up half of a
      label.
    """

    rate_deviations: float | None = Field(default=4.0, gt=0)
    slow_deviations: float | None = Field(default=None, gt=0)
    most_letters_per_s: float | None = Field(default=None, gt=0)
    most_other_script: float | None = Field(default=0.1, ge=0, le=1)
    most_unseen: float | None = Field(default=0.2, ge=0, le=1)
    most_repeated: float | None = Field(default=0.5, ge=0, le=1)
    language_check: Method = "ngrams"
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelJudge:
    """All checks of one label in a fixed order; the first that fails gives the reason."""

    bounds: LabelBounds
    language: str
    transcripts: int
    fastest: float
    fastest_spaceless: float
    slowest: float
    repeated: float
    alphabet: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()
    check: LanguageCheck | None = None
    _phrases: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, labelled: Iterable[Utterance], language: str, bounds: LabelBounds | None = None) -> LabelJudge:
        """A judge of labels in `language`, from labelled speech in it that may be trained on (never dev or test).

        MissingExtra where `language_check` needs a package that is not there.
        """
        bounds = bounds or LabelBounds()
        rows = [row for row in labelled if row.text and row.audio.duration_s > 0]
        guide = Guide.of(rows, ())
        fastest, slowest = _rates(rows, bounds)
        published = DurationBounds()
        return cls(
            bounds=bounds,
            language=language,
            transcripts=len(rows),
            fastest=fastest or published.fastest,
            fastest_spaceless=fastest or published.fastest_spaceless,
            slowest=slowest,
            repeated=_most_repeated(rows, bounds),
            alphabet=guide.alphabet,
            scripts=frozenset(guide.scripts) or scripts_of_tag(language),
            check=usable_check(guide.transcripts, language, bounds.language_check),
            _phrases=frozenset(filter(None, map(sentence_key, bounds.phrases))),
        )

    def refusal(self, text: str, duration_s: float) -> Refusal | None:
        """Why `text` is no label for `duration_s` seconds of speech; None where nothing speaks against it."""
        tests: tuple[Callable[[str, float], Refusal | None], ...] = (
            self._rate,
            self._script,
            self._alphabet,
            self._repeats,
            self._phrase,
        )
        for test in tests:
            if found := test(text, duration_s):
                return found
        return None if self.check is None else self.check.refusal(text)

    def _rate(self, text: str, duration_s: float) -> Refusal | None:
        count = letters(text)
        spaceless = 2 * sum(map(is_spaceless, text)) > count
        most = self.bounds.most_letters_per_s or (self.fastest_spaceless if spaceless else self.fastest)
        looked_at = self.bounds.most_letters_per_s is not None or self.bounds.rate_deviations is not None
        rate = count / max(duration_s, 1e-3)
        if looked_at and rate > most:
            return Refusal(TOO_FAST, f"{rate:.1f} letters a second, at most {most:.1f} are spoken")
        if rate < self.slowest:
            return Refusal(TOO_SLOW, f"{rate:.2f} letters a second, at least {self.slowest:.2f} are spoken")
        return None

    def _script(self, text: str, duration_s: float) -> Refusal | None:
        most = self.bounds.most_other_script
        if most is None or not self.scripts or (share := other_script_share(text, self.scripts)) <= most:
            return None
        return Refusal(SCRIPT, f"{100 * share:.0f} % of its letters are not {' or '.join(sorted(self.scripts))}")

    def _alphabet(self, text: str, duration_s: float) -> Refusal | None:
        most = self.bounds.most_unseen
        if most is None or not self.alphabet:
            return None
        share = outside_share(text, self.alphabet)
        return None if share <= most else Refusal(ALPHABET, f"{100 * share:.0f} % of its letters are in no transcript")

    def _repeats(self, text: str, duration_s: float) -> Refusal | None:
        if self.bounds.most_repeated is None:
            return None
        share = repeated_share(text)
        return None if share <= self.repeated else Refusal(REPEATED, f"{100 * share:.0f} % of it repeats the rest")

    def _phrase(self, text: str, duration_s: float) -> Refusal | None:
        found = is_phrase(text, self._phrases) if self._phrases else ""
        return Refusal(HALLUCINATED, f"half of it or more is the phrase “{found}”") if found else None

    def to_json(self) -> dict[str, Any]:
        """The bounds as they came out, for a report."""
        return {
            "transcripts": self.transcripts,
            "letters_per_s": {"fastest": round(self.fastest, 3), "slowest": round(self.slowest, 3)},
            "letters_per_s_from": "transcripts" if self.transcripts >= _LEAST_ROWS else "published",
            "scripts": sorted(self.scripts),
            "alphabet": len(self.alphabet),
            "most_repeated": round(self.repeated, 4),
            "language_check": {"method": "none"} if self.check is None else self.check.to_json(),
        }


def _rates(rows: Sequence[Utterance], bounds: LabelBounds) -> tuple[float, float]:
    """The most and the least letters a second of `rows` by the robust bounds; 0 where there is no bound."""
    logs = [math.log(count / row.audio.duration_s) for row in rows if (count := letters(row.text or ""))]
    if len(logs) < _LEAST_ROWS:
        return 0.0, 0.0
    middle = median(logs)
    spread = max(_MAD_TO_DEVIATION * median(abs(value - middle) for value in logs), _LEAST_DEVIATION)
    up, down = bounds.rate_deviations, bounds.slow_deviations
    return (
        0.0 if up is None else math.exp(middle + up * spread),
        0.0 if down is None else math.exp(middle - down * spread),
    )


def _most_repeated(rows: Sequence[Utterance], bounds: LabelBounds) -> float:
    most = 1.0 if bounds.most_repeated is None else bounds.most_repeated
    shares = sorted(repeated_share(row.text or "") for row in rows) if most < 1 else []
    return max(most, shares[int(_REPEATS_QUANTILE * (len(shares) - 1))]) if shares else most
