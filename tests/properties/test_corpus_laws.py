"""Laws of the corpus for any text, any ids, any order."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from data_samples import plain_writing
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.core.identity import digest_rows
from orature.core.types import ORIGINS, SPLITS, AudioSpan, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.data.rows import canonical_row, fold

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MAYBE = st.none() | WORDS
SPANS = st.builds(
    AudioSpan,
    path=st.just("audio/x.flac"),
    start_s=st.floats(0, 1000),
    duration_s=st.floats(0.01, 5000),
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
)
UTTERANCES = st.builds(
    Utterance,
    id=NAMES,
    audio=SPANS,
    text=MAYBE,
    language=NAMES,
    speaker=MAYBE,
    origin=st.sampled_from(ORIGINS),
    source=WORDS,
    licence=MAYBE,
    split=st.none() | st.sampled_from(SPLITS),
)
CORPORA = st.lists(UTTERANCES, max_size=12, unique_by=lambda utterance: utterance.id)


def written(rows: list[Utterance], folder: str) -> Corpus:
    save_corpus(plain_writing(Path(folder)), rows, [])
    return Corpus.open(Path(folder))


@settings(max_examples=60, deadline=None)
@given(CORPORA)
def test_round_trip_up_to_nfc(rows: list[Utterance]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = written(rows, folder)
        found = [replace(u, audio=replace(u.audio, path="audio/x.flac")) for u in corpus]
        assert found == [replace(u, text=None if u.text is None else normalize("NFC", u.text)) for u in rows]
        assert corpus.verify() == [] and len(corpus) == len(rows)
        assert corpus.digest == digest_rows(map(canonical_row, found))


@settings(max_examples=40, deadline=None)
@given(CORPORA, st.integers())
def test_digest_and_fingerprints_do_not_depend_on_the_order(rows: list[Utterance], seed: int) -> None:
    mixed = list(rows)
    random.Random(seed).shuffle(mixed)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        assert written(rows, one).summary() == written(mixed, two).summary()


@settings(max_examples=40, deadline=None)
@given(CORPORA, st.floats(0, 5000))
def test_keep_gives_every_row_back_on_one_side(rows: list[Utterance], longest: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = written(rows, folder)
        kept, rejects = corpus.keep(lambda u: u.audio.duration_s <= longest, because="long")
        assert [u.id for u in kept] + [r.id for r in rejects] != [] or not rows
        assert sorted([u.id for u in kept] + [r.id for r in rejects]) == sorted(u.id for u in rows)
        assert len(kept) == len(list(kept)) == kept.summary()["utterances"]


@settings(max_examples=300)
@given(WORDS)
def test_folding_changes_only_white_space_and_form(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded and normalize("NFC", folded) == folded
    assert "".join(folded.split()) == "".join(normalize("NFC", text).split())
    assert folded.split() == normalize("NFC", text).split()
