"""Which backend decodes: what was named, or the fastest that writes the same; approximations only with leave."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import LATIN, corpus_of, model_in
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import ConfigError, MissingExtra, ModelError
from orature.core.types import Card, Hypothesis, Refusal
from orature.engines import backends as engines
from orature.engines.backends import BACKEND_FILE, BackendFacts, Steps
from orature.engines.recognisers import load_recogniser
from orature.flow import Resources, Run, open_store
from orature.recipes import backends as recipe
from orature.recipes.backends import choose_backend
from orature.stages.backend_probe import Way, fastest, measure, probe_clips, told
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.transcribe import HYPOTHESES, Transcribe
from orature.testing.checkpoints_seq2seq import whisper_folder

CPU = Resources(device="cpu", progress=False)
TEXT = "shuk ishkay kimsa chusku pichka " * 20


class Fake:
    """Says the same of every recording, and takes its time."""

    card = Card("fake", "fake", (), "MIT", "", True)

    def __init__(self, text: str, seconds: float) -> None:
        self.text, self.seconds, self.calls = text, seconds, 0

    def transcribe(self, recordings: Sequence[Any]) -> list[Hypothesis | Refusal]:
        self.calls += 1
        time.sleep(self.seconds)
        return [Hypothesis(self.text) for _ in recordings]


def table_of(**ways: tuple[str, float]) -> list[Way]:
    fakes = {name.replace("_", "-"): Fake(*one) for name, one in ways.items()}
    return measure({name: lambda fake=fake: fake for name, fake in fakes.items()}, [np.zeros(16_000, "f4")])


def test_the_fastest_that_writes_the_same_is_chosen() -> None:
    near = "X" + TEXT[1:]
    table = table_of(
        torch=(TEXT, 0.05), onnx=(TEXT, 0.02), torch_bf16=(near, 0.01), onnx_int8=("", 0.0), ctranslate2=(near, 0.0)
    )
    assert fastest(table, fast=False) == "onnx"
    assert fastest(table, fast=True) == "torch-bf16"
    sentence = told(table, "onnx")
    assert sentence.startswith("backend: onnx (") and "100.00 % other" in sentence
    assert "torch 1.00x" in sentence


def test_a_little_faster_is_not_worth_it() -> None:
    assert fastest([Way("torch", 1.0, 0.0), Way("onnx", 0.95, 0.0)], fast=False) == "torch"
    assert fastest([Way("torch", 1.0, 0.0), Way("onnx", 0.8, 0.0)], fast=False) == "onnx"
    assert fastest([Way("torch", 1.0, 0.0), Way("onnx", 0.0, 0.0, "cannot be opened")], fast=False) == "torch"


def test_what_cannot_be_opened_is_left_out() -> None:
    def broken() -> Any:
        raise ModelError("no such graph")

    table = measure({"torch": lambda: Fake(TEXT, 0.01), "onnx": broken}, [np.zeros(16_000, "f4")])
    assert [way.trouble for way in table] == ["", "no such graph"] and "left out" in told(table, "torch")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    corpus_of(folder / "corpus", LATIN)
    model_in(folder / "model", LATIN)
    return folder


def chosen(place: Path, tmp_path: Path, **how: Any) -> Any:
    run = Run(open_store(tmp_path / "store"), recipe="test", command="test")
    folder = how.pop("model", place / "model")
    return choose_backend(run, model_ref(folder), corpus_ref(place / "corpus"), "test", on=CPU, **how)


def test_auto_measures_once_and_remembers(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[list[str]] = []

    def measured(ways: dict[str, Any], clips: list[Any]) -> list[Way]:
        assert sum(map(len, clips)) > 16_000
        tables.append(sorted(ways))
        return [Way(name, 0.5 if name == "torch" else 0.1, 0.0) for name in ways]

    monkeypatch.setattr(recipe, "measure", measured)
    assert chosen(place, tmp_path).precision == "fp32" and tables == []  # a few seconds of speech
    monkeypatch.setattr(recipe, "MEASURE_FROM_S", 1.0)
    assert chosen(place, tmp_path).name == "torch" and tables == [["torch"]]
    fast = chosen(place, tmp_path, fast=True)
    assert (fast.name, fast.precision) == ("torch-bf16", "bf16") and "5.00x" in fast.told
    again = chosen(place, tmp_path, fast=True)
    assert (again.precision, len(tables)) == ("bf16", 2) and again.told.endswith("earlier")


def test_long_work_also_tries_exports(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a package is missing its backend is left out, and only naming it is an error."""
    monkeypatch.setattr(recipe, "MEASURE_FROM_S", 1.0)
    monkeypatch.setattr(recipe, "EXPORT_FROM_S", 0.0)
    made: list[str] = []
    real = recipe._named

    def named(run: Any, model: Any, backend: str, language: str, on: Any) -> Any:
        made.append(backend)
        return real(run, model, "torch", language, on)

    monkeypatch.setattr(recipe, "_named", named)
    monkeypatch.setattr(recipe, "measure", lambda ways, clips: [Way(name, 0.5, 0.0) for name in ways])
    chosen(place, tmp_path)
    assert made == ["onnx", "torch"]
    made.clear()
    chosen(place, tmp_path, fast=True)
    assert made == ["onnx", "onnx-int8", "torch"]
    made.clear()
    monkeypatch.setattr(recipe, "missing", lambda backend: ["onnxruntime"])
    chosen(place, tmp_path / "other")
    assert made == ["torch"]
    monkeypatch.setattr(engines, "missing", lambda backend: ["onnxruntime"])
    with pytest.raises(MissingExtra, match="onnxruntime"):
        real(Run(open_store(tmp_path), recipe="t", command=""), model_ref(place / "model"), "onnx", "", CPU)


