"""The recogniser around any CTC network: recordings in, hypotheses out; long recordings by overlapping windows.

Recordings longer than a window are cut into windows that overlap; each window's outer halves of the overlaps are
dropped and the rest is joined on the log-probabilities, so that decoding happens once (design after wav2vec2
chunking with stride in transformers' ASR pipeline).

Example::

    recogniser = load_recogniser(Path("model"))       # engines/recognisers.py
    print(recogniser.transcribe([samples])[0].text)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from orature.core.types import RATE_HZ, Card, Hypothesis, Refusal
from orature.engines.ctc_decode import Floats, decode
from orature.engines.network import CtcNetwork
from orature.engines.protocol import Samples
from orature.engines.vocabulary import CtcVocabulary

WINDOW_S = 30.0
OVERLAP_S = 6.0
BATCH_S = 240.0


class Decoder(Protocol):
    """Turns the log-probabilities (T, V) of one recording into a hypothesis."""

    def decode(
        self, log_TV: Floats, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None = None
    ) -> Hypothesis: ...


class BestPathDecoder:
    """The most probable label a step, repeats merged, blanks dropped."""

    def decode(
        self, log_TV: Floats, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None = None
    ) -> Hypothesis:
        return decode(log_TV, vocabulary, step_s=step_s, end_s=end_s)


class CtcRecogniser:
    """A CTC network with its vocabulary, facts for its card (see `orature.json`) and a decoder."""

    def __init__(
        self,
        network: CtcNetwork,
        vocabulary: CtcVocabulary,
        facts: Mapping[str, str],
        device: str = "cpu",
        decoder: Decoder | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.vocabulary = vocabulary
        self.facts = dict(facts)
        self.decoder: Decoder = decoder or BestPathDecoder()
        self.step_s = network.step_samples / RATE_HZ

    @property
    def card(self) -> Card:
        languages = tuple(filter(None, self.facts.get("languages", "").split(",")))
        return Card(
            name=self.facts.get("name", "unnamed"),
            family=self.facts.get("family", "ctc"),
            languages=languages,
            licence=self.facts.get("licence", "unknown"),
            revision=self.facts.get("revision", ""),
            deterministic=True,
        )

    def transcribe(self, recordings: Sequence[Samples]) -> list[Hypothesis | Refusal]:
        """One outcome a recording, in order; batches of like length, long recordings by windows."""
        outcomes: list[Hypothesis | Refusal] = []
        for samples, log_TV in zip(recordings, self.log_probabilities(recordings), strict=True):
            if isinstance(log_TV, Refusal):
                outcomes.append(log_TV)
            else:
                outcomes.append(
                    self.decoder.decode(log_TV, self.vocabulary, step_s=self.step_s, end_s=len(samples) / RATE_HZ)
                )
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
        step = self.network.step_samples
        window, half = int(WINDOW_S * RATE_HZ) // step * step, int(OVERLAP_S / 2 * RATE_HZ) // step * step
        if len(samples) <= window:
            yield samples, 0, self.network.steps(len(samples))
            return
        start = 0
        while True:
            piece = samples[start : start + window]
            last = start + window >= len(samples)
            drop = 0 if start == 0 else half // step
            stop = self.network.steps(len(piece)) if last else (window - half) // step
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
        logits_BTV, frames_B = self.network(samples_BS.to(self.device), lengths_B.to(self.device))
        log_BTV = logits_BTV.float().log_softmax(dim=-1).cpu().numpy()
        return [log[:count] for log, count in zip(log_BTV, frames_B.tolist(), strict=True)]


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
