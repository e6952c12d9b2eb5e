"""Exported models: they decode as the model does, at lengths never seen by the exporter, and a worse one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import LATIN, model_in
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import MissingExtra, ModelError
from orature.engines import backends, export
from orature.engines.backends import Steps
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.export import export_folder
from orature.engines.recognisers import load_ctc, load_recogniser
from orature.engines.seq2seq_recogniser import Seq2SeqRecogniser
from orature.stages import export as stage
from orature.stages.parity import broken, compare_models, golden_set, sounds
from orature.testing.checkpoints import make_checkpoint
from orature.testing.checkpoints_seq2seq import whisper_folder


@pytest.fixture(scope="module")
def conformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_in(tmp_path_factory.mktemp("model") / "conformer", LATIN)


@pytest.fixture(scope="module")
def in_onnx(conformer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    export_folder(conformer, folder, "onnx")
    return folder


def cli(*words: object, store: Path) -> Any:
    return CliRunner().invoke(build(), [*map(str, words), "--store", str(store)])


def test_steps_are_counted_as_the_network_counts_them(conformer: Path, tmp_path: Path) -> None:
    networks = [load_ctc(conformer).network]
    networks += [
        load_ctc(make_checkpoint(tmp_path / name, name)).network for name in ("xls-r", "wav2vec2-bert", "parakeet-ctc")
    ]
    for network in networks:
        steps = Steps.of(network)
        for samples in range(0, 5_000, 37):
            assert steps(samples) == network.steps(samples)
    networks[0].steps = lambda samples: round(samples**0.7)  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="evenly"):
        Steps.of(networks[0])


def test_onnx_decodes_as_the_model_at_any_length(conformer: Path, in_onnx: Path) -> None:
    model, other = load_recogniser(conformer), load_recogniser(in_onnx)
    assert isinstance(other, CtcRecogniser) and other.card.family == "conformer"
    rng = np.random.default_rng(2)
    noise = [(0.1 * rng.standard_normal(n)).astype("f4") for n in (100, 399, 400, 1_040, 23_456, 500_000)]
    figures = compare_models(model, other, [*sounds(), *noise])
    assert figures["texts_equal"] == figures["texts"] == 12 and figures["characters"] > 50
    assert figures["log_probability_error"] < 1e-3
    assert broken(figures) == ""


def test_an_exported_folder_tells_no_path_of_this_machine(in_onnx: Path) -> None:
    data = (in_onnx / "model.onnx").read_bytes()
    for place in (str(Path(export.__file__).parents[3]), "site-packages", ".py"):
        assert place.encode() not in data
    assert {"config.json", "vocab.json", "preprocessor_config.json", "orature.json", "backend.json"} <= {
        path.name for path in in_onnx.iterdir()
    }
    assert not list(in_onnx.glob("*.safetensors"))


def test_rounded_to_8_bits_is_near(conformer: Path, in_onnx: Path, tmp_path: Path) -> None:
    from orature.engines.onnx_backend import round_to_int8

    rounded = tmp_path / "rounded"
    rounded.mkdir()
    for path in in_onnx.iterdir():
        (rounded / path.name).write_bytes(path.read_bytes())
    round_to_int8(in_onnx / "model.onnx", rounded / "model.onnx")
    assert (rounded / "model.onnx").stat().st_size < 0.6 * (in_onnx / "model.onnx").stat().st_size
    figures = compare_models(load_recogniser(conformer), load_recogniser(rounded), sounds()[:4])
    assert 1e-4 < figures["log_probability_error"] < 1.0 and figures["steps_changed"] < 0.2


def test_whisper_under_ctranslate2_writes_the_same(tmp_path: Path) -> None:
    source = whisper_folder(tmp_path / "whisper")
    export_folder(source, tmp_path / "fast", "ctranslate2", language="yo")
    model, other = load_recogniser(source, language="yo"), load_recogniser(tmp_path / "fast")
    figures = compare_models(model, other, sounds()[:5])
    assert figures["texts_equal"] == 5 and figures["tokens_changed"] == 0.0
    assert isinstance(model, Seq2SeqRecogniser) and isinstance(other, Seq2SeqRecogniser)
    samples = torch.from_numpy(np.stack([one[:10_000] for one in sounds()[1:3]]))
    for beams in (1, 3):
        given = (samples, torch.tensor([10_000, 5_000]), model.vocabulary.prompt("en"))
        ours, theirs = (one.network.generate(*given, beams=beams, n_best=beams) for one in (model, other))
        assert [len(one) for one in theirs] == [beams, beams]
        if beams == 1:
            assert [one[0].tokens for one in ours] == [one[0].tokens for one in theirs]
            assert len(ours[0][0].tokens) != len(ours[1][0].tokens)
    with pytest.raises(ModelError, match="language"):
        load_recogniser(tmp_path / "fast", language="xx")


def test_formats_that_a_family_lacks_get_one_sentence(tmp_path: Path, conformer: Path) -> None:
    base, whisper = make_checkpoint(tmp_path / "base", "wav2vec2"), whisper_folder(tmp_path / "whisper")
    for folder, wanted, why in (
        (base, "ctranslate2", "layout of XLS-R only"),
        (conformer, "ctranslate2", "Whisper and wav2vec 2.0 only"),
        (whisper, "onnx", "only CTC models"),
        (base, "gguf", "no export format"),
    ):
        done = cli("export", folder, "--as", wanted, "--to", tmp_path / "to", store=tmp_path / "store")
        assert done.exit_code == 2 and why in done.stderr and "next:" in done.stderr, done.output
        assert not (tmp_path / "to").exists()


def test_an_export_that_says_something_else_is_refused(
    conformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the export is the model with a little noise on its weights."""

    def spoiled(source: Path, to: Path, wanted: str, *, language: str | None = None) -> None:
        export_folder(source, to, "safetensors", language=language)
        weights = load_file(to / "model.safetensors")
        weights["head.weight"] += 0.5 * np.random.default_rng(0).standard_normal(weights["head.weight"].shape)
        save_file({name: value.float() for name, value in weights.items()}, to / "model.safetensors")

    monkeypatch.setattr(stage, "golden_set", lambda corpus, split: (sounds()[:4], "four sounds"))
    whole = cli("export", conformer, "--as", "safetensors", "--to", tmp_path / "good", store=tmp_path / "store")
    assert whole.exit_code == 0 and "equal texts: 4 of 4" in whole.stdout
    parity = json.loads((tmp_path / "good" / "parity.json").read_text())
    assert parity["log_probability_error"] == 0.0 and parity["limits"]["cer_between"] > 0
    monkeypatch.setattr(stage, "export_folder", spoiled)
    done = cli("export", conformer, "--as", "safetensors", "--to", tmp_path / "bad", store=tmp_path / "other")
    assert done.exit_code == 1 and "refused" in done.stderr and "texts differ" in done.stderr
    assert not (tmp_path / "bad").exists()


