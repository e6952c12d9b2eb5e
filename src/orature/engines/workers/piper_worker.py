"""An engine for `serve.py` that speaks with a Piper voice, in an environment that has piper-tts and onnx.

piper-tts is GPL-3.0-or-later and holds espeak-ng: it is a program of its own, reached through pipes, and this file
imports nothing of Orature. Piper's graphs draw their noise inside ONNX Runtime, from a generator that goes on from
sentence to sentence. Here each such node is replaced by values that are fed, drawn from the request's seed: the samples
of a request depend on the request alone. One sentence is computed at a time, on one thread unless told otherwise.

Example::

    python -I serve.py piper_worker.py voices/sw_CD-lanfrica-medium.onnx
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

_MOST_SECONDS = 60.0
_FRAMES_A_PHONEME = 24
_CHANNELS = 192
_MOST_NOISE = 1_000_003
_LITTLE_NOISE = 4099
_DRAWS = ("RandomNormalLike", "RandomUniformLike")
_TEMPO = (0.25, 4.0)


class Refused(Exception):
    """A request that this voice cannot speak; its two arguments are reason and detail."""


def fed_noise(model: Any) -> list[tuple[str, str]]:
    """Replaces each node that draws by a value that repeats a fed vector; names and kinds of those inputs, in order.

    ValueError for a graph that draws in any other way.
    """
    onnx = import_module("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes: list[Any] = []
    fed: list[tuple[str, str]] = []
    for node in model.graph.node:
        if node.op_type not in _DRAWS:
            if node.op_type.startswith("Random") or node.op_type in ("Multinomial", "Bernoulli"):
                raise ValueError(f"the graph draws by {node.op_type}, which cannot be fed")
            nodes.append(node)
            continue
        name, given = f"orature_noise_{len(fed)}", {item.name: item for item in node.attribute}
        fed.append((name, node.op_type))
        model.graph.input.append(helper.make_tensor_value_info(name, kinds.FLOAT, [None]))
        nodes += _repeated(helper, kinds, name, node, given)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return fed


def _repeated(helper: Any, kinds: Any, name: str, node: Any, given: dict[str, Any]) -> list[Any]:
    """Nodes that give the fed vector, repeated, the shape of the input of `node`, scaled as it says."""
    uniform = node.op_type == "RandomUniformLike"
    first = given["low"].f if "low" in given else given["mean"].f if "mean" in given else 0.0
    second = given["high"].f if "high" in given else given["scale"].f if "scale" in given else 1.0
    width = second - first if uniform else second

    def constant(suffix: str, kind: int, dims: list[int], values: list[Any]) -> Any:
        tensor = helper.make_tensor(f"{name}_{suffix}_value", kind, dims, values)
        return helper.make_node("Constant", [], [f"{name}_{suffix}"], value=tensor)

    return [
        constant("zero", kinds.INT64, [], [0]),
        constant("one", kinds.INT64, [], [1]),
        constant("width", kinds.FLOAT, [], [width]),
        constant("offset", kinds.FLOAT, [], [first]),
        helper.make_node("Shape", [node.input[0]], [f"{name}_shape"]),
        helper.make_node("ReduceProd", [f"{name}_shape"], [f"{name}_count"], keepdims=0),
        helper.make_node("Range", [f"{name}_zero", f"{name}_count", f"{name}_one"], [f"{name}_places"]),
        helper.make_node("Size", [name], [f"{name}_size"]),
        helper.make_node("Mod", [f"{name}_places", f"{name}_size"], [f"{name}_wrapped"]),
        helper.make_node("Gather", [name, f"{name}_wrapped"], [f"{name}_flat"]),
        helper.make_node("Mul", [f"{name}_flat", f"{name}_width"], [f"{name}_wide"]),
        helper.make_node("Add", [f"{name}_wide", f"{name}_offset"], [f"{name}_moved"]),
        helper.make_node("Reshape", [f"{name}_moved", f"{name}_shape"], list(node.output)),
    ]


def noise_for(seed: int, sentence: int, phonemes: int, fed: list[tuple[str, str]]) -> dict[str, Any]:
    """What is fed for one sentence, float32 vectors, from the seed, the number of the sentence and of the draw."""
    size = min(_MOST_NOISE, _LITTLE_NOISE + _CHANNELS * _FRAMES_A_PHONEME * phonemes)
    drawn = {}
    for number, (name, kind) in enumerate(fed):
        draw = np.random.Generator(np.random.PCG64([seed & (2**64 - 1), sentence, number]))
        uniform = kind == "RandomUniformLike"
        drawn[name] = draw.random(size, np.float32) if uniform else draw.standard_normal(size, np.float32)
    return drawn


class Engine:
    """What `serve.py` asks: a hello, and `speak`."""

    def __init__(self, model: Path, config: dict[str, Any], threads: int, device: str) -> None:
        piper, onnx, self._runtime = (import_module(name) for name in ("piper", "onnx", "onnxruntime"))
        graph = onnx.load(str(model))
        self._fed = fed_noise(graph)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        wanted = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            wanted.insert(0, "CUDAExecutionProvider")
        session = self._runtime.InferenceSession(graph.SerializeToString(), sess_options=options, providers=wanted)
        settings = import_module("piper.config").PiperConfig.from_dict(config)
        self._voice = piper.PiperVoice(session=session, config=settings)
        self._session, self._config = session, settings
        self._inputs = {item.name for item in session.get_inputs()}
        self.hello = {**self._says(model, config), "deterministic": not device.startswith("cuda")}

    def speak(self, requests: list[dict[str, Any]]) -> Iterator[tuple[int, bytes | dict[str, str]]]:
        """Samples or a refusal for each request, one after the other."""
        for place, request in enumerate(requests):
            try:
                yield place, self._one(request)
            except Refused as refused:
                yield place, {"reason": str(refused.args[0]), "detail": str(refused.args[1])}

    def _says(self, model: Path, config: dict[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(model.read_bytes() + json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
        language = config.get("language") or {}
        tag = str(language.get("code") or self._config.espeak_voice).replace("_", "-")
        names = sorted(self._config.speaker_id_map, key=lambda name: int(self._config.speaker_id_map[name]))
        if not names and self._config.num_speakers > 1:
            names = [str(number) for number in range(self._config.num_speakers)]
        stated = config.get("license") or config.get("licence")
        return {
            "engine": "piper",
            "revision": f"piper-tts {metadata.version('piper-tts')}, {model.name} {digest}",
            "rate_hz": int(self._config.sample_rate),
            "licence": str(stated or "of the voice: not stated in its config, see its model card") + "; piper-tts: GPL",
            "languages": list(dict.fromkeys([tag, tag.split("-")[0]])),
            "speakers": {"*": names or [""]},
            "traits": {
                "rate": True,
                "random": bool(self._fed),
                "batch": 8,
                "most_characters": 1000,
                "most_seconds": _MOST_SECONDS,
            },
        }

    def _one(self, request: dict[str, Any]) -> bytes:
        rate = float(request.get("rate", 1.0))
        if not _TEMPO[0] <= rate <= _TEMPO[1]:
            raise Refused("out-of-range", f"the rate would be {rate:g}; piper goes from {_TEMPO[0]} to {_TEMPO[1]}")
        parts = []
        text = str(request["text"]).replace("[[", "[ [")  # piper takes what stands in double brackets for phonemes
        for number, phonemes in enumerate(self._voice.phonemize(text)):
            if phonemes:
                parts.append(self._sentence(phonemes, number, rate, request))
        if not parts:
            raise Refused("no-audio", "piper finds no phonemes in this text")
        samples = np.concatenate(parts)
        seconds = len(samples) / self._config.sample_rate
        if seconds >= _MOST_SECONDS:
            raise Refused("truncated", f"it would take {seconds:.0f} s; at most {_MOST_SECONDS:g}")
        return bytes(np.round(samples * 32767.0).astype("<i2").tobytes())

    def _sentence(self, phonemes: list[str], number: int, rate: float, request: dict[str, Any]) -> Any:
        """Samples of one sentence in [-1, 1], as loud as they can be (as piper does), shape (samples,)."""
        if self._config.phoneme_type.value in ("espeak", "text"):
            unknown = {one for one in phonemes if one not in self._config.phoneme_id_map and _is_letter(one)}
            if unknown:
                raise Refused("unreadable", f"the voice has no sound for {' '.join(sorted(unknown))}")
        ids = self._voice.phonemes_to_ids(phonemes)
        lengths, noise_w = self._config.length_scale / rate, self._config.noise_w_scale
        fed = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([self._config.noise_scale, lengths, noise_w], np.float32),
            **noise_for(int(request.get("seed", 0)), number, len(ids), self._fed),
        }
        if "sid" in self._inputs:
            fed["sid"] = np.array([self._speaker(str(request.get("speaker") or ""))], np.int64)
        audio = np.asarray(self._session.run(None, fed)[0], np.float32).reshape(-1)
        peak = float(np.abs(audio).max(initial=0.0))
        return audio / peak if peak > 1e-8 else np.zeros_like(audio)

    def _speaker(self, name: str) -> int:
        known = self._config.speaker_id_map
        if name in known:
            return int(known[name])
        if not name:
            return int(self._config.default_speaker_id)
        if not known and name.isdigit() and int(name) < self._config.num_speakers:
            return int(name)
        raise Refused("unknown-speaker", f"{name!r} is none of this voice's speakers")


def _is_letter(phoneme: str) -> bool:
    return any(unicodedata.category(character)[0] in "LN" for character in phoneme)


def begin(arguments: list[str]) -> Engine:
    """`arguments`: the .onnx file (its config beside it as .onnx.json), then `--device` and its name."""
    if not arguments:
        raise SystemExit({"reason": "bad-arguments", "detail": "name the .onnx file of a Piper voice"})
    model = Path(arguments[0])
    device = arguments[arguments.index("--device") + 1] if "--device" in arguments[:-1] else "cpu"
    try:
        config = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
        return Engine(model, config, int(os.environ.get("OMP_NUM_THREADS") or 1), device)
    except (ValueError, KeyError, TypeError) as error:
        detail = f"{model.name} is no voice of Piper: {type(error).__name__} {error}"
        raise SystemExit({"reason": "bad-model", "detail": detail}) from error
