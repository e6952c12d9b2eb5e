"""The scoring normalisers, case by case."""

from __future__ import annotations

from unicodedata import normalize

import pytest

from orature.core.errors import ConfigError
from orature.text.normalise import NORMALISER, RAW, TURKIC, get, normalise, normaliser_for


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t  stop!", "don't stop"),
        ("'Hello,' she said; 'tis the dogs' end.", "hello she said tis the dogs end"),
        ("li tzoq' xkam", "li tzoq' xkam"),
        ("‘Okina, ʻōlelo Hawaiʻi", "‘okina ʻōlelo hawaiʻi"),
        ("o‘zbek ma’no", "o‘zbek ma'no"),
        ("ɂaní Ahő:li: Hò!", "ɂaní ahő:li hò"),
        ("anak-anak – well--known – -x", "anak-anak well known x"),
        ("col·legi · fi", "col·legi fi"),
        ("!Kung n!ai stop!", "!kung n!ai stop"),
        ("3.5 kg, 10:30. 1,000!", "3.5 kg 10:30 1,000"),
        ("你好，世界。 再见", "你好世界 再见"),
        ("ဒါ ၎င်း။ ၌", "ဒါ ၎င်း ၌"),
        ("ཀ་ཁ།", "ཀ ཁ"),
        ("ሰላም፡ልዑል።", "ሰላም ልዑል"),
        ("ինչո՞ւ", "ինչու"),
        ('צה"ל ר׳', "צה״ל ר׳"),
        ("می‌خواهم", "می‌خواهم"),
        ("ക്\u200d ക്", "ക്\u200d ക്"),
        ("\ufeffzero\u200bwidth\u00ad \u200dx", "zerowidth x"),
        ("I ❤️ u 50 %", "i u 50"),
        ("ΟΔΟΣ. ΌΣΟ", "οδος όσο"),
        ("Maße Masse", "maße masse"),
        ("‚Wort‘ «Wort» „Wort“", "wort wort wort"),
        ("¿Qué? [UNK]", "qué unk"),
        ("ma˥ ma˩ ꞌa", "ma˥ ma˩ ꞌa"),
        ("... -- ' '' !", ""),
        ("", ""),
    ],
)
def test_basic(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("की", "का"),  # Hindi vowel signs
        ("कि", "क"),
        ("क्या", "कया"),  # virama
        ("அம்மா", "அமமா"),  # Tamil pulli
        ("பேசு", "பசு"),
        ("ọkọ́", "ọkọ̀"),  # Yoruba tone
        ("ไม่", "ไม้"),  # Thai tone
        ("မှာ", "မာ"),
        ("כָּל", "כל"),
        ("مَلِك", "مُلْك"),  # Arabic vowels
        ("x²", "x2"),
        ("ſo", "so"),
        ("ß", "ss"),
        ("ς", "σ"),
        ("ı", "i"),
        ("ʼa", "a"),
        ("ka'", "ka"),
        ("go:la", "gola"),
        ("می‌خواهم", "میخواهم"),
    ],
)
def test_words_that_differ_stay_different(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_silence_one_hindi_and_tamil_marks_survive() -> None:
    hindi, tamil = "मुझे हिन्दी में बोलना अच्छा लगता है।", "எனக்கு தமிழில் பேச பிடிக்கும்."
    assert normalise(hindi) == hindi.rstrip("।")
    assert normalise(tamil) == tamil.rstrip(".")


def test_silence_two_nfc_against_nfd_is_equal() -> None:
    for text in ("Ẹ kú àárọ̀ ọ̀rẹ́ mi", "Tiếng Việt", "한국어", "कड़ाही"):
        assert normalise(normalize("NFD", text)) == normalise(normalize("NFC", text)) != ""
        assert normalise(normalize("NFD", text), RAW) == normalize("NFC", text)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        get("orature-basik@1")
    assert "orature-basic@1" in str(caught.value)


def test_the_default_for_a_language() -> None:
    assert normaliser_for("tr-TR") == TURKIC
    assert normaliser_for("kk") == NORMALISER
    assert normaliser_for("kk-Latn") == TURKIC
    assert normaliser_for("az-Cyrl") == NORMALISER
    assert normaliser_for("que-EC") == NORMALISER
