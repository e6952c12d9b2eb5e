"""Weights of published checkpoints: old names, half precision, shards, and what must not pass in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orature.core.errors import ModelError
from orature.engines import wav2vec2
from orature.engines.families import Start
from orature.engines.hf_folder import facts_of
from orature.testing.checkpoints import make_checkpoint
from orature.testing.recogniser_contract import logits_of

NOISE = (0.1 * np.random.default_rng(1).standard_normal(9_000)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint", "xls-r")


def logits(place: Path) -> torch.Tensor:
    return logits_of(wav2vec2.load(place)[0], [NOISE])[0]


def test_old_and_new_names_of_weight_norm(folder: Path) -> None:
    before = logits(folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    pairs = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    is_new = any("parametrizations" in name for name in weights)
    spelled = dict(weights)
    for old, new in pairs.items():
        here, there = (new, old) if is_new else (old, new)
        spelled = {name.replace(here, there): value for name, value in spelled.items()}
    assert len(set(spelled) - set(weights)) == 2
    save_file(spelled, path, metadata={"format": "pt"})
    assert torch.equal(logits(folder), before)


def test_half_precision_becomes_float32(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({name: value.half() for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    network, _ = wav2vec2.begin(folder, ["a"], Start(head="keep"))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_shards_are_read_and_missed(folder: Path) -> None:
    before = logits(folder)
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    halves = {"model-1.safetensors": names[:20], "model-2.safetensors": names[20:]}
    for shard, own in halves.items():
        save_file({name: weights[name] for name in own}, folder / shard, metadata={"format": "pt"})
    where = {name: shard for shard, own in halves.items() for name in own}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "model.safetensors").unlink()
    assert torch.equal(logits(folder), before)
    assert facts_of(folder)["revision"].count("-") == 1
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ModelError, match="shards of the weights are missing"):
        wav2vec2.load(folder)


def test_foreign_weights_are_refused_and_pretraining_heads_are_not(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "quantizer.codevectors": torch.zeros(1, 4, 2)}, path, metadata={"format": "pt"})
    wav2vec2.load(folder)
    save_file(
        {**weights, "wav2vec2.encoder.layers.2.layer_norm.weight": torch.zeros(32)}, path, metadata={"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"without a place for them, wav2vec2\.encoder\.layers\.2"):
        wav2vec2.load(folder)
    save_file({**weights, "lm_head.weight": torch.zeros(32, 31)}, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="do not fit"):
        wav2vec2.load(folder)


def test_lora_matrices_alone_and_other_rates(folder: Path) -> None:
    extractor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**extractor, "sampling_rate": 8000}))
    with pytest.raises(ModelError, match="8000 samples a second"):
        wav2vec2.load(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**extractor, "feature_extractor_type": "WhisperFeatureExtractor"})
    )
    with pytest.raises(ModelError, match="WhisperFeatureExtractor"):
        wav2vec2.load(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="LoRA matrices"):
        wav2vec2.load(folder)


def test_a_config_that_describes_nothing(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(ModelError, match="does not describe a model"):
        wav2vec2.load(folder)


def test_without_normalisation_the_samples_stay(folder: Path) -> None:
    network, _ = wav2vec2.load(folder)
    mixed = network.heard(torch.from_numpy(NOISE)[None] + 0.3, torch.tensor([8_000]))
    assert abs(float(mixed[0, :8_000].mean())) < 1e-5
    assert abs(float(mixed[0, :8_000].std()) - 1) < 1e-3
    assert not mixed[0, 8_000:].any()
    network.normalises = False
    plain = network.heard(torch.from_numpy(NOISE)[None], torch.tensor([8_000]))
    assert torch.equal(plain[0, :8_000], torch.from_numpy(NOISE)[:8_000])


def test_recordings_shorter_than_a_step(folder: Path) -> None:
    network, _ = wav2vec2.load(folder)
    network.eval()
    logits_BTV, steps_B = network(torch.zeros(2, 300), torch.tensor([300, 0]))
    assert steps_B.tolist() == [0, 0]
    assert network.steps(300) == 0
    assert torch.isfinite(logits_BTV).all()
