"""The recogniser around any encoder-decoder: recordings in, hypotheses out, in batches of like length.

What is longer than the family takes at once is cut at the quietest points, without overlap, and the texts are joined.
Digital silence is never given to the decoder: attention decoders write sentences of their training data for it
("hallucinations"; Koenecke et al. 2024). A text that goes round in a loop keeps its words and gets the score
`LOOPING`, so that any threshold on confidence drops it.

Hypotheses carry no words with times: an attention decoder does not say when a word was spoken, and times are not made
up. `score` is the mean log-probability a token.

Example::

    recogniser = load_recogniser("whisper-small", language="yo")
    print(recogniser.transcribe([samples])[0].text)
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from orature.core.types import RATE_HZ, Alternative, Card, Hypothesis, Refusal
from orature.engines.crew import Crew
from orature.engines.network import Seq2SeqNetwork, Written
from orature.engines.protocol import Samples, card_of, trouble_of
from orature.engines.seq2seq_vocabulary import Seq2SeqVocabulary

BATCH_S = 240.0
CPU_BATCH_S = 120.0
LOOPING = -20.0
"""The score of a text that repeats itself."""
COMPRESSION = 2.4
"""From this ratio of bytes to their deflated size on a text repeats itself (Radford et al. 2022, section 4.5)."""
SILENCE = 2.0 / 32768.0
_QUIET_S = 0.2
_ENERGY_S = 0.02


class Seq2SeqRecogniser:
    """An encoder-decoder with its vocabulary and facts for its card.

    `language` is for vocabularies with language tokens; without one, and without one in the vocabulary, a network that
    can tell languages apart (Whisper) chooses by the first window of each recording. `beams` 1 is greedy search.
    """

    def __init__(
        self,
        network: Seq2SeqNetwork,
        vocabulary: Seq2SeqVocabulary,
        facts: Mapping[str, str],
        device: str = "cpu",
        *,
        language: str | None = None,
        beams: int = 1,
        length_penalty: float = 1.0,
        alternatives: int = 1,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self._crew = Crew(self.network)
        self.vocabulary, self.facts = vocabulary, dict(facts)
        self.language, self.beams, self.length_penalty = language, beams, length_penalty
        self.alternatives = alternatives

    @property
    def card(self) -> Card:
        return card_of(self.facts, family="seq2seq")

    def transcribe(self, recordings: Sequence[Samples]) -> list[Hypothesis | Refusal]:
        """One outcome a recording, in order; `alternatives` holds `alternatives` texts where over 1 are asked for."""
        outcomes: list[Hypothesis | Refusal] = []
        for best in self.n_best(recordings, self.alternatives):
            if isinstance(best, Refusal):
                outcomes.append(best)
            elif self.alternatives > 1:
                others = tuple(Alternative(one.text, round(one.score, 4)) for one in best)
                outcomes.append(replace(best[0], alternatives=others))
            else:
                outcomes.append(best[0])
        return outcomes

    def n_best(self, recordings: Sequence[Samples], n: int) -> list[list[Hypothesis] | Refusal]:
        """Up to `n` hypotheses a recording, best first; a recording of several windows varies in one window at a time
        by rank (the i-th of each window is joined)."""
        pieces: list[tuple[int, Samples]] = []
        outcomes: list[list[Hypothesis] | Refusal] = []
        for number, samples in enumerate(recordings):
            trouble = trouble_of(samples)
            outcomes.append(trouble if trouble is not None else [])
            if trouble is None:
                pieces += [(number, window) for window in self._windows(samples)]
        heard = self._heard(pieces, max(self.beams, n), n)
        windows: dict[int, list[list[Hypothesis]]] = defaultdict(list)
        for (number, _), hypotheses in zip(pieces, heard, strict=True):
            windows[number].append(hypotheses)
        return [
            outcome if isinstance(outcome, Refusal) else joined(windows[number])
            for number, outcome in enumerate(outcomes)
        ]

    def _windows(self, samples: Samples) -> list[Samples]:
        """Windows that the family takes, without those of digital silence."""
        pieces = cut_at_quiet(samples, self.network.max_seconds)
        return [piece for piece in pieces if piece.size and float(np.abs(piece).max()) > SILENCE]

    def _heard(self, pieces: Sequence[tuple[int, Samples]], beams: int, n: int) -> list[list[Hypothesis]]:
        prompts = self._prompts(pieces)
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, (number, _) in enumerate(pieces):
            groups[tuple(prompts[number])].append(index)
        jobs = [(prompt, batch) for prompt, members in groups.items() for batch in self._batches(members, pieces)]

        def work(network: Seq2SeqNetwork, job: tuple[tuple[int, ...], list[int]]) -> list[list[Written]]:
            samples_BS, lengths_B = self._padded([pieces[index][1] for index in job[1]])
            how: dict[str, Any] = {"beams": beams, "n_best": n, "length_penalty": self.length_penalty}
            return network.generate(samples_BS, lengths_B, list(job[0]), **how)

        results: dict[int, list[Hypothesis]] = {}
        for (_, batch), written in zip(jobs, self._crew.map(work, jobs), strict=True):
            for index, best in zip(batch, written, strict=True):
                results[index] = [self._hypothesis(one) for one in best]
        return [results[index] for index in range(len(pieces))]

    def _prompts(self, pieces: Sequence[tuple[int, Samples]]) -> dict[int, list[int]]:
        """The prompt of each recording."""
        first: dict[int, int] = {}
        for index, (number, _) in enumerate(pieces):
            first.setdefault(number, index)
        own = getattr(self.vocabulary, "language", None)
        choices = self.vocabulary.language_tokens()
        if self.language or own or not choices or not hasattr(self.network, "detect"):
            return {number: self.vocabulary.prompt(self.language) for number in first}
        codes = {token: code for code, token in choices.items()}
        prompts: dict[int, list[int]] = {}
        network = cast(Any, self.network)
        numbers = list(first)
        for batch in self._batches([first[number] for number in numbers], pieces):
            samples_BS, lengths_B = self._padded([pieces[index][1] for index in batch])
            start = self.vocabulary.prompt(next(iter(choices)))[0]
            found = network.detect(samples_BS, lengths_B, start, list(choices.values()))
            for index, token in zip(batch, found, strict=True):
                prompts[pieces[index][0]] = self.vocabulary.prompt(codes[token])
        return prompts

    def _batches(self, members: Sequence[int], pieces: Sequence[tuple[int, Samples]]) -> list[list[int]]:
        """`members` by length in batches of at most `BATCH_S` (on a CPU `CPU_BATCH_S`) padded seconds."""
        padded = sum(self.network.padded_samples(len(pieces[index][1])) for index in members)
        most_s = self._crew.share(padded / RATE_HZ, CPU_BATCH_S if self.device.type == "cpu" else BATCH_S)
        batches: list[list[int]] = []
        for index in sorted(members, key=lambda i: len(pieces[i][1])):
            size = self.network.padded_samples(len(pieces[index][1]))
            if not batches or (len(batches[-1]) + 1) * size > most_s * RATE_HZ:
                batches.append([])
            batches[-1].append(index)
        return batches

    def _padded(self, recordings: Sequence[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
        lengths_B = torch.tensor([len(samples) for samples in recordings])
        samples_BS = torch.zeros(len(recordings), int(lengths_B.max()))
        for row, samples in zip(samples_BS, recordings, strict=True):
            row[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        return samples_BS.to(self.device), lengths_B.to(self.device)

    def _hypothesis(self, written: Written) -> Hypothesis:
        text = self.vocabulary.decode(written.tokens)
        logs = written.log_probabilities
        score = sum(logs) / len(logs) if logs else 0.0
        return Hypothesis(text, score=LOOPING if repeats(text, written.tokens) else score)


def joined(windows: Sequence[Sequence[Hypothesis]]) -> list[Hypothesis]:
    """Hypotheses of consecutive windows joined by rank; "" where there is no window."""
    if not windows:
        return [Hypothesis("")]
    ranks = range(max(len(window) for window in windows))
    rows = [[window[min(rank, len(window) - 1)] for window in windows] for rank in ranks]
    return [
        Hypothesis(" ".join(one.text for one in row if one.text), score=_joint_score(row)) if len(row) > 1 else row[0]
        for row in rows
    ]


def _joint_score(row: Sequence[Hypothesis]) -> float:
    """The mean weighted by length; one loop marks the whole."""
    if any(one.score == LOOPING for one in row):
        return LOOPING
    lengths = [max(1, len(one.text)) for one in row]
    return sum(one.score * length for one, length in zip(row, lengths, strict=True)) / sum(lengths)


def repeats(text: str, tokens: Sequence[int]) -> bool:
    """Whether a text goes round in a loop: it deflates too well, or ends in one n-gram over and over."""
    data = text.encode()
    if len(data) > 60 and len(data) / len(zlib.compress(data)) > COMPRESSION:
        return True
    for period in range(1, 7):
        times = 6 if period < 3 else 4
        tail = tuple(tokens[-period * times :])
        if len(tail) == period * times and tail == tail[:period] * times:
            return True
    return False


def cut_at_quiet(samples: Samples, most_s: float | None) -> list[Samples]:
    """Pieces of at most `most_s` seconds, each cut where it is quietest between two thirds and 29/30 of that."""
    if most_s is None or len(samples) <= most_s * RATE_HZ:
        return [samples]
    hop, smooth = int(_ENERGY_S * RATE_HZ), max(1, round(_QUIET_S / _ENERGY_S))
    pieces, start = [], 0
    while len(samples) - start > most_s * RATE_HZ:
        low, high = start + int(most_s * RATE_HZ * 2 / 3), start + int(most_s * RATE_HZ * 29 / 30)
        around = samples[low : low + (high - low) // hop * hop].reshape(-1, hop).astype(np.float64)
        energy = np.convolve(np.square(around).mean(axis=1), np.full(smooth, 1.0 / smooth), mode="same")
        inside = energy[smooth // 2 : len(energy) - smooth // 2]
        end = low + (int(np.argmin(inside)) + smooth // 2) * hop + hop // 2 if inside.size else high
        pieces.append(samples[start:end])
        start = end
    return [*pieces, samples[start:]]
