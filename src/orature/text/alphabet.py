"""The characters that a recogniser learns to write, counted in training texts only, and what stands outside of them.

Example::

    policy = TextPolicy(case="lower", punctuation="strip")
    prepare("Ari, kikinkuna!", policy) == "ari kikinkuna"
    Alphabet.of(["ari", "kikin"]).outside([("d1", "año")])[0].character == "ñ"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from unicodedata import category, name, normalize

from orature.core.errors import ConfigError
from orature.text.language import script_of_character
from orature.text.normalise import RAW, TURKIC, get, lower, lower_turkic, normaliser_for, strip_punctuation

Case = Literal["keep", "lower"]
Punctuation = Literal["keep", "strip"]
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class TextPolicy:
    """How transcripts become training targets: case kept or lowered, punctuation kept or stripped.

    Stripping is what the scoring normaliser strips, so that apostrophes and hyphens inside words stay. `turkic` lowers
    I to ı. `replace` maps rare characters (or any) to other text, applied last; "" drops a character.
    """

    case: Case = "keep"
    punctuation: Punctuation = "keep"
    turkic: bool = False
    replace: tuple[tuple[str, str], ...] = ()

    @classmethod
    def named(cls, choice: str, language: str = "und") -> TextPolicy:
        """The policy for a user's choice: "keep" (as written) or "normalise" (lower case, no punctuation)."""
        turkic = normaliser_for(language) == TURKIC
        if choice == "keep":
            return cls(turkic=turkic)
        if choice == "normalise":
            return cls(case="lower", punctuation="strip", turkic=turkic)
        raise ConfigError(f"there is no text policy {choice!r}", next_step="choose keep or normalise")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TextPolicy:
        """The policy that `to_json` wrote."""
        pairs = tuple((str(old), str(new)) for old, new in values.get("replace", ()))
        return cls(values["case"], values["punctuation"], bool(values.get("turkic", False)), pairs)

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "punctuation": self.punctuation,
            "turkic": self.turkic,
            "replace": [list(pair) for pair in self.replace],
        }


def prepare(text: str, policy: TextPolicy) -> str:
    """`text` as a training target: NFC with single spaces, then case, punctuation and replacements by `policy`.

    Applied twice it gives the same as once, unless `policy.replace` maps to a character that it maps itself.
    """
    done = (strip_punctuation if policy.punctuation == "strip" else get(RAW))(text)
    if policy.case == "lower":
        done = normalize("NFC", (lower_turkic if policy.turkic else lower)(done))
    if policy.replace:
        done = " ".join(done.translate({ord(old): new for old, new in policy.replace}).split())
    return done


@dataclass(frozen=True, slots=True)
class Outside:
    """A character that training never showed: how often it stands in the other texts, and in which utterances."""

    character: str
    name: str
    count: int
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "character": self.character,
            "name": self.name,
            "count": self.count,
            "examples": list(self.examples),
        }


@dataclass(frozen=True)
class Alphabet:
    """Characters (NFC code points) with their counts, most frequent first; the space is one of them."""

    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[str], policy: TextPolicy | None = None) -> Alphabet:
        """Counts the characters of prepared training `texts`. Never give it dev or test texts."""
        counts: Counter[str] = Counter()
        policy = policy or TextPolicy()
        for text in texts:
            counts.update(prepare(text, policy))
        return cls(dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))))

    def __contains__(self, character: object) -> bool:
        return character in self.counts

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def characters(self) -> tuple[str, ...]:
        """All characters in code point order."""
        return tuple(sorted(self.counts))

    def rare(self, fewer_than: int) -> tuple[str, ...]:
        """Characters that stand fewer than `fewer_than` times, the rarest first."""
        return tuple(c for c, n in sorted(self.counts.items(), key=lambda pair: (pair[1], pair[0])) if n < fewer_than)

    def outside(self, texts: Iterable[tuple[str, str]], policy: TextPolicy | None = None) -> list[Outside]:
        """What (utterance id, text) pairs hold beyond this alphabet, the most frequent first."""
        counts: Counter[str] = Counter()
        examples: dict[str, list[str]] = {}
        policy = policy or TextPolicy()
        for utterance_id, text in texts:
            for character in prepare(text, policy):
                if character in self.counts:
                    continue
                counts[character] += 1
                seen = examples.setdefault(character, [])
                if len(seen) < _EXAMPLES and utterance_id not in seen:
                    seen.append(utterance_id)
        order = sorted(counts, key=lambda character: (-counts[character], character))
        return [Outside(c, describe(c), counts[c], tuple(examples[c])) for c in order]


def describe(character: str) -> str:
    """Code point and Unicode name: "U+0301 COMBINING ACUTE ACCENT"."""
    return f"U+{ord(character):04X} {name(character, 'without a name')}"


def fold_rare(alphabet: Alphabet, fewer_than: int) -> tuple[tuple[str, str], ...]:
    """Replacements for characters seen fewer than `fewer_than` times, for `TextPolicy.replace`.

    A letter loses its marks when what remains is a frequent character (é to e in a corpus with one loan word); any
    other rare letter or mark is left as it is, since to drop it would change the word. Rare punctuation and symbols are
    dropped.
    """
    pairs: list[tuple[str, str]] = []
    for character in alphabet.rare(fewer_than):
        kind = category(character)[0]
        base = normalize("NFD", character)[0]
        if kind in "PS":
            pairs.append((character, " "))
        elif kind == "L" and base != character and alphabet.counts.get(base, 0) >= fewer_than:
            pairs.append((character, base))
    return tuple(pairs)


_LOOK_ALIKES = {
    "Cyrillic": dict(zip("аеорсухіјѕһԁԛԝАВЕКМНОРСТХУІЈЅ", "aeopcyxijshdqwABEKMHOPCTXYIJS", strict=True)),
    "Greek": dict(zip("ονΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ovABEZHIKMNOPTYX", strict=True)),
}


@dataclass(frozen=True, slots=True)
class MixedWord:
    """A word with letters of several scripts; `plain` is its spelling in Latin letters if all others look like them."""

    word: str
    scripts: tuple[str, ...]
    count: int
    plain: str
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "word": self.word,
            "scripts": list(self.scripts),
            "count": self.count,
            "plain": self.plain,
            "examples": list(self.examples),
        }


def mixed_words(texts: Iterable[tuple[str, str]]) -> list[MixedWord]:
    """Words of (utterance id, text) pairs that mix scripts, such as a Latin word with a Cyrillic а in it."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    found: dict[str, tuple[str, ...]] = {}
    for utterance_id, text in texts:
        for word in strip_punctuation(text).split(" "):
            if word not in found:
                found[word] = tuple(
                    sorted({script_of_character(c) for c in word if category(c)[0] == "L"} - {"Common"})
                )
            if len(found[word]) > 1 and not _is_japanese(found[word]):
                counts[word] += 1
                if len(examples.setdefault(word, [])) < _EXAMPLES:
                    examples[word].append(utterance_id)
    order = sorted(counts, key=lambda word: (-counts[word], word))
    return [MixedWord(w, found[w], counts[w], _latin_spelling(w), tuple(examples[w])) for w in order]


def _is_japanese(scripts: tuple[str, ...]) -> bool:
    return set(scripts) <= {"Han", "Hiragana", "Katakana"} or set(scripts) <= {"Han", "Hangul"}


def _latin_spelling(word: str) -> str:
    letters = "".join(_LOOK_ALIKES.get(script_of_character(c), {}).get(c, c) for c in word)
    return letters if {script_of_character(c) for c in letters} <= {"Latin", "Common"} else ""
