"""Choice of some sentences of many: for coverage of characters, words and phones, for the domain, and for dense text.

- Domain: the difference of the cross-entropies by a character 4-gram model of the training transcripts and by one of
  the pool itself (Moore and Lewis 2010, "Intelligent selection of language model training data"); the best share stays.
- Coverage: greedy for the sum over units of the square root of their counts, per letter of text (a submodular function
  of features, Wei, Liu, Kirchhoff, Bilmes 2014), so that rare units count first and nothing is ever worth nothing.
  Units are characters, words, and pairs of phones where the caller gives a function for them, else character trigrams
  of the sentence's key as a stand-in.
- Dense: a share of the choice is taken from sentences with numbers or names (capitals inside a sentence).

Candidates are taken in an order drawn from the seed, in chunks of 10,000, each giving its share of the whole: memory
stays flat, and the result depends on the sentences and the seed alone.

Example::

    chosen, about = choose(range(len(corpus)), corpus_sentences.__getitem__, transcripts, Selection(most=1000))
"""

from __future__ import annotations

import hashlib
import heapq
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import category

from orature.core.errors import ConfigError
from orature.text.leaks import sentence_key
from orature.text.ngrams import CharacterModel
from orature.text.text_corpus import Sentence

NOT_SELECTED = "not-selected"
CHUNK = 10_000
_GENERAL = 20_000
"""Sentences of the pool that its own model is trained on."""
_WEIGHTS = {"character": 0.5, "word": 1.0, "unit": 1.0}
Phones = Callable[[Sequence[str]], list[list[str]]]
"""Phones of each of several spoken texts, in the same order; an empty list where they are not known."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How much is wanted (`most` sentences, or `most_seconds` of speech at `characters_per_s`), and of what kind."""

    most: int | None = None
    most_seconds: float | None = None
    characters_per_s: float = 0.0
    domain_share: float = 0.5
    dense_share: float = 0.1
    seed: int = 0

    @property
    def budget(self) -> float:
        """Seconds, where they are asked for, else sentences."""
        return self.most_seconds if self.most_seconds is not None else float(self.most or 0)


@dataclass(slots=True)
class _Candidate:
    number: int
    units: Counter[tuple[str, str]]
    cost: float
    dense: bool


