"""Piper's worker on a tiny graph in Piper's layout, with a double of the package; and on the package if it is set up.

The environment variable ORATURE_PIPER_PYTHON names the Python of an environment with piper-tts and onnx.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orature.core.errors import ConfigError, MissingExtra, ModelError
from orature.core.types import Refusal
from orature.engines.voice import SpeechRequest
from orature.engines.voices import open_voice, voice_files
from orature.engines.workers import piper_worker
from orature.testing.voice_contract import check_voice
from tests.piper_voices import stand_in_for_piper, tiny_piper_voice

pytest.importorskip("onnxruntime")
SET_UP = pytest.mark.skipif("ORATURE_PIPER_PYTHON" not in os.environ, reason="no environment with piper-tts")


@pytest.fixture()
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    stand_in_for_piper(monkeypatch)
    return piper_worker.begin([str(tiny_piper_voice(tmp_path, speakers=["ann", "bo"])), "--device", "cpu"])


def _spoken(engine: Any, *requests: dict[str, Any]) -> list[Any]:
    found = dict(engine.speak(list(requests)))
    return [found[place] for place in range(len(requests))]


def test_it_says_what_the_config_says(engine: Any) -> None:
    hello = engine.hello
    assert (hello["rate_hz"], hello["languages"], hello["speakers"]) == (16_000, ["sw-CD", "sw"], {"*": ["ann", "bo"]})
    assert hello["traits"]["random"] and hello["traits"]["rate"] and "not stated" in hello["licence"]


def test_the_noise_comes_from_the_seed_alone(engine: Any) -> None:
    """Without the change to the graph the second reading of a request would go on in the generator of the first."""
    one = {"text": "habari ya leo", "seed": 3}
    first, other, again = _spoken(engine, one, one | {"seed": 4}, one)
    assert first == again and first != other and len(first) == len(other)
    samples, plain = (np.frombuffer(data, "<i2").astype(float) for data in (first, other))
    assert np.std(samples - plain) / np.std(samples) > 0.02, "the noise is heard"


def test_rate_speakers_and_sentences(engine: Any) -> None:
    plain, quick, bo = _spoken(
        engine, {"text": "habari leo"}, {"text": "habari leo", "rate": 2.0}, {"text": "habari leo", "speaker": "bo"}
    )
    assert len(quick) == pytest.approx(len(plain) / 2, rel=0.02) and bo != plain
    two = _spoken(engine, {"text": "habari leo. habari leo."})[0]
    assert len(two) == 2 * len(plain) and two[: len(plain)] == plain and two[len(plain) :] != plain


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"text": "habari ζ"}, "unreadable"),
        ({"text": "..."}, "no-audio"),
        ({"text": "a", "rate": 9.0}, "out-of-range"),
        ({"text": "a", "speaker": "cy"}, "unknown-speaker"),
        ({"text": "habari ya leo " * 200, "rate": 0.25}, "truncated"),
    ],
)
def test_what_it_cannot_speak_is_refused(engine: Any, request_: dict[str, Any], reason: str) -> None:
    refused, spoken = _spoken(engine, request_, {"text": "leo"})
    assert refused["reason"] == reason and isinstance(spoken, bytes)


def test_a_graph_that_draws_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_piper(monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        piper_worker.begin([str(tiny_piper_voice(tmp_path, op="RandomNormal"))])
    assert stopped.value.code["reason"] == "bad-model" and "RandomNormal" in stopped.value.code["detail"]  # type: ignore[index]


def test_uniform_noise_keeps_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_piper(monkeypatch)
    engine = piper_worker.begin([str(tiny_piper_voice(tmp_path, op="RandomUniformLike"))])
    fed = piper_worker.noise_for(1, 0, 5, engine._fed)
    assert all(values.min() >= 0 and values.max() < 1 for values in fed.values())
    assert isinstance(_spoken(engine, {"text": "leo"})[0], bytes)


def test_files_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = tiny_piper_voice(tmp_path)
    assert [path.name for path in voice_files(f"piper:{voice}")] == ["tiny.onnx", "tiny.onnx.json"]
    monkeypatch.setenv("ORATURE_DATA", str(tmp_path / "nowhere"))
    monkeypatch.delenv("ORATURE_PIPER_PYTHON", raising=False)
    with pytest.raises(MissingExtra, match="piper was not made yet"):
        open_voice(f"piper:{voice}")
    Path(f"{voice}.json").unlink()
    with pytest.raises(ModelError, match=r"no tiny\.onnx\.json"):
        open_voice(f"piper:{voice}")
    with pytest.raises(ConfigError, match="names no voice"):
        open_voice("piper")


@SET_UP
def test_the_real_package_holds_the_contract(tmp_path: Path) -> None:
    voice = tiny_piper_voice(tmp_path, speakers=["ann", "bo"])
    texts = ["habari", "watoto wanne wanasoma", "mama anapika", "saba"]
    check_voice(lambda workers: open_voice(f"piper:{voice}", workers=workers), "sw", texts)
    with open_voice(f"piper:{voice}") as opened:
        refused = opened.speak([SpeechRequest("habari ζ", language="sw")])[0]
        assert isinstance(refused, Refusal) and refused.reason == "unreadable"
        assert "piper-tts 1." in opened.card.revision
