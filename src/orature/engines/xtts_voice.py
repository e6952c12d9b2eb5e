"""`xtts:FOLDER`: XTTS-v2, which imitates the speaker of a recording, by coqui-tts in an environment of its own.

`orature voices add xtts --accept-licence` makes the environment. The weights carry a non-commercial licence (CPML), and
so does what they speak; `Card.licence` says so.

Example::

    with open_voice("xtts:models/XTTS-v2") as voice:
        speech = voice.speak([SpeechRequest("dobrý den", language="cs", prompt="prompts/ana.flac", seed=7)])[0]

One sentence at a time is sampled on a CPU, so that its samples depend on nothing else; ORATURE_XTTS_BATCH=8 samples so
many together (on a GPU 8 is the default), where the last bits of a sum may choose another code: not `deterministic`.
"""

from __future__ import annotations

import os
from pathlib import Path

from orature.core.errors import ConfigError
from orature.engines.environment_voice import EnvironmentVoice, folder_of

ABOUT = "XTTS-v2 by coqui-tts: imitates the speaker of a recording (non-commercial)"
BATCH = "ORATURE_XTTS_BATCH"
_NEEDED = ("config.json", "vocab.json")
_FILES = (*_NEEDED, "model.safetensors", "speakers.safetensors")
_SETUP = (
    "name a folder of XTTS-v2 (config.json, vocab.json, model.safetensors); where it has model.pth instead: "
    "orature voices add xtts --accept-licence --convert FOLDER"
)
_TIMEOUT_S = 900.0
"""The longest utterance (28 s) on one slow core."""


def begin(model: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> EnvironmentVoice:
    """Starts the worker with a local folder of XTTS-v2; MissingExtra where its environment was not made yet."""
    folder = folder_of(model, engine="xtts", needed=_NEEDED, setup=_SETUP)
    return EnvironmentVoice(
        "xtts",
        [str(folder), "--batch", str(_batch(device))],
        workers=workers,
        device=device,
        threads=threads,
        timeout_s=_TIMEOUT_S,
        setup=_SETUP,
    )


def files(model: str) -> list[Path]:
    """Config, vocabulary, weights and, where it has them, the speakers that come with the model."""
    folder = folder_of(model, engine="xtts", needed=_NEEDED, setup=_SETUP)
    return [folder / name for name in _FILES if (folder / name).is_file()]


def _batch(device: str) -> int:
    given = os.environ.get(BATCH, "")
    if not given:
        return 1 if device == "cpu" else 8
    if not given.isdigit() or int(given) < 1:
        raise ConfigError(f"{BATCH} must be a whole number above 0, not {given!r}", next_step=f"unset {BATCH}")
    return int(given)
