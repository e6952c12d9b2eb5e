"""A dictionary from sentence pairs: which word stands for which, by two alignments that have to agree.

IBM model 1 (Brown et al. 1993, "The Mathematics of Statistical Machine Translation", section 4.1): each word of one
side is written by one word of the other, or by none (NULL), whatever their order; the tables are fitted by EM, in both
directions. Of the two best alignments the links that both hold are kept (Och and Ney 2003, "A Systematic Comparison of
Various Statistical Alignment Models", section 5): few wrong ones are left. Nothing is drawn: equal pairs, in whatever
order, give equal tables.

Shapes: N words of one side, M words of the other, C cells (each word beside each word of its pair).

Example::

    table = align_pairs([("la casa", "wasi"), ("la casa grande", "hatun wasi"), ("grande", "hatun")])
    table["casa"]                       # [Rendering("wasi", 1.0, 2)]
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orature.core.errors import ConfigError
from orature.text.words import words

ROUNDS = 10
Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rendering:
    """A word that stands for another: its share among the renderings of that word, and how many links said so."""

    text: str
    share: float
    count: int


WordTable = Mapping[str, Sequence[Rendering]]
"""For each source word its renderings, the likeliest first."""


def align_pairs(
    pairs: Iterable[tuple[str, str]],
    *,
    rounds: int = ROUNDS,
    least_count: int = 2,
    least_share: float = 0.1,
    most: int = 5,
) -> dict[str, list[Rendering]]:
    """The words of the first texts with what they stand for in the second ones.

    `rounds` of EM; renderings with fewer links than `least_count` or a smaller share than `least_share` are left out,
    and all but the `most` likeliest. Words without a rendering are not in the table. ConfigError for useless numbers.
    """
    if rounds < 1 or least_count < 1 or most < 1 or not 0.0 <= least_share <= 1.0:
        raise ConfigError(
            "rounds, least_count and most are 1 or more, least_share lies between 0 and 1", where="dictionary"
        )
    sides = sorted((tuple(words(one)), tuple(words(other))) for one, other in pairs)
    sides = [(one, other) for one, other in sides if one and other]
    if not sides:
        return {}
    source, sources = _numbered([one for one, _ in sides])
    target, targets = _numbered([other for _, other in sides])
    there = _best(source, target, len(sources), len(targets), rounds)
    back = _best(target, source, len(targets), len(sources), rounds)
    links: Counter[tuple[int, int]] = Counter()
    for one, other, chosen, returned in zip(source, target, there, back, strict=True):
        for place, above in enumerate(chosen):
            if above >= 0 and returned[above] == place:
                links[int(one[above]), int(other[place])] += 1
    return _table(links, sources, targets, least_count, least_share, most)


def _numbered(texts: Sequence[Sequence[str]]) -> tuple[list[Numbers], list[str]]:
    """Texts as numbers of words, and the words in order."""
    known = sorted({word for text in texts for word in text})
    numbers = {word: number for number, word in enumerate(known)}
    return [np.array([numbers[word] for word in text], dtype=np.int64) for text in texts], known


def _best(above: list[Numbers], below: list[Numbers], kinds: int, written: int, rounds: int) -> list[list[int]]:
    """For each word below the place of the word above that writes it, -1 for none, by model 1."""
    null = kinds
    cells, owners, rows = [], [], 0
    for one, other in zip(above, below, strict=True):
        writers = np.append(one, null)
        cells.append((writers[None, :] * written + other[:, None]).ravel())
        owners.append(np.repeat(np.arange(rows, rows + len(other)), len(writers)))
        rows += len(other)
    kinds_C, owner_C = np.concatenate(cells), np.concatenate(owners)
    known, kind_C = np.unique(kinds_C, return_inverse=True)
    writer = known // written
    chance: Floats = np.full(len(known), 1.0)
    for _ in range(rounds):
        share_C = chance[kind_C]
        share_C = share_C / np.bincount(owner_C, weights=share_C)[owner_C]
        counts = np.bincount(kind_C, weights=share_C, minlength=len(known))
        chance = counts / np.bincount(writer, weights=counts, minlength=kinds + 1)[writer]
    found, start = [], 0
    for one, other in zip(above, below, strict=True):
        size = len(other) * (len(one) + 1)
        table_MN = chance[kind_C[start : start + size]].reshape(len(other), len(one) + 1)
        best = table_MN.argmax(axis=1)
        found.append([int(place) if place < len(one) else -1 for place in best])
        start += size
    return found


def _table(
    links: Counter[tuple[int, int]],
    sources: Sequence[str],
    targets: Sequence[str],
    least_count: int,
    least_share: float,
    most: int,
) -> dict[str, list[Rendering]]:
    by_word: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (one, other), count in links.items():
        by_word[sources[one]].append((count, targets[other]))
    table = {}
    for word in sorted(by_word):
        total = sum(count for count, _ in by_word[word])
        ranked = sorted(by_word[word], key=lambda item: (-item[0], item[1]))
        kept = [(n, text) for n, text in ranked if n >= least_count and n / total >= least_share][:most]
        if kept:
            among = sum(count for count, _ in kept)
            table[word] = [Rendering(text, round(count / among, 4), count) for count, text in kept]
    return table
