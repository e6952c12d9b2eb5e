"""How a split is read while it is decoded: in order of ids, in groups of like length, no more of it than needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import LATIN, corpus_of, model_in

from orature.core.files import write_beside
from orature.core.types import AudioSpan, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Resources, Run, Store
from orature.stages import transcribe
from orature.stages.inputs import corpus_ref, model_ref

READ = "orature.stages.transcribe._read"


def rows_of(*seconds: float) -> list[Utterance]:
    return [Utterance(f"u{n:03}", AudioSpan("x.flac", 0.0, length, ""), None) for n, length in enumerate(seconds)]


def test_groups_are_of_like_length_and_of_so_many_utterances_and_seconds() -> None:
    assert list(transcribe._groups(rows_of(3.0, 1.0, 2.0))) == [[1, 2, 0]]
    short = list(transcribe._groups(rows_of(*[2.0] * 150)))
    assert list(map(len, short)) == [64, 64, 22], "as long as recordings are short"
    assert list(map(len, transcribe._groups(rows_of(*[500.0] * 5)))) == [2, 2, 1]
    assert list(transcribe._groups(rows_of(4000.0, 4000.0))) == [[0], [1]], "one recording is always given"
    assert list(transcribe._groups([])) == []


def test_recordings_are_read_one_group_ahead_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def reading(row: Utterance) -> Any:
        read.append(row.id)
        return np.zeros(3, dtype=np.float32)

    monkeypatch.setattr(READ, reading)
    with ThreadPoolExecutor(1) as readers:
        groups = transcribe._read_ahead(readers, rows_of(*[700.0] * 6))
        assert list(next(groups)) == [0]
        readers.submit(len, "").result()  # all that was asked for before has been read
        assert read == ["u000", "u001"]
        assert [place for group in groups for place in group] == [1, 2, 3, 4, 5]
    assert read == [f"u{n:03}" for n in range(6)]


def test_a_corpus_in_any_order_gives_the_same_hypotheses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted on disk in runs of three rows, too."""
    corpus = Corpus.open(corpus_of(tmp_path / "corpus", LATIN, seconds=0.5, split="unlabelled"))
    rows = [replace(row, text=None) for row in corpus]
    turned = tmp_path / "turned"
    turned.mkdir()
    save_corpus(lambda name: write_beside(turned / name), rows[::-1], [])
    model = model_in(tmp_path, LATIN, blank=-2.0)
    made = []
    for number, (folder, at_once) in enumerate(((corpus.root, 8192), (turned, 3))):
        monkeypatch.setattr("orature.core.spool.in_order.__kwdefaults__", {"at_once": at_once})
        run = Run(Store(tmp_path / f"store{number}"), "test", "test")
        stage = transcribe.Transcribe(model=model_ref(model), corpus=corpus_ref(folder), split="unlabelled")
        done = run.path_of(run.do(stage, on=Resources(threads=1, progress=False)))
        made.append((done / transcribe.HYPOTHESES).read_text("utf-8"))
    assert made[0] != "" and [line[:12] for line in made[0].splitlines()] == [f'{{"id": "u{n:02}"' for n in range(12)]
    told = [[line.split('"hypothesis"')[1] for line in text.splitlines()] for text in made]
    assert told[0] == told[1]
