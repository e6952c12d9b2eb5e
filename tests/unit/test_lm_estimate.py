"""Kneser-Ney estimates against values worked by hand, against KenLM, and with next to no memory."""

from __future__ import annotations

import gzip
import math
import random
from pathlib import Path

import pytest

from orature.core.errors import BadInput, ConfigError, ModelError
from orature.engines.arpa import ArpaModel, perplexity
from orature.engines.kenlm import KenLm
from orature.engines.kneser_ney import FALLBACK, discounts_of, estimate

TINY = [["a", "b"], ["a"]]


def _sentences(number: int, seed: int = 1) -> list[list[str]]:
    """Zipf-like text whose counts of counts give discounts."""
    rng = random.Random(seed)
    words = [f"w{index}" for index in range(200)]
    weights = [1 / (index + 1) for index in range(200)]
    return [rng.choices(words, weights, k=rng.randint(1, 9)) for _ in range(number)]


def test_a_bigram_model_worked_by_hand(tmp_path: Path) -> None:
    """<s>a 2, ab 1, b</s> 1, a</s> 1; adjusted unigrams a 1, b 1, </s> 2; discounts 0.5, 1, 1.5; V = 4."""
    facts = estimate(TINY, tmp_path / "lm.arpa", order=2)
    assert facts.discounts == (FALLBACK, FALLBACK)
    assert facts.fallback_orders == (1, 2)
    assert facts.ngrams == (5, 4)
    found = ArpaModel.load(tmp_path / "lm.arpa").ngrams
    expected = {
        ("a",): (0.25, 0.5),
        ("b",): (0.25, 0.5),
        ("</s>",): (0.375, 1.0),
        ("<unk>",): (0.125, 1.0),
        ("<s>", "a"): (0.625, 1.0),
        ("a", "b"): (0.375, 1.0),
        ("a", "</s>"): (0.4375, 1.0),
        ("b", "</s>"): (0.6875, 1.0),
    }
    for words, (probability, backoff) in expected.items():
        assert 10 ** found[words][0] == pytest.approx(probability, abs=1e-6), words
        assert 10 ** found[words][1] == pytest.approx(backoff, abs=1e-6), words
    assert 10 ** found[("<s>",)][1] == pytest.approx(0.5, abs=1e-6)
    assert set(found) == {*expected, ("<s>",)}


def test_lower_orders_count_what_stands_before_not_how_often(tmp_path: Path) -> None:
    """ "x y" five times and "y" once: y is seen after two words, whatever the counts."""
    estimate([["x", "y"]] * 5 + [["y"]], tmp_path / "lm.arpa", order=2)
    found = ArpaModel.load(tmp_path / "lm.arpa").ngrams
    # adjusted: x 1 (<s>), y 2 (x, <s>), </s> 1 (y): total 4; gamma (0.5 + 1 + 0.5) / 4 = 0.5
    assert 10 ** found[("y",)][0] == pytest.approx((2 - 1) / 4 + 0.5 / 4, abs=1e-6)
    # <s> is followed by x 5 times, by y once: (5 - 1.5) / 6 + gamma p(x), gamma = (1.5 + 0.5) / 6
    assert 10 ** found[("<s>", "x")][0] == pytest.approx(3.5 / 6 + (2 / 6) * (0.5 / 4 + 0.5 / 4), abs=1e-6)


def test_discounts_follow_chen_and_goodman() -> None:
    assert discounts_of([10, 5, 2, 1]) == pytest.approx((0.5, 1.4, 2.0))
    assert discounts_of([10, 5, 0, 1]) is None
    assert discounts_of([10, 1, 40, 100]) is None


def test_unigram_share_and_pruned_mass_by_hand(tmp_path: Path) -> None:
    """With singleton bigrams pruned, what they had goes to the shorter context."""
    facts = estimate([["x", "y"]] * 5 + [["y"]], tmp_path / "lm.arpa", order=2, prune=(0, 1))
    assert facts.pruned == (0, 1)
    found = ArpaModel.load(tmp_path / "lm.arpa").ngrams
    assert ("<s>", "y") not in found
    assert 10 ** found[("<s>",)][1] == pytest.approx((1.5 + 1) / 6, abs=1e-6)


