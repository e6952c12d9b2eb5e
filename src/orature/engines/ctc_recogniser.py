"""The recogniser around any CTC network: recordings in, hypotheses out; long recordings by overlapping windows.

Recordings longer than a window are cut into windows that overlap; each window's outer halves of the overlaps are
dropped and the rest is joined on the log-probabilities, so that decoding happens once (design after wav2vec2
chunking with stride in transformers' ASR pipeline).

Example::

    recogniser = load_recogniser(Path("model"))       # engines/recognisers.py
    print(recogniser.transcribe([samples])[0].text)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from orature.core.types import RATE_HZ, Card, Hypothesis, Refusal
from orature.engines.crew import Crew
from orature.engines.ctc_decode import Floats, decode, decode_path
from orature.engines.network import CtcNetwork
from orature.engines.protocol import Samples, card_of, trouble_of
from orature.engines.torch_fast import Precision, cast_products
from orature.engines.vocabulary import CtcVocabulary

WINDOW_S = 30.0
OVERLAP_S = 6.0
BATCH_S = 240.0
CPU_BATCH_S = 40.0
"""On a CPU larger batches leave its caches and are several times slower (95 s of model time became 20 s with 10 s a
batch for 111 s of speech)."""


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
        *,
        precision: Precision = "fp32",
    ) -> None:
        self.precision: Precision = precision
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.vocabulary = vocabulary
        self.facts = dict(facts)
        self.decoder: Decoder = decoder or BestPathDecoder()
        self.step_s = network.step_samples / RATE_HZ
        self._crew = Crew(self.network)
        self._mine = threading.local()

    @property
    def card(self) -> Card:
        return card_of(self.facts, family="ctc")

    def transcribe(self, recordings: Sequence[Samples]) -> list[Hypothesis | Refusal]:
        """One outcome a recording, in order; batches of like length, long recordings by windows."""
        outcomes: list[Hypothesis | Refusal] = []
        best_path = type(self.decoder) is BestPathDecoder
        found = self._outputs(recordings, self._best if best_path else self._forward)
        for samples, rows in zip(recordings, found, strict=True):
            if isinstance(rows, Refusal):
                outcomes.append(rows)
                continue
            end_s = len(samples) / RATE_HZ
            if best_path:
                path_T, best_T = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.float32)
                outcomes.append(decode_path(path_T, best_T, self.vocabulary, step_s=self.step_s, end_s=end_s))
            else:
                outcomes.append(self.decoder.decode(rows, self.vocabulary, step_s=self.step_s, end_s=end_s))
        return outcomes

    def log_probabilities(self, recordings: Sequence[Samples]) -> list[Floats | Refusal]:
        """Log-probabilities of shape (T, V) a recording, or a `Refusal` for samples that are no audio."""
        return self._outputs(recordings, self._forward)

    def _outputs(
        self, recordings: Sequence[Samples], forward: Callable[[list[Samples]], list[npt.NDArray[Any]]]
    ) -> list[Any]:
        """What `forward` gives for each recording, one row a step, put together from its windows; or its `Refusal`."""
        pieces: list[tuple[int, Samples, int, int]] = []  # recording, window, steps to drop at its start, steps kept
        results: list[Refusal | list[npt.NDArray[Any]]] = []
        for number, samples in enumerate(recordings):
            trouble = trouble_of(samples)
            if trouble is not None:
                results.append(trouble)
                continue
            results.append([])
            for window, drop, keep in self._windows(samples):
                pieces.append((number, window, drop, keep))
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i][1]))
        logs: dict[int, npt.NDArray[Any]] = {}
        most_s = CPU_BATCH_S if self.device.type == "cpu" else BATCH_S
        most_s = self._crew.share(sum(len(piece[1]) for piece in pieces) / RATE_HZ, most_s)
        batches = list(_batches(order, pieces, most_s))
        given = [[pieces[index][1] for index in batch] for batch in batches]

        def work(network: CtcNetwork, batch: list[Samples]) -> list[npt.NDArray[Any]]:
            self._mine.network = network
            return forward(batch)

        for batch, found in zip(batches, self._crew.map(work, given), strict=True):
            logs.update(zip(batch, found, strict=True))
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

    def _forward(self, recordings: list[Samples]) -> list[Floats]:
        """Log-probabilities (T, V) of each."""
        log_BTV, steps_B = self._log_probabilities(recordings)
        return [log[:count] for log, count in zip(log_BTV.cpu().numpy(), steps_B.tolist(), strict=True)]

    def _best(self, recordings: list[Samples]) -> list[npt.NDArray[np.float64]]:
        """The best token of each step and its log-probability, shape (T, 2): all that a best path asks for."""
        log_BTV, steps_B = self._log_probabilities(recordings)
        path_BT = log_BTV.argmax(dim=-1, keepdim=True)
        both_BT2 = torch.cat([path_BT.double(), log_BTV.gather(-1, path_BT).double()], dim=-1).cpu().numpy()
        return [rows[:count] for rows, count in zip(both_BT2, steps_B.tolist(), strict=True)]

    @torch.inference_mode()
    def _log_probabilities(self, recordings: list[Samples]) -> tuple[Tensor, Tensor]:
        lengths_B = torch.tensor([len(r) for r in recordings])
        samples_BS = torch.zeros(len(recordings), int(lengths_B.max()))
        for row, samples in zip(samples_BS, recordings, strict=True):
            row[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        given = samples_BS.to(self.device), lengths_B.to(self.device)
        network: CtcNetwork = getattr(self._mine, "network", self.network)
        if self.precision == "fp32":
            logits_BTV, steps_B = network(*given)
        else:
            with cast_products(self.device, self.precision):
                hidden_BTD, steps_B = network.encode(*given)
            # Logits are large numbers whose small differences decide: rounded, they changed ten times as many letters.
            logits_BTV = network.head(hidden_BTD.float())
        return logits_BTV.float().log_softmax(dim=-1), steps_B


def _batches(order: list[int], pieces: list[tuple[int, Samples, int, int]], most_s: float) -> Iterator[list[int]]:
    """Neighbours by length in batches of at most `most_s` padded seconds."""
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * len(pieces[index][1]) > most_s * RATE_HZ:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
