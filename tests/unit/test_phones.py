"""Phones: what espeak-ng's IPA becomes, what is refused, features, distances and error rates."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orature.core.errors import ConfigError
from orature.core.types import Refusal
from orature.engines.espeak_languages import Readings
from orature.engines.espeak_pipe import SILENT, EspeakPipe
from orature.text.phone_features import FEATURES, Errors, distance, feature_matrix, features_of, phone_errors
from orature.text.phones import KEPT, foreign_share, is_phone, letters, phones_of, simplified

PHONES = st.builds(
    lambda letter, marks: letter + "".join(sorted(marks, key=KEPT.index)),
    st.sampled_from(sorted(letters())),
    st.sets(st.sampled_from(KEPT), max_size=3),
)
SENTENCES = 12


@pytest.mark.parametrize(
    ("ipa", "voice", "phones"),
    [
        ("hˈæləʊ", "gmw/en", "h æ l ə ʊ"),
        ("(en)tʃˈaɪniːz(ja)lˈe̞tə", "jpx/ja", "t ʃ a ɪ n iː z l e t ə"),
        ("tsˈi̪5", "sit/cmn", "t s ɨ"),
        ("ts.ˈo-ŋɜ", "sit/cmn", "t ʂ ɤ ŋ"),
        ("tɕhˈyæɜn", "sit/cmn", "t ɕʰ y æ n"),
        ("nˈɜːs", "gmw/en", "n ɜː s"),
        ("kˈɑ̃tˌɔ̃", "roa/fr", "k ɑ̃ t ɔ̃"),
        ("tˈɨkʼ`", "sem/am", "t ɨ kʼ"),
        ("t͡ɕt͜s", "", "t ɕ t s"),
        ("r̝̊iː", "zlw/cs", "r̝̥ iː"),
        ("çg", "", "ç ɡ"),
        ("boel-", "trk/ky", "b ø ɫ"),
        ("boel", "gmw/en", "b o e l"),
        ('ˌu"ia', "poz/mi", "ʉ i a"),
        ("ʲˈevʌɹ", "dra/ta", "j e v ʌ ɹ"),
        ("ni˥˩ma̋", "", "n i m a"),
    ],
)
def test_symbols_become_phones_by_the_documented_rules(ipa: str, voice: str, phones: str) -> None:
    assert phones_of(ipa, voice) == tuple(normalize("NFD", phones).split())


def test_what_is_unknown_is_refused_by_its_code_point_and_never_dropped() -> None:
    refused = phones_of("ba☺d", "gmw/en")
    assert isinstance(refused, Refusal) and refused.reason == "unknown-symbol" and "U+263A" in refused.detail
    headless = phones_of("ʰa")
    assert isinstance(headless, Refusal) and headless.reason == "unknown-symbol"
    silent = phones_of("ˈ ː"[:2])
    assert isinstance(silent, Refusal) and silent.reason == "no-phones"


def test_how_much_is_spoken_in_another_language() -> None:
    assert foreign_share("kˈila", "sw") == 0.0
    assert foreign_share("aaaa(en)bbbb(sw)cc", "sw") == 0.4
    assert foreign_share("aaaa(en)bbbb(en-us)cc", "en") == 0.0


@given(st.lists(PHONES, min_size=1, max_size=12))
def test_phones_in_a_row_are_read_as_themselves(phones: list[str]) -> None:
    """Nothing is lost or changed."""
    assert phones_of(" ".join(phones), "none") == tuple(phones)
    assert all(is_phone(phone) for phone in phones)


@given(PHONES)
def test_simplified_ends_at_the_letter(phone: str) -> None:
    while (shorter := simplified(phone)) != phone:
        assert is_phone(shorter) and len(shorter) == len(phone) - 1
        phone = shorter
    assert phone in letters()


@given(st.text(max_size=20))
def test_any_text_gives_phones_or_a_named_refusal(text: str) -> None:
    found = phones_of(text)
    if isinstance(found, Refusal):
        assert found.reason in ("unknown-symbol", "no-phones")
    else:
        assert found and all(map(is_phone, found))


@given(PHONES, PHONES)
def test_distance_is_symmetric_between_0_and_1_and_0_only_for_equal_features(one: str, other: str) -> None:
    assert distance(one, other) == pytest.approx(distance(other, one))
    assert 0.0 <= distance(one, other) <= 1.0
    assert (distance(one, other) == 0.0) == (features_of(one) == features_of(other))


def test_features_tell_all_letters_apart_and_order_likeness() -> None:
    matrix_PF = feature_matrix(sorted(letters()))
    assert matrix_PF.shape == (len(letters()), len(FEATURES)) and matrix_PF.min() == 0.0 and matrix_PF.max() == 1.0
    assert len({tuple(row) for row in np.round(matrix_PF, 4)}) == len(letters())
    assert distance("p", "b") < distance("p", "t") <= distance("p", "k") < distance("p", "a") == 1.0
    assert distance("e", "i") < distance("e", "u")
    with pytest.raises(ValueError, match="no phone"):
        features_of("☺")


def test_error_rates_by_hand() -> None:
    one = phone_errors(["p", "a", "t"], ["b", "a"])
    assert (one.phones, one.errors) == (3, 2) and one.weighted == pytest.approx(1.25)
    both = one + phone_errors(["a"], ["a"])
    assert both.rate == 0.5 and both.weighted_rate == pytest.approx(1.25 / 4)
    with pytest.raises(ValueError, match="at least one phone"):
        _ = Errors().rate


@given(st.lists(PHONES, min_size=1, max_size=8), st.lists(PHONES, max_size=8))
def test_weighted_errors_never_exceed_plain_ones(reference: list[str], heard: list[str]) -> None:
    found = phone_errors(reference, heard)
    assert 0.0 <= found.weighted <= found.errors + 1e-9 <= max(len(reference), len(heard)) + 1e-9
    assert phone_errors(reference, reference).errors == 0


@pytest.fixture(scope="module")
def espeak() -> Iterator[EspeakPipe]:
    with EspeakPipe() as opened:
        yield opened


def _first_sentences(corpora: Path) -> dict[str, list[str]]:
    """The first long sentences of each language."""
    found: dict[str, list[str]] = {}
    with (corpora / "text_udhr" / "sentences.tsv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            own = found.setdefault(row["lang"], [])
            if len(own) < SENTENCES and 30 <= len(row["sentence"]) <= 300:
                own.append(row["sentence"])
    return found


@pytest.mark.corpora
def test_every_phone_of_over_a_hundred_languages_is_in_the_inventory(corpora: Path, espeak: EspeakPipe) -> None:
    readings = Readings(espeak.rows(), silent=SILENT)
    languages, voices, refused = set(), set(), []
    for language, texts in _first_sentences(corpora).items():
        try:
            reading = readings.of(language)
        except ConfigError:
            continue
        if reading.because or not texts:
            continue
        for ipa in espeak.phonemes_or_none(texts, reading.voice):
            if ipa is None:
                assert language == "my", "espeak-ng 1.52.0 breaks down at Burmese alone"
                continue
            found = phones_of(ipa, reading.voice)
            if isinstance(found, Refusal):
                refused.append((language, found.detail))
            else:
                assert all(map(is_phone, found)), language
                languages.add(language)
                voices.add(reading.voice)
    assert not refused
    assert len(languages) > 100 and len(voices) > 90


def test_phones_of_many_texts_at_once_are_those_of_each_alone(espeak: EspeakPipe) -> None:
    texts = ["habari za asubuhi", "", "3 watoto", "wanasoma kitabu. Nyumbani!", "你好"]
    assert espeak.phonemes_of(texts, "bnt/sw") == [espeak.phonemes_of([text], "bnt/sw")[0] for text in texts]
