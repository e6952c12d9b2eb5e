"""A text and a voice for a calibration: small texts are read often, sentences of dev are never trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import corpus_of

from orature.core.errors import ConfigError
from orature.core.files import write_json
from orature.data.corpus import Corpus
from orature.flow import Resources, Run, Store
from orature.recipes.calibrate_settings import CalibrateConfig
from orature.recipes.calibrate_speech import read_aloud
from orature.stages.inputs import corpus_ref
from orature.text.text_corpus import Sentence, write_sentences

ON = Resources(progress=False, device="cpu", threads=1)
SAID = [
    f"{first} {second} wasi" for first in ("shuk", "ishkay", "kimsa") for second in ("yaku", "runa", "inti", "rumi")
]


def test_a_small_text_is_read_often_and_dev_only_to_be_judged(tmp_path: Path) -> None:
    real = corpus_ref(corpus_of(tmp_path / "real", SAID, language="sw"))
    held_out = {row.text for row in Corpus.open(Path(real.path)).split("dev")}
    text = tmp_path / "text.txt"
    lines = ["wasi yaku runa inti", "rumi shuk kimsa wasi yaku", *sorted(map(str, held_out))]
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = CalibrateConfig(text=str(text), voice="fake", probes=10)
    run = Run(Store(tmp_path / "store"), "t", "t")
    made, probe = read_aloud(run, real, settings, hours=30 / 3600, seed=1, on=ON)
    train = list(Corpus.open(run.path_of(made)).split("train"))
    assert {row.text for row in train} == set(lines[:2]) and len(train) >= 8
    assert {row.origin for row in train} == {"synthetic"}
    dev = list(Corpus.open(run.path_of(probe)).split("dev"))
    assert {row.text for row in dev} == held_out and len(dev) >= 2 * len(held_out)


def test_a_ready_text_is_under_the_embargo_too(tmp_path: Path) -> None:
    real = corpus_ref(corpus_of(tmp_path / "real", SAID, language="sw"))
    held_out = next(str(row.text) for row in Corpus.open(Path(real.path)).split("test"))
    ready = tmp_path / "ready"
    ready.mkdir()
    kept = [f"rumi shuk kimsa wasi {word}" for word in ("yaku", "inti", "runa", "shuk", "kimsa", "wasi", "ishkay")]
    sentences = [Sentence(f"s{n}", text, "t", "CC0") for n, text in enumerate([held_out, *kept])]
    tally = write_sentences(ready / "sentences.jsonl.gz", sentences)
    (ready / "rejects.jsonl").write_text("", encoding="utf-8")
    write_json(ready / "text.json", tally.summary("sw"))
    settings = CalibrateConfig(text=str(ready), voice="fake", probes=4)
    run = Run(Store(tmp_path / "store"), "t", "t")
    made, _ = read_aloud(run, real, settings, hours=0.001, seed=1, on=ON)
    assert {row.text for row in Corpus.open(run.path_of(made))} == set(kept)


def test_a_voice_must_know_the_language(tmp_path: Path) -> None:
    real = corpus_ref(corpus_of(tmp_path / "real", SAID, language="und"))
    (tmp_path / "text.txt").write_text("moja mbili tatu\n", encoding="utf-8")
    settings = CalibrateConfig(text=str(tmp_path / "text.txt"), voice="fake")
    with pytest.raises(ConfigError, match="does not say its language"):
        read_aloud(Run(Store(tmp_path / "store"), "t", "t"), real, settings, hours=0.01, seed=1, on=ON)
