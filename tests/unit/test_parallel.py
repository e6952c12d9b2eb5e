"""Sentence pairs: which column is the source, what is left out and why, splits that share no sentence, the embargo."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import BadInput, ConfigError, CorpusError
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Reject, Utterance
from orature.data.corpus import save_corpus
from orature.data.draft import Seen
from orature.data.parallel import Columns, Direction, read_table, read_texts, split_in_name
from orature.flow import Run, Store
from orature.stages.parallel_text import ParallelText, parallel_stage
from orature.testing.stage_contract import check_stage
from orature.text.leaks import sentence_key
from orature.text.pair_checks import PairRules, check_pairs, held_out
from orature.text.parallel import Pair, ParallelCorpus

WAYS = Direction(source=("es", "spa"), target=("qu", "que"))
WORDS = "wasi allpa yaku inti killa sacha urku mayu rumi tuta puncha warmi kari wawa kuchu".split()


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing costs milliseconds a file and makes no difference here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def sentences(count: int, seed: int = 1) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(draw.choices(WORDS, k=6))] = None
    return [(text[::-1], text) for text in found]


def read(path: Path, columns: Columns | None = None, ways: Direction = WAYS) -> list[Pair | Reject]:
    return list(read_table(path, ways, columns or Columns(), Seen()))


def table(folder: Path, *lines: str, name: str = "pairs.tsv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("es\tqu", "la casa\twasi"),
        ("que\tes", "wasi\tla casa"),
        ("source\ttarget", "la casa\twasi"),
        ("tgt\tsrc", "wasi\tla casa"),
        ("path\tsentence\ttranslation\ttranslation_lang", "a.wav\twasi\tla casa\tspa"),
        ("sentence\ttranslation\tlang\ttranslation_lang", "wasi\tla casa\tque-EC\tspa"),
        ("sentence\ttranslation\tlang", "la casa\twasi\tes-EC"),
    ],
)
def test_columns_are_found_by_their_names_and_languages(tmp_path: Path, header: str, cells: str) -> None:
    assert read(table(tmp_path, header, cells)) == [Pair("pairs.tsv:2", "la casa", "wasi", "train", "pairs.tsv")]


def test_columns_that_a_person_names_win(tmp_path: Path) -> None:
    path = table(tmp_path, "es\tqu\tkichwa", "la casa\twasi\twasika")
    (found,) = read(path, Columns("ES", "kichwa"))
    assert isinstance(found, Pair) and found.target == "wasika"
    with pytest.raises(CorpusError, match="no column kichua; there are: es, qu, kichwa"):
        read(path, Columns("es", "kichua"))


def test_a_direction_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no columns say that they are source and target"):
        read(table(tmp_path, "sentence\ttranslation\tid", "wasi\tla casa\t1"))
    rows = read(table(tmp_path, "sentence\ttranslation\ttranslation_lang", "wasi\tla maison\tfra", "wasi\tla casa\t"))
    assert [row.reason for row in rows if isinstance(row, Reject)] == ["other-language"] * 2


def test_two_columns_without_a_header_are_source_and_target(tmp_path: Path) -> None:
    seen = Seen()
    path = table(tmp_path, "La Casa\tWasi", "el agua\tyaku")
    found = list(read_table(path, WAYS, Columns(), seen))
    assert [(pair.source, pair.target) for pair in found if isinstance(pair, Pair)] == [
        ("La Casa", "Wasi"),
        ("el agua", "yaku"),
    ]
    assert seen.rows == 2 and any("first column was taken as the source" in note for note in seen.notes)


def test_csv_and_json_lines_are_read_too_and_composed(tmp_path: Path) -> None:
    csv = table(tmp_path, "es,qu,split", '"la casa, grande","hatun  wasi",valid', name="p.csv")
    assert read(csv) == [Pair("p.csv:2", "la casa, grande", "hatun wasi", "dev", "p.csv")]
    row = {"source": "n\u0303an\u0303a", "target": "hermana", "split": "eval", "licence": "CC0"}
    lines = table(tmp_path, json.dumps(row), "{", name="p.jsonl")
    found = read(lines)
    assert found[0] == Pair("p.jsonl:1", "ñaña", "hermana", "test", "p.jsonl", "CC0")
    assert isinstance(found[1], Reject) and found[1].reason == "row-malformed"


def test_aligned_texts_must_be_aligned(tmp_path: Path) -> None:
    source = table(tmp_path, "la casa", "", "el agua", name="dev.es.txt")
    target = table(tmp_path, "wasi", "", "yaku", name="dev.qu.txt")
    seen = Seen()
    found = list(read_texts(source, target, seen))
    assert found[2] == Pair("dev.es.txt:3", "el agua", "yaku", "dev", "dev.es.txt") and seen.rows == 3
    target.write_text("wasi\nyaku\n")
    with pytest.raises(CorpusError, match=r"dev\.es\.txt has 3 lines and dev\.qu\.txt has 2"):
        list(read_texts(source, target, Seen()))


def test_a_split_may_stand_in_the_name_of_a_file() -> None:
    names = {"train.tsv": "train", "news_dev.es.txt": "dev", "latest.tsv": "", "a.tsv": "", "train-dev.tsv": ""}
    assert {name: split_in_name(name) for name in names} == names


def test_each_reason_is_given_and_no_row_lost() -> None:
    good = [Pair(f"g{n}", *pair, "train") for n, pair in enumerate(sentences(30))]
    bad = {
        "empty-source": ("...", "wasi"),
        "empty-target": ("LA CASA", "—"),
        "too-long": ("isaw " * 200, "wasi " * 200),
        "length-ratio": ("isaw ukay itni allik ahcas ukru uyam imur", "wasi"),
        "other-script": ("isaw ukay itni", "солнце вода дом"),
        "copied-source": ("Wasi yaku inti", "wasi, yaku inti!"),
        "duplicate": (good[3].source, good[3].target),
    }
    rows = [*good, *(Pair(name, *sides, "train") for name, sides in bad.items())]
    kept, rejects = check_pairs(rows, PairRules())
    assert {reject.id: reject.reason for reject in rejects} == {name: name for name in bad}
    assert [pair.id for pair in kept] == [pair.id for pair in good]
    measured = [Pair(name, *sides, "test") for name, sides in bad.items() if not name.startswith("empty")]
    assert check_pairs([*good, *measured], PairRules())[1] == [], "rows of test are measured on as they are"
    off = PairRules(max_characters=0, max_ratio=0, min_script_share=0)
    assert {one.reason for one in check_pairs(rows, off)[1]} == set(bad) - {"too-long", "length-ratio", "other-script"}


def test_usual_lengths_are_those_of_the_pairs_themselves() -> None:
    """A language that says in a quarter of the characters what another one says is not refused for that."""
    rows = [Pair(f"p{n}", source, "我们去学校吗", "train") for n, (source, _) in enumerate(sentences(20))]
    assert check_pairs(rows, PairRules())[1] == []


def test_held_out_pairs_share_no_sentence_and_do_not_depend_on_the_order() -> None:
    base = sentences(200)
    doubled = [(source, f"{target} ari") for source, target in base[:60]]
    rows = [Pair(f"p{n}", *pair, "train") for n, pair in enumerate([*base, *doubled])]
    found = held_out(rows, ("dev", "test"), count=30, seed=0)
    counts = Counter(pair.split for pair in found)
    assert (
        counts["dev"] in (30, 31) and counts["test"] in (30, 31) and [pair.id for pair in found] == [p.id for p in rows]
    )
    for side in ("source", "target"):
        keys = {part: {sentence_key(getattr(p, side)) for p in found if p.split == part} for part in counts}
        assert not keys["dev"] & keys["train"] and not keys["test"] & keys["train"] and not keys["dev"] & keys["test"]
    shuffled = random.Random(3).sample(rows, len(rows))
    assert {p.id: p.split for p in held_out(shuffled, ("dev", "test"), count=30, seed=0)} == {
        p.id: p.split for p in found
    }
    assert {p.id: p.split for p in held_out(rows, ("dev", "test"), count=30, seed=1)} != {p.id: p.split for p in found}


def made(stage: ParallelText, folder: Path) -> ParallelCorpus:
    run = Run(Store(folder / "store"), "test", "test")
    return ParallelCorpus.open(run.path_of(run.do(stage)))


def written(folder: Path, pairs: list[tuple[str, str]], *extra: str) -> Path:
    return table(folder, "es\tqu\tsplit", *(f"{a}\t{b}\ttrain" for a, b in pairs), *extra)


def test_train_keeps_the_embargo_with_dev_and_test_and_with_corpora(tmp_path: Path) -> None:
    pairs = sentences(40)
    corpus = tmp_path / "corpus"
    said = Utterance("u1", AudioSpan("a.flac", 0.0, 1.0), pairs[5][1], "que", split="test")
    free = Utterance("u2", AudioSpan("b.flac", 0.0, 1.0), pairs[6][1], "que", split="train")
    save_corpus(lambda name: write_beside(corpus / name), [said, free], [])
    extra = [f"{pairs[7][0]}\tllaki kushi\tdev", f"ihsuk ikall\t{pairs[8][1]} ari\ttest"]
    found = made(
        parallel_stage([written(tmp_path, pairs, *extra)], source="es", target="qu", embargo=[corpus]), tmp_path
    )
    rejects = [json.loads(line) for line in (found.root / "rejects.jsonl").read_text().splitlines()]
    reasons = {row["id"]: row["reason"] for row in rejects}
    assert reasons == {
        "pairs.tsv:7": "embargo-sentence",
        "pairs.tsv:9": "embargo-sentence",
        "pairs.tsv:10": "embargo-near-duplicate",
    }
    assert "test utterance u1 of corpus" in rejects[0]["detail"]
    assert len(found.split("train")) == 37 and len(found.split("dev")) == len(found.split("test")) == 1
    summary = found.summary()
    assert summary["rows"] == {
        "total": 42,
        "kept": 39,
        "rejected": {"embargo-near-duplicate": 1, "embargo-sentence": 2},
    }
    assert summary["drawn_from_train"] == []


def test_missing_splits_are_drawn_from_train(tmp_path: Path) -> None:
    found = made(parallel_stage([written(tmp_path, sentences(120))], source="es", target="qu", held_out=10), tmp_path)
    summary = found.summary()
    assert summary["drawn_from_train"] == ["dev", "test"]
    counts = {part: row["pairs"] for part, row in summary["splits"].items()}
    assert counts["dev"] == counts["test"] == 10 and summary["rows"]["kept"] == sum(counts.values())
    assert counts["train"] == 100 - summary["rows"]["rejected"].get("embargo-near-duplicate", 0)
    assert found.fingerprint("test") != found.fingerprint("dev") and found.languages == ("es", "qu")


@pytest.mark.parametrize(
    ("lines", "options", "error", "sentence"),
    [
        (["es\tqu", "la casa\twasi"], {}, CorpusError, "1 pairs to train on, 0 of dev and 0 of test are left"),
        ([""], {}, CorpusError, "is empty"),
        (["es\tqu", "a b\tc d"], {"target": "es"}, ConfigError, "the same language"),
        (["es\tqu", "a b\tc d"], {"target": "k w"}, ConfigError, "not a language tag"),
    ],
)
def test_bad_input_is_a_sentence(
    tmp_path: Path, lines: list[str], options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(error, match=sentence):
        made(parallel_stage([path], **{"source": "es", "target": "qu"} | options), tmp_path)


def test_files_that_are_no_pairs_are_refused_before_the_work(tmp_path: Path) -> None:
    alone = table(tmp_path, "a", name="a.txt")
    for paths, sentence in (
        ([tmp_path / "none.tsv"], "no such file"),
        ([alone], "stands alone"),
        ([table(tmp_path, "x", name="x.wav")], "no table and no text"),
    ):
        with pytest.raises(BadInput, match=sentence):
            parallel_stage(paths, source="es", target="qu")


def test_the_stage_contract(tmp_path: Path) -> None:
    stage = parallel_stage([written(tmp_path, sentences(60), "\twasi\ttrain")], source="es", target="qu")
    check_stage(stage, tmp_path / "work", rows_in=61, count_kept=lambda folder: len(list(ParallelCorpus.open(folder))))


def test_a_damaged_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no sentence pairs"):
        ParallelCorpus.open(tmp_path)
    found = made(parallel_stage([written(tmp_path, sentences(60))], source="es", target="qu"), tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "parallel.json").write_text((found.root / "parallel.json").read_text())
    (broken / "pairs.jsonl.gz").write_bytes((found.root / "pairs.jsonl.gz").read_bytes()[:-40])
    with pytest.raises(CorpusError, match="are damaged"):
        list(ParallelCorpus.open(broken))
