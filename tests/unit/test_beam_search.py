"""The prefix beam search finds what going through every path finds; flashlight's searches agree where they can."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_samples import Pieces, all_texts, random_logs, small_lm

from orature.core.errors import MissingExtra, ModelError
from orature.engines.arpa import LanguageScorer
from orature.engines.beam import Lexicon, PrefixSearch, Scoring, symbol
from orature.engines.ctc_align import fold_silent
from orature.engines.flashlight_search import CharacterSearch, LexiconSearch, token_names
from orature.engines.kenlm import KenLm

LETTERS = Pieces(["a", "b", " "])
LINES = ["a b", "ab a", "b", "a ab", "ba"]


def exact(log_TV: np.ndarray, vocabulary: Pieces, scoring: Scoring) -> list[tuple[str, float]]:
    """Every text with its whole score, best first, by going through every path."""
    found = []
    for text, acoustic in all_texts(log_TV, vocabulary).items():
        value = worth(text, scoring)
        if value > -math.inf:
            found.append((text, acoustic + value))
    return sorted(found, key=lambda one: -one[1])


def worth(text: str, scoring: Scoring) -> float:
    """The score of a text beside its acoustics, computed afresh from the definition."""
    words = text.split()
    if scoring.closed is not None and any(word not in scoring.closed for word in words):
        return -math.inf
    if scoring.words is not None:
        state, total = scoring.words.begin(), 0.0
        for word in words:
            state, log_p = scoring.words.score(state, word)
            total += scoring.alpha * log_p + scoring.beta
            if not scoring.words.knows(word):
                total += scoring.unseen
                if scoring.characters is not None:
                    total += scoring.alpha * sentence(scoring.characters, [*word, "|"])[1]
        return total + scoring.alpha * scoring.words.end(state)
    if scoring.characters is not None:
        letters = [symbol(letter) for letter in text]
        state, total = sentence(scoring.characters, letters)
        return scoring.alpha * (total + scoring.characters.end(state)) + scoring.beta * len(letters)
    return scoring.beta * len(words)


def sentence(model: LanguageScorer, letters: list[str]) -> tuple[object, float]:
    state, total = model.begin(), 0.0
    for letter in letters:
        state, log_p = model.score(state, letter)
        total += log_p
    return state, total


def scorings(folder: Path) -> dict[str, Scoring]:
    words = small_lm(folder / "words.arpa", LINES)
    characters = small_lm(folder / "letters.arpa", LINES, characters=True, order=3)
    weights: dict[str, Any] = {"alpha": 0.7, "beta": 0.9, "unseen": -1.5}
    return {
        "nothing": Scoring(beta=0.4),
        "words": Scoring(words=words, **weights),
        "words and doubt": Scoring(words=words, known=Lexicon(["a", "b", "ab", "ba"]), **weights),
        "spelled": Scoring(words=words, characters=characters, **weights),
        "characters": Scoring(characters=characters, alpha=0.7, beta=0.3),
        "closed": Scoring(words=words, closed=Lexicon(["a", "ab", "ba"]), **weights),
    }


@pytest.mark.parametrize("kind", ["nothing", "words", "words and doubt", "spelled", "characters", "closed"])
@pytest.mark.parametrize("pieces", [["a", "b", " "], ["a", " b", "ab", " "], [" a", "b", " ba"]])
def test_a_wide_beam_is_exhaustive(tmp_path: Path, kind: str, pieces: list[str]) -> None:
    scoring, vocabulary = scorings(tmp_path)[kind], Pieces(pieces)
    wide = PrefixSearch(scoring, width=100_000, token_beam=100, threshold=1e9, token_threshold=1e9)
    for seed in range(3):
        log_TV = random_logs(5, len(vocabulary), seed)
        wanted = exact(log_TV, vocabulary, scoring)
        found = wide.search(fold_silent(log_TV, vocabulary), vocabulary, n_best=10**6)
        assert len(found) == len(wanted)
        assert found[0].text == wanted[0][0]
        scores = {one.text: one.score for one in found}
        for text, score in wanted:
            assert scores[text] == pytest.approx(score, abs=2e-4), text


def test_an_unseen_word_can_be_written_and_costs_what_it_should(tmp_path: Path) -> None:
    words = small_lm(tmp_path / "words.arpa", LINES)
    log_TV = np.full((3, len(LETTERS)), -12.0, dtype=np.float32)
    for step, letter in enumerate("bab"):
        log_TV[step, LETTERS.encode(letter)[0]] = 0.0
    free = PrefixSearch(Scoring(words=words, alpha=0.3, unseen=-1.0)).search(log_TV, LETTERS)
    strict = PrefixSearch(Scoring(words=words, alpha=0.3, unseen=-30.0)).search(log_TV, LETTERS)
    assert free[0].text == "bab"
    assert strict[0].text != "bab" and set(strict[0].text.split()) <= {"a", "b", "ab", "ba"}


def test_a_narrow_beam_over_hundreds_of_steps_does_not_underflow() -> None:
    log_TV = random_logs(600, len(LETTERS), 1, sharpness=2.0)
    found = PrefixSearch(Scoring(), width=8).search(log_TV, LETTERS, n_best=4)
    assert len(found) == 4 and all(math.isfinite(one.score) for one in found)
    assert found[0].score >= found[-1].score


def test_no_steps_and_impossible_lexicons_give_an_empty_text() -> None:
    nothing = np.zeros((0, len(LETTERS)), dtype=np.float32)
    assert PrefixSearch(Scoring()).search(nothing, LETTERS)[0].text == ""
    closed = Scoring(closed=Lexicon(["zz"]))
    assert PrefixSearch(closed).search(random_logs(4, len(LETTERS), 1), LETTERS)[0].text == ""


def test_flashlight_with_a_lexicon_agrees(tmp_path: Path) -> None:
    """Sharp probabilities, so that the best alignment and the sum over all choose the same."""
    small_lm(tmp_path / "words.arpa", LINES)
    lm = KenLm(tmp_path / "words.arpa")
    own = PrefixSearch(
        Scoring(words=lm, alpha=0.8, beta=0.5, closed=Lexicon(lm.words)), width=500, threshold=1e9, token_threshold=1e9
    )
    theirs = LexiconSearch(lm, lm.words, LETTERS, alpha=0.8, beta=0.5, width=2000, threshold=1e4)
    same = 0
    for seed in range(12):
        log_TV = random_logs(12, len(LETTERS), seed, sharpness=25.0)
        mine, other = own.search(log_TV, LETTERS)[0], theirs.search(log_TV)[0]
        same += other.text == mine.text
        assert mine.score - 3.0 < other.score < mine.score + 1e-3  # one path is never more than all of them
    assert same >= 11


def test_flashlight_with_characters_agrees(tmp_path: Path) -> None:
    small_lm(tmp_path / "letters.arpa", LINES, characters=True, order=3)
    named = KenLm(tmp_path / "letters.arpa", token_names(LETTERS))
    own = PrefixSearch(Scoring(characters=KenLm(tmp_path / "letters.arpa"), alpha=0.6), width=300)
    theirs = CharacterSearch(named, LETTERS, alpha=0.6, beta=0.0, width=300)
    same = 0
    for seed in range(12):
        log_TV = random_logs(12, len(LETTERS), seed, sharpness=25.0)
        same += own.search(log_TV, LETTERS)[0].text == theirs.search(log_TV)[0].text
    assert same >= 11


def test_a_lexicon_that_cannot_be_spelled_is_refused(tmp_path: Path) -> None:
    small_lm(tmp_path / "words.arpa", ["xyz zyx"])
    with pytest.raises(ModelError, match="spelled"):
        LexiconSearch(KenLm(tmp_path / "words.arpa"), ["xyz"], LETTERS, alpha=1.0, beta=0.0)
    with pytest.raises(ModelError, match="space"):
        CharacterSearch(None, Pieces(["a", " b"]), alpha=0.0, beta=0.0)


def test_without_flashlight_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "flashlight.lib.text.decoder.kenlm", None)
    with pytest.raises(MissingExtra) as caught:
        KenLm(tmp_path / "lm.arpa")
    assert "orature[lm]" in caught.value.next_step