def test_names_that_cannot_be_had(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vulkan"):
        chosen(place, tmp_path, backend="vulkan")
    whisper = whisper_folder(tmp_path / "whisper")
    assert chosen(place, tmp_path, model=whisper, backend="torch-bf16").precision == "bf16"
    record = BackendFacts(backend="onnx", kind="ctc", steps=Steps(hop=320, reach=400, first=400))
    (whisper / BACKEND_FILE).write_text(record.model_dump_json())
    assert chosen(place, tmp_path, model=whisper).name == "onnx"
    with pytest.raises(ModelError, match="exported for onnx"):
        chosen(place, tmp_path, model=whisper, backend="torch")
    (whisper / BACKEND_FILE).write_text('{"format": 9}')
    with pytest.raises(ModelError, match=r"backend\.json"):
        load_recogniser(whisper)


def test_rounded_decoding_is_another_result(place: Path, tmp_path: Path) -> None:
    """Law 2: what can change a text is a field."""
    given = {"model": model_ref(place / "model"), "corpus": corpus_ref(place / "corpus")}
    exact, rounded = Transcribe(**given), Transcribe(**given, precision="bf16")
    assert exact.key() != rounded.key()
    run = Run(open_store(tmp_path / "store"), recipe="test", command="test")
    scores = [
        [json.loads(line)["score"] for line in (run.path_of(run.do(one, on=CPU)) / HYPOTHESES).read_text().splitlines()]
        for one in (exact, rounded)
    ]
    assert scores[0] != scores[1] and scores[0] == pytest.approx(scores[1], abs=0.1)


def test_rows_keep_their_order_while_files_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orature.stages import transcribe as stage

    corpus_of(tmp_path / "corpus", LATIN)
    model_in(tmp_path / "model", LATIN)
    monkeypatch.setattr(stage, "_GROUP", 2)
    (tmp_path / "corpus" / "5.flac").write_bytes(b"no audio")
    run = Run(open_store(tmp_path / "store"), recipe="test", command="test")
    given = Transcribe(model=model_ref(tmp_path / "model"), corpus=corpus_ref(tmp_path / "corpus"))
    rows = [json.loads(line) for line in (run.path_of(run.do(given, on=CPU)) / HYPOTHESES).read_text().splitlines()]
    assert [row["id"] for row in rows] == ["u02", "u05", "u08", "u11"]
    assert [row["refusal"] is not None for row in rows] == [False, True, False, False]
    assert [row["reference"] for row in rows] == [LATIN[2], LATIN[5], LATIN[8], LATIN[11]]
    alone = load_recogniser(tmp_path / "model")
    from orature.data.audio import load

    for row in rows:
        if row["refusal"] is None:
            heard = alone.transcribe([load(row["audio"]["path"], 0.0, None)])[0]
            assert isinstance(heard, Hypothesis) and heard.text == row["hypothesis"]


def test_probe_clips_are_of_all_lengths(place: Path) -> None:
    from orature.data.corpus import Corpus

    clips = probe_clips(Corpus.open(place / "corpus"), "test", seconds=3.0)
    assert len(clips) == 2 and all(len(clip) == 24_000 for clip in clips)


def test_commands_take_backend_and_fast(place: Path, tmp_path: Path) -> None:
    def cli(*words: object) -> Any:
        return CliRunner().invoke(build(), [*map(str, words), "--device", "cpu"])

    clip = place / "corpus" / "0.flac"
    plain = cli("transcribe", place / "model", clip)
    for how in (["--fast"], ["--backend", "torch-bf16"], ["--backend", "torch"]):
        done = cli("transcribe", place / "model", clip, *how)
        assert done.exit_code == 0 and abs(len(done.stdout) - len(plain.stdout)) < 20, done.output
        assert ("measured on this speech" in done.stderr) == (how == ["--fast"])
    refused = cli("transcribe", place / "model", clip, "--backend", "onnx")
    assert refused.exit_code == 2 and "orature export" in refused.stderr
    scored = cli(
        *("evaluate", place / "model", place / "corpus", "--to", tmp_path / "scores"),
        *("--backend", "torch-bf16", "--store", tmp_path / "store"),
    )
    assert scored.exit_code == 0 and "WER" in scored.stdout, scored.output
