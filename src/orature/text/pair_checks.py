"""Which sentence pairs may be trained on, and which are kept for dev and test.

| reason | a train row is left out when |
|---|---|
| empty-source, empty-target | a side holds no letter or digit (also in dev and test) |
| too-long | a side has more characters than allowed |
| length-ratio | its sides are much further apart in length than those of the middle pair |
| other-script | too few of a side's letters are of the scripts in which that side is written |
| copied-source | both sides are the same sentence of two words or more |
| duplicate | the same pair is there already |
| embargo-sentence, embargo-near-duplicate | a side is, or nearly is, a sentence of dev or test, here or in a corpus |

Rows of dev and test are measured on as they were given.

Example::

    kept, rejects = check_pairs(pairs, PairRules())
    kept = held_out(kept, ("dev", "test"), count=500, seed=0)
    kept, more = screen_pairs(kept, index_of(evaluation_rows(kept)))
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from unicodedata import category

from orature.core.types import Reject
from orature.text.language import scripts
from orature.text.leaks import Embargoed, EmbargoIndex, is_exempt, sentence_key
from orature.text.parallel import Pair

SIDES = ("source", "target")
_EVALUATION = ("dev", "test")
_OWN_SCRIPT = 0.05
"""A script with at least this share of a side's letters is one that the side is written in (Japanese has three)."""
_SLACK = 5
"""Characters added to both sides before they are compared: short texts differ freely."""
_FEW_LETTERS = 4
_LARGE_GROUP = 5


@dataclass(frozen=True, slots=True)
class PairRules:
    """Bounds of train rows. `max_ratio` is against the middle ratio of all pairs (Granary: 4); 0 leaves a check out."""

    max_characters: int = 600
    max_ratio: float = 4.0
    min_script_share: float = 0.8


def check_pairs(pairs: Sequence[Pair], rules: PairRules) -> tuple[list[Pair], list[Reject]]:
    """Pairs that may be used, and a Reject for each other one (law 1: none is lost)."""
    train = [pair for pair in pairs if pair.split not in _EVALUATION and not _empty(pair)]
    checks = _checks(train, rules)
    kept: list[Pair] = []
    rejects: list[Reject] = []
    for pair in pairs:
        found = _empty(pair)
        if found is None and pair.split not in _EVALUATION:
            found = next((why for check in checks if (why := check(pair)) is not None), None)
        if found is None:
            kept.append(pair)
        else:
            rejects.append(Reject(pair.id, found[0], f"{found[1]}: {_shown(pair)}", pair.id))
    return kept, rejects


Check = Callable[[Pair], tuple[str, str] | None]


def _checks(train: Sequence[Pair], rules: PairRules) -> list[Check]:
    middle = median(map(_ratio, train)) if train else 1.0
    own = {side: _scripts_of(getattr(pair, side) for pair in train) for side in SIDES}
    seen: dict[tuple[str, str], str] = {}

    def too_long(pair: Pair) -> tuple[str, str] | None:
        most = max(len(pair.source), len(pair.target))
        if rules.max_characters and most > rules.max_characters:
            return "too-long", f"a side has {most} characters (most: {rules.max_characters})"
        return None

    def unlike(pair: Pair) -> tuple[str, str] | None:
        times = _ratio(pair) / middle
        if rules.max_ratio and not 1 / rules.max_ratio <= times <= rules.max_ratio:
            return "length-ratio", f"the source is {times:.2g} times as long as usual beside its translation"
        return None

    def foreign(pair: Pair) -> tuple[str, str] | None:
        for side in SIDES:
            letters = scripts(getattr(pair, side))
            share = sum(letters[name] for name in own[side]) / max(1, letters.total())
            if letters.total() >= _FEW_LETTERS and share < rules.min_script_share:
                return "other-script", f"{100 * share:.0f} % of the {side} is in {' or '.join(sorted(own[side]))}"
        return None

    def copied(pair: Pair) -> tuple[str, str] | None:
        key = sentence_key(pair.source)
        same = not is_exempt(key) and key == sentence_key(pair.target)
        return ("copied-source", "the translation is the source itself") if same else None

    def doubled(pair: Pair) -> tuple[str, str] | None:
        first = seen.setdefault((pair.source, pair.target), pair.id)
        return None if first == pair.id else ("duplicate", f"the same as {first}")

    return [too_long, unlike, foreign, copied, doubled]


