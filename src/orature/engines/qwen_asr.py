"""Qwen3-ASR (2026, arXiv 2601.21337): an audio encoder before a language model, for inference, as a teacher.

It hears 30 languages (and dialects of Chinese); a chosen language is put before the answer, so that the model only
writes the text, else it names the language itself. Features are computed a recording at a time, so that a batch gives
what each recording gives alone. No times: the forced aligner is another checkpoint.

Example::

    teacher = recogniser(Path("Qwen3-ASR-1.7B-hf"), device="cuda", language="de")
    print(teacher.transcribe([samples])[0].text)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ, Card, Hypothesis, Refusal
from orature.engines.families import Kind, Start
from orature.engines.hf_folder import config_of, load_model, quiet
from orature.engines.language_codes import codes_of
from orature.engines.protocol import Recogniser, Samples, card_of, trouble_of
from orature.engines.seq2seq_folder import need_files
from orature.engines.seq2seq_recogniser import LOOPING, SILENCE, cut_at_quiet, joined, repeats

KIND: Kind = "recogniser"
WINDOW_S = 60.0
BATCH_S = 240.0
TOKENS_A_SECOND = 20


class QwenAsr:
    """A Qwen3-ASR model with its processor and facts for its card; `beams` 1 is greedy search."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        facts: Mapping[str, str],
        device: str = "cpu",
        *,
        language: str | None = None,
        beams: int = 1,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.processor, self.facts, self.beams = processor, dict(facts), beams
        self.language = None if language in (None, "und") else _code_of(str(language))

    @property
    def card(self) -> Card:
        from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

        return card_of(self.facts, family="qwen3-asr", languages=tuple(sorted(LANGUAGE_CODE_TO_NAME)))

    def transcribe(self, recordings: Sequence[Samples]) -> list[Hypothesis | Refusal]:
        """One outcome a recording, in order; what is longer than a minute is cut at its quietest points."""
        pieces: list[tuple[int, Samples]] = []
        outcomes: list[Refusal | None] = [trouble_of(samples) for samples in recordings]
        for number, samples in enumerate(recordings):
            if outcomes[number] is None:
                windows = cut_at_quiet(samples, WINDOW_S)
                pieces += [(number, one) for one in windows if one.size and float(np.abs(one).max()) > SILENCE]
        heard: dict[int, Hypothesis] = {}
        batch: list[int] = []
        for index in sorted(range(len(pieces)), key=lambda i: len(pieces[i][1])):
            if batch and (len(batch) + 1) * len(pieces[index][1]) > BATCH_S * RATE_HZ:
                heard.update(zip(batch, self._heard([pieces[i][1] for i in batch]), strict=True))
                batch = []
            batch.append(index)
        if batch:
            heard.update(zip(batch, self._heard([pieces[i][1] for i in batch]), strict=True))
        windows_of: list[list[list[Hypothesis]]] = [[] for _ in recordings]
        for index, (number, _) in enumerate(pieces):
            windows_of[number].append([heard[index]])
        return [outcome or joined(windows)[0] for outcome, windows in zip(outcomes, windows_of, strict=True)]

    @torch.inference_mode()
    def _heard(self, recordings: Sequence[Samples]) -> list[Hypothesis]:
        inputs = self._inputs(recordings)
        limits = [32 + TOKENS_A_SECOND * len(samples) // RATE_HZ for samples in recordings]
        with quiet():
            out = self.model.generate(
                **inputs,
                max_new_tokens=max(limits),
                num_beams=self.beams,
                do_sample=False,
                suppress_tokens=[int(self.processor.audio_token_id)],  # it stands for audio, never for text
                return_dict_in_generate=True,
            )
        written_BL = out.sequences[:, inputs["input_ids"].shape[1] :]
        logs = self._log_probabilities(inputs, out.sequences)
        rows = zip(written_BL.tolist(), logs, limits, strict=True)
        return [self._hypothesis(row[:limit], log[:limit]) for row, log, limit in rows]

    def _inputs(self, recordings: Sequence[Samples]) -> dict[str, Tensor]:
        """Prompts padded on the left, features on the right."""
        singles = []
        for samples in recordings:
            audio = np.ascontiguousarray(samples, dtype=np.float32)
            one = self.processor.apply_transcription_request(audio=[audio], language=self.language)
            singles.append(one)
        tokens = max(one["input_ids"].shape[1] for one in singles)
        frames = max(one["input_features"].shape[2] for one in singles)
        pad = int(self.processor.tokenizer.pad_token_id)
        rows: dict[str, list[Tensor]] = {}
        for one in singles:
            before = (tokens - one["input_ids"].shape[1], 0)
            after = (0, frames - one["input_features"].shape[2])
            rows.setdefault("input_ids", []).append(F.pad(one["input_ids"], before, value=pad))
            rows.setdefault("attention_mask", []).append(F.pad(one["attention_mask"], before))
            rows.setdefault("input_features", []).append(F.pad(one["input_features"], after))
            rows.setdefault("input_features_mask", []).append(F.pad(one["input_features_mask"], after))
        return {name: torch.cat(values).to(self.device) for name, values in rows.items()}

    def _log_probabilities(self, inputs: Mapping[str, Tensor], sequences_BL: Tensor) -> list[list[float]]:
        """Log-probability of each written token, by one pass over what was written."""
        given = inputs["input_ids"].shape[1]
        written_BL = sequences_BL[:, given:]
        mask_BL = torch.cat([inputs["attention_mask"], torch.ones_like(written_BL)], dim=1)
        logits_BLV = self.model(
            **{**inputs, "input_ids": sequences_BL, "attention_mask": mask_BL},
            use_cache=False,
            logits_to_keep=written_BL.shape[1] + 1,
        ).logits
        log_BLV = logits_BLV[:, :-1].float().log_softmax(dim=-1)
        picked: list[list[float]] = log_BLV.gather(2, written_BL[..., None])[..., 0].tolist()
        return picked

    def _hypothesis(self, tokens: Sequence[int], logs: Sequence[float]) -> Hypothesis:
        ends = self.model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, (list, tuple)) else [ends])
        count = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        own, logs = tuple(tokens[:count]), logs[:count]
        text = str(self.processor.decode(list(own), return_format="transcription_only")).replace("�", "").strip()
        score = sum(logs) / len(logs) if logs else 0.0
        return Hypothesis(text, score=LOOPING if repeats(text, own) else score)


