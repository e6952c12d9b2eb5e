"""Parakeet RNN-T and TDT (Xu et al. 2023, "Efficient sequence transduction by jointly predicting tokens and
durations"): inference only, greedy, with times of words.

Their training is not possible here: the transducer loss in transformers is torchaudio's compiled one, and torchaudio
cannot be installed beside a CPU build of torch. The search starts from the blank; in a batch every recording keeps its
own place in the encoder's output, so that a batch gives what each recording gives alone.

Shapes: B recordings, T encoder steps (80 ms), D width, V tokens.

Example::

    parakeet = recogniser(Path("parakeet-tdt-0.6b-v3"), device="cpu")
    for word in parakeet.transcribe([samples])[0].words: print(word.text, word.start_s)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ, Card, Hypothesis, Refusal, Word
from orature.engines.families import Kind, Start
from orature.engines.hf_folder import config_of, extractor_of, load_model
from orature.engines.parakeet_ctc import ParakeetFeatures
from orature.engines.protocol import Recogniser, Samples, card_of, trouble_of
from orature.engines.seq2seq_folder import fast_tokenizer, need_files
from orature.engines.seq2seq_recogniser import cut_at_quiet

KIND: Kind = "recogniser"
WINDOW_S = 60.0
BATCH_S = 240.0


@dataclass(frozen=True, slots=True)
class Emission:
    """A token with its first encoder step, the steps that it spans, and its log-probability."""

    token: int
    step: int
    span: int
    log_probability: float


class ParakeetTransducer:
    """A transducer with its tokenizer and facts for its card."""

    def __init__(
        self, model: Any, tokenizer: Any, settings: Mapping[str, Any], facts: Mapping[str, str], device: str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer, self.facts = tokenizer, dict(facts)
        self.features = ParakeetFeatures(dict(settings)).to(self.device)
        self.step_s = self.features.hop / RATE_HZ * model.config.encoder_config.subsampling_factor
        self.durations: tuple[int, ...] = tuple(getattr(model.config, "durations", ()))

    @property
    def card(self) -> Card:
        return card_of(self.facts, family="parakeet")

    def transcribe(self, recordings: Sequence[Samples]) -> list[Hypothesis | Refusal]:
        """One outcome a recording, in order; what is longer than a minute is cut at its quietest points."""
        pieces: list[tuple[int, float, Samples]] = []  # recording, where it begins, samples
        outcomes: list[Refusal | None] = [trouble_of(samples) for samples in recordings]
        for number, samples in enumerate(recordings):
            start = 0
            for piece in [] if outcomes[number] else cut_at_quiet(samples, WINDOW_S):
                pieces.append((number, start / RATE_HZ, piece))
                start += len(piece)
        heard: dict[int, list[Emission]] = {}
        for batch in _batches([len(piece) for _, _, piece in pieces]):
            for index, emissions in zip(batch, self.emissions([pieces[i][2] for i in batch]), strict=True):
                heard[index] = emissions
        parts: list[list[tuple[float, list[Emission]]]] = [[] for _ in recordings]
        for index, (number, start_s, _) in enumerate(pieces):
            parts[number].append((start_s, heard[index]))
        return [
            outcome or self._hypothesis(part, len(samples) / RATE_HZ)
            for outcome, part, samples in zip(outcomes, parts, recordings, strict=True)
        ]

    @torch.inference_mode()
    def emissions(self, recordings: Sequence[Samples]) -> list[list[Emission]]:
        """What greedy search emits for each recording."""
        lengths_B = torch.tensor([len(samples) for samples in recordings])
        samples_BS = torch.zeros(len(recordings), int(lengths_B.max()))
        for row, samples in zip(samples_BS, recordings, strict=True):
            row[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        features_BTM, frames_B = self.features(samples_BS.to(self.device), lengths_B.to(self.device))
        mask_BT = torch.arange(features_BTM.shape[1], device=self.device) < frames_B[:, None]
        out = self.model.get_audio_features(features_BTM, attention_mask=mask_BT, output_attention_mask=True)
        steps_B = out.attention_mask.sum(dim=-1).where(frames_B > 0, 0)
        return self._greedy(out.pooler_output, steps_B.tolist())

    def _greedy(self, encoder_BTD: Tensor, steps: list[int]) -> list[list[Emission]]:
        """Greedy search: a blank (or a duration) moves on in time, any other token moves the prediction network."""
        config, decoder = self.model.config, self.model.decoder
        blank, most = int(config.blank_token_id), int(config.max_symbols_per_step)
        found: list[list[Emission]] = [[] for _ in steps]
        at, symbols = [0] * len(steps), [0] * len(steps)
        rows = [row for row, count in enumerate(steps) if count > 0]
        if not rows:
            return found
        start_R1 = torch.full((len(rows), 1), blank, device=self.device)
        out_R1D, (hidden_LRD, cell_LRD) = decoder.lstm(decoder.embedding(start_R1))
        predicted_RD = decoder.decoder_projector(out_R1D)[:, 0]
        while rows:
            here_RD = encoder_BTD[rows, [at[row] for row in rows]]
            logits_RV = self.model.joint(encoder_hidden_states=here_RD, decoder_hidden_states=predicted_RD).float()
            log_RV = logits_RV[:, : config.vocab_size].log_softmax(dim=-1)
            best = log_RV.max(dim=-1)
            spans = self._spans(logits_RV)
            written: list[int] = []
            for place, (row, token) in enumerate(zip(rows, best.indices.tolist(), strict=True)):
                span = spans[place]
                if token == blank:
                    at[row], symbols[row] = at[row] + max(1, span), 0
                    continue
                written.append(place)
                emission_span = span if self.durations else 1
                found[row].append(Emission(token, at[row], emission_span, float(best.values[place])))
                step = span if self.durations else 0
                symbols[row] = 0 if step else symbols[row] + 1
                if symbols[row] >= most:
                    step, symbols[row] = 1, 0
                at[row] += step
            if written:
                tokens_W1 = best.indices[written][:, None]
                out_W1D, (h, c) = decoder.lstm(
                    decoder.embedding(tokens_W1),
                    (hidden_LRD[:, written].contiguous(), cell_LRD[:, written].contiguous()),
                )
                hidden_LRD[:, written], cell_LRD[:, written] = h, c
                predicted_RD[written] = decoder.decoder_projector(out_W1D)[:, 0]
            going = [place for place, row in enumerate(rows) if at[row] < steps[row]]
            if len(going) < len(rows):
                rows = [rows[place] for place in going]
                hidden_LRD, cell_LRD = hidden_LRD[:, going], cell_LRD[:, going]
                predicted_RD = predicted_RD[going]
        return found

    def _spans(self, logits_RV: Tensor) -> list[int]:
        """The predicted duration of each row in steps (RNN-T: one)."""
        if not self.durations:
            return [1] * len(logits_RV)
        best = logits_RV[:, self.model.config.vocab_size :].argmax(dim=-1).tolist()
        return [self.durations[index] for index in best]

    def _hypothesis(self, parts: Sequence[tuple[float, list[Emission]]], end_s: float) -> Hypothesis:
        texts, words, logs = [], [], []
        for start_s, emissions in parts:
            text = str(self.tokenizer.decode([one.token for one in emissions], skip_special_tokens=True)).strip()
            own = self._words(emissions, start_s, end_s)
            if text:
                texts.append(text)
            words += own if " ".join(word.text for word in own) == " ".join(text.split()) else []
            logs += [one.log_probability for one in emissions]
        score = sum(logs) / len(logs) if logs else 0.0
        joined = " ".join(texts)
        complete = len(words) == len(joined.split())
        return Hypothesis(joined, tuple(words) if complete else (), score)

    def _words(self, emissions: Sequence[Emission], start_s: float, end_s: float) -> list[Word]:
        """Words from pieces: a piece that begins with ▁ begins a word."""
        groups: list[list[tuple[str, Emission]]] = []
        for one in emissions:
            piece = str(self.tokenizer.convert_ids_to_tokens(one.token))
            if piece in self.tokenizer.all_special_tokens:
                continue
            if piece.startswith("▁") or not groups:
                groups.append([])
            groups[-1].append((piece, one))
        words = []
        for group in groups:
            text = "".join(piece for piece, _ in group).replace("▁", "")
            last = group[-1][1]
            first_s = min(start_s + group[0][1].step * self.step_s, end_s)
            last_s = min(start_s + (last.step + max(1, last.span)) * self.step_s, end_s)
            mean = sum(one.log_probability for _, one in group) / len(group)
            if text:
                words.append(Word(text, first_s, last_s, math.exp(mean)))
        return words


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Neighbours by length in batches of at most `BATCH_S` padded seconds."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if not batches or (len(batches[-1]) + 1) * lengths[index] > BATCH_S * RATE_HZ:
            batches.append([])
        batches[-1].append(index)
    return batches


def recogniser(folder: Path, *, device: str = "cpu", language: str | None = None) -> Recogniser:
    """The recogniser of a Parakeet RNN-T or TDT folder; its languages need no choice, so `language` changes nothing."""
    from orature.engines.facts import facts_of
    from orature.engines.families import family_of

    need_files(folder, ("tokenizer.json",))
    config = config_of(folder)
    model: Any = load_model(
        folder, config, auto="ParakeetForTDT" if config.model_type == "parakeet_tdt" else "ParakeetForRNNT", may_have=()
    )
    tokenizer = fast_tokenizer(folder)
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"the tokenizer holds {len(tokenizer)} tokens, config.json says {config.vocab_size}",
            where=str(folder),
            next_step="copy the tokenizer and config.json of one checkpoint",
        )
    return ParakeetTransducer(model, tokenizer, extractor_of(folder), facts_of(folder, family_of(folder)), device)


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[Any, Any]:
    """Always a ModelError: transducers are for inference here."""
    raise ModelError(
        "Parakeet RNN-T and TDT models are for transcribing only: their training loss needs torchaudio's compiled part",
        where=str(folder),
        next_step="fine-tune a Parakeet CTC, wav2vec 2.0, w2v-BERT or Whisper checkpoint instead",
    )
