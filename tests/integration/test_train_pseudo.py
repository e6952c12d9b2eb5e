"""The stage that trains on transcribed and untranscribed speech: every row is accounted for, dev and test stay out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orature.core.errors import CorpusError
from orature.flow import Resources, Run, Store
from orature.stages.ingest import ingest_stage
from orature.stages.train_pseudo import PSEUDO_LABELS, TrainPseudo
from orature.train.config import TrainConfig
from orature.train.pseudo_config import PseudoConfig
from tests.integration.tones import make_corpus, tones

QUIET = Resources(threads=1, progress=False)
CONFIG = TrainConfig(size="micro", updates=8, evaluate_every=4, batch_seconds=6.0, average=1, overfit_clips=0)
PSEUDO = PseudoConfig(warmup_updates=2, cache=2, ratio=1.0, probe_s=1.0)


def _with_untranscribed(folder: Path) -> Path:
    """Eight recordings of unheard texts, one that is in dev, and one that is too long."""
    source = make_corpus(folder)
    rng = np.random.default_rng(3)
    lines = []
    for number in range(8):
        text = "".join(rng.choice(list("abc"), size=4))
        soundfile.write(source / f"audio/free{number}.wav", tones(text, 500 + number), 16_000)
        lines.append(f"audio/free{number}.wav\t\tfree\tund\tunlabelled")
    shutil.copy(source / "audio/dev000.wav", source / "audio/copy.wav")
    soundfile.write(source / "audio/long.wav", tones("abc" * 20, 9), 16_000)
    lines += ["audio/copy.wav\t\tfree\tund\tunlabelled", "audio/long.wav\t\tfree\tund\tunlabelled"]
    with (source / "manifest.tsv").open("a", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    return source


def test_untranscribed_speech_is_labelled_or_left_out_with_its_reason(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    job = Run(store, "test", "test")
    corpus = job.do(ingest_stage(_with_untranscribed(tmp_path / "source")), on=QUIET)
    stage = TrainPseudo(corpus=corpus, config=CONFIG, pseudo=PSEUDO, longest_s=6.0)
    model = job.do(stage, on=QUIET)
    folder, rows = store.path_of(model), store.info(model.key).rows
    assert rows is not None and rows.rejected == {"embargo-audio": 1, "too-long-for-model": 1}
    assert rows.total == 24 + 10 and rows.kept == 24 + 8
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    assert facts["unlabelled_utterances"] == 8 and facts["pseudo"]["cache"] == 2
    labels = [json.loads(line) for line in (folder / PSEUDO_LABELS).read_text("utf-8").splitlines()]
    assert labels and all("copy" not in row["id"] and "long" not in row["id"] for row in labels)
    notes = store.info(model.key).notes
    assert notes["labelled"] == len(labels) and notes["rollbacks"] == 0 and "label_empty_share" in notes


def test_without_untranscribed_speech_it_says_so(tmp_path: Path) -> None:
    job = Run(Store(tmp_path / "store"), "test", "test")
    corpus = job.do(ingest_stage(make_corpus(tmp_path / "source")), on=QUIET)
    with pytest.raises(CorpusError, match="no untranscribed speech"):
        job.do(TrainPseudo(corpus=corpus, config=CONFIG, pseudo=PSEUDO), on=QUIET)
