"""The embargo index: what it finds, what it leaves alone, and that fast search equals slow search."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.core.errors import CorpusError, LeakFound
from orature.core.types import AudioSpan, Split, Utterance
from orature.text import leaks
from orature.text.leaks import Embargoed, EmbargoIndex, refuse_breach, screen, sentence_key

LONG = "ñuka ayllullaktata riksichikrinimi kunan punlla tukuykunaman"


def row(name: str, text: str | None, split: Split = "train", digest: str = "") -> Utterance:
    return Utterance(
        name, AudioSpan(f"{name}.wav", 0.0, 1.0, digest or f"digest-{name}"), text, speaker="s", split=split
    )


@pytest.fixture
def index() -> EmbargoIndex:
    return EmbargoIndex.of(
        [row("d1", LONG, "dev"), row("d2", "Ari.", "dev"), row("d3", "Ẹ kú àárọ̀ o", "dev")],
        [row("t1", "广州市房地产中介协会分析", "test"), row("t2", "Buenos días", "test"), row("t3", "yes", "test")],
    )


@pytest.mark.parametrize(
    ("text", "kind", "meets"),
    [
        (LONG.upper() + "!", "sentence", "d1"),
        ("e ku aaro o", "sentence", "d3"),
        (LONG.replace("kunan", "kaya"), "near-duplicate", "d1"),
        ("Shinapash nishpa nirka: " + LONG + ", ninmi payka chaypi", "near-duplicate", "d1"),
        ("广州市房地产中介协会的分析", "near-duplicate", "t1"),
        ("¡BUENOS DIAS!", "sentence", "t2"),
    ],
)
def test_a_breach_is_found_and_named(index: EmbargoIndex, text: str, kind: str, meets: str) -> None:
    found = index.sentence_breach(text)
    assert found is not None and (found.kind, found.row.id) == (kind, meets)
    with pytest.raises(LeakFound) as caught:
        refuse_breach(["allipacha mashikuna", text], index)
    assert text in str(caught.value) and meets in str(caught.value)


@pytest.mark.parametrize("text", ["Ari", "yes", "Buenos días señora Rosa", "kunan punlla", "广州", "", "???"])
def test_what_recurs_by_nature_is_left_alone(index: EmbargoIndex, text: str) -> None:
    assert index.sentence_breach(text) is None
    refuse_breach([text], index)


def test_one_word_sentences_are_counted(index: EmbargoIndex) -> None:
    assert (index.exempt, len(index), index.recordings) == (2, 4, 6)


def test_indic_vowel_signs_are_no_accents() -> None:
    assert sentence_key("कि का") != sentence_key("क का")
    assert sentence_key("ọkọ́ mi") == sentence_key("ọkọ̀ mi") == sentence_key("oko mi")
    assert sentence_key("go:la 'a-b") == "gola a b"


def test_recordings_are_embargoed_even_without_text(index: EmbargoIndex) -> None:
    found = index.breach(row("x", None, "unlabelled", digest="digest-t3"))
    assert found is not None and (found.kind, found.row.id) == ("audio", "t3")
    assert index.audio_breach("") is None
    silent = EmbargoIndex.of([row("t9", None, "test")])
    assert silent.audio_breach("digest-t9") is not None and (silent.exempt, len(silent)) == (0, 0)


def test_screening_loses_nothing(index: EmbargoIndex) -> None:
    rows = [row("a", LONG), row("b", "shuk mashi"), row("c", "yes"), row("d", "no", digest="digest-t3"), row("e", None)]
    kept, rejects = screen(rows, index)
    assert [u.id for u in kept] == ["b", "c", "e"]
    assert {(r.id, r.reason) for r in rejects} == {("a", "embargo-sentence"), ("d", "embargo-audio")}
    assert "t3" in rejects[1].detail and len(kept) + len(rejects) == len(rows)


def test_json_is_the_same_bytes_and_the_same_index(index: EmbargoIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "a.json")
    again = EmbargoIndex.load(tmp_path / "a.json")
    again.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert again.sentence_breach(LONG) == index.sentence_breach(LONG)
    assert (again.exempt, again.recordings) == (index.exempt, index.recordings)
    backwards = EmbargoIndex.of(
        [row("t3", "yes", "test"), row("t2", "Buenos días", "test"), row("t1", "广州市房地产中介协会分析", "test")],
        [row("d3", "Ẹ kú àárọ̀ o", "dev"), row("d2", "Ari.", "dev"), row("d1", LONG, "dev")],
    )
    assert backwards.to_json() == index.to_json()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 9}', '{"format":1,"sentences":[[1]],"audio":{},"exempt":0}']
)
def test_a_broken_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "embargo.json").write_text(text)
    with pytest.raises(CorpusError, match="embargo cannot be read"):
        EmbargoIndex.load(tmp_path / "embargo.json")


def _slow(key: str, others: list[str]) -> set[int]:
    """Every pair by definition."""
    found = set()
    for number, other in enumerate(others):
        a, b = ({k[i : i + 3] for i in range(len(k) - 2)} for k in (key, other))
        if min(len(key), len(other)) >= 12 and len(a & b) >= leaks.JACCARD * len(a | b):
            found.add(number)
        first, second = leaks._runs(key), leaks._runs(other)
        if first and second and len(first & second) >= leaks.SHARED_RUN * min(len(first), len(second)):
            found.add(number)
    return found


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_fast_search_finds_what_slow_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abki", k=rng.randint(1, 5))) for _ in range(8)]
    texts = [" ".join(rng.choices(words, k=rng.randint(2, 9))) for _ in range(30)]
    index = EmbargoIndex([Embargoed(str(n), "test", text) for n, text in enumerate(texts[:15])], {})
    keys = list(index._number)
    for text in texts[15:]:
        key = sentence_key(text)
        assert {number for _, number in index._overlaps(key)} == _slow(key, keys)
