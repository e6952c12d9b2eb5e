"""Numbers and symbols in words: right or refused, never wrong."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from orature.core.errors import MissingExtra
from orature.core.types import Refusal
from orature.text import spoken as module
from orature.text.spoken import Reader, number_code

READ = [
    ("en", "In 1958 it cost $2.50.", "In nineteen fifty-eight it cost two dollars fifty cents."),
    (
        "en",
        "1,234 people and 2.5 million",
        "one thousand two hundred and thirty-four people and two point five million",
    ),
    ("en", "5% of 20 km in the 21st century", "five percent of twenty kilometres in the twenty-first century"),
    ("en", "COVID-19 and -5 °C", "COVID nineteen and minus five degrees Celsius"),
    ("en", "pages 10-12, 1 kg, €1 & more", "pages ten to twelve, one kilogram, one euro and more"),
    ("en", "2.05 and $2.05", "two point zero five and two dollars five cents"),
    ("en", "a 5-year plan", "a five-year plan"),
    ("de", "1.234 Leute, 1,5 Liter", "eintausendzweihundertvierunddreißig Leute, eins Komma fünf Liter"),
    ("de", "im Jahr 1990.", "im Jahr neunzehnhundertneunzig."),
    ("fr", "le 1er, le 2e, 5 % et 3 €", "le premier, le deuxième, cinq pour cent et trois euros"),
    ("fr", "1 234,5 km", "mille deux cent trente-quatre virgule cinq kilomètres"),
    ("es", "el 1.º de 22 km", "el primero de veintidós kilómetros"),
    ("cs", "25 lidí", "dvacet pět lidí"),
    ("cs", "Jsou 3.", "Jsou tři."),
    ("tr", "5 %", "yüzde beş"),
    ("ar", "٥ كتب", "خمسة كتب"),
    ("th", "ปี2020", "ปีสองพันยี่สิบ"),
    ("ja", "2020年", "二千二十年"),
    ("sr", "5 ljudi", "pet ljudi"),
    ("kaz", "5 адам", "бес адам"),
    ("yo", "Ọ̀rọ̀ & ìwé", "Ọ̀rọ̀ àti ìwé"),
]
REFUSED = [
    ("cs", "3. místo", "digits-unreadable"),
    ("de", "am 3. Mai", "digits-unreadable"),
    ("de", "ab 1.5.2020", "digits-unreadable"),
    ("ru", "в 1990 году", "digits-unreadable"),
    ("hu", "1990-ben", "digits-unreadable"),
    ("es", "21 km", "digits-unreadable"),
    ("pt", "2 £", "digits-unreadable"),
    ("ceb", "5 ka tawo", "digits-unreadable"),
    ("est", "5 inimest", "digits-unreadable"),
    ("yo", "ọdún 1958", "digits-unreadable"),
    ("sr", "5 људи", "digits-unreadable"),
    ("en", "at 10:30", "digits-unreadable"),
    ("en", "agent 007", "digits-unreadable"),
    ("en", "an A4 page", "digits-unreadable"),
    ("en", "won 3-1", "digits-unreadable"),
    ("en", "half is 1/2", "digits-unreadable"),
    ("en", "the 1990s", "digits-unreadable"),
    ("en", "a 2.50 score", "digits-unreadable"),
    ("en", "½ or Ⅳ", "symbol-unreadable"),
    ("en", "a 5.0 score", "digits-unreadable"),
    ("en", "5 GHz", "digits-unreadable"),
    ("en", "World War II", "roman-numeral"),
    ("en", "and/or", "symbol-unreadable"),
    ("yo", "a + b", "symbol-unreadable"),
]


@pytest.mark.parametrize(("language", "text", "expected"), READ)
def test_read_as_a_speaker_reads(language: str, text: str, expected: str) -> None:
    assert Reader(language).spoken(text) == expected


@pytest.mark.parametrize(("language", "text", "reason"), REFUSED)
def test_what_has_no_one_reading_is_refused(language: str, text: str, reason: str) -> None:
    found = Reader(language).spoken(text)
    assert isinstance(found, Refusal) and found.reason == reason, found


def test_num2words_falls_into_the_traps_that_the_reader_avoids() -> None:
    num2words = import_module("num2words").num2words
    assert num2words(5, lang="ceb") == num2words(5, lang="ce"), "the first two letters decide there"
    with pytest.raises(NotImplementedError):
        num2words(3, to="ordinal", lang="cs")
    assert not number_code("ceb") and number_code("pt-BR") == "pt_BR" and number_code("swh") == ""


def test_without_num2words_text_without_figures_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name == "num2words":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(module, "import_module", missing)
    assert Reader("en", numbers=False).spoken("No figure & no trouble") == "No figure and no trouble"
    found = Reader("en", numbers=False).spoken("5 figures")
    assert isinstance(found, Refusal) and found.reason == "digits-unreadable"
    with pytest.raises(MissingExtra, match="num2words") as caught:
        Reader("en")
    assert "pip install" in caught.value.next_step
