"""The OmniVoice worker with a double of its engine: seeds, kept prompts, what is refused; broken folders are told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from orature.core.errors import MissingExtra, ModelError
from orature.engines.voices import open_voice, voice_files
from orature.engines.workers import omnivoice_worker as worker


class _Model:
    """`OmniVoice` of omnivoice 0.2.1 as far as the worker calls it; it draws from torch's one generator."""

    sampling_rate, device = 24_000, torch.device("cpu")

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.asked: list[dict[str, Any]] = []

    def create_voice_clone_prompt(self, ref_audio: tuple[torch.Tensor, int], ref_text: str) -> Any:
        wave, rate_hz = ref_audio
        assert wave.ndim == 1 and rate_hz == 16_000
        if ref_text == "hush":
            raise ValueError("Reference audio is empty after silence removal.")
        self.encoded.append(ref_text)
        return SimpleNamespace(loudness=float(wave.abs().mean()))

    def generate(self, text: str, language: str | None, voice_clone_prompt: Any, speed: float) -> list[np.ndarray]:
        self.asked.append({"text": text, "language": language, "speed": speed})
        if text == "endless":
            return [np.ones(24_000 * 61, np.float32)]
        level = voice_clone_prompt.loudness if voice_clone_prompt else 0.1
        return [(torch.randn(int(2400 * len(text) / speed)) * level).numpy()]


@pytest.fixture
def engine() -> worker.Engine:
    return worker.Engine(_Model(), licence="apache-2.0", revision="x 1", languages=["sw", "en"])


@pytest.fixture
def prompt(tmp_path: Path) -> str:
    path = tmp_path / "prompt.flac"
    soundfile.write(path, np.random.default_rng(0).standard_normal(32_000) * 0.1, 16_000)
    return str(path)


def _ask(engine: worker.Engine, *requests: dict[str, Any]) -> list[Any]:
    found = dict(engine.speak([{"text": "habari", "language": "sw", "seed": 1, **request} for request in requests]))
    return [found[place] for place in range(len(requests))]


def test_each_request_is_spoken_from_its_own_seed(engine: worker.Engine, prompt: str) -> None:
    requests: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2},
        {"seed": 1, "prompt": prompt, "prompt_text": "jina"},
        {"text": "moja mbili"},
    ]
    together = _ask(engine, *requests)
    torch.manual_seed(5)
    assert _ask(engine, *requests[::-1])[::-1] == together
    assert [_ask(engine, request)[0] for request in requests] == together
    assert len(set(together)) == 4 and all(isinstance(one, bytes) for one in together)


def test_prompts_are_encoded_once_and_rate_and_language_are_passed_on(engine: worker.Engine, prompt: str) -> None:
    cloned = {"prompt": prompt, "prompt_text": "jina langu"}
    fast, plain = _ask(engine, {**cloned, "rate": 2.0}, {**cloned, "language": "und"})
    assert len(plain) == 2 * len(fast)
    model: Any = engine._model
    assert model.encoded == ["jina langu"]
    assert [row["language"] for row in model.asked] == ["sw", None]
    hello: dict[str, Any] = engine.hello
    assert "und" in hello["languages"] and hello["deterministic"]


def test_what_is_refused(engine: worker.Engine, prompt: str, tmp_path: Path) -> None:
    short, silent = tmp_path / "short.wav", tmp_path / "silent.wav"
    soundfile.write(short, np.ones(1000) * 0.1, 16_000)
    soundfile.write(silent, np.zeros(32_000), 16_000)
    (tmp_path / "text.wav").write_text("no sound")
    said = {"prompt_text": "jina"}
    outcomes = _ask(
        engine,
        {"text": "nne 4"},
        {"text": "[laughter] <|denoise|>"},
        {"text": " [] "},
        {"prompt": prompt},
        {"prompt": str(tmp_path / "none.wav"), **said},
        {"prompt": str(short), **said},
        {"prompt": str(silent), **said},
        {"prompt": str(tmp_path / "text.wav"), **said},
        {"prompt": prompt, "prompt_text": "hush"},
        {"text": "endless"},
    )
    reasons = [one["reason"] if isinstance(one, dict) else "" for one in outcomes]
    wanted = "unreadable-characters,,empty-text,no-prompt-text," + "bad-prompt," * 5 + "truncated"
    assert reasons == wanted.split(",")
    model: Any = engine._model
    assert [row["text"] for row in model.asked] == ["laughter denoise", "endless"]


def test_the_licence_of_the_folder(tmp_path: Path) -> None:
    assert worker.licence_of(tmp_path) == "not stated"
    (tmp_path / "README.md").write_text("---\nlanguage:\n- sw\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    assert worker.licence_of(tmp_path) == "cc-by-nc-4.0"


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORATURE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ORATURE_OMNIVOICE_PYTHON", raising=False)
    folder = tmp_path / "model"
    (folder / "audio_tokenizer").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_voice(f"omnivoice:{folder}")
    for place in (folder, folder / "audio_tokenizer"):
        (place / "config.json").write_text("{}")
    assert len(voice_files(f"omnivoice:{folder}")) == 2
    with pytest.raises(MissingExtra, match="not made yet"):
        open_voice(f"omnivoice:{folder}")
    (folder / "audio_tokenizer" / "config.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        worker.begin([str(folder)])
    assert isinstance(stopped.value.code, dict) and stopped.value.code["reason"] == "bad-model"