def _code_of(tag: str) -> str:
    from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

    for code in codes_of(tag):
        if code in LANGUAGE_CODE_TO_NAME:
            return code
    raise ModelError(
        f"Qwen3-ASR does not know the language {tag!r}",
        next_step="choose one of " + ", ".join(sorted(LANGUAGE_CODE_TO_NAME)) + ", or another teacher",
    )


def recogniser(folder: Path, *, device: str = "cpu", language: str | None = None) -> Recogniser:
    """The recogniser of a Qwen3-ASR folder; ModelError for a `language` that it does not know."""
    from transformers import AutoProcessor

    from orature.engines.facts import facts_of
    from orature.engines.families import family_of

    need_files(folder, ("tokenizer.json",), ("vocab.json", "merges.txt"))
    need_files(folder, ("chat_template.jinja",), ("chat_template.json",), ("tokenizer_config.json",))
    model = load_model(folder, config_of(folder), auto="Qwen3ASRForConditionalGeneration", may_have=("lm_head.",))
    try:
        with quiet():
            processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"the processor cannot be read: {error}", where=str(folder), next_step="copy the whole folder again"
        ) from error
    return QwenAsr(model, processor, facts_of(folder, family_of(folder)), device, language=language)


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[Any, Any]:
    """Always a ModelError: the LLM recogniser is a teacher here."""
    raise ModelError(
        "Qwen3-ASR is here for transcribing only, as a teacher for other models",
        where=str(folder),
        next_step="label audio with it (orature transcribe), and fine-tune a smaller family on its labels",
    )