def test_limits_of_the_proof() -> None:
    good: dict[str, Any] = {"texts": 9, "texts_equal": 9, "cer_between": 0.0, "log_probability_error": 1e-5}
    assert broken(good) == "" and broken({"texts": 9, "texts_equal": 9, "cer_between": 0.0}) == ""
    assert "9 of 9" not in broken({**good, "texts_equal": 8, "cer_between": 0.01})
    assert "1 of 9 texts" in broken({**good, "texts_equal": 8, "cer_between": 0.01})
    assert "log-probability" in broken({**good, "log_probability_error": 0.5})
    assert "log-probability" in broken({**good, "log_probability_error": float("nan")})
    assert "steps" in broken({**good, "same_steps": False})


def test_missing_packages_are_named(conformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "missing", lambda backend: ["onnxscript"])
    with pytest.raises(MissingExtra, match="onnxscript") as caught:
        export_folder(conformer, tmp_path / "x", "onnx")
    assert "orature[fast]" in caught.value.next_step


def test_the_golden_set_has_a_long_recording_and_is_always_the_same() -> None:
    recordings, _ = golden_set(None)
    again, _ = golden_set(None)
    assert max(map(len, recordings)) > 30 * 16_000
    assert all((a == b).all() for a, b in zip(recordings, again, strict=True))
