"""Which sentences which voice is to read: balanced over languages, with pseudo-sentences and with mixed accents.

Every draw follows from (seed, language, what, number), so that a language's candidates do not depend on the others
but for the texts that its voice borrows.

Example::

    plan = Planner(texts, readings, settings).candidates()
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field

from orature.core.errors import ConfigError
from orature.core.types import Refusal, Reject
from orature.engines.espeak_languages import Reading, Readings
from orature.text.clean import clean, tidy
from orature.text.language import COMMON, is_spaceless, script_of
from orature.text.leaks import EmbargoIndex
from orature.text.pseudo_text import PseudoText

LONELY = "text-short"


class PhoneTextSettings(BaseModel, frozen=True, extra="forbid"):
    """How phone text is put together; shares are of the sentences of a voice."""

    languages: tuple[str, ...] = ()
    """BCP-47 tags to take, () for all that espeak-ng has a voice of its own for."""
    per_language: int = Field(default=600, ge=1)
    """Sentences of a language on average over languages."""
    exponent: float = Field(default=0.3, ge=0.0, le=1.0)
    """A language of n characters gets sentences in proportion to n ** exponent."""
    pseudo_share: float = Field(default=0.35, ge=0.0, lt=1.0)
    accent_share: float = Field(default=0.15, ge=0.0, lt=1.0)
    """Sentences of other languages in the same script, read by the voice of this one."""
    letters: tuple[int, int] = (12, 110)
    """Least and most characters of a sentence; longer ones are cut at words."""
    dev_per_language: int = Field(default=6, ge=0)
    """Sentences of a language, own text and own voice, that training never sees; at most a tenth of its text."""
    foreign_limit: float = Field(default=0.1, ge=0.0, le=1.0)
    """A sentence that its voice would speak to a larger part in another language (spelt-out letters) is left out."""
    measured: int = Field(default=6, ge=1)
    """Sentences spoken for each shard of a voice to learn its tempo."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence on its way to a voice."""

    id: str
    language: str
    voice: str
    spoken: str
    text: str
    kind: str
    split: str


def draws(seed: int, *what: object) -> np.random.Generator:
    """The generator of one draw."""
    text = "\0".join(map(str, ("phone-text", seed, *what))).encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little"))


