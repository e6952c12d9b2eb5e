"""The recogniser around `ConformerCtc`: a model folder in, hypotheses out; long recordings by overlapping windows.

A model folder holds `config.json`, `model.safetensors`, `vocab.json`, `preprocessor_config.json` and a card.
Recordings longer than a window are cut into windows that overlap; each window's outer halves of the overlaps are
dropped and the rest is joined on the log-probabilities, so that decoding happens once (design after wav2vec2
chunking with stride in transformers' ASR pipeline).

Example::

    recogniser = ScratchCtc.load(Path("model"))
    print(recogniser.transcribe([samples])[0].text)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from orature.core.errors import ModelError
from orature.core.identity import digest_file
from orature.core.types import RATE_HZ, Card, Hypothesis, Refusal
from orature.engines.characters import Characters
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.ctc_decode import Floats, decode
from orature.engines.protocol import Samples

WINDOW_S = 30.0
OVERLAP_S = 6.0
BATCH_S = 240.0
_WHOLE_FOLDER = "copy the whole model folder again, or make it anew with `orature train`"


class ScratchCtc:
    """A trained `ConformerCtc` with its characters."""

    def __init__(self, model: ConformerCtc, characters: Characters, facts: dict[str, str], device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.characters = characters
        self.facts = facts
        self.step_s = 0.01 * model.config.subsampling

    @property
    def card(self) -> Card:
        languages = tuple(filter(None, self.facts.get("languages", "").split(",")))
        return Card(
            name=self.facts.get("name", "orature-conformer-ctc"),
            family="orature-conformer-ctc",
            languages=languages,
            licence=self.facts.get("licence", "unknown"),
            revision=self.facts.get("revision", ""),
            deterministic=True,
        )

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> ScratchCtc:
        """Reads a model folder; raises `ModelError` that names the file at fault."""
        config = read_config(folder)
        weights_file = folder / "model.safetensors"
        try:
            weights = load_file(weights_file)
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"the weights cannot be read: {error}", where=str(weights_file), next_step=_WHOLE_FOLDER
            ) from error
        model = ConformerCtc(config)
        try:
            model.load_state_dict({name: value.float() for name, value in weights.items()})
        except RuntimeError as error:
            raise ModelError(
                "the weights do not fit config.json", where=str(folder), next_step=_WHOLE_FOLDER
            ) from error
        characters = Characters.load(folder / "vocab.json")
        if len(characters) != config.vocabulary:
            raise ModelError(
                f"vocab.json holds {len(characters)} tokens, config.json says {config.vocabulary}",
                where=str(folder),
                next_step=_WHOLE_FOLDER,
            )
        facts = _read_facts(folder / "orature.json")
        facts.setdefault("revision", digest_file(weights_file)[:16])
        return cls(model, characters, facts, device)

    def files(self) -> dict[str, Callable[[Path], None]]:
        """The files of the model folder, each with what writes it (nothing in them varies by the hour)."""
        extractor = {
            "feature_size": self.model.config.mels,
            "sampling_rate": RATE_HZ,
            "hop_length": 160,
            "win_length": 400,
            "normalisation": f"{self.model.config.normalisation} of each utterance and mel bin",
        }
        config = {**self.model.config.model_dump(), "architectures": ["ConformerCtc"]}
        return {
            "model.safetensors": self._write_weights,
            "config.json": lambda path: _write_json(path, config),
            "preprocessor_config.json": lambda path: _write_json(path, extractor),
            "orature.json": lambda path: _write_json(path, self.facts),
            "vocab.json": self.characters.save,
        }

    def save(self, folder: Path) -> None:
        """Writes the model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in self.files().items():
            write(folder / name)

    def _write_weights(self, path: Path) -> None:
        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        save_file(dict(sorted(weights.items())), path, metadata={"format": "pt"})

    def transcribe(self, recordings: Sequence[Samples]) -> list[Hypothesis | Refusal]:
        """One outcome a recording, in order; batches of like length, long recordings by windows."""
        outcomes: list[Hypothesis | Refusal] = []
        for samples, log_TV in zip(recordings, self.log_probabilities(recordings), strict=True):
            if isinstance(log_TV, Refusal):
                outcomes.append(log_TV)
            else:
                outcomes.append(decode(log_TV, self.characters, step_s=self.step_s, end_s=len(samples) / RATE_HZ))
        return outcomes

    def log_probabilities(self, recordings: Sequence[Samples]) -> list[Floats | Refusal]:
        """Log-probabilities of shape (T, V) a recording, or a `Refusal` for samples that are no audio."""
        pieces: list[tuple[int, Samples, int, int]] = []  # recording, window, steps to drop at its start, steps kept
        results: list[Floats | Refusal | list[Floats]] = []
        for number, samples in enumerate(recordings):
            trouble = _trouble(samples)
            if trouble is not None:
                results.append(trouble)
                continue
            results.append([])
            for window, drop, keep in self._windows(samples):
                pieces.append((number, window, drop, keep))
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i][1]))
        logs: dict[int, Floats] = {}
        for batch in _batches(order, pieces):
            for index, log_TV in zip(batch, self._forward([pieces[i][1] for i in batch]), strict=True):
                logs[index] = log_TV
        for index, (number, _, drop, keep) in enumerate(pieces):
            parts = results[number]
            if isinstance(parts, list):
                parts.append(logs[index][drop : drop + keep])
        return [np.concatenate(r) if isinstance(r, list) else r for r in results]

    def _windows(self, samples: Samples) -> Iterator[tuple[Samples, int, int]]:
        """Windows of a recording with how many steps to drop at the start and how many to keep after that."""
        step = 160 * self.model.config.subsampling
        window, half = int(WINDOW_S * RATE_HZ) // step * step, int(OVERLAP_S / 2 * RATE_HZ) // step * step
        if len(samples) <= window:
            yield samples, 0, self.model.steps(len(samples))
            return
        start = 0
        while True:
            piece = samples[start : start + window]
            last = start + window >= len(samples)
            drop = 0 if start == 0 else half // step
            stop = self.model.steps(len(piece)) if last else (window - half) // step
            yield piece, drop, max(0, stop - drop)
            if last:
                return
            start += window - 2 * half

    @torch.inference_mode()
    def _forward(self, recordings: list[Samples]) -> list[Floats]:
        lengths_B = torch.tensor([len(r) for r in recordings])
        samples_BS = torch.zeros(len(recordings), int(lengths_B.max()))
        for row, samples in zip(samples_BS, recordings, strict=True):
            row[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        logits_BTV, frames_B = self.model(samples_BS.to(self.device), lengths_B.to(self.device))
        log_BTV = logits_BTV.float().log_softmax(dim=-1).cpu().numpy()
        return [log[:count] for log, count in zip(log_BTV, frames_B.tolist(), strict=True)]


def _read_facts(path: Path) -> dict[str, str]:
    """Name, languages and licence of a model folder; {} where it has no such file."""
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the facts cannot be read: {error}", where=str(path), next_step=_WHOLE_FOLDER) from error
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise ModelError("the facts must be names with texts", where=str(path), next_step=_WHOLE_FOLDER)
    return facts


def read_config(folder: Path) -> ConformerConfig:
    """`config.json` of a model folder; raises `ModelError` when it is missing or of another family."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no readable config.json: {error}",
            where=str(folder),
            next_step="name a model folder made by `orature train`",
        ) from error
    if not isinstance(raw, dict):
        raise ModelError("config.json holds no names with values", where=str(path), next_step=_WHOLE_FOLDER)
    raw.pop("architectures", None)
    if raw.get("model_type") != "orature-conformer-ctc":
        raise ModelError(
            f"models of type {raw.get('model_type')!r} cannot be loaded yet",
            where=str(path),
            next_step="name a model folder made by `orature train`",
        )
    try:
        return ConformerConfig(**raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(
            f"config.json does not describe a model: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=str(path),
            next_step=_WHOLE_FOLDER,
        ) from error


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _trouble(samples: Samples) -> Refusal | None:
    if samples.ndim != 1:
        return Refusal("audio-shape", f"expected mono samples of shape (samples,), got shape {samples.shape}")
    if samples.size == 0:
        return Refusal("audio-empty", "the recording holds no samples")
    if not bool(np.isfinite(samples).all()):
        return Refusal("audio-nan", "the recording holds samples that are not numbers")
    return None


def _batches(order: list[int], pieces: list[tuple[int, Samples, int, int]]) -> Iterator[list[int]]:
    """Neighbours by length in batches of at most `BATCH_S` padded seconds."""
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * len(pieces[index][1]) > BATCH_S * RATE_HZ:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
