"""A voice from nothing on real human speech: a few updates already bring the sound of dev closer to the recordings."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from orature.core.types import AudioSpan, Utterance
from orature.train.voice.architecture import from_nothing
from orature.train.voice.config import VoiceConfig
from orature.train.voice.data import VoiceLoader, prepare, texts_of
from orature.train.voice.loop import fit_voice
from orature.train.voice.text import VoiceText
from orature.train.voice.watch import VoiceWatcher


@pytest.mark.slow
@pytest.mark.corpora
def test_a_tiny_voice_learns_from_one_speaker(corpora: Path, tmp_path: Path) -> None:
    folder = corpora / "yoruba_ogunlao"
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        lines = [row for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)]
    short = [row for row in lines if float(row["seconds"]) < 7][:18]
    rows = [
        Utterance(f"u{n:02}", AudioSpan(str(folder / row["path"]), 0.0, float(row["seconds"])), row["sentence"], "yo")
        for n, row in enumerate(short)
    ]
    torch.set_num_threads(1)
    config = VoiceConfig(updates=14, batch_seconds=7.0, evaluate_every=14, lr=1e-3, adversarial_from=12, samples=0)
    made = from_nothing(config, VoiceText.of(texts_of(rows, config)), ("",))
    found = prepare(rows, made.text, made.speakers, made.shape, config)
    assert len(found.examples) == len(rows) >= 8, found.rejects
    sides = (VoiceLoader(side, made.shape, config, several=False) for side in (found.examples[2:], found.examples[:2]))
    outcome = fit_voice(made, *sides, config, state=tmp_path, watcher=VoiceWatcher())
    assert outcome.dev.mel < 0.8 * outcome.start.mel
    assert outcome.dev.divergence < 0.5 * outcome.start.divergence
    assert outcome.dev.duration < outcome.start.duration
