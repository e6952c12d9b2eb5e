"""OmniVoice as an engine of the voice worker (serve.py), run by the Python of an environment of its own.

It imports nothing of Orature. The engine draws from torch's one generator, so each request is spoken alone, with that
generator set to the request's own seed: its samples depend on the request alone.

Example::

    python -I serve.py omnivoice_worker.py models/OmniVoice --device cuda
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

VERSION = 1
MOST_CHARACTERS, MOST_SECONDS = 400, 60.0
_SHORTEST_PROMPT_S, _LONGEST_PROMPT_S = 0.5, 30.0
_KEPT_PROMPTS = 256
_CONTROL = re.compile(r"[\[\]<>|]+")
_SPACES = re.compile(r"\s+")
_KINDS = ("*.json", "*.safetensors", "*.txt")


class Refused(Exception):
    """A request that cannot be spoken: reason and detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.answer = {"reason": reason, "detail": detail}


class Engine:
    """A local OmniVoice folder; `model` is what `OmniVoice.from_pretrained` gives."""

    def __init__(self, model: Any, *, licence: str, revision: str, languages: list[str]) -> None:
        self._model = model
        self._languages = set(languages)
        self._prompts: OrderedDict[str, Any] = OrderedDict()
        self.hello = {
            "engine": "omnivoice",
            "revision": revision,
            "rate_hz": int(model.sampling_rate),
            "licence": licence,
            "languages": sorted({*languages, "und"}),
            "deterministic": str(model.device) == "cpu",
            "traits": {
                "rate": True,
                "prompts": True,
                "random": True,
                "batch": 1,
                "most_characters": MOST_CHARACTERS,
                "most_seconds": MOST_SECONDS,
            },
        }

    def speak(self, requests: list[dict[str, Any]]) -> Iterator[tuple[int, bytes | dict[str, str]]]:
        """One request after another, each from its own seed."""
        for place, request in enumerate(requests):
            try:
                yield place, self._one(request)
            except Refused as refused:
                yield place, refused.answer

    def _one(self, request: dict[str, Any]) -> bytes:
        text = readable(str(request["text"]))
        language = str(request.get("language", "und"))
        prompt = self._prompt(request)
        seed = hashlib.sha256(f"omnivoice|{int(request.get('seed', 0))}".encode()).digest()
        torch.manual_seed(int.from_bytes(seed[:7], "little"))
        try:
            audio = self._model.generate(
                text=text,
                language=language if language in self._languages else None,
                voice_clone_prompt=prompt,
                speed=float(request.get("rate", 1.0)),
            )[0]
        except ValueError as error:
            raise Refused("voice-failed", str(error)[:300]) from error
        if len(audio) >= MOST_SECONDS * self._model.sampling_rate:
            raise Refused("truncated", f"the speech is longer than {MOST_SECONDS:g} s")
        return int16(np.asarray(audio, dtype=np.float32))

    def _prompt(self, request: dict[str, Any]) -> Any:
        """The codes of the prompt, kept for the next requests; None where none is given."""
        prompt, said = str(request.get("prompt", "")), str(request.get("prompt_text", "")).strip()
        if not prompt:
            return None
        if not said:
            raise Refused("no-prompt-text", "OmniVoice needs what is said in the prompt (prompt_text)")
        path = Path(prompt)
        try:
            state = path.stat()
        except OSError as error:
            raise Refused("bad-prompt", f"the prompt {path.name} cannot be read: {error.strerror}") from error
        key = f"{path}|{state.st_size}|{state.st_mtime_ns}|{said}"
        if key not in self._prompts:
            self._prompts[key] = self._encoded(path, readable(said))
            if len(self._prompts) > _KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key]

    def _encoded(self, path: Path, said: str) -> Any:
        soundfile = import_module("soundfile")
        try:
            samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        except (RuntimeError, OSError) as error:
            raise Refused("bad-prompt", f"the prompt {path.name} cannot be read: {error}") from error
        seconds = len(samples) / rate_hz
        if not _SHORTEST_PROMPT_S <= seconds <= _LONGEST_PROMPT_S:
            raise Refused(
                "bad-prompt",
                f"the prompt {path.name} lasts {seconds:.1f} s; {_SHORTEST_PROMPT_S} to {_LONGEST_PROMPT_S}",
            )
        wave = torch.from_numpy(samples.mean(axis=1))
        if not bool(wave.abs().max() > 1e-4):
            raise Refused("bad-prompt", f"the prompt {path.name} is silent")
        try:
            return self._model.create_voice_clone_prompt(ref_audio=(wave, rate_hz), ref_text=said)
        except ValueError as error:
            raise Refused("bad-prompt", f"the prompt {path.name}: {str(error)[:200]}") from error


def readable(text: str) -> str:
    """`text` without the signs that control the engine ([laughter], <|denoise|>); digits are Refused.

    The engine reads digits as it likes; what is transcribed must be what is said.
    """
    digits = sorted({one for one in text if one.isdigit()})
    if digits:
        raise Refused("unreadable-characters", f"numbers are not written out: {', '.join(digits[:10])}")
    plain = _SPACES.sub(" ", _CONTROL.sub(" ", text)).strip()
    if not plain:
        raise Refused("empty-text", "nothing in this text can be spoken")
    return plain


def int16(samples: np.ndarray) -> bytes:
    """Samples in [-1, 1] as little-endian int16; Refused where they are no numbers or silence."""
    if not np.isfinite(samples).all():
        raise Refused("voice-failed", "the decoder gave samples that are no numbers")
    data = (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2")
    if not data.any():
        raise Refused("no-audio", "the voice gave no sound for this text")
    return bytes(data.tobytes())


def digest_of(folder: Path) -> str:
    """One digest of all files that the speech depends on, shortened."""
    whole = hashlib.sha256()
    for place in (folder, folder / "audio_tokenizer"):
        for path in sorted(path for kind in _KINDS for path in place.glob(kind)):
            with path.open("rb") as stream:
                whole.update(
                    f"{path.relative_to(folder)} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode()
                )
    return whole.hexdigest()[:16]


def licence_of(folder: Path) -> str:
    """The licence in the front matter of the folder's README, "not stated" where there is none."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "not stated"
    found = re.match(r"---\r?\n.*?^license:[ \t]*[\"']?([^\r\n\"']+)", text, flags=re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else "not stated"


def _stop(reason: str, detail: str) -> SystemExit:
    return SystemExit({"reason": reason, "detail": detail})


def begin(arguments: list[str]) -> Engine:
    """The engine of a command line; SystemExit with a reason where it cannot start. Nothing is downloaded."""
    parser = argparse.ArgumentParser(prog="omnivoice_worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    folder, device = given.folder, given.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not torch.cuda.is_available():
        raise _stop("bad-arguments", f"there is no device {device} here")
    for name in ("config.json", "audio_tokenizer/config.json"):
        if not (folder / name).is_file():
            raise _stop("bad-model", f"{folder} is no folder of OmniVoice: it has no {name}")
    omnivoice = import_module("omnivoice")
    try:
        model = omnivoice.OmniVoice.from_pretrained(
            str(folder),
            device_map=device,
            dtype=torch.float32 if device == "cpu" else torch.float16,
            use_safetensors=True,
        )
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _stop("bad-model", f"{folder} cannot be loaded: {str(error).splitlines()[0][:300]}") from error
    return Engine(
        model,
        licence=licence_of(folder),
        revision=f"omnivoice-{VERSION} omnivoice {version('omnivoice')} {digest_of(folder)}",
        languages=sorted(model.supported_language_ids()),
    )
