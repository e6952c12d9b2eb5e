"""A tiny voice in the layout of Piper's files, and a double of the package `piper` for machines without it.

The graph has Piper's inputs and output and draws noise as Piper's do; what it gives is a hum, not speech.

Example::

    voice = tiny_piper_voice(tmp_path, speakers=["ann", "bo"])      # tiny.onnx and tiny.onnx.json
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LETTERS = " abdehiklmnoprstuwy'"


def tiny_piper_voice(folder: Path, *, speakers: list[str] | None = None, op: str = "RandomNormalLike") -> Path:
    """Writes the graph and its config; a letter takes 256 samples at length scale 1."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    draw = np.random.default_rng(0)
    sounds = draw.standard_normal((len(LETTERS) + 4, 256)).astype(np.float32)
    inputs = [
        helper.make_tensor_value_info("input", kinds.INT64, [1, "phonemes"]),
        helper.make_tensor_value_info("input_lengths", kinds.INT64, [1]),
        helper.make_tensor_value_info("scales", kinds.FLOAT, [3]),
    ]

    def constant(name: str, values: list[float], kind: int = kinds.FLOAT) -> Any:
        return helper.make_node(
            "Constant", [], [name], value=helper.make_tensor(f"{name}_value", kind, [len(values)], values)
        )

    def node(kind: str, given: list[str], made: str, **more: Any) -> Any:
        return helper.make_node(kind, given, [made], **more)

    nodes = [
        node("Gather", ["sounds", "input"], "spoken"),
        constant("flat_shape", [1, 1, 1, -1], kinds.INT64),
        node("Reshape", ["spoken", "flat_shape"], "flat"),
        constant("one", [1], kinds.INT64),
        constant("two", [2], kinds.INT64),
        constant("zero", [0], kinds.INT64),
        node("Slice", ["scales", "one", "two"], "tempo"),
        node("Slice", ["scales", "zero", "one"], "loudness"),
        constant("plain", [1.0, 1.0, 1.0]),
        node("Concat", ["plain", "tempo"], "stretch", axis=0),
        node("Resize", ["flat", "", "stretch"], "stretched", mode="linear"),
        node(
            op, ["stretched"] if op.endswith("Like") else [], "noise", **({} if op.endswith("Like") else {"shape": [1]})
        ),
        node("Mul", ["noise", "loudness"], "quiet"),
        node("Add", ["stretched", "quiet"], "voiced"),
    ]
    if speakers:
        inputs.append(helper.make_tensor_value_info("sid", kinds.INT64, [1]))
        nodes += [node("Cast", ["sid"], "who", to=kinds.FLOAT), node("Add", ["voiced", "who"], "output")]
    else:
        nodes.append(node("Identity", ["voiced"], "output"))
    table = helper.make_tensor("sounds", kinds.FLOAT, list(sounds.shape), sounds.reshape(-1).tolist())
    output = helper.make_tensor_value_info("output", kinds.FLOAT, [1, 1, 1, "samples"])
    graph = helper.make_graph(nodes, "tiny", inputs, [output], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    path = folder / "tiny.onnx"
    onnx.save(model, str(path))
    config = _config(len(sounds), speakers or [])
    Path(f"{path}.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def _config(symbols: int, speakers: list[str]) -> dict[str, Any]:
    ids = {"_": [0], "^": [1], "$": [2]} | {letter: [place + 3] for place, letter in enumerate(LETTERS)}
    return {
        "num_symbols": symbols,
        "num_speakers": max(1, len(speakers)),
        "audio": {"sample_rate": 16_000},
        "espeak": {"voice": "sw"},
        "language": {"code": "sw_CD"},
        "phoneme_type": "text",
        "inference": {"noise_scale": 0.3, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_id_map": ids,
        "speaker_id_map": {name: place for place, name in enumerate(speakers)},
    }


def stand_in_for_piper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a double of `piper` into this process: letters are phonemes, a full stop ends a sentence."""

    class Config:
        @staticmethod
        def from_dict(config: dict[str, Any]) -> Any:
            return types.SimpleNamespace(
                sample_rate=config["audio"]["sample_rate"],
                espeak_voice=config["espeak"]["voice"],
                phoneme_type=types.SimpleNamespace(value=config["phoneme_type"]),
                num_speakers=config["num_speakers"],
                speaker_id_map=config["speaker_id_map"],
                phoneme_id_map=config["phoneme_id_map"],
                default_speaker_id=0,
                length_scale=config["inference"]["length_scale"],
                noise_scale=config["inference"]["noise_scale"],
                noise_w_scale=config["inference"]["noise_w"],
            )

    class Voice:
        def __init__(self, session: Any, config: Any) -> None:
            self.config = config

        def phonemize(self, text: str) -> list[list[str]]:
            return [list(part.strip()) for part in text.split(".") if part.strip()]

        def phonemes_to_ids(self, phonemes: list[str]) -> list[int]:
            known = self.config.phoneme_id_map
            return [1, *(number for one in phonemes if one in known for number in [*known[one], 0]), 2]

    package, settings = types.ModuleType("piper"), types.ModuleType("piper.config")
    package.PiperVoice = Voice  # type: ignore[attr-defined]
    settings.PiperConfig = Config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "piper", package)
    monkeypatch.setitem(sys.modules, "piper.config", settings)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0 (a double)")
