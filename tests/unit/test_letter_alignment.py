"""Letters and phones aligned without a dictionary: a planted spelling is found again."""

from __future__ import annotations

import random

import numpy as np
import pytest

from orature.text.letter_alignment import Learned, Pair, learn

PHONES = "p t k b d m n s ʃ tʃ l a e i o u".split()
DIGRAPHS = {"ʃ": "sh", "tʃ": "ch"}
LETTERS = dict(zip([phone for phone in PHONES if phone not in DIGRAPHS], "bdfgjklmnprtuv", strict=True))
SILENT, DOUBLE = "q", "x"
"""A letter that ends words and is not spoken; one that stands for t and s together."""


def _pairs(noise: float) -> list[Pair]:
    """150 sentences whose letters are a cipher; `noise` of the phones are left out, changed or added each."""
    rng = random.Random(1)
    made: list[Pair] = []
    for _ in range(150):
        text, heard = "", []
        for _ in range(rng.randint(3, 7)):
            word = [rng.choice(PHONES) for _ in range(rng.randint(2, 6))]
            spelt = "".join(DIGRAPHS.get(phone) or LETTERS[phone] for phone in word)
            text += spelt + SILENT * (rng.random() < 0.5)
            if rng.random() < 0.2:
                text, word = text + DOUBLE, [*word, "t", "s"]
            for phone in word:
                drawn = rng.random()
                heard += [] if drawn < noise else [rng.choice(PHONES) if drawn < 2 * noise else phone]
                heard += [rng.choice(PHONES)] if drawn > 1 - noise else []
        made.append((text, heard))
    return made


@pytest.fixture(scope="module", params=[0.0, 0.07])
def learned(request: pytest.FixtureRequest) -> Learned:
    return learn(_pairs(request.param))


def test_a_permutation_of_letters_is_found(learned: Learned) -> None:
    for phone, letter in LETTERS.items():
        best, share = learned.shares(letter)[0]
        assert best == phone and share > 0.7, letter
        assert learned.silent_share(letter) < 0.15


def test_both_letters_of_a_digraph_share_its_phone(learned: Learned) -> None:
    assert learned.shares("s")[0][0] == "ʃ" and learned.shares("c")[0][0] == "tʃ"
    assert {phone for phone, share in learned.shares("h") if share > 0.3} == {"ʃ", "tʃ"}
    assert max(map(learned.silent_share, "sch")) < 0.2


def test_a_letter_of_two_phones_takes_one_or_the_other_and_a_silent_one_none(learned: Learned) -> None:
    assert sum(share for phone, share in learned.shares(DOUBLE) if phone in "ts") > 0.8
    assert learned.silent_share(SILENT) > 0.5
    assert learned.silent_share("☺") == 1.0 and learned.shares("☺") == [] and learned.letter_count("☺") == 0


def test_counts_add_up_and_nothing_is_drawn() -> None:
    pairs = _pairs(0.07)[:20]
    found, again = learn(pairs), learn(pairs)
    assert np.array_equal(found.counts, again.counts)
    assert found.counts.sum() == pytest.approx(sum(len(text) for text, _ in pairs))
    assert found.phone_counts.sum() == sum(len(heard) for _, heard in pairs)
    assert sum(share for _, share in found.shares("b")) == pytest.approx(1.0)


def test_em_makes_the_pairs_more_likely() -> None:
    pairs = _pairs(0.0)[:40]
    likelihoods = [learn(pairs, rounds=rounds).log_likelihood for rounds in (1, 2, 4, 8)]
    assert likelihoods == sorted(likelihoods)


def test_a_pair_alone_equals_itself_among_longer_ones() -> None:
    """Padding changes nothing: the same counts whether a batch pads or not."""
    pairs: list[Pair] = [("ab", ["p", "t"]), ("abab" * 30, ["p", "t", "p", "t"] * 30)]
    for rounds in ({"rounds": 1, "diagonal_rounds": 0}, {"rounds": 1, "diagonal_rounds": 1}):
        alone = [learn([pair], **rounds) for pair in pairs]
        together = learn(pairs, **rounds)
        if not rounds["diagonal_rounds"]:
            assert np.allclose(together.counts, sum(one.counts for one in alone))
        assert np.isfinite(together.counts).all() and together.counts.sum() == pytest.approx(122.0)


def test_an_empty_side_is_refused() -> None:
    for pairs in ([], [("", ["p"])], [("a", [])]):
        with pytest.raises(ValueError, match="pairs are needed"):
            learn(pairs)
