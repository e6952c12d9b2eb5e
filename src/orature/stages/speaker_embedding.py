"""Vectors of speakers for the pool of prompts: by a network trained for it, or by the stand-in of `speaker_features`.

A network is a local folder in transformers' layout whose architecture is WavLMForXVector or Wav2Vec2ForXVector.

Example::

    embed = embedder(Path("models/wavlm-base-plus-sv"))
    towards = embed.directions([embed.vector(samples)], ["ann"])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orature.core.errors import ModelError
from orature.data import speaker_features

Samples = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]
ALIKE = 0.8
"""Cosine at which two recordings are near-duplicates by a network (Speech-BT, arXiv 2505.16972, section on prompts)."""
_ARCHITECTURES = ("WavLMForXVector", "Wav2Vec2ForXVector")
_NEXT = f"name a local folder with config.json of {' or '.join(_ARCHITECTURES)} and model.safetensors"
_MOST_SECONDS = 16


class Embedder(Protocol):
    """Turns recordings into vectors, and vectors into directions whose cosine says how alike two speakers are."""

    name: str
    threshold: float
    trained: bool
    """False for the stand-in."""

    def vector(self, samples: Samples) -> Vector:
        """The vector of one recording (16 kHz, shape (samples,)); AudioError where it holds too little sound."""
        ...

    def directions(self, vectors: Sequence[Vector], speakers: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (N, D)."""
        ...


class Statistics:
    """The stand-in: spectral statistics with a threshold of their own."""

    name = "spectral statistics (a stand-in for a trained network)"
    trained = False

    def __init__(self) -> None:
        self.threshold = speaker_features.threshold()

    def vector(self, samples: Samples) -> Vector:
        """See `speaker_features.speaker_features`."""
        return speaker_features.speaker_features(samples)

    def directions(self, vectors: Sequence[Vector], speakers: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `speaker_features.directions`."""
        return speaker_features.directions(vectors, speakers)


class XVectors:
    """A network in transformers' layout, in evaluation mode, one recording at a time."""

    trained = True
    threshold = ALIKE

    def __init__(self, folder: Path) -> None:
        import torch
        import transformers

        from orature.engines.hf_folder import quiet

        config = _config(folder)
        self.name = f"{config['architectures'][0]} {folder.name}"
        kind: Any = getattr(transformers, config["architectures"][0])
        try:
            with quiet():
                self._model, info = kind.from_pretrained(
                    folder, use_safetensors=True, local_files_only=True, output_loading_info=True
                )
                self._extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"the network of speakers cannot be loaded: {error}", where=str(folder), next_step=_NEXT
            ) from error
        if info["missing_keys"]:
            raise ModelError(
                f"the network of speakers lacks weights: {', '.join(sorted(info['missing_keys'])[:3])}",
                where=str(folder),
                next_step=_NEXT,
            )
        self._model.eval()
        self._torch = torch

    def vector(self, samples: Samples) -> Vector:
        """The x-vector of the first 16 s, shape (D,)."""
        cut = samples[: _MOST_SECONDS * 16_000]
        inputs = self._extractor(cut, sampling_rate=16_000, return_tensors="pt")
        with self._torch.no_grad():
            found = self._model(**inputs).embeddings[0]
        return np.asarray(found.numpy(), np.float32)

    def directions(self, vectors: Sequence[Vector], speakers: Sequence[str]) -> npt.NDArray[np.float32]:
        """The vectors at length 1: such a network was trained for their cosine."""
        table = np.asarray(vectors, np.float32)
        return np.asarray(table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9), np.float32)


def embedder(folder: Path | None) -> Embedder:
    """The network in `folder`, or the stand-in; ModelError where the folder is none."""
    return Statistics() if folder is None else XVectors(folder)


def embedder_files(folder: Path) -> list[Path]:
    """The files that decide what the network computes; ModelError where they are missing."""
    _config(folder)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError("the folder has no weights in safetensors", where=str(folder), next_step=_NEXT)
    return [folder / "config.json", *sorted(folder.glob("preprocessor_config.json")), *weights]


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("the folder has no readable config.json", where=str(folder), next_step=_NEXT) from error
    if not isinstance(config, dict) or (config.get("architectures") or [""])[0] not in _ARCHITECTURES:
        raise ModelError("the folder holds no network of speakers", where=str(folder), next_step=_NEXT)
    return config
