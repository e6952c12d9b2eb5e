"""Choice of sentences: coverage, domain, dense text; the same from the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from orature.core.errors import ConfigError
from orature.text import select as module
from orature.text.select import Selection, choose, is_dense, phones_of_ipa
from orature.text.text_corpus import Sentence

COMMON = "the a of and to in is it was for on are".split()


def pool(count: int = 400) -> list[Sentence]:
    """Mostly common words; each tenth sentence has a rare word of its own, each seventh a name."""
    rng = random.Random(5)
    found = []
    for number in range(count):
        words = rng.choices(COMMON, k=rng.randint(5, 12))
        if number % 10 == 0:
            words[2] = f"rare{chr(97 + number // 10 % 26)}{chr(97 + number // 260)}ž"
        if number % 7 == 0:
            words[3] = "Ambato"
        text = " ".join(words)
        found.append(Sentence(f"s{number}", text[:1].upper() + text[1:]))
    return found


def chosen_of(sentences: Sequence[Sentence], **asked: float) -> tuple[set[int], dict[str, object]]:
    return choose(range(len(sentences)), sentences.__getitem__, [], Selection(**asked))  # type: ignore[arg-type]


def words_of(sentences: Sequence[Sentence], chosen: set[int]) -> set[str]:
    return {word.lower() for number in chosen for word in sentences[number].text.split()}


def test_rare_words_and_characters_are_covered_first() -> None:
    sentences = pool()
    chosen, about = chosen_of(sentences, most=60, dense_share=0.0)
    every = words_of(sentences, set(range(len(sentences))))
    drawn = words_of(sentences, set(random.Random(1).sample(range(len(sentences)), 60)))
    assert len(chosen) == 60
    assert len(words_of(sentences, chosen)) >= 0.95 * len(every) > 1.3 * len(drawn)
    coverage = about["coverage"]
    assert isinstance(coverage, dict) and coverage["word"]["chosen"] >= 0.95 * coverage["word"]["candidates"]
    assert "stand-in" in str(about["units"])


def test_the_choice_depends_on_sentences_and_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 64)
    sentences = pool()
    first, _ = chosen_of(sentences, most=80)
    backwards = sentences[::-1]
    again, _ = chosen_of(backwards, most=80)
    assert {sentences[n].id for n in first} == {backwards[n].id for n in again}
    other, _ = chosen_of(sentences, most=80, seed=1)
    assert other != first and len(first) == len(other) == 80


def test_chunks_each_give_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = pool()
    whole, _ = chosen_of(sentences, most=100)
    monkeypatch.setattr(module, "CHUNK", 50)
    parts, _ = chosen_of(sentences, most=100)
    assert len(whole) == len(parts) == 100
    every = words_of(sentences, set(range(len(sentences))))
    assert len(words_of(sentences, parts)) >= 0.9 * len(every)


def test_hours_are_counted_at_the_speaking_rate() -> None:
    sentences = pool()
    chosen, _ = chosen_of(sentences, most_seconds=120.0, characters_per_s=12.0)
    seconds = sum(len(sentences[number].spoken) for number in chosen) / 12.0
    assert 110 < seconds <= 120
    with pytest.raises(ConfigError, match="speaking rate"):
        chosen_of(sentences, most_seconds=120.0)


def test_a_share_has_numbers_or_names() -> None:
    sentences = pool()
    assert is_dense(Sentence("a", "It was Ambato")) and is_dense(Sentence("b", "in 1958", spoken="in nineteen"))
    assert not is_dense(Sentence("c", "It was so")) and not is_dense(Sentence("d", "LOUD WORDS HERE"))
    few, _ = chosen_of(sentences, most=40, dense_share=0.0)
    many, about = chosen_of(sentences, most=40, dense_share=0.8)
    dense = sum(is_dense(sentences[number]) for number in many)
    assert dense >= 32 > sum(is_dense(sentences[number]) for number in few)
    assert about["dense"] == dense


def test_the_domain_of_the_transcripts_is_preferred() -> None:
    home = [Sentence(f"h{n}", f"yaku wasi runa {STEM[n % 8]} allpa {STEM[n // 8 % 8]}") for n in range(60)]
    away = [Sentence(f"a{n}", f"the report of {STEM[n % 8]} was for the {STEM[n // 8 % 8]}") for n in range(60)]
    sentences = [one for pair in zip(home, away, strict=True) for one in pair]
    transcripts = ["runa wasi yaku allpa mayu", "allpa runa yaku", "wasi mayu runa yaku"] * 3
    asked = Selection(most=20, domain_share=0.5, dense_share=0.0)
    chosen, about = choose(range(len(sentences)), sentences.__getitem__, transcripts, asked)
    assert len(chosen) == 20 and all(sentences[number].id.startswith("h") for number in chosen)
    assert about["candidates"] == 60
    plain, _ = choose(range(120), sentences.__getitem__, [], asked)
    assert any(sentences[number].id.startswith("a") for number in plain)


STEM = "one two three four five six seven eight".split()


def test_phones_of_the_caller_are_what_is_covered() -> None:
    """Two spellings of one sound are one unit, two sounds of one spelling are two."""
    sentences = [Sentence(f"s{n}", "aa aa aa") for n in range(30)] + [Sentence("x", "aa aa aa")]

    def phones(texts: Sequence[str]) -> list[list[str]]:
        return [["k", "l"] if number == 30 else ["a"] for number in order(texts)]

    def order(texts: Sequence[str]) -> list[int]:
        return [30 if text == "aa aa aa " else 0 for text in texts]

    sentences[30] = Sentence("x", "aa aa aa ")
    asked = Selection(most=2, dense_share=0.0)
    chosen, about = choose(range(31), sentences.__getitem__, [], asked, phones=phones)
    assert 30 in chosen and about["units"] == "pairs of phones"


def test_ipa_is_taken_apart_into_phones_with_their_signs() -> None:
    assert phones_of_ipa("hˈaːtun wˈasi") == ["h", "aː", "t", "u", "n", "|", "w", "a", "s", "i"]
    assert phones_of_ipa("t͡ʃʰa ã kʷɛ̀") == ["t͡ʃʰ", "a", "|", "ã", "|", "kʷ", "ɛ̀"]
    assert phones_of_ipa("") == []


def test_more_than_there_is_takes_all() -> None:
    sentences = pool(20)
    chosen, _ = chosen_of(sentences, most=1000)
    assert chosen == set(range(20))
    assert chosen_of([], most=5)[0] == set()
