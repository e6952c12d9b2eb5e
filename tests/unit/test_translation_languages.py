"""Language tags against the codes of translators."""

from __future__ import annotations

import pytest

from orature.core.errors import ConfigError
from orature.engines.translation_languages import LanguageCodes, code_for, nearest, same_language, tag_of

FLORES = (
    "als_Latn arb_Arab ayr_Latn eng_Latn gaz_Latn kas_Arab kas_Deva nob_Latn npi_Deva quy_Latn spa_Latn srp_Cyrl "
    "swh_Latn tgl_Latn twi_Latn uzn_Latn yor_Latn zho_Hans zho_Hant zul_Latn"
).split()


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("quy", "quy_Latn"),
        ("quy_Latn", "quy_Latn"),
        ("qu", "quy_Latn"),
        ("que-EC", "quy_Latn"),
        ("sw", "swh_Latn"),
        ("swa", "swh_Latn"),
        ("yo-NG", "yor_Latn"),
        ("ar", "arb_Arab"),
        ("om", "gaz_Latn"),
        ("fil", "tgl_Latn"),
        ("zh", "zho_Hans"),
        ("zh-TW", "zho_Hant"),
        ("zho-Hant", "zho_Hant"),
        ("cmn", "zho_Hans"),
        ("kas-Deva", "kas_Deva"),
        ("ks", "kas_Arab"),
        ("quz", None),
        ("sr-Latn", None),
        ("xx", None),
    ],
)
def test_a_tag_means_a_code_of_flores(tag: str, code: str | None) -> None:
    assert code_for(tag, FLORES) == code
    assert code_for(tag, FLORES[::-1]) == code


def test_a_member_means_the_macrolanguage_where_that_is_all_there_is() -> None:
    assert code_for("swh", ["en", "sw"]) == "sw"
    assert code_for("quz", ["en", "qu"]) == "qu"
    assert code_for("pt-BR", ["pt", "pt_br"]) == "pt_br"
    assert code_for("pt", ["pt_br", "pt"]) == "pt"


def test_the_nearest_are_kin_before_they_are_spelled_alike() -> None:
    assert nearest("quz", FLORES)[0] == "quy_Latn"
    assert nearest("sr-Latn", FLORES)[0] == "srp_Cyrl"
    with pytest.raises(ConfigError) as caught:
        LanguageCodes("nllb", FLORES).of("quz", "write")
    assert "quy-Latn" in caught.value.next_step and "'quz'" in caught.value.what


def test_codes_have_tags() -> None:
    assert [tag_of(code) for code in ("zho_Hans", "en", "pt_br", "quy_Latn")] == ["zho-Hans", "en", "pt-BR", "quy-Latn"]


def test_a_macrolanguage_and_its_member_can_be_one_language() -> None:
    assert same_language("qu", "quz") and same_language("quz", "que-EC") and same_language("und", "sw")
    assert not same_language("quy", "quz") and not same_language("es", "qu") and not same_language("sr-Latn", "sr-Cyrl")
