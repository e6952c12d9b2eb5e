"""The embargo (law 5): an index of dev and test sentences and recordings that nothing made for training may contain.

Example::

    index = EmbargoIndex.of(corpus.split("dev"), corpus.split("test"))
    kept, rejects = screen(candidates, index)        # rows on their way into training
    refuse_breach(texts, index)                      # LeakFound names the sentence

A text breaches the embargo when, against one embargoed sentence,

- `sentence`: both have the same key (scoring normaliser, then accents, tone marks and signs inside words ignored);
- `near-duplicate`: the Jaccard overlap of their character 3-grams is at least 0.7 (both 12 characters or longer; Han:
  2-grams, 8 characters), or the shorter one shares at least 0.6 of its word 4-grams with the other (both 6 words or
  longer; in scripts without spaces character 8-grams, 16 letters). So a changed word or two in ten, a sentence inside a
  longer one, or half a sentence joined to another is found; two short sentences of one pattern are not.

A sentence of one word (in a script without spaces: below 6 letters) is exempt, since prompts such as digits, commands
and "yes" recur by nature; `exempt` counts them. Their recordings are embargoed like all others.

Search is exact, not hashed: prefix filtering (Bayardo, Ma, Srikant 2007, "Scaling up all pairs similarity search"; with
several shared grams as in Wang, Li, Feng 2012, "Can we beat the prefix filtering?") over the rarest 3-grams, and an
inverted index of word 4-grams.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import category, combining, normalize

from orature.core.errors import CorpusError, LeakFound
from orature.core.types import Reject, Utterance
from orature.text.language import is_spaceless, script_of_character
from orature.text.normalise import normalise

FORMAT = 1
JACCARD = 0.7
SHARED_RUN = 0.6
_GRAM, _MIN_LETTERS = 3, 12
_HAN_GRAM, _MIN_HAN = 2, 8
_PREFIX_SHARED = 5
"""Two sets at the threshold share at least this many of their rarest grams, when so many more are looked at."""
_WORD_GRAM, _MIN_WORDS = 4, 6
_LETTER_GRAM, _MIN_SPACELESS = 8, 16
_EXEMPT_BELOW_WORDS, _EXEMPT_BELOW_LETTERS = 2, 6


@dataclass(frozen=True, slots=True)
class Embargoed:
    """An embargoed sentence: the utterance it belongs to, its split, and its text."""

    id: str
    split: str
    text: str


@dataclass(frozen=True, slots=True)
class Breach:
    """What breached the embargo: `kind` sentence, near-duplicate or audio, the row it meets, and how alike (0 to 1)."""

    kind: str
    row: Embargoed
    likeness: float

    def sentence(self, offered: str) -> str:
        """One sentence for a person; `offered` is the text or recording that came in."""
        met = f"{self.row.split} utterance {self.row.id}"
        if self.kind == "audio":
            return f"the recording of {offered} is that of {met}"
        if self.kind == "sentence":
            return f"“{offered}” is the sentence of {met}"
        return f"“{offered}” is {100 * self.likeness:.0f} % like “{self.row.text}” of {met}"


@lru_cache(maxsize=1024)
def sentence_key(text: str) -> str:
    """What makes two sentences the same prompt: the scored text without accents, tone marks and signs inside words.

    Vowel signs, viramas and nuktas of Indic and other scripts stay: there they are letters, not accents.
    """
    bare = normalize("NFD", normalise(text)).translate(_BARE)
    return " ".join(normalize("NFC", bare).split())


class _Bare(dict[int, str | None]):
    """Letters, digits, spaces and marks that are no accents stay; a hyphen becomes a space; the rest goes."""

    def __missing__(self, point: int) -> str | None:
        character = chr(point)
        kind = category(character)
        accent = 10 <= combining(character) <= 35 or combining(character) >= 200
        value: str | None = None
        if (kind[0] in "LN" and kind != "Lm") or (kind[0] == "M" and not accent) or character in " ー":
            value = character
        elif character == "-":
            value = " "
        self[point] = value
        return value


_BARE = _Bare()


def _is_unspaced(key: str) -> bool:
    """True when most letters belong to scripts without spaces between words."""
    return 2 * sum(map(is_spaceless, key)) > sum(category(character)[0] == "L" for character in key)


def is_exempt(key: str) -> bool:
    """True for a key (`sentence_key`) of one word, or of few letters in a script without spaces."""
    if _is_unspaced(key):
        return sum(category(character)[0] == "L" for character in key) < _EXEMPT_BELOW_LETTERS
    return key.count(" ") + 1 < _EXEMPT_BELOW_WORDS


def _grams(key: str) -> frozenset[str]:
    """Character 3-grams of a key (2-grams where most characters are Han); empty for a short one."""
    han = 2 * sum(script_of_character(character) == "Han" for character in key) > len(key)
    size, least = (_HAN_GRAM, _MIN_HAN) if han else (_GRAM, _MIN_LETTERS)
    if len(key) < least:
        return frozenset()
    return frozenset(key[at : at + size] for at in range(len(key) - size + 1))


def _runs(key: str) -> frozenset[str]:
    """Word 4-grams of a key, or character 8-grams in a script without spaces; empty for short sentences."""
    if _is_unspaced(key):
        dense = key.replace(" ", "")
        if len(dense) < _MIN_SPACELESS:
            return frozenset()
        return frozenset(dense[at : at + _LETTER_GRAM] for at in range(len(dense) - _LETTER_GRAM + 1))
    words = key.split(" ")
    if len(words) < _MIN_WORDS:
        return frozenset()
    return frozenset(" ".join(words[at : at + _WORD_GRAM]) for at in range(len(words) - _WORD_GRAM + 1))


def _least_shared(grams: int) -> int:
    """The fewest 3-grams that a set of `grams` must share with another one to reach the threshold."""
    return math.ceil(JACCARD * grams)


class EmbargoIndex:
    """Sentences and recordings of dev and test, searched by text or by audio digest."""

    def __init__(self, rows: Iterable[Embargoed], audio: Mapping[str, Embargoed], *, exempt: int = 0) -> None:
        self.exempt = exempt
        self._audio = dict(sorted(audio.items()))
        self._rows: list[Embargoed] = []
        self._number: dict[str, int] = {}
        for row in sorted(rows, key=lambda row: (row.split, row.id, row.text)):
            key = sentence_key(row.text)
            if key not in self._number:
                self._number[key] = len(self._rows)
                self._rows.append(row)
        self._build()

    @classmethod
    def of(cls, *parts: Iterable[Utterance]) -> EmbargoIndex:
        """The index of all rows of `parts` (dev and test)."""
        rows: list[Embargoed] = []
        audio: dict[str, Embargoed] = {}
        exempt = 0
        for utterance in (utterance for part in parts for utterance in part):
            row = Embargoed(utterance.id, utterance.split or "unassigned", utterance.text or "")
            if utterance.audio.digest:
                known = audio.get(utterance.audio.digest, row)
                audio[utterance.audio.digest] = min(known, row, key=lambda row: (row.split, row.id))
            if not utterance.text:
                continue
            if is_exempt(sentence_key(utterance.text)):
                exempt += 1
            else:
                rows.append(row)
        return cls(rows, audio, exempt=exempt)

    def _build(self) -> None:
        keys = list(self._number)
        grams = [_grams(key) for key in keys]
        self._frequency: Counter[str] = Counter(gram for own in grams for gram in own)
        self._gram_sets = grams
        self._by_gram: dict[str, list[int]] = defaultdict(list)
        self._by_run: dict[str, list[int]] = defaultdict(list)
        self._run_counts: list[int] = []
        for number, key in enumerate(keys):
            for gram in self._rarest(grams[number]):
                self._by_gram[gram].append(number)
            runs = _runs(key)
            self._run_counts.append(len(runs))
            for run in runs:
                self._by_run[run].append(number)

    def _rarest(self, grams: frozenset[str]) -> list[str]:
        if not grams:
            return []
        order = sorted(grams, key=lambda gram: (self._frequency[gram], gram))
        return order[: len(order) - _least_shared(len(order)) + _PREFIX_SHARED]

    def __len__(self) -> int:
        """Number of different embargoed sentences."""
        return len(self._rows)

    @property
    def recordings(self) -> int:
        """Number of embargoed recordings."""
        return len(self._audio)

    def sentence_breach(self, text: str) -> Breach | None:
        """The embargoed sentence that `text` is or is nearly, the most alike; None when there is none."""
        key = sentence_key(text)
        if is_exempt(key):
            return None
        number = self._number.get(key)
        if number is not None:
            return Breach("sentence", self._rows[number], 1.0)
        best = max(self._overlaps(key), key=lambda pair: (pair[0], -pair[1]), default=None)
        return Breach("near-duplicate", self._rows[best[1]], best[0]) if best else None

    def _overlaps(self, key: str) -> list[tuple[float, int]]:
        found: list[tuple[float, int]] = []
        if own := _grams(key):
            enough = min(_PREFIX_SHARED, _least_shared(len(own)))
            hits = Counter(chain.from_iterable(self._by_gram.get(gram, ()) for gram in self._rarest(own)))
            for number, seen in hits.items():
                other = self._gram_sets[number]
                if seen < enough or min(len(own), len(other)) < JACCARD * max(len(own), len(other)):
                    continue
                shared = len(own & other)
                if shared >= JACCARD * (len(own) + len(other) - shared):
                    found.append((shared / (len(own) + len(other) - shared), number))
        runs = _runs(key)
        common = Counter(chain.from_iterable(self._by_run.get(run, ()) for run in runs))
        for number, shared in common.items():
            shorter = min(len(runs), self._run_counts[number])
            if shared >= SHARED_RUN * shorter:
                found.append((shared / shorter, number))
        return found

    def audio_breach(self, digest: str) -> Breach | None:
        """The dev or test utterance with this recording (SHA-256 of its samples; "" is unknown and never a breach)."""
        row = self._audio.get(digest) if digest else None
        return Breach("audio", row, 1.0) if row else None

    def breach(self, utterance: Utterance) -> Breach | None:
        """The breach of one row by its recording or its text; recordings first."""
        found = self.audio_breach(utterance.audio.digest)
        return found or (self.sentence_breach(utterance.text) if utterance.text else None)

    def to_json(self) -> dict[str, Any]:
        """Everything needed to build it again; equal indexes give equal JSON."""
        return {
            "format": FORMAT,
            "rule": {"jaccard": JACCARD, "shared_run": SHARED_RUN, "normaliser": "sentence-key@1"},
            "exempt": self.exempt,
            "sentences": [[row.id, row.split, row.text] for row in self._rows],
            "audio": {digest: [row.id, row.split, row.text] for digest, row in self._audio.items()},
        }

    def save(self, path: Path) -> None:
        """Writes embargo.json, the same bytes for the same content."""
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=0, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> EmbargoIndex:
        """Reads what `save` wrote; CorpusError for anything else."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r} is not {FORMAT}")
            rows = [Embargoed(*map(str, row)) for row in data["sentences"]]
            audio = {str(digest): Embargoed(*map(str, row)) for digest, row in data["audio"].items()}
            return cls(rows, audio, exempt=int(data["exempt"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError(
                f"the embargo cannot be read ({error})",
                where=str(path),
                next_step="make the splits again with: orature split CORPUS --to CORPUS",
            ) from error


def screen(utterances: Iterable[Utterance], index: EmbargoIndex) -> tuple[list[Utterance], list[Reject]]:
    """Rows that may be trained on, and a Reject for each one that breaches the embargo (law 1: none is lost).

    Reasons: embargo-audio, embargo-sentence, embargo-near-duplicate.
    """
    kept: list[Utterance] = []
    rejects: list[Reject] = []
    for utterance in utterances:
        found = index.breach(utterance)
        if found is None:
            kept.append(utterance)
        else:
            rejects.append(reject_of(utterance, found))
    return kept, rejects


def reject_of(utterance: Utterance, breach: Breach) -> Reject:
    """The Reject that says which embargoed row `utterance` meets."""
    offered = utterance.id if breach.kind == "audio" else (utterance.text or "")
    return Reject(utterance.id, f"embargo-{breach.kind}", breach.sentence(offered), utterance.source)


def refuse_breach(rows: Iterable[Utterance | str], index: EmbargoIndex, *, where: str = "") -> None:
    """Raises LeakFound, naming the sentence, at the first row or text that breaches the embargo (law 5)."""
    for row in rows:
        found = index.sentence_breach(row) if isinstance(row, str) else index.breach(row)
        if found is None:
            continue
        offered = row if isinstance(row, str) else row.id if found.kind == "audio" else (row.text or "")
        own = "" if isinstance(row, str) else f"utterance {row.id}"
        raise LeakFound(
            f"evaluation material on its way into training: {found.sentence(offered)}",
            where=where or own,
            next_step="take it out of the training material, or make the splits again with: orature split",
        )