def pieces_of(sentence: str, least: int, most: int, rng: np.random.Generator) -> list[str]:
    """A sentence cut at words (in scripts without spaces: at letters) into pieces of at most `most` characters.

    Their lengths are drawn anew each time, so that short and long pieces come; no word is cut, none is lost.
    """
    spaceless = 2 * sum(map(is_spaceless, sentence)) > len(sentence.replace(" ", ""))
    units, glue = (list(sentence), "") if spaceless else (sentence.split(), " ")
    most = max(least, most // 3) if spaceless else most
    found: list[str] = []
    wanted = int(rng.integers(least, most + 1))
    for unit in units:
        if found and len(found[-1]) < wanted and len(found[-1]) + len(glue) + len(unit) <= most:
            found[-1] += glue + unit
        else:
            found.append(unit)
            wanted = int(rng.integers(least, most + 1))
    if len(found) > 1 and len(found[-1]) < least and len(found[-2]) + len(found[-1]) + 1 <= most + least:
        found[-2:] = [found[-2] + glue + found[-1]]
    return [piece.strip() for piece in found if piece.strip()]


class Planner:
    """Texts by language become candidates; what cannot is a reject (`rejects`, counted by the stage).

    Where `settings.languages` names some, texts of others are not looked at.
    """

    def __init__(
        self,
        texts: Mapping[str, Sequence[str]],
        readings: Readings,
        settings: PhoneTextSettings,
        embargoes: Sequence[EmbargoIndex] = (),
    ) -> None:
        self._settings, self._readings, self._embargoes = settings, readings, embargoes
        self.rejects: list[Reject] = []
        self.unused = 0
        """Pieces of text beyond the sentences that their language is given; known once the candidates are."""
        self._dev: dict[str, list[str]] = {}
        self._train: dict[str, list[str]] = {}
        for language in sorted(set(texts) & set(settings.languages or texts)):
            self._sort(language, texts[language])
        self._scripts = {language: script_of(" ".join(own[:40])) for language, own in self._train.items()}
        self.voices = self._own_voices()

    def candidates(self) -> Iterator[list[Candidate]]:
        """The candidates of each language that has a voice, in the order of the languages."""
        quotas = self._quotas()
        for language in sorted(self.voices):
            yield list(self._of(language, quotas[language]))

    def _sort(self, language: str, lines: Sequence[str]) -> None:
        """Cleaned sentences without the embargoed ones, those of dev apart."""
        settings, seen = self._settings, set()
        kept: list[str] = []
        for number, line in enumerate(lines, 1):
            ident = f"{language}-{number}"
            tidied = tidy(line)
            done = tidied if isinstance(tidied, Refusal) else clean(tidied)
            if isinstance(done, Refusal):
                self.rejects.append(Reject(ident, done.reason, done.detail))
            elif len(done) < settings.letters[0]:
                self.rejects.append(Reject(ident, LONELY, f"{len(done)} characters, fewer than {settings.letters[0]}"))
            elif done in seen:
                self.rejects.append(Reject(ident, "duplicate", "the same sentence came before"))
            elif found := next((hit for index in self._embargoes if (hit := index.sentence_breach(done))), None):
                self.rejects.append(Reject(ident, f"embargo-{found.kind}", found.sentence(done)))
            else:
                kept.append(done)
            seen.add(done if isinstance(done, str) else line)
        order = sorted(kept, key=lambda text: draws(settings.seed, "dev", language, text).random())
        held = min(settings.dev_per_language, len(order) // 10)
        self._dev[language] = order[:held]
        self._train[language] = [text for text in kept if text not in set(order[:held])]

    def _own_voices(self) -> dict[str, Reading]:
        found = {}
        wanted = self._settings.languages or tuple(self._train)
        for language in wanted:
            if language not in self._train:
                raise ConfigError(
                    f"there is no text in {language!r}", next_step="add a file LANG.txt, or leave the language out"
                )
            try:
                reading = self._readings.of(language)
            except ConfigError:
                if self._settings.languages:
                    raise
                continue
            if not reading.because and self._train[language]:
                found[language] = reading
        if not found:
            raise ConfigError("espeak-ng has a voice for none of the languages", next_step="name texts in others")
        return found

    def _quotas(self) -> dict[str, int]:
        sizes = {language: sum(map(len, self._train[language])) for language in self.voices}
        weights = {language: max(1, n) ** self._settings.exponent for language, n in sizes.items()}
        mean = sum(weights.values()) / len(weights)
        return {name: max(1, round(self._settings.per_language * w / mean)) for name, w in weights.items()}

    def _of(self, language: str, quota: int) -> Iterator[Candidate]:
        settings, reading = self._settings, self.voices[language]
        voices = [(reading.tag, reading.voice), *self._readings.varieties(language).items()]
        counts: Counter[str] = Counter()

        def candidate(kind: str, text: str, source: str, split: str = "train") -> Candidate:
            counts[kind] += 1
            number = counts[kind]
            place = int(draws(settings.seed, "voice", language, kind, number).integers(len(voices)))
            tag, voice = voices[0] if split == "dev" else voices[place]
            return Candidate(f"{language}-{split}-{kind}-{number:05d}", source, voice, tag, text, kind, split)

        for sentence in self._dev[language]:
            for piece in self._pieces(language, sentence):
                yield candidate("text", piece, language, "dev")
        own = [piece for sentence in self._train[language] for piece in self._pieces(language, sentence)]
        order = draws(settings.seed, "order", language).permutation(len(own))
        pseudo, accent = round(quota * settings.pseudo_share), round(quota * settings.accent_share)
        mine = [own[place] for place in order[: max(0, quota - pseudo - accent)]]
        self.unused += len(own) - len(mine)
        borrowed = self._borrowed(language, accent)
        for text in mine:
            yield candidate("text", text, language)
        for source, text in borrowed:
            yield candidate("accent", text, source)
        for text in self._pseudo(language, quota - len(mine) - len(borrowed) if settings.pseudo_share else 0):
            yield candidate("pseudo", text, language)

    def _pieces(self, language: str, sentence: str) -> list[str]:
        least, most = self._settings.letters
        return pieces_of(sentence, least, most, draws(self._settings.seed, "pieces", language, sentence))

    def _borrowed(self, language: str, count: int) -> list[tuple[str, str]]:
        """Pieces of texts of other languages in the script of this one."""
        base, script = language.split("-")[0], self._scripts[language]
        others = [
            other
            for other in sorted(self._train)
            if self._train[other] and self._scripts[other] == script != COMMON and other.split("-")[0] != base
        ]
        rng = draws(self._settings.seed, "accent", language)
        found = []
        for _ in range(count if others else 0):
            other = others[int(rng.integers(len(others)))]
            pieces = self._pieces(other, self._train[other][int(rng.integers(len(self._train[other])))])
            found.append((other, pieces[int(rng.integers(len(pieces)))]))
        return found

    def _pseudo(self, language: str, count: int) -> Iterator[str]:
        if count <= 0:
            return
        model = PseudoText(self._train[language])
        least, most = self._settings.letters
        spaceless = sum(map(is_spaceless, "".join(self._train[language][:5]))) > 20
        for number in range(count):
            rng = draws(self._settings.seed, "pseudo", language, number)
            yield model.sentence(rng, int(rng.integers(least, (max(least, most // 3) if spaceless else most) + 1)))
