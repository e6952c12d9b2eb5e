"""Sentence splitting: marks of many scripts, abbreviations, numbers, quotations, scripts without spaces."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from orature.text.language import script_of
from orature.text.split_sentences import split_sentences

CASES: list[tuple[str, str, list[str]]] = [
    ("en", "It rains. We stay! Why? Because.", ["It rains.", "We stay!", "Why?", "Because."]),
    ("en", "Dr. Okri paid 2.5 million. He left.", ["Dr. Okri paid 2.5 million.", "He left."]),
    ("en", "J. R. Smith of the U.S. Army came.", ["J. R. Smith of the U.S. Army came."]),
    ("en", "“Really?” he said. Yes.", ["“Really?” he said.", "Yes."]),
    ("en", 'He said "Go." She went.', ['He said "Go."', "She went."]),
    ("en", "Well… maybe. No… Yes.", ["Well… maybe.", "No…", "Yes."]),
    ("en", "1. Everyone is free. 2. No one is a slave.", ["1. Everyone is free.", "2. No one is a slave."]),
    (
        "de",
        "Am 3. Mai kam er, z. B. mit Dr. Mai. Dann ging er.",
        ["Am 3. Mai kam er, z. B. mit Dr. Mai.", "Dann ging er."],
    ),
    ("cs", "Bylo to 1. ledna. Pak ne.", ["Bylo to 1. ledna.", "Pak ne."]),
    ("fr", "Il a dit : « Oui. » Puis il part.", ["Il a dit : « Oui. »", "Puis il part."]),
    ("ru", "Это было в г. Москве. Потом нет.", ["Это было в г. Москве.", "Потом нет."]),
    ("el", "Τι κάνεις; Καλά.", ["Τι κάνεις;", "Καλά."]),
    ("es", "¿Qué? ¡No! Bueno.", ["¿Qué?", "¡No!", "Bueno."]),
    ("ka", "ეს არის სახლი. ის დიდია.", ["ეს არის სახლი.", "ის დიდია."]),
    ("hy", "Մարդ է։ Կին է։", ["Մարդ է։", "Կին է։"]),
    ("ar", "أين هو؟ هنا. نعم!", ["أين هو؟", "هنا.", "نعم!"]),
    ("ur", "یہ ہے۔ کیا؟ ہاں۔", ["یہ ہے۔", "کیا؟", "ہاں۔"]),
    ("hi", "यह ठीक है। वह नहीं॥ अच्छा", ["यह ठीक है।", "वह नहीं॥", "अच्छा"]),
    ("am", "ሰላም ነው። እሺ፧ አዎ", ["ሰላም ነው።", "እሺ፧", "አዎ"]),
    ("zh", "他来了。你好吗？好！", ["他来了。", "你好吗？", "好！"]),
    ("ja", "「はい。」と言った。彼は来た。", ["「はい。」と言った。", "彼は来た。"]),
    ("my", "ပထမ။ ဒုတိယ။", ["ပထမ။", "ဒုတိယ။"]),
    ("km", "មនុស្ស។ ទាំងអស់។", ["មនុស្ស។", "ទាំងអស់។"]),
    ("cr", "ᐅᒪ ᑲ᙮ ᐁᑲ ᐅᒪ᙮", ["ᐅᒪ ᑲ᙮", "ᐁᑲ ᐅᒪ᙮"]),
    ("mn-Mong", "ᠪᠠᠢᠠᠭ᠃ ᠲᠠᠢ᠃", ["ᠪᠠᠢᠠᠭ᠃", "ᠲᠠᠢ᠃"]),
    ("und", "", []),
    ("und", "no mark at all", ["no mark at all"]),
]


@pytest.mark.parametrize(("language", "text", "expected"), CASES)
def test_sentences_end_where_a_reader_would_end_them(language: str, text: str, expected: list[str]) -> None:
    assert split_sentences(text, language) == expected


def test_thai_and_lao_are_cut_at_spaces_into_pieces_that_are_long_enough() -> None:
    clause = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน"
    pieces = split_sentences(" ".join([clause] * 6), "th")
    assert 2 < len(pieces) <= 6 and " ".join(pieces) == " ".join([clause] * 6)
    assert split_sentences("สวัสดี ครับ", "th") == ["สวัสดี ครับ"]


def test_abbreviations_of_a_language_can_be_added() -> None:
    text = "Alh. Musa came. He sat."
    assert split_sentences(text, "ha") == ["Alh.", "Musa came.", "He sat."]
    assert split_sentences(text, "ha", ["alh."]) == ["Alh. Musa came.", "He sat."]


def test_marks_alone_are_no_sentence() -> None:
    assert split_sentences("Yes. ... No. !", "en") == ["Yes. ...", "No. !"]


@pytest.mark.corpora
def test_nothing_is_lost_in_over_thirty_scripts_and_the_first_article_is_two_sentences(corpora: Path) -> None:
    """The lines of each Declaration, joined, must be cut again; no letter may be lost."""
    lines: dict[str, list[str]] = defaultdict(list)
    for row in (corpora / "text_udhr" / "sentences.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        fields = row.split("\t")
        lines[fields[1]].append(fields[0])
    scripts: dict[str, tuple[int, int]] = {}
    for language, texts in lines.items():
        script = script_of(" ".join(texts))
        if script in scripts and script not in ("Latin", "Cyrillic", "Arabic"):
            continue
        if len(texts) < 60:
            continue
        joined = " ".join(texts)
        pieces = split_sentences(joined, language)
        assert _bare("".join(pieces)) == _bare(joined), language
        assert all(any(map(str.isalnum, piece)) for piece in pieces), language
        scripts[script] = (len(pieces), len(texts))
    assert len(scripts) > 30
    poor = {script: found for script, found in scripts.items() if found[0] < 0.45 * found[1]}
    assert not poor, "these scripts are hardly split at all"


def _bare(text: str) -> str:
    return "".join(text.replace("\u200b", "").replace("\ufeff", "").split())
