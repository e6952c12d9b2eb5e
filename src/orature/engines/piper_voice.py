"""`piper:VOICE.onnx`: a voice of Piper, by piper-tts in an environment of its own (it is GPL-3.0-or-later).

`orature voices add piper` makes the environment; the voice is a pair of local files, VOICE.onnx and VOICE.onnx.json.

Example::

    with open_voice("piper:voices/sw_CD-lanfrica-medium.onnx", workers=2) as voice:
        speech = voice.speak([SpeechRequest("habari za asubuhi", language="sw", seed=7, rate=1.1)])[0]

The samples depend on the seed and on nothing else beside the request: see `workers/piper_worker.py`.
"""

from __future__ import annotations

from pathlib import Path

from orature.core.errors import ConfigError, ModelError
from orature.engines.environment_voice import EnvironmentVoice

ABOUT = "voices of Piper: quick neural voices, one language each (a GPL program of its own)"
_SETUP = "name the .onnx file of a Piper voice that has its .onnx.json beside it"
_TIMEOUT_S = 120.0


def begin(model: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> EnvironmentVoice:
    """Starts the worker with a local voice; MissingExtra where its environment was not made yet."""
    path, _ = files(model)
    return EnvironmentVoice(
        "piper", [str(path)], workers=workers, device=device, threads=threads, timeout_s=_TIMEOUT_S, setup=_SETUP
    )


def files(model: str) -> list[Path]:
    """The graph and its config; ConfigError where none is named, ModelError where one is missing."""
    if not model:
        raise ConfigError("piper: names no voice", next_step="write piper:VOICE.onnx with a local file")
    path = Path(model).absolute()
    for needed in (path, Path(f"{path}.json")):
        if not needed.is_file():
            raise ModelError(f"there is no {needed.name}", where=str(needed.parent), next_step=_SETUP)
    return [path, Path(f"{path}.json")]
