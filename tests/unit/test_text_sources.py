"""Text files of every kind: what is read, in which order, and what a bad line costs (itself alone)."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import BadInput, MissingExtra
from orature.text import text_sources as module
from orature.text.text_sources import MAX_LINE_BYTES, find_files, read_lines


def lines(source: Path, **options: str) -> list[tuple[str, int, str]]:
    """(file, line, text or the reason of its trouble) of everything in a source."""
    return [
        (file.name, line.number, f"<{line.trouble[0]}>" if line.trouble else line.text)
        for file in find_files(source, **options)
        for line in read_lines(file)
    ]


def texts(source: Path, **options: str) -> list[str]:
    return [text for _, _, text in lines(source, **options)]


def test_plain_text_packed_or_not_and_a_broken_line_costs_itself(tmp_path: Path) -> None:
    raw = "\ufeffshuk wasi\r\n\nkimsa\n".encode() + b"bad \xff\xfe line\nyaku"
    expected = ["shuk wasi", "", "kimsa", "<text-undecodable>", "yaku"]
    (tmp_path / "a.txt").write_bytes(raw)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "c.txt.bz2").write_bytes(bz2.compress(raw))
    (tmp_path / "d.txt.xz").write_bytes(lzma.compress(raw))
    for name in ("a.txt", "b.txt.gz", "c.txt.bz2", "d.txt.xz"):
        assert texts(tmp_path / name) == expected, name
    assert [number for _, number, _ in lines(tmp_path / "a.txt")] == [1, 2, 3, 4, 5]


def test_a_line_without_end_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"first\n" + b"x" * (2 * MAX_LINE_BYTES + 5) + b"\nlast\n")
    assert lines(tmp_path / "a.txt") == [
        ("a.txt", 1, "first"),
        ("a.txt", 2, "<line-too-long>"),
        ("a.txt", 3, "last"),
    ]


def test_json_lines_with_paragraphs_and_bad_rows(tmp_path: Path) -> None:
    rows = [json.dumps({"text": "one\ntwo", "body": "other"}), "{broken", json.dumps({"txt": "x"}), '{"text": 3}', ""]
    rows.append('{"text": "\\ud800"}')
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert lines(tmp_path / "a.jsonl") == [
        ("a.jsonl", 1, "one"),
        ("a.jsonl", 1, "two"),
        ("a.jsonl", 2, "<row-malformed>"),
        ("a.jsonl", 3, "<row-malformed>"),
        ("a.jsonl", 4, "<row-malformed>"),
        ("a.jsonl", 5, ""),
        ("a.jsonl", 6, "<text-undecodable>"),
    ]
    assert texts(tmp_path / "a.jsonl", column="body")[0] == "other"


def test_tables_with_a_column_and_rows_that_are_too_short(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\tsentence\n1\tshuk "wasi\n2\n3\tyaku\n', encoding="utf-8")
    assert texts(tmp_path / "a.tsv") == ['shuk "wasi', "<row-malformed>", "yaku"]
    with pytest.raises(BadInput, match="no column `text`; it has: id, sentence"):
        texts(tmp_path / "a.tsv", column="text")


def test_of_a_common_voice_release_only_its_validated_sentences_are_read(tmp_path: Path) -> None:
    header = "sentence_id\tsentence\tsentence_domain\tsource\tis_used\tclips_count\n"
    (tmp_path / "validated_sentences.tsv").write_text(header + "a1\tAri mashi.\t\tx\t1\t3\n", encoding="utf-8")
    (tmp_path / "test.tsv").write_text("client_id\tpath\tsentence\nc\tp.mp3\tTest sentence.\n", encoding="utf-8")
    assert lines(tmp_path) == [("validated_sentences.tsv", 2, "Ari mashi.")]


def test_what_wikiextractor_writes_in_folders_blocks_json_and_bzip2(tmp_path: Path) -> None:
    block = '<doc id="1" url="u" title="Quito">\nQuito\n\nQuito is high. It is old.\n\n</doc>\n'
    (tmp_path / "AA").mkdir()
    (tmp_path / "AB").mkdir()
    (tmp_path / "AA" / "wiki_00").write_text(block, encoding="utf-8")
    (tmp_path / "AA" / "wiki_01.bz2").write_bytes(bz2.compress(block.encode()))
    row = {"id": "2", "title": "T", "text": "A paragraph.\nAnother."}
    (tmp_path / "AB" / "wiki_00").write_text(json.dumps(row) + "\n", encoding="utf-8")
    expected = ["<heading>", "", "Quito is high. It is old.", ""]
    assert texts(tmp_path) == [*expected, *expected, "A paragraph.", "Another."]
    assert lines(tmp_path)[2][:2] == ("AA/wiki_00", 4)


def test_parquet_by_row_groups(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"text": ["one", None, "two\nthree"], "n": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    assert lines(tmp_path / "a.parquet") == [
        ("a.parquet", 1, "one"),
        ("a.parquet", 2, "<row-malformed>"),
        ("a.parquet", 3, "two"),
        ("a.parquet", 3, "three"),
    ]
    with pytest.raises(BadInput, match="no column `body`"):
        texts(tmp_path / "a.parquet", column="body")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInput, match="parquet file cannot be read"):
        texts(tmp_path / "b.parquet")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(MissingExtra, match="pyarrow"):
        texts(tmp_path / "a.parquet")


def test_a_folder_is_read_in_order_without_its_licence_and_readme(tmp_path: Path) -> None:
    for name, text in (("b.txt", "b"), ("a.txt", "a"), ("LICENSE.txt", "no"), ("README.txt", "no"), ("c.pdf", "no")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("no", encoding="utf-8")
    assert texts(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("utf16.txt", "shuk".encode("utf-16"), "UTF-16"),
        ("cut.txt.gz", gzip.compress(b"shuk wasi" * 100)[:30], "cannot be read"),
        ("cut.txt.bz2", bz2.compress(b"shuk wasi" * 100)[:30], "cannot be read"),
    ],
    ids=["utf16", "gzip", "bzip2"],  # gzip writes the time into its bytes: they must not be part of the name
)
def test_a_file_that_cannot_be_read_at_all_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=says) as caught:
        texts(tmp_path / name)
    assert name in caught.value.where and caught.value.next_step


def test_no_file_no_kind_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        find_files(tmp_path / "nothing.txt")
    with pytest.raises(BadInput, match="no file of text"):
        find_files(tmp_path)
    with pytest.raises(BadInput, match="no kind of text 'docx'"):
        find_files(tmp_path, "docx")
