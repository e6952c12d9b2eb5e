"""`omnivoice:FOLDER`: OmniVoice (k2-fsa), which imitates the speaker of a recording in over 600 languages.

`orature voices add omnivoice` makes its environment. A prompt needs what is said in it (`prompt_text`): otherwise the
engine would have to fetch a recogniser of its own. Without a prompt the engine chooses a voice by the seed.

Example::

    with open_voice("omnivoice:models/OmniVoice", device="cuda") as voice:
        ask = SpeechRequest("habari", language="sw", prompt="ana.flac", prompt_text="jina langu ni Ana", seed=7)
        speech = voice.speak([ask])[0]
"""

from __future__ import annotations

from pathlib import Path

from orature.engines.environment_voice import EnvironmentVoice, folder_of

ABOUT = "OmniVoice (k2-fsa): imitates the speaker of a recording, over 600 languages"
_NEEDED = ("config.json", "audio_tokenizer")
_SETUP = "name a local folder of k2-fsa/OmniVoice with its audio_tokenizer folder (safetensors)"
_TIMEOUT_S = 900.0


def begin(model: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> EnvironmentVoice:
    """Starts the worker with a local folder of OmniVoice; MissingExtra where its environment was not made yet."""
    return EnvironmentVoice(
        "omnivoice",
        [str(folder_of(model, engine="omnivoice", needed=_NEEDED, setup=_SETUP))],
        workers=workers,
        device=device,
        threads=threads,
        timeout_s=_TIMEOUT_S,
        setup=_SETUP,
        environment={"HF_HUB_OFFLINE": "1"},
    )


def files(model: str) -> list[Path]:
    """Config, tokenizers and weights, those of the audio tokenizer too."""
    folder = folder_of(model, engine="omnivoice", needed=_NEEDED, setup=_SETUP)
    kinds = ("*.json", "*.safetensors", "*.txt")
    return sorted(path for place in (folder, folder / "audio_tokenizer") for kind in kinds for path in place.glob(kind))
