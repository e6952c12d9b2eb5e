"""What is known before the first line is read, and the judgement of one sentence by it.

From the corpora that are named come the embargo (dev and test) and, from training transcripts only: the alphabet, the
scripts, the usual lengths, the speaking rate, and a sample of sentences for the language check. A guide is plain JSON,
so that worker processes can read it.

Example::

    guide = Guide.of(corpus.split("train"), [corpus.split("dev"), corpus.split("test")])
    judge = Judge(guide, Rules(), "yo")
    judge.judge("Ó rọ̀ wọ́n láti fọwọ́sowọ́pọ̀.")        # Kept(text, spoken), or a Refusal
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

from orature.core.errors import ConfigError
from orature.core.types import Refusal, Utterance
from orature.text.clean import clean
from orature.text.language import COMMON, is_spaceless, script_of_character
from orature.text.language_check import (
    MOST_SENTENCES,
    BothChecks,
    LangidCheck,
    LanguageCheck,
    Method,
    NgramCheck,
    sample,
)
from orature.text.leaks import EmbargoIndex
from orature.text.normalise import normalise
from orature.text.spoken import Reader

SHORT, LONG, SCRIPT, ALPHABET = "too-short", "too-long", "other-script", "unseen-characters"
_OWN_SCRIPT_SHARE = 0.02
"""A script is one of the language's when so much of the training transcripts is written in it."""
_SCRIPT_CODES = {
    "Latn": "Latin", "Cyrl": "Cyrillic", "Arab": "Arabic", "Deva": "Devanagari", "Ethi": "Ethiopic", "Grek": "Greek",
    "Hebr": "Hebrew", "Armn": "Armenian", "Geor": "Georgian", "Beng": "Bengali", "Guru": "Gurmukhi", "Gujr": "Gujarati",
    "Orya": "Oriya", "Taml": "Tamil", "Telu": "Telugu", "Knda": "Kannada", "Mlym": "Malayalam", "Sinh": "Sinhala",
    "Thai": "Thai", "Laoo": "Lao", "Khmr": "Khmer", "Mymr": "Myanmar", "Tibt": "Tibetan", "Cher": "Cherokee",
    "Nkoo": "N'Ko", "Tfng": "Tifinagh", "Vaii": "Vai", "Adlm": "Adlam", "Olck": "Ol Chiki",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bounds:
    """Fewest and most characters and words of a sentence; None: not looked at."""

    min_characters: int | None = None
    max_characters: int | None = None
    min_words: int | None = None
    max_words: int | None = None


DEFAULT = Bounds(5, 300, 2, 40)
DEFAULT_UNSPACED = Bounds(4, 120, None, None)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a person asked for."""

    bounds: Bounds = Bounds()
    """Where a field is None the training transcripts decide, or the usual bounds where there are none."""
    max_unseen_share: float = 0.02
    max_other_script_share: float = 0.1
    numbers: bool = True
    written: bool = False
    """The transcript keeps figures and symbols; only the voice reads words."""
    language_check: Method = "none"


@dataclass
class Guide:
    """What the corpora say. `alphabet` holds letters and marks (NFD, lower case); empty when no transcript is known."""

    embargo: EmbargoIndex = field(default_factory=lambda: EmbargoIndex([], {}))
    alphabet: frozenset[str] = frozenset()
    scripts: tuple[str, ...] = ()
    bounds: Bounds = Bounds()
    characters_per_s: float = 0.0
    transcripts: list[str] = field(default_factory=list)
    """At most 20,000 different training transcripts."""

    @classmethod
    def of(
        cls,
        train: Iterable[Utterance],
        held_out: Iterable[Iterable[Utterance]],
    ) -> Guide:
        """From training rows (their texts and durations) and the parts (dev, test) that are embargoed."""
        letters: Counter[str] = Counter()
        lengths: list[tuple[int, int]] = []
        texts: set[str] = set()
        characters = seconds = 0.0
        for row in train:
            if not row.text:
                continue
            plain = normalise(row.text)
            letters.update(normalize("NFD", plain))
            lengths.append((len(row.text), len(row.text.split())))
            if len(texts) < 4 * MOST_SENTENCES:
                texts.add(row.text)
            if row.audio.duration_s > 0:
                characters += len(row.text)
                seconds += row.audio.duration_s
        return cls(
            embargo=EmbargoIndex.of(*held_out),
            alphabet=frozenset(letter for letter in letters if category(letter)[0] in "LM"),
            scripts=own_scripts(letters),
            bounds=_bounds_of(lengths),
            characters_per_s=characters / seconds if seconds else 0.0,
            transcripts=sample(texts, MOST_SENTENCES),
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but the embargo, which has a file of its own."""
        return {
            "alphabet": sorted(self.alphabet),
            "scripts": list(self.scripts),
            "bounds": asdict(self.bounds),
            "characters_per_s": self.characters_per_s,
            "transcripts": self.transcripts,
        }

    def save(self, folder: Path) -> None:
        """Writes guide.json and embargo.json into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "guide.json").write_text(json.dumps(self.to_json(), ensure_ascii=False), encoding="utf-8")
        self.embargo.save(folder / "embargo.json")

    @classmethod
    def load(cls, folder: Path) -> Guide:
        """What `save` wrote."""
        data: Mapping[str, Any] = json.loads((folder / "guide.json").read_text(encoding="utf-8"))
        return cls(
            embargo=EmbargoIndex.load(folder / "embargo.json"),
            alphabet=frozenset(data["alphabet"]),
            scripts=tuple(data["scripts"]),
            bounds=Bounds(**data["bounds"]),
            characters_per_s=float(data["characters_per_s"]),
            transcripts=list(data["transcripts"]),
        )


def own_scripts(letters: Counter[str]) -> tuple[str, ...]:
    """The scripts that at least 2 % of `letters` (counts by character) belong to."""
    found: Counter[str] = Counter()
    for letter, count in letters.items():
        found[script_of_character(letter)] += count
    del found[COMMON]
    total = sum(found.values())
    return tuple(sorted(script for script, count in found.items() if count >= _OWN_SCRIPT_SHARE * total))


def _bounds_of(lengths: list[tuple[int, int]]) -> Bounds:
    """From half of the first percentile to one and a half times the 99th; nothing from fewer than 20 transcripts."""
    if len(lengths) < 20:
        return Bounds()
    characters = sorted(length for length, _ in lengths)
    words = sorted(count for _, count in lengths)
    low, high = len(lengths) // 100, min(len(lengths) - 1, 99 * len(lengths) // 100)
    return Bounds(
        max(1, characters[low] // 2), characters[high] * 3 // 2 + 1, max(1, words[low] // 2), words[high] * 3 // 2 + 1
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """A sentence that may be read: as it is transcribed, and as it is spoken."""

    text: str
    spoken: str


class Judge:
    """All checks of one sentence, in a fixed order; the first that fails gives the reason."""

    def __init__(self, guide: Guide, rules: Rules, language: str) -> None:
        self.guide, self.rules = guide, rules
        self.language = language
        self.reader = Reader(language, numbers=rules.numbers)
        self.scripts = frozenset(guide.scripts) or scripts_of_tag(language)
        self.check = _check(guide, rules.language_check, language)

    def judge(self, sentence: str) -> Kept | Refusal:
        """`sentence` comes from `split_sentences`; what is kept is NFC and clean."""
        text = clean(sentence, self.language)
        if isinstance(text, Refusal):
            return text
        spoken = self.reader.spoken(text)
        for one in dict.fromkeys((text, text if isinstance(spoken, Refusal) else spoken)):
            breach = self.guide.embargo.sentence_breach(one)
            if breach is not None:
                return Refusal(f"embargo-{breach.kind}", breach.sentence(one))
        if isinstance(spoken, Refusal):
            return spoken
        plain = normalise(spoken)
        found = self._letters(plain) or self._length(spoken, plain)
        if found is None and self.check is not None:
            found = self.check.refusal(spoken)
        return found or Kept(text if self.rules.written else spoken, spoken)

    def _letters(self, plain: str) -> Refusal | None:
        letters = [letter for letter in normalize("NFD", plain) if category(letter)[0] in "LM"]
        if not letters:
            return Refusal("few-letters", "no letter is left")
        if self.scripts:
            foreign = [one for one in letters if script_of_character(one) not in self.scripts | {COMMON}]
            if len(foreign) > self.rules.max_other_script_share * len(letters):
                return Refusal(
                    SCRIPT, f"{len(foreign)} of {len(letters)} letters are {script_of_character(foreign[0])}"
                )
        if self.guide.alphabet:
            unseen = [one for one in letters if one not in self.guide.alphabet]
            if len(unseen) > self.rules.max_unseen_share * len(letters):
                shown = " ".join(sorted(set(unseen)))
                return Refusal(
                    ALPHABET, f"{len(unseen)} of {len(letters)} letters are in no training transcript: {shown}"
                )
        return None

    def _length(self, spoken: str, plain: str) -> Refusal | None:
        bounds = self.bounds_for(plain)
        words = len(plain.split())
        checks = (
            (SHORT, len(spoken), bounds.min_characters, "characters"),
            (SHORT, words, bounds.min_words, "words"),
            (LONG, len(spoken), bounds.max_characters, "characters"),
            (LONG, words, bounds.max_words, "words"),
        )
        for reason, count, bound, unit in checks:
            if bound is not None and (count < bound if reason == SHORT else count > bound):
                return Refusal(reason, f"{count} {unit}; the bound is {bound}")
        return None

    def bounds_for(self, plain: str) -> Bounds:
        """The bounds that a person gave, else those of the transcripts, else the usual ones of the writing."""
        unspaced = 2 * sum(map(is_spaceless, plain)) > sum(map(str.isalpha, plain))
        usual = DEFAULT_UNSPACED if unspaced else DEFAULT
        if self.guide.bounds != Bounds():
            usual = self.guide.bounds
        asked = self.rules.bounds
        return Bounds(
            *(
                next((one for one in (getattr(asked, name), getattr(usual, name)) if one is not None), None)
                for name in ("min_characters", "max_characters", "min_words", "max_words")
            )
        )


def _check(guide: Guide, method: Method, language: str) -> LanguageCheck | None:
    if method == "none":
        return None
    if method == "langid":
        return LangidCheck(language)
    if not guide.transcripts:
        raise ConfigError(
            "the language check by n-grams needs training transcripts",
            next_step="name a corpus with --corpus, or choose --language-check none",
        )
    ngrams = NgramCheck.trained(guide.transcripts)
    return ngrams if method == "ngrams" else BothChecks(LangidCheck(language), ngrams)


def scripts_of_tag(language: str) -> frozenset[str]:
    """The script that a BCP-47 tag names ("uz-Cyrl": Cyrillic); empty where it names none."""
    known = {_SCRIPT_CODES[part] for part in language.split("-")[1:] if part in _SCRIPT_CODES}
    return frozenset(known)
