"""The XTTS worker without its environment: exact masks, seeds, limits of text; with it: a small model speaks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from xtts_double import STOP_AUDIO, make_gpt

from orature.core.errors import MissingExtra, ModelError
from orature.core.types import Refusal
from orature.engines.voice import SpeechRequest
from orature.engines.voices import open_voice, voice_files
from orature.engines.workers import xtts_sampling as sampling


@pytest.fixture(scope="module")
def gpt() -> Any:
    return make_gpt()


TEXTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [4], [7, 7, 2], [2, 5, 3, 9, 1]]


def _chooser(seed: int, temperature: float = 0.0) -> sampling.Chooser:
    return sampling.Chooser(seed, temperature=temperature, top_k=10, top_p=0.9, repetition_penalty=1.3)


def _condition(row: int) -> torch.Tensor:
    return torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(row))


def _codes(gpt: Any, rows: list[int], temperature: float = 0.0, most: int = 25) -> list[list[int] | None]:
    conditions, texts = [_condition(row) for row in rows], [TEXTS[row] for row in rows]
    return sampling.sample_codes(gpt, conditions, texts, [_chooser(row, temperature) for row in rows], most)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_padded_row_has_the_codes_of_the_row_alone(gpt: Any, temperature: float) -> None:
    gpt.stop_audio_token = 99  # never drawn: rows run to the end of what is looked at
    try:
        long = [_trace(gpt, [row], temperature)[0] for row in range(4)]
        together = _trace(gpt, [0, 1, 2, 3], temperature)
        backwards = _trace(gpt, [3, 2, 1, 0], temperature)[::-1]
    finally:
        gpt.stop_audio_token = STOP_AUDIO
    assert long == together == backwards
    assert len({tuple(codes) for codes in long}) == 4  # the rows truly differ


def _trace(gpt: Any, rows: list[int], temperature: float) -> list[list[int]]:
    """The first 25 codes of rows that never stop, read from their choosers."""
    choosers = [_chooser(row, temperature) for row in rows]
    gpt_rows = [_condition(row) for row in rows], [TEXTS[row] for row in rows]
    found = sampling.sample_codes(gpt, *gpt_rows, choosers, 25)
    assert found == [None] * len(rows)
    return [chooser._seen for chooser in choosers]


def test_the_mask_hides_exactly_the_pads() -> None:
    tokens, mask = sampling.placed([[5, 6, 7], [4]], start=10, stop=0)
    assert tokens.tolist() == [[10, 5, 6, 7, 0], [10, 4, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


def test_rows_end_at_their_own_stop_code_or_are_told_apart(gpt: Any) -> None:
    codes = _codes(gpt, [0, 1, 2, 3], temperature=1.5, most=40)
    ended = [row for row in codes if row is not None]
    assert ended and all(row[-1] == STOP_AUDIO and STOP_AUDIO not in row[:-1] for row in ended)
    lengths = [len(row or []) for row in codes]
    longest = lengths.index(max(lengths))
    assert lengths[longest] > 1
    assert _codes(gpt, [longest], temperature=1.5, most=lengths[longest] - 1) == [None]


def test_the_chooser() -> None:
    logits = np.array([0.0, 2.0, 1.9, -50.0])
    assert _chooser(0).next(logits) == 1
    repeated = sampling.Chooser(0, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=10.0)
    assert [repeated.next(logits) for _ in range(3)] == [1, 2, 1]  # each is a tenth after it was said; 0.2 > 0.19
    drawn = [_chooser(seed, 1.0).next(logits) for seed in range(300)]
    assert set(drawn) == {1, 2}  # the mass of 0.9 leaves out the others
    assert abs(np.mean([one == 1 for one in drawn]) - 0.525) < 0.1
    assert drawn == [_chooser(seed, 1.0).next(logits) for seed in range(300)]


def test_text_is_prepared_for_known_and_new_languages() -> None:
    def clean(text: str, language: str) -> str:
        if language == "hi":
            raise NotImplementedError("no numbers")
        return f"{language}:{text}"

    assert sampling.prepared("Dobrý [cs] DEN 7", "cs-CZ", clean) == "cs:dobrý cs den 7"
    assert sampling.prepared(' "Habari"  za\nASUBUHI', "sw", clean) == "habari za asubuhi"
    for text, language, reason in [
        ("x" * 187, "cs", "too-long"),
        ("x" * 201, "sw", "too-long"),
        ("nne 4", "sw", "unreadable-characters"),
        ("x", "hi", "voice-failed"),
    ]:
        with pytest.raises(sampling.Refused) as caught:
            sampling.prepared(text, language, clean)
        assert caught.value.answer["reason"] == reason


def test_samples_become_int16() -> None:
    assert np.frombuffer(sampling.int16(np.array([0.5, -2.0, 1.0])), "<i2").tolist() == [16384, -32767, 32767]
    for bad in ([0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(sampling.Refused):
            sampling.int16(np.array(bad))


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORATURE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ORATURE_XTTS_PYTHON", raising=False)
    with pytest.raises(ModelError, match="no such model folder"):
        open_voice(f"xtts:{tmp_path / 'nowhere'}")
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_voice(f"xtts:{tmp_path}")
    for name in ("config.json", "vocab.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(MissingExtra, match="not made yet") as caught:
        open_voice(f"xtts:{tmp_path}")
    assert "orature voices add xtts --accept-licence" in caught.value.next_step


@pytest.fixture(scope="module")
def xtts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random XTTS folder, made in the environment of coqui-tts."""
    python = os.environ.get("ORATURE_XTTS_PYTHON")
    if not python:
        pytest.skip("set ORATURE_XTTS_PYTHON to the python of an environment with coqui-tts (orature voices add xtts)")
    folder = tmp_path_factory.mktemp("xtts")
    script = Path(__file__).resolve().parents[1] / "xtts_tiny.py"
    subprocess.run([python, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_a_small_model_speaks_the_same_alone_and_in_batches(xtts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [xtts / f"prompt{number}.wav" for number in range(2)]
    for number, prompt in enumerate(prompts):
        noise = np.random.default_rng(number).standard_normal(32_000) * 0.05
        soundfile.write(prompt, noise, 16_000)
    texts = ["habari za asubuhi", "moja", "mbili tatu nne", "karibu"]
    requests = [
        SpeechRequest(text, language="swh", seed=seed, prompt=str(prompts[seed % 2])) for seed, text in enumerate(texts)
    ]
    with open_voice(f"xtts:{xtts}") as voice:
        assert voice.card.deterministic and "non-commercial" in voice.card.licence
        assert {path.name for path in voice_files(f"xtts:{xtts}")} == {"config.json", "vocab.json", "model.safetensors"}
        alone = voice.speak(requests)
        refused = voice.speak(
            [SpeechRequest("moja", language="sw"), SpeechRequest("è", language="sw", prompt=str(prompts[0]))]
        )
    monkeypatch.setenv("ORATURE_XTTS_BATCH", "4")
    with open_voice(f"xtts:{xtts}") as voice:
        assert not voice.card.deterministic and voice.traits.batch == 4
        together = voice.speak(requests)
    for one, other in zip(alone, together, strict=True):
        assert not isinstance(one, Refusal) and not isinstance(other, Refusal)
        assert np.array_equal(one, other)
    assert [one.reason for one in refused if isinstance(one, Refusal)] == ["no-prompt", "unreadable-characters"]
