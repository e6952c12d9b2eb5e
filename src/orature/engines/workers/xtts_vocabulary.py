"""The vocabulary of XTTS for a new language: a tag, the letters that it lacks, and word pieces on top of its own.

It imports nothing of Orature, for it runs in the environment of coqui-tts. A vocabulary is the table of a `vocab.json`
(tokenizers, BPE). Nothing that is in it changes: ids, merges and their order stay, new ones come after them.

Example::

    found = extended(table, ["habari za asubuhi"], ["sw"], most_pieces=2000)
    found.table, [token.text for token in found.new]            # "[sw]", letters, then merged pieces

Pieces are learned by byte-pair encoding (Sennrich, Haddow, Birch 2016, section 3.2), begun from the words as the old
vocabulary cuts them, not from letters: since new merges rank after the old ones, the tokenizer then cuts a text exactly
as it was cut in learning.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

UNKNOWN, SPACE = "[UNK]", "[SPACE]"
_TAG = re.compile(r"\[([a-z]{2,3}(?:-[a-z]{2,8})?)\]")
_LEAST_SEEN = 2
Word = tuple[str, ...]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was added, and the ids that its weights begin from (their mean)."""

    text: str
    number: int
    origins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Extended:
    """A vocabulary with what was added to it, in the order of the ids."""

    table: dict[str, Any]
    new: tuple[NewToken, ...]


def tags_of(table: dict[str, Any]) -> set[str]:
    """The language tags of a vocabulary: "[zh-cn]" is zh-cn."""
    return {match[1] for name in _numbers(table) if (match := _TAG.fullmatch(name))}


def letters_of(table: dict[str, Any]) -> set[str]:
    """The single characters that it can write."""
    return {name for name in _numbers(table) if len(name) == 1}


def lacking(table: dict[str, Any], text: str) -> list[str]:
    """Characters of a prepared text that the vocabulary lacks, in code point order."""
    known = letters_of(table)
    return sorted({one for one in text if one not in known and not one.isspace()})


def encode(tokenizer: Any, text: str, tag: str) -> list[int]:
    """Ids of a prepared text as XTTS is given it: the tag of its language, words, [SPACE] between them."""
    return list(tokenizer.encode(f"[{tag}]{text}".replace(" ", SPACE)).ids)


def tokenizer_of(table: dict[str, Any]) -> Any:
    """The tokenizer (of the library tokenizers) of a vocabulary; ValueError where it is none."""
    # The library raises plain exceptions of no kind of its own, so the shape is looked at first.
    model = table.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise ValueError("vocab.json is no BPE vocabulary")
    return import_module("tokenizers").Tokenizer.from_str(json.dumps(table))


def extended(table: dict[str, Any], texts: Sequence[str], tags: Iterable[str], *, most_pieces: int) -> Extended:
    """`table` with the missing ones of `tags`, of the letters of `texts`, and at most so many merged pieces.

    `texts` are prepared transcripts of train. The same arguments give the same table.
    """
    table = copy.deepcopy(table)
    numbers = _numbers(table)
    new: list[NewToken] = []
    old_tags = tuple(sorted(numbers[f"[{tag}]"] for tag in tags_of(table)))
    old_letters = tuple(sorted(numbers[one] for one in letters_of(table) if one.isalpha()))
    for tag in sorted(set(tags) - tags_of(table)):
        new.append(_added(table, f"[{tag}]", old_tags, special=True))
    for letter in sorted({one for text in texts for one in lacking(table, text)}):
        new.append(_added(table, letter, old_letters))
    merges: list[Pair] = []
    numbers = _numbers(table)
    for left, right in learned(_words(table, texts), numbers, most_pieces) if most_pieces else []:
        token = _added(table, left + right, (numbers[left], numbers[right]))
        numbers[token.text] = token.number
        new.append(token)
        merges.append((left, right))
    known = table["model"]["merges"]
    as_lists = bool(known) and not isinstance(known[0], str)
    known += [list(pair) for pair in merges] if as_lists else [" ".join(pair) for pair in merges]
    return Extended(table, tuple(new))


def learned(words: Counter[Word], known: Iterable[str], most: int) -> list[Pair]:
    """Merges in the order in which byte-pair encoding finds them: the most frequent pair, the first by code points of
    those equally frequent, until none is seen twice. Pairs that make a token of `known` are left alone.
    """
    taken = set(known)
    cut = [list(word) for word in words]
    weights = list(words.values())
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for place, word in enumerate(cut):
        _count(word, place, weights[place], counts, places)
    found: list[Pair] = []
    while len(found) < most:
        open_pairs = [(-count, pair) for pair, count in counts.items() if count >= _LEAST_SEEN]
        best = min((one for one in open_pairs if "".join(one[1]) not in taken), default=None)
        if best is None:
            break
        pair = best[1]
        found.append(pair)
        taken.add("".join(pair))
        for place in sorted(places[pair]):
            _count(cut[place], place, -weights[place], counts, places)
            cut[place] = merged(cut[place], pair)
            _count(cut[place], place, weights[place], counts, places)
    return found


def merged(word: Sequence[str], pair: Pair) -> list[str]:
    """`word` with each occurrence of `pair`, from the left, as one token."""
    done: list[str] = []
    place = 0
    while place < len(word):
        if tuple(word[place : place + 2]) == pair:
            done.append(pair[0] + pair[1])
            place += 2
        else:
            done.append(word[place])
            place += 1
    return done


def _count(
    word: Sequence[str], place: int, weight: int, counts: Counter[Pair], places: defaultdict[Pair, set[int]]
) -> None:
    """Enters (or, with a negative weight, takes out) the neighbours in one word."""
    for pair in pairwise(word):
        counts[pair] += weight
        if weight > 0:
            places[pair].add(place)
        else:
            places[pair].discard(place)
        if counts[pair] <= 0:
            del counts[pair]


def _words(table: dict[str, Any], texts: Sequence[str]) -> Counter[Word]:
    """How often each word stands in the texts, cut into tokens by the vocabulary as it is."""
    tokenizer = tokenizer_of(table)
    splitter = tokenizer.pre_tokenizer
    pieces: Counter[str] = Counter()
    for text in texts:
        for part in text.split():
            pieces.update([part] if splitter is None else [word for word, _ in splitter.pre_tokenize_str(part)])
    words: Counter[Word] = Counter()
    for piece, count in sorted(pieces.items()):
        words[tuple(tokenizer.encode(piece, add_special_tokens=False).tokens)] += count
    return words


def _numbers(table: dict[str, Any]) -> dict[str, int]:
    """Ids by token."""
    added = {one["content"]: one["id"] for one in table.get("added_tokens", [])}
    return {**table["model"]["vocab"], **added}


def _added(table: dict[str, Any], text: str, origins: tuple[int, ...], *, special: bool = False) -> NewToken:
    number = max(_numbers(table).values()) + 1
    table["model"]["vocab"][text] = number
    if special:
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        table["added_tokens"].append({"id": number, "content": text, **flags})
    return NewToken(text, number, origins)
