"""Phone text: pieces, pseudo-sentences, balance, accents, embargo, and one digest whatever the workers."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phone_texts import WORDS, texts_in
from tiny import corpus_of

from orature.core.errors import BadInput, CorpusError
from orature.flow import Resources, Run, Store
from orature.stages.phone_text import PhoneText, phone_text_stage
from orature.stages.phone_text_plan import PhoneTextSettings, pieces_of
from orature.text.phone_corpus import PhoneCorpus, Tempo, fitted_tempo
from orature.text.phone_sources import texts_by_language
from orature.text.phones import is_phone
from orature.text.pseudo_text import PseudoText

FEW = PhoneTextSettings(per_language=24, measured=2, dev_per_language=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts_in(tmp_path_factory.mktemp("text") / "texts")


def _made(stage: PhoneText, home: Path, workers: int = 1) -> PhoneCorpus:
    run = Run(Store(home), "test", "test")
    return PhoneCorpus.open(run.path_of(run.do(stage, on=Resources(workers=workers, progress=False))))


@pytest.fixture(scope="module")
def phones(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PhoneCorpus:
    return _made(phone_text_stage([folder], FEW, licences=["CC0 1.0"]), tmp_path_factory.mktemp("store"))


def test_every_row_has_phones_a_voice_and_an_expected_length(phones: PhoneCorpus) -> None:
    rows = list(phones.rows())
    facts = phones.summary()
    assert len({row.id for row in rows}) == len(rows)
    assert all(is_phone(phone) for row in rows for phone in row.phones.split())
    assert facts["sentences"] == dict(Counter(row.split for row in rows)) and facts["licences"] == ["CC0 1.0"]
    assert set(facts["kinds"]) == {"text", "pseudo", "accent"}
    assert phones.phones == sorted({phone for row in phones.rows("train") for phone in row.phones.split()})
    assert all(0.3 < phones.seconds(row) < 20 for row in rows) and facts["hours_expected"] > 0
    assert min(facts["languages"].values()) >= 20


def test_accents_are_texts_of_another_language_in_the_same_script_with_the_voices_phones(phones: PhoneCorpus) -> None:
    accents = [row for row in phones.rows("train") if row.kind == "accent"]
    pairs = {(row.language, row.spoken.split("-")[0]) for row in accents}
    assert pairs == {("it", "sw"), ("sw", "it")}, "Greek has no partner in its script"
    assert all(row.language == row.spoken.split("-")[0] for row in phones.rows() if row.kind != "accent")


def test_dev_sentences_are_never_read_in_training(phones: PhoneCorpus) -> None:
    dev = {row.text for row in phones.rows("dev") if len(row.text) > 30}
    train = {row.text for row in phones.rows("train")}
    assert dev and not any(text in other for text in dev for other in train)


def test_the_digest_does_not_depend_on_workers_and_changes_with_the_seed(
    folder: Path, phones: PhoneCorpus, tmp_path: Path
) -> None:
    two = _made(phone_text_stage([folder], FEW, licences=["CC0 1.0"]), tmp_path / "two", workers=2)
    assert two.digest == phones.digest
    assert (two.root / "rows.jsonl.gz").read_bytes() == (phones.root / "rows.jsonl.gz").read_bytes()
    other = phone_text_stage([folder], FEW.model_copy(update={"seed": 2}), licences=["CC0 1.0"])
    assert _made(other, tmp_path / "other").digest != phones.digest


def test_nothing_vanishes_and_the_embargo_holds(folder: Path, phones: PhoneCorpus, tmp_path: Path) -> None:
    rejects = [json.loads(line) for line in (phones.root / "rejects.jsonl").read_text().splitlines()]
    assert Counter(row["reason"] for row in rejects) == {"text-short": 3, "duplicate": 3}
    sentence = (folder / "sw.txt").read_text(encoding="utf-8").splitlines()[5]
    corpus = corpus_of(tmp_path / "corpus", ["neno moja tu hapa", "maneno mengine kabisa hapa", sentence], 0.2)
    guarded = _made(phone_text_stage([folder], FEW, embargo=[corpus]), tmp_path / "guarded")
    met = [json.loads(line) for line in (guarded.root / "rejects.jsonl").read_text().splitlines()]
    assert {row["id"] for row in met if row["reason"].startswith("embargo-")} >= {"sw-6"}
    assert sentence[:30] not in "".join(row.text for row in guarded.rows())


@given(st.text(alphabet="abc dé你好", max_size=60), st.integers(3, 10), st.integers(0, 5))
def test_pieces_lose_no_letter_and_cut_no_word(sentence: str, least: int, seed: int) -> None:
    pieces = pieces_of(sentence, least, 20, np.random.default_rng(seed))
    assert "".join(pieces).replace(" ", "") == "".join(sentence.split())
    assert all(piece == piece.strip() and piece for piece in pieces)


def test_pseudo_sentences_repeat_by_seed_and_use_the_letters_of_the_language() -> None:
    model = PseudoText([" ".join(WORDS["sw"])])
    made = [model.sentence(np.random.default_rng(seed), 40) for seed in range(20)]
    assert made == [model.sentence(np.random.default_rng(seed), 40) for seed in range(20)]
    assert len(set(made)) == 20 and set("".join(made)) <= set(" ".join(WORDS["sw"]))
    assert all(20 <= len(text) <= 80 for text in made)
    assert any(word not in WORDS["sw"] for text in made for word in text.split())
    with pytest.raises(ValueError, match="letters"):
        PseudoText([" "])


def test_a_tempo_is_the_line_through_what_was_spoken() -> None:
    assert fitted_tempo([(10, 1.2), (20, 2.2), (40, 4.2)]) == Tempo(0.2, 0.1)
    assert Tempo(0.2, 0.1).seconds(1000) == 30.0
    with pytest.raises(ValueError, match="at least one"):
        fitted_tempo([])


def test_texts_come_by_language_from_files_and_tables(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "pt-br.txt.gz", "wt", encoding="utf-8") as out:
        out.write("uma frase\n")
    assert texts_by_language(tmp_path) == {"pt-BR": ["uma frase"]}
    table = tmp_path / "t" / "sentences.tsv"
    table.parent.mkdir()
    table.write_text("sentence\tlang\nneno\tsw\nparola\tit\n", encoding="utf-8")
    assert texts_by_language(table.parent) == {"sw": ["neno"], "it": ["parola"]}
    table.write_text("text\nneno\n", encoding="utf-8")
    with pytest.raises(BadInput, match="lacks"):
        texts_by_language(table)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match="no LANG"):
        phone_text_stage([empty], FEW)


def test_a_folder_without_phone_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no phone text"):
        PhoneCorpus.open(tmp_path)