@pytest.mark.parametrize("order", [2, 3, 6])
def test_the_same_bytes_with_hardly_any_memory(tmp_path: Path, order: int) -> None:
    text = _sentences(1500)
    estimate(text, tmp_path / "plenty.arpa", order=order)
    estimate(text, tmp_path / "little.arpa", order=order, memory_bytes=1, folder=tmp_path)
    assert (tmp_path / "plenty.arpa").read_bytes() == (tmp_path / "little.arpa").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["little.arpa", "plenty.arpa"]


def test_the_order_of_sentences_does_not_matter_and_gz_is_the_same(tmp_path: Path) -> None:
    text = _sentences(300)
    estimate(text, tmp_path / "a.arpa", order=3)
    estimate(text[::-1], tmp_path / "b.arpa.gz", order=3)
    assert (tmp_path / "a.arpa").read_bytes() == gzip.decompress((tmp_path / "b.arpa.gz").read_bytes())


def test_kenlm_scores_as_our_reader_does(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa.gz"
    facts = estimate(_sentences(800), path, order=4)
    assert not {1, 2, 3} & set(facts.fallback_orders)
    ours, theirs = ArpaModel.load(path), KenLm(path)
    assert theirs.knows("w0") and not theirs.knows("nowhere") and not theirs.knows("<unk>")
    for sentence in [*_sentences(60, seed=2), ["w1", "nowhere", "w2"]]:
        a, b = ours.begin(), theirs.begin()
        for word in sentence:
            (a, mine), (b, kens) = ours.score(a, word), theirs.score(b, word)
            assert mine == pytest.approx(kens, abs=1e-4)
        assert ours.end(a) == pytest.approx(theirs.end(b), abs=1e-4)


def test_letters_beyond_latin_survive_and_special_names_become_unknown(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    estimate([["ọ̀rọ̀", "ꦲꦏ꧀ꦱ", "<s>"], ["ọ̀rọ̀", "😀"]], path, order=2)
    model = KenLm(path)
    assert model.knows("ọ̀rọ̀") and model.knows("ꦲꦏ꧀ꦱ") and model.knows("😀")
    assert path.read_text(encoding="utf-8").count("<s>\t") == 1


def test_a_limited_vocabulary_gives_unknown_a_share_of_its_own(tmp_path: Path) -> None:
    facts = estimate(_sentences(500), tmp_path / "lm.arpa", order=2, vocabulary=20)
    assert facts.vocabulary == 20
    model = ArpaModel.load(tmp_path / "lm.arpa")
    assert 10 ** model.ngrams[("<unk>",)][0] > 0.05
    assert model.knows("w0") and not model.knows("w150")


def test_perplexity_counts_sentence_ends_and_unknown_words(tmp_path: Path) -> None:
    estimate(TINY, tmp_path / "lm.arpa", order=2)
    model = ArpaModel.load(tmp_path / "lm.arpa", words={"a", "z"})
    found = perplexity(model, [["a"], []])
    assert found is not None and found.tokens == 2 and found.unknown == 0
    assert found.all == pytest.approx(math.sqrt(1 / (0.625 * 0.4375)), rel=1e-5)
    other = perplexity(model, [["a", "z"]])
    # <unk> after "a" is backed off: 0.5 * 0.125, then p(</s>) alone
    assert other is not None and other.unknown == 1
    assert other.all == pytest.approx((1 / (0.625 * 0.5 * 0.125 * 0.375)) ** (1 / 3), rel=1e-5)
    assert other.known == pytest.approx(math.sqrt(1 / (0.625 * 0.375)), rel=1e-5)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for options in ({"order": 1}, {"order": 7}, {"prune": (0, 2, 1)}, {"prune": (1,)}, {"vocabulary": 0}):
        with pytest.raises(ConfigError):
            estimate(TINY, tmp_path / "lm.arpa", **options)
    with pytest.raises(BadInput, match="no words"):
        estimate([[], []], tmp_path / "lm.arpa")
    (tmp_path / "bad.arpa").write_text("\\data\\\nngram 1=1\n\n\\1-grams:\nx\ta\n", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        ArpaModel.load(tmp_path / "bad.arpa")
    with pytest.raises(ModelError):
        KenLm(tmp_path / "bad.arpa")