def _empty(pair: Pair) -> tuple[str, str] | None:
    for side in SIDES:
        if not any(category(sign)[0] in "LN" for sign in getattr(pair, side)):
            return f"empty-{side}", f"the {side} holds no letter or digit"
    return None


def _ratio(pair: Pair) -> float:
    return (len(pair.source) + _SLACK) / (len(pair.target) + _SLACK)


def _scripts_of(texts: Iterable[str]) -> frozenset[str]:
    total: Counter[str] = Counter()
    for text in texts:
        total.update(scripts(text))
    return frozenset(name for name, count in total.items() if count >= _OWN_SCRIPT * total.total())


def _shown(pair: Pair) -> str:
    return f"“{pair.source[:60]}” – “{pair.target[:60]}”"


def held_out(pairs: Sequence[Pair], parts: Sequence[str], *, count: int, seed: int) -> list[Pair]:
    """`pairs` in their order, with about `count` train rows moved to each of `parts`, the same in any order of rows.

    Rows that share a sentence on either side stay together, so that no sentence of two words or more stands in two
    splits. Groups that would fill a fifth of a part stay in train.
    """
    train = [pair for pair in pairs if pair.split == "train"]
    groups: dict[int, list[Pair]] = defaultdict(list)
    roots = _components(train)
    for pair, root in zip(train, roots, strict=True):
        groups[root].append(pair)

    def drawn(group: list[Pair]) -> str:
        first = min((pair.source, pair.target) for pair in group)
        return hashlib.sha256(f"{seed}\n{first[0]}\n{first[1]}".encode()).hexdigest()

    small = (group for group in groups.values() if len(group) <= max(1, count // _LARGE_GROUP))
    waiting = iter(sorted(small, key=drawn))
    moved: dict[str, str] = {}
    for part in parts:
        taken = 0
        while taken < count and (group := next(waiting, None)) is not None:
            moved.update((pair.id, part) for pair in group)
            taken += len(group)
    return [replace(pair, split=moved.get(pair.id, pair.split)) for pair in pairs]


def _components(pairs: Sequence[Pair]) -> list[int]:
    """For each pair the number of the group of pairs that it is joined with by equal sentences."""
    parents = list(range(len(pairs)))

    def top(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, pair in enumerate(pairs):
        for side in SIDES:
            key = sentence_key(getattr(pair, side))
            if not is_exempt(key):
                other = first.setdefault((side, key), number)
                parents[top(number)] = top(other)
    return [top(number) for number in range(len(pairs))]


def evaluation_rows(pairs: Iterable[Pair]) -> Iterable[Embargoed]:
    """Both sides of dev and test as rows of an embargo."""
    for pair in pairs:
        if pair.split in _EVALUATION:
            for side in SIDES:
                yield Embargoed(pair.id, pair.split, getattr(pair, side))


def index_of(rows: Iterable[Embargoed]) -> EmbargoIndex:
    """The embargo over `rows`; sentences of one word are exempt and counted."""
    held: list[Embargoed] = []
    exempt = 0
    for row in rows:
        if is_exempt(sentence_key(row.text)):
            exempt += 1
        else:
            held.append(row)
    return EmbargoIndex(held, {}, exempt=exempt)


def screen_pairs(
    pairs: Iterable[Pair], index: EmbargoIndex, advance: Callable[[float], None] = lambda by: None
) -> tuple[list[Pair], list[Reject]]:
    """Train rows that keep the embargo with all rows of dev and test; a Reject for each other train row (law 5)."""
    kept: list[Pair] = []
    rejects: list[Reject] = []
    for pair in pairs:
        advance(1)
        why = _breach(pair, index) if pair.split == "train" else None
        if why is None:
            kept.append(pair)
        else:
            rejects.append(Reject(pair.id, why[0], why[1], pair.id))
    return kept, rejects


def _breach(pair: Pair, index: EmbargoIndex) -> tuple[str, str] | None:
    """Reason and sentence where a side may not be trained on, the translation first."""
    for text in (pair.target, pair.source):
        found = index.sentence_breach(text)
        if found is not None:
            return f"embargo-{found.kind}", found.sentence(text)
    return None
