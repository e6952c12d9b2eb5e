"""Words, dictionaries from sentence pairs, and translating word for word."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.core.errors import ConfigError, ModelError
from orature.core.types import Refusal
from orature.engines.dictionary_file import read_dictionary, write_dictionary
from orature.engines.translator import TextSearch, TranslationRequest, Translations
from orature.engines.translators import open_translator, parse_translator, translator_files
from orature.text.word_alignment import align_pairs
from orature.text.words import pieces, words

LEXICON = dict(
    pair.split(":") for pair in "la:chay casa:wasi perro:allku grande:hatun agua:yaku río:mayu ve:rikun".split()
)


def made_pairs(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """Sentences of words of the lexicon, translated word for word and then turned round."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        source = draw.choices(list(LEXICON), k=draw.randint(2, 5))
        found.append((" ".join(source) + ".", " ".join(LEXICON[word] for word in reversed(source)).capitalize()))
    return found


@given(st.text())
@settings(max_examples=40, deadline=None)
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(piece.text for piece in pieces(text)) == text
    assert all(piece.text for piece in pieces(text))


def test_words_keep_their_marks_and_apostrophes() -> None:
    assert words("L'eau, ¡QUÉ! नमस्ते दुनिया p’unchaw 你好 ẹ̀kọ́") == [
        "l'eau",
        "qué",
        "नमस्ते",
        "दुनिया",
        "p'unchaw",
        "你",
        "好",
        "ẹ̀kọ́",
    ]


def test_a_lexicon_is_found_again_in_sentence_pairs_whatever_the_order_of_words() -> None:
    table = align_pairs(made_pairs(60))
    assert {word: renderings[0].text for word, renderings in table.items()} == LEXICON
    assert all(renderings[0].share > 0.9 for renderings in table.values())


def test_the_table_does_not_depend_on_the_order_of_pairs() -> None:
    pairs = made_pairs(40)
    assert align_pairs(pairs) == align_pairs(pairs[::-1]) == align_pairs(iter(pairs))


def test_two_renderings_of_a_word_have_their_shares() -> None:
    pairs = made_pairs(80)
    pairs = [(one, other.replace("wasi", "uta") if n % 4 == 0 else other) for n, (one, other) in enumerate(pairs)]
    casa = align_pairs(pairs)["casa"]
    assert [one.text for one in casa] == ["wasi", "uta"]
    assert 0.6 < casa[0].share < 0.9
    assert sum(one.share for one in casa) == pytest.approx(1.0, abs=0.001)


def test_rare_links_are_left_out() -> None:
    assert align_pairs([("casa", "wasi")]) == {}
    assert align_pairs([("casa", "wasi")], least_count=1)["casa"][0].text == "wasi"
    assert align_pairs([("", "wasi"), ("...", "wasi")]) == {}
    with pytest.raises(ConfigError):
        align_pairs([], least_count=0)


def found(spec: str, text: str, search: TextSearch | None = None, seed: int = 0) -> Translations | Refusal:
    with open_translator(spec) as translator:
        return translator.translate([TranslationRequest(text, "es", "qu", seed)], search or TextSearch())[0]


def best(spec: str, text: str) -> tuple[str, float]:
    outcome = found(spec, text)
    assert not isinstance(outcome, Refusal)
    return outcome[0].text, outcome[0].known


def word_list(folder: Path, text: str) -> str:
    path = folder / "words.tsv"
    path.write_text(text, encoding="utf-8")
    return f"dictionary:{path}"


def test_a_dictionary_from_pairs_translates_as_a_model_folder(tmp_path: Path) -> None:
    folder = tmp_path / "es-qu"
    write_dictionary(folder, align_pairs(made_pairs(60)), source="es", target="qu", licence="CC0-1.0")
    assert parse_translator(str(folder)).engine == "dictionary"
    assert translator_files(str(folder)) == [folder / "dictionary.tsv"]
    assert best(str(folder), "La casa grande, 12 perros") == ("Chay wasi hatun, 12 perros", 0.75)
    with open_translator(str(folder)) as translator:
        assert translator.card.family == "dictionary (word for word)"
        assert translator.card.languages == ("es", "qu")
        with pytest.raises(ConfigError, match="does not write"):
            translator.check("es", "sw")


def test_the_longest_phrase_goes_first_and_case_and_punctuation_stay(tmp_path: Path) -> None:
    spec = word_list(tmp_path, "casa\twasi\ncasa grande\thatun wasi\nagua\tyaku\n")
    assert best(spec, "¡Casa grande! CASA, grande: agua") == ("¡Hatun wasi! WASI, grande: yaku", 0.8)
    assert best(spec, "Casa-grande  agua.")[0] == "Hatun wasi yaku."


def test_unlisted_words_are_dropped_where_the_file_says_so(tmp_path: Path) -> None:
    spec = word_list(tmp_path, "# unknown: drop\ncasa\twasi\n")
    assert best(spec, "la casa nueva") == ("wasi", round(1 / 3, 4))
    outcome = found(spec, "nada de nada")
    assert isinstance(outcome, Refusal) and outcome.reason == "no-text"


def test_scripts_without_spaces_are_looked_up_letter_by_letter(tmp_path: Path) -> None:
    spec = word_list(tmp_path, "你好\trimaykullayki\n水\tyaku\n")
    assert best(spec, "你好水你") == ("rimaykullayki yaku你", 0.75)


def test_renderings_are_ranked_by_weight_and_drawn_by_seed(tmp_path: Path) -> None:
    spec = word_list(tmp_path, "casa\tuta\t1\ncasa\twasi\t3\nagua\tyaku\nagua\tunu\n")
    outcome = found(spec, "casa agua", TextSearch(n_best=4))
    assert not isinstance(outcome, Refusal)
    assert [one.text for one in outcome] == ["wasi yaku", "wasi unu", "uta yaku", "uta unu"]
    drawing = TextSearch(sample=True)
    drawn = [found(spec, "casa agua", drawing, seed) for seed in range(40)]
    texts = [one[0].text for one in drawn if not isinstance(one, Refusal)]
    assert 20 < sum("wasi" in text for text in texts) < 40
    assert texts == [
        one[0].text for s in range(40) if not isinstance(one := found(spec, "casa agua", drawing, s), Refusal)
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("casa\n", "words.tsv:1"),
        ("a\tb\n\tx\n", "words.tsv:2"),
        ("# nothing\n", "empty"),
        ("# unknown: x\na\tb", "drop"),
    ],
)
def test_a_broken_word_list_is_told_by_line(tmp_path: Path, text: str, said: str) -> None:
    spec = word_list(tmp_path, text)
    with pytest.raises(ModelError) as caught:
        open_translator(spec)
    assert said in str(caught.value)


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dictionary(tmp_path / name, align_pairs(made_pairs(30)), source="es", target="qu")
    one, other = ((tmp_path / name / "dictionary.tsv").read_bytes() for name in ("a", "b"))
    assert one == other
    assert read_dictionary(tmp_path / "a" / "dictionary.tsv").facts["source"] == "es"
