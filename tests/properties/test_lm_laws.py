"""Laws of the estimator: distributions sum to one, and equal a plain dictionary implementation of the formulas."""

from __future__ import annotations

import math
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orature.engines.arpa import ArpaModel
from orature.engines.kneser_ney import FALLBACK, discounts_of, estimate

SENTENCES = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=6), min_size=1, max_size=25)


class Plain:
    """Modified Kneser-Ney over dictionaries, by recursion, after the formulas."""

    def __init__(self, sentences: list[list[str]], order: int) -> None:
        raw: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order + 1)]
        before: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for sentence in sentences:
            words = ["<s>", *sentence, "</s>"]
            for n in range(1, order + 1):
                for at in range(len(words) - n + 1):
                    gram = tuple(words[at : at + n])
                    if gram == ("<s>",):
                        continue
                    raw[n][gram] += 1
                    if at:
                        before[gram].add(words[at - 1])
        self.adjusted = [
            {g: c if n == order or g[0] == "<s>" else len(before[g]) for g, c in raw[n].items()}
            for n in range(order + 1)
        ]
        self.discounts = []
        for n in range(1, order + 1):
            tally = Counter(self.adjusted[n].values())
            self.discounts.append(discounts_of([tally[k] for k in (1, 2, 3, 4)]) or FALLBACK)
        self.vocabulary = {g[0] for g in self.adjusted[1]} | {"<unk>"}

    def probability(self, context: tuple[str, ...], word: str) -> float:
        n = len(context) + 1
        following = {g[-1]: c for g, c in self.adjusted[n].items() if g[:-1] == context}
        lower = self.probability(context[1:], word) if context else 1 / len(self.vocabulary)
        if not following:
            return lower
        discount = (0.0, *self.discounts[n - 1])
        total = sum(following.values())
        weight = sum(discount[min(count, 3)] for count in following.values()) / total
        own = following.get(word, 0)
        return (own - discount[min(own, 3)]) / total + weight * lower


@settings(max_examples=60, deadline=None)
@given(sentences=SENTENCES, order=st.integers(2, 4), tight=st.booleans())
def test_it_is_what_the_formulas_say_and_sums_to_one(sentences: list[list[str]], order: int, tight: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lm.arpa")
        estimate(sentences, path, order=order, memory_bytes=1 if tight else 1 << 24)
        model = ArpaModel.load(path)
    plain = Plain(sentences, order)
    contexts = {gram[:-1] for gram in model.ngrams if len(gram) > 1} | {("e", "e"), ("<s>", "e")}
    for context in sorted(contexts):
        kept = context[-(order - 1) :]
        each = {word: math.exp(model.score(kept, word)[1]) for word in plain.vocabulary}
        assert math.isclose(sum(each.values()), 1.0, abs_tol=1e-5)
        for word, found in each.items():
            assert math.isclose(found, plain.probability(kept, word), rel_tol=2e-5), (kept, word)


@settings(max_examples=30, deadline=None)
@given(sentences=SENTENCES, prune=st.sampled_from([(0, 1), (0, 0, 1), (0, 1, 2)]), vocabulary=st.integers(1, 5))
def test_pruned_and_limited_models_sum_to_one_too(
    sentences: list[list[str]], prune: tuple[int, ...], vocabulary: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lm.arpa")
        facts = estimate(sentences, path, order=3, prune=prune, vocabulary=vocabulary)
        model = ArpaModel.load(path)
    words = [gram[0] for gram in model.ngrams if len(gram) == 1 and gram != ("<s>",)]
    assert len(words) == facts.vocabulary + 2
    for context in {gram[:-1] for gram in model.ngrams if len(gram) > 1}:
        total = sum(math.exp(model.score(context, word)[1]) for word in words)
        assert math.isclose(total, 1.0, abs_tol=1e-5), context
