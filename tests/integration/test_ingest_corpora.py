"""Real speech in: whole corpora keep every row, with the hours that their README states."""

from __future__ import annotations

from pathlib import Path

import pytest

from orature.data.audio import load
from orature.data.corpus import Corpus
from orature.flow.ref import Resources
from orature.flow.run import Run
from orature.flow.store import Store
from orature.stages.ingest import ingest_stage

EXPECTED = {
    "digits_fsdd": {"train": (1000, 0.12, 2), "dev": (500, 0.05, 1), "test": (500, 0.05, 1)},
    "pao_phrases": {"train": (45, 0.02, 1), "dev": (20, 0.01, 1), "test": (11, 0.00, 1)},
    "multilingual_clips": {"test": (25, 0.04, 14)},
}


@pytest.mark.corpora
@pytest.mark.parametrize("name", EXPECTED)
def test_real_corpora_keep_every_row(name: str, corpora: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    ref = Run(store, "test", "test").do(ingest_stage(corpora / name), on=Resources(progress=False))
    corpus, rows = Corpus.open(store.path_of(ref)), store.info(ref.key).rows
    assert rows is not None and rows.kept == rows.total == len(corpus) and not rows.rejected
    splits = corpus.summary()["splits"]
    found = {split: (part["utterances"], round(part["hours"], 2), part["speakers"]) for split, part in splits.items()}
    assert found == EXPECTED[name]
    for number, utterance in enumerate(corpus):
        if number % 100 == 0:
            assert len(load(utterance.audio.path)) == round(utterance.audio.duration_s * 16_000)
    manifest = (corpora / name / "manifest.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert [u.text for u in corpus] == [" ".join(line.split("\t")[1].split()) for line in manifest]
