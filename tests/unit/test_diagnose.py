"""`orature doctor MODEL CORPUS` finds the planted reason of a bad score, and leaves a healthy pair in peace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import LATIN, corpus_of, model_in
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.types import RATE_HZ
from orature.data.audio import audio_digest, save_flac
from orature.engines.characters import BLANK
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.protocol import Samples
from orature.testing.checkpoints_seq2seq import whisper_folder

CYRILLIC = ["шук ишкай", "кимса чуску", "пичка сукта", "канчис пусак", "искун чунка", "васи яку"]


def doctor(*folders: Path) -> tuple[int, dict[str, dict[str, str]]]:
    done = CliRunner().invoke(build(), ["doctor", "--json", "--device", "cpu", *map(str, folders)])
    assert done.stdout, done.stderr
    return done.exit_code, {row["what"]: row for row in json.loads(done.stdout)["findings"]}


@pytest.fixture
def hears_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A corpus, and a model that reads each of its clips without an error."""
    folder = corpus_of(tmp_path / "corpus", LATIN)
    rng = np.random.default_rng(5)
    clips = [(0.1 * rng.standard_normal(int(1.5 * RATE_HZ))).astype(np.float32) for _ in LATIN]
    said = {audio_digest(clip): text for clip, text in zip(clips, LATIN, strict=True)}

    def perfect(self: CtcRecogniser, recordings: Sequence[Samples]) -> list[Any]:
        answers = []
        for samples in recordings:
            tokens = self.vocabulary.encode(said[audio_digest(samples)])
            path = np.array([[token, BLANK] for token in tokens]).ravel()
            answers.append(np.log(np.eye(len(self.vocabulary), dtype=np.float32)[path] + 1e-6))
        return answers

    monkeypatch.setattr(CtcRecogniser, "log_probabilities", perfect)
    return folder


def test_a_healthy_pair_is_well(hears_all: Path, tmp_path: Path) -> None:
    code, found = doctor(model_in(tmp_path / "model", LATIN), hears_all)
    assert code == 0, [row for row in found.values() if row["level"] == "problem"]
    assert {row["what"] for row in found.values() if row["level"] != "ok"} == set()
    assert found["CER"]["says"].startswith("0 % on 4 utterances")
    assert "case lowered" in found["text policy"]["says"]
    assert {"model", "vocabulary", "dev CER", "alphabet", "frames for labels", "blanks", "bandwidth"} <= found.keys()


def test_the_order_of_the_folders_does_not_matter(hears_all: Path, tmp_path: Path) -> None:
    model = model_in(tmp_path / "model", LATIN)
    assert doctor(hears_all, model) == doctor(model, hears_all)


def test_another_script_is_named(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model", LATIN)
    code, found = doctor(model, corpus_of(tmp_path / "corpus", CYRILLIC, language="ru"))
    assert code == 1
    assert found["script match"]["level"] == "problem" and "Cyrillic" in found["script match"]["says"]
    assert "the model writes Latin" in found["script match"]["says"] and found["script match"]["next_step"]
    assert found["alphabet"]["level"] == "problem" and "CYRILLIC SMALL LETTER" in found["alphabet"]["says"]
    assert found["language"]["level"] == "note"


def test_another_case_is_named(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model", LATIN, case="keep")
    code, found = doctor(model, corpus_of(tmp_path / "corpus", [text.upper() for text in LATIN]))
    assert code == 1
    assert found["case match"]["level"] == "problem" and "other case" in found["case match"]["says"]
    lowered = model_in(tmp_path / "lowered", LATIN)
    assert "case match" not in doctor(lowered, tmp_path / "corpus")[1]


def test_a_model_that_writes_only_blanks_is_named(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model", LATIN, blank=60.0, cer=1.0)
    code, found = doctor(model, corpus_of(tmp_path / "corpus", LATIN))
    assert code == 1
    assert found["blanks"]["level"] == "problem"
    assert "100 % of the steps are blank, 4 of 4 hypotheses are empty" in found["blanks"]["says"]
    assert "peak_lr" in found["blanks"]["next_step"]
    assert found["dev CER"]["level"] == "problem" and "--scale" in found["dev CER"]["next_step"]


def test_texts_that_do_not_fit_their_recordings(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model", LATIN)
    code, found = doctor(model, corpus_of(tmp_path / "corpus", [f"{text} {text}" for text in LATIN], seconds=0.4))
    assert code == 1
    assert found["frames for labels"]["level"] == "problem" and "10 output steps" in found["frames for labels"]["says"]


def test_a_corpus_alone(tmp_path: Path) -> None:
    texts: list[str | None] = [*LATIN[:6], "...", None]
    code, found = doctor(corpus_of(tmp_path / "corpus", texts))
    assert code == 1 and "CER" not in found and "model" not in found
    assert "1 of 8 (12.5 %) are empty" in found["transcripts"]["says"]
    narrow = corpus_of(tmp_path / "narrow", LATIN)
    rng = np.random.default_rng(1)
    for path in narrow.glob("*.flac"):
        slow = np.repeat(rng.standard_normal(3 * RATE_HZ // 16), 8)
        save_flac(path, (0.1 * np.convolve(slow, np.hanning(17) / 8, mode="same")).astype(np.float32))
    code, found = doctor(narrow)
    assert code == 0
    assert found["bandwidth"]["level"] == "note" and "telephone" in found["bandwidth"]["says"]


def test_a_model_alone_and_what_is_wrong_with_its_files(tmp_path: Path) -> None:
    model = model_in(tmp_path / "model", LATIN)
    assert doctor(model)[0] == 0
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    code, found = doctor(model)
    assert code == 1 and "weights cannot be read" in found["model"]["says"] and found["model"]["next_step"]
    blown = model_in(tmp_path / "blown", LATIN, blank=float("nan"))
    code, found = doctor(blown)
    assert code == 1 and "not numbers" in found["model"]["says"]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_neither_model_nor_corpus_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(build(), ["doctor", str(tmp_path / name)])
    assert done.exit_code == 2 and name in done.stderr and "next:" in done.stderr and "Traceback" not in done.output


def test_the_folder_above_a_model_is_pointed_to_it(tmp_path: Path) -> None:
    model_in(tmp_path / "up" / "model", LATIN)
    done = CliRunner().invoke(build(), ["doctor", str(tmp_path / "up")])
    assert done.exit_code == 2 and f"the model is in {tmp_path / 'up' / 'model'}" in done.stderr


def test_an_attention_model_is_heard_too(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", LATIN)
    _, found = doctor(whisper_folder(tmp_path / "whisper"), corpus)
    assert found["model"]["says"].startswith("loads:") and "whisper" in found["model"]["says"]
    assert "CER" in found or "blanks" in found
    broken = whisper_folder(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no")
    code, found = doctor(broken)
    assert code == 1 and found["model"]["level"] == "problem" and "cannot be loaded" in found["model"]["says"]
