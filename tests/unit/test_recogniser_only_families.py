"""Parakeet transducers and Qwen3-ASR against the reference, alone and in batches; their training is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from orature.core.errors import ModelError
from orature.core.types import Hypothesis
from orature.engines.families import Start, family_of
from orature.engines.hf_folder import quiet
from orature.engines.parakeet_transducer import Emission, ParakeetTransducer
from orature.engines.protocol import Samples
from orature.engines.recognisers import load_recogniser
from orature.testing.checkpoints_recognisers import parakeet_folder, qwen_asr_folder


def hiss(samples: int, seed: int) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


CLIPS = [hiss(30_000, 0), hiss(16_000, 1), hiss(50_000, 2)]


@pytest.mark.parametrize("kind", ["rnnt", "tdt"])
def test_transducers_write_what_the_reference_writes(tmp_path: Path, kind: Literal["rnnt", "tdt"]) -> None:
    import transformers

    folder = parakeet_folder(tmp_path / kind, kind)
    recogniser = load_recogniser(folder)
    assert isinstance(recogniser, ParakeetTransducer)
    with quiet():
        model: Any = getattr(transformers, {"rnnt": "ParakeetForRNNT", "tdt": "ParakeetForTDT"}[kind]).from_pretrained(
            folder
        )
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    together = recogniser.emissions(CLIPS)
    for number, samples in enumerate(CLIPS):
        alone = recogniser.emissions([samples])[0]
        assert _places(alone) == _places(together[number])
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = model.generate(**extractor(samples, sampling_rate=16_000, return_tensors="pt"))
        blank = model.config.blank_token_id
        tokens = [token for token in out.sequences[0].tolist()[1:] if token != blank]
        assert [one.token for one in alone] == tokens and len(tokens) > 4
        steps = (out.durations.cumsum(dim=-1) - out.durations)[0].tolist()
        said = [step for step, token in zip(steps, out.sequences[0].tolist(), strict=True) if token != blank]
        assert [one.step for one in alone] == said


def _places(emissions: list[Emission]) -> list[tuple[int, int, int]]:
    return [(one.token, one.step, one.span) for one in emissions]


def test_transducers_tell_when_words_were_said(tmp_path: Path) -> None:
    recogniser = load_recogniser(parakeet_folder(tmp_path / "rnnt", "rnnt"))
    outcomes = recogniser.transcribe([*CLIPS, np.zeros(0, np.float32), hiss(80, 3)])
    assert recogniser.card.licence == "cc-by-4.0" and recogniser.card.languages == ("en", "de")
    first = outcomes[0]
    assert isinstance(first, Hypothesis) and first.words
    assert " ".join(word.text for word in first.words) == first.text
    starts = [word.start_s for word in first.words]
    assert starts == sorted(starts) and all(0 <= w.start_s < w.end_s <= 30_000 / 16_000 for w in first.words)
    assert all(0 < word.confidence <= 1 for word in first.words)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Hypothesis"] * 3 + ["Refusal", "Hypothesis"]


def test_long_recordings_keep_their_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser = load_recogniser(parakeet_folder(tmp_path / "rnnt", "rnnt"))
    monkeypatch.setattr("orature.engines.parakeet_transducer.WINDOW_S", 1.0)
    outcome = recogniser.transcribe([CLIPS[2]])[0]
    assert isinstance(outcome, Hypothesis)
    starts = [word.start_s for word in outcome.words]
    assert starts == sorted(starts) and starts[-1] > 2.0


def test_qwen_alone_and_in_a_batch(tmp_path: Path) -> None:
    folder = qwen_asr_folder(tmp_path / "qwen")
    recogniser = load_recogniser(folder, language="deu")
    assert recogniser.card.licence == "apache-2.0"
    outcomes = recogniser.transcribe([*CLIPS[:2], np.zeros(16_000, np.float32)])
    alone = [recogniser.transcribe([samples])[0] for samples in CLIPS[:2]]
    for one, other in zip(outcomes, alone, strict=False):
        assert isinstance(one, Hypothesis) and isinstance(other, Hypothesis)
        assert one.text == other.text and one.score == pytest.approx(other.score, abs=1e-4)
    assert outcomes[2] == Hypothesis("")
    prompt = recogniser._inputs(CLIPS[:1])["input_ids"][0]  # type: ignore[attr-defined]
    assert "language German<asr_text>" in recogniser.processor.tokenizer.decode(prompt)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="does not know the language 'que-EC'"):
        load_recogniser(folder, language="que-EC")


def test_training_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for folder, said in (
        (parakeet_folder(tmp_path / "tdt", "tdt"), "torchaudio"),
        (qwen_asr_folder(tmp_path / "qwen"), "teacher"),
    ):
        with pytest.raises(ModelError, match=said) as caught:
            family_of(folder).module().begin(folder, ["a"], Start())
        assert caught.value.next_step
        (folder / "tokenizer.json").unlink()
        with pytest.raises(ModelError, match="the tokenizer is missing"):
            load_recogniser(folder)
    assert torch.is_grad_enabled()