@dataclass(slots=True)
class _State:
    """What is covered so far."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    chosen: set[int] = field(default_factory=set)
    dense: int = 0
    cost: float = 0.0

    def gain(self, one: _Candidate) -> float:
        total = 0.0
        for unit, count in one.units.items():
            before = self.counts.get(unit, 0)
            total += _WEIGHTS[unit[0]] * (math.sqrt(before + count) - math.sqrt(before))
        return total

    def take(self, one: _Candidate) -> None:
        self.counts.update(one.units)
        self.chosen.add(one.number)
        self.dense += one.dense
        self.cost += one.cost


def choose(
    rows: Sequence[int],
    sentence_of: Callable[[int], Sentence],
    transcripts: Sequence[str],
    asked: Selection,
    *,
    phones: Phones | None = None,
    advance: Callable[[float], None] = lambda done: None,
) -> tuple[set[int], dict[str, Any]]:
    """The chosen of `rows` and what to report of the choice. ConfigError for hours without a speaking rate."""
    if asked.most_seconds is not None and not asked.characters_per_s:
        raise ConfigError(
            "hours cannot be estimated without a speaking rate",
            next_step="name a corpus with training transcripts (--corpus), or ask for sentences with --most",
        )
    costs, dense, marks = _looked_at(rows, sentence_of, asked)
    candidates, domain = _by_domain(rows, sentence_of, transcripts, asked, costs)
    order = sorted(candidates, key=lambda place: marks[place])
    budget = asked.budget
    whole = sum(costs[place] for place in order)
    state = _State()
    seen = 0.0
    all_units: dict[str, set[str]] = {"character": set(), "word": set(), "unit": set()}
    for begin in range(0, len(order), CHUNK):
        chunk = order[begin : begin + CHUNK]
        made = list(_candidates([rows[place] for place in chunk], sentence_of, asked, phones, dense, chunk))
        for one in made:
            for kind, unit in one.units:
                all_units[kind].add(unit)
        seen += sum(costs[place] for place in chunk)
        _greedy(made, state, min(budget, budget * seen / whole) if whole else 0.0, asked)
        advance(len(chunk))
    return state.chosen, _about(state, all_units, len(rows), len(order), domain, asked, phones is not None)


def _looked_at(
    rows: Sequence[int], sentence_of: Callable[[int], Sentence], asked: Selection
) -> tuple[array[float], bytearray, list[bytes]]:
    """Cost (1, or seconds), density and a drawn place in the order of each row."""
    costs, dense, marks = array("d"), bytearray(), []
    for number in rows:
        sentence = sentence_of(number)
        costs.append(1.0 if asked.most_seconds is None else len(sentence.spoken) / asked.characters_per_s)
        dense.append(is_dense(sentence))
        drawn = f"{asked.seed}:{sentence.id}:{sentence.text}".encode()
        marks.append(hashlib.blake2b(drawn, digest_size=8).digest())
    return costs, dense, marks


def is_dense(sentence: Sentence) -> bool:
    """True for a sentence with figures (also those written out) or with a capital inside, as names have."""
    if sentence.text != sentence.spoken or any(letter.isdigit() for letter in sentence.text):
        return True
    words = sentence.text.split()
    return any(word[:1].isupper() and not word.isupper() for word in words[1:])


def _by_domain(
    rows: Sequence[int],
    sentence_of: Callable[[int], Sentence],
    transcripts: Sequence[str],
    asked: Selection,
    costs: array[float],
) -> tuple[list[int], dict[str, Any]]:
    """Places in `rows` of the sentences nearest to the transcripts, at least as many as are wanted."""
    every = list(range(len(rows)))
    if not transcripts or asked.domain_share >= 1 or not rows:
        why = "no training transcripts" if not transcripts else "not asked for"
        return every, {"method": "none", "why": why}
    step = max(1, len(rows) // _GENERAL)
    inside = CharacterModel(transcripts)
    general = CharacterModel(sentence_of(number).spoken for number in rows[::step])
    scores = array("d", (_difference(inside, general, sentence_of(number).spoken) for number in rows))
    every.sort(key=lambda place: (scores[place], place))
    budget = asked.budget
    kept: list[int] = []
    total = 0.0
    for place in every:
        if len(kept) >= asked.domain_share * len(rows) and total >= budget:
            break
        kept.append(place)
        total += costs[place]
    bound = scores[kept[-1]]
    return kept, {"method": "cross-entropy difference (Moore and Lewis 2010)", "bound_bits": round(bound, 4)}


def _difference(inside: CharacterModel, general: CharacterModel, text: str) -> float:
    return inside.bits(text) - general.bits(text)


def _candidates(
    numbers: Sequence[int],
    sentence_of: Callable[[int], Sentence],
    asked: Selection,
    phones: Phones | None,
    dense: bytearray,
    places: Sequence[int],
) -> Iterator[_Candidate]:
    spoken = [sentence_of(number).spoken for number in numbers]
    said = phones(spoken) if phones is not None else [[] for _ in spoken]
    for number, place, text, sounds in zip(numbers, places, spoken, said, strict=True):
        key = sentence_key(text)
        pairs = [f"{a} {b}" for a, b in zip(["|", *sounds], [*sounds, "|"], strict=True)] if sounds else _trigrams(key)
        units: Counter[tuple[str, str]] = Counter()
        units.update(("character", letter) for letter in text.lower() if not letter.isspace())
        units.update(("word", word) for word in key.split())
        units.update(("unit", pair) for pair in pairs)
        cost = 1.0 if asked.most_seconds is None else len(text) / asked.characters_per_s
        yield _Candidate(number, units, cost, bool(dense[place]))


def phones_of_ipa(ipa: str) -> list[str]:
    """The phones of an IPA transcription: letters with their diacritics and lengths; "|" between words, no stress."""
    found: list[str] = []
    for word in ipa.split():
        tied = False
        for letter in word:
            joins = bool(found) and found[-1] != "|" and (category(letter) in ("Mn", "Lm") or letter == "ː" or tied)
            tied = letter in "\u0361\u035c"
            if letter in "ˈˌ‿.-_'":
                continue
            if joins:
                found[-1] += letter
            elif category(letter)[0] == "L":
                found.append(letter)
        if found and found[-1] != "|":
            found.append("|")
    return found[:-1]


def _trigrams(key: str) -> list[str]:
    padded = f" {key} "
    return [padded[at : at + 3] for at in range(len(padded) - 2)]


def _greedy(made: Sequence[_Candidate], state: _State, budget: float, asked: Selection) -> None:
    """Adds to `state` until its cost reaches `budget`: dense ones up to their share of it, then of all."""
    dense_target = asked.dense_share * budget
    dense_cost = asked.dense_share * state.cost
    dense = [one for one in made if one.dense]
    if dense and dense_target > dense_cost:
        _fill(dense, state, min(budget, state.cost + dense_target - dense_cost), asked)
    _fill([one for one in made if one.number not in state.chosen], state, budget, asked)


def _fill(made: Sequence[_Candidate], state: _State, budget: float, asked: Selection) -> None:
    """Lazy greedy (Minoux 1978): a gain can only shrink, so the best old gain that still holds is the best."""
    if not made or state.cost >= budget:
        return
    worth = [-state.gain(one) / _size(one, asked) for one in made]
    heap = list(zip(worth, range(len(made)), strict=True))
    heapq.heapify(heap)
    while heap and state.cost + 1e-9 < budget:
        _, place = heapq.heappop(heap)
        one = made[place]
        if state.cost + one.cost > budget + 1e-9:
            continue
        now = -state.gain(one) / _size(one, asked)
        if heap and now > heap[0][0]:
            heapq.heappush(heap, (now, place))
            continue
        state.take(one)


def _size(one: _Candidate, asked: Selection) -> float:
    """What a gain is divided by: seconds, or the root of the letters where sentences are counted."""
    if asked.most_seconds is not None:
        return max(one.cost, 1e-3)
    return math.sqrt(sum(count for (kind, _), count in one.units.items() if kind == "character") + 1)


def _about(
    state: _State,
    every: dict[str, set[str]],
    pool: int,
    candidates: int,
    domain: dict[str, Any],
    asked: Selection,
    phones: bool,
) -> dict[str, Any]:
    covered = Counter(kind for kind, _ in state.counts)
    units = "pairs of phones" if phones else "character trigrams (a stand-in: no phones were given)"
    return {
        "pool": pool,
        "candidates": candidates,
        "chosen": len(state.chosen),
        "dense": state.dense,
        "seed": asked.seed,
        "domain": domain,
        "units": units,
        "coverage": {kind: {"chosen": covered[kind], "candidates": len(every[kind])} for kind in sorted(every)},
    }
