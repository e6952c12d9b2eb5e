"""An engine for `workers/serve.py` that speaks with espeak-ng, in a process of its own.

espeak-ng is GPL-3.0-or-later, not thread-safe, and gives other samples when one process repeats a text. So it lives
behind the pipes of docs/voice_worker.md, in a file that imports nothing else of Orature (it may run in an environment
of its own), initialises the library once, never synthesises itself, and forks a child for each utterance, with the
noise seeded anew: the same text, voice and settings then give the same samples, whatever came before and however many
workers there are.

A request's `language` is a tag or an espeak identifier, its `speaker` a variant. Its `rate` (0.47 to 2.2), `pitch`
(-10 to 10 semitones) and `expression` (0 to 1.98, less for a raised pitch) become espeak's own numbers so that they do
what they say, as measured on six variants: espeak's pitch moves only the bottom of the range, so the range is widened
with it, and a wider range raises the middle, which is taken back. `options` with voice, rate_wpm, pitch, range and
volume are espeak's numbers themselves and stand above these. Beside `speak` it knows `voices` and `phonemes`.

Example::

    python serve.py espeak_worker.py
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_IPA = 2
_PARAMETERS = {"rate_wpm": 1, "volume": 2, "pitch": 3, "range": 4}
_DEFAULTS = {"rate_wpm": 175, "volume": 100, "pitch": 50, "range": 50}
_LIMITS = {"rate_wpm": (80, 450), "pitch": (0, 99), "range": (0, 99)}
_TRAITS = {"rate": True, "pitch": True, "expression": True, "batch": 16, "most_characters": 5000, "most_seconds": 600.0}
_PITCH_GAIN = 1.15 * 50 / 12
"""Steps of espeak's pitch for a semitone."""
_MIDDLE = 2.5
"""Semitones by which the median rises when the range is doubled."""
_TEMPO = (
    *((0.465, 0.5), (0.565, 0.6), (0.727, 0.75), (0.897, 0.9), (1.0, 1.0), (1.11, 1.1)),
    *((1.275, 1.25), (1.5, 1.5), (1.72, 1.75), (1.89, 2.0), (2.2, 2.5)),
)
"""Factors of tempo that were measured, and the factor of words a minute that gave them."""
_LICENCE = "GPL-3.0-or-later (a separate program; its licence does not extend to the audio it makes)"


class _VoiceRecord(ctypes.Structure):
    """`espeak_VOICE` of speak_lib.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Library:
    """espeak-ng, loaded and initialised but never used for synthesis in this process."""

    def __init__(self) -> None:
        loader = import_module("espeakng_loader")
        self.data = Path(loader.get_data_path())
        self.lib = ctypes.CDLL(loader.get_library_path())
        self.lib.espeak_Info.restype = ctypes.c_char_p
        self.lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
        self.rate_hz = int(self.lib.espeak_Initialize(_SYNCHRONOUS, 0, str(self.data).encode(), _DONT_EXIT))
        if self.rate_hz <= 0:
            raise OSError(f"espeak-ng could not be initialised with the data in {self.data}")
        self.version = self.lib.espeak_Info(None).decode().split(" ")[0]

    def voices(self) -> list[dict[str, Any]]:
        """Identifier, first language tag, name and all tags of each voice, by identifier."""
        found = []
        records = self.lib.espeak_ListVoices(None)
        for record in records:
            if not record:
                break
            voice = record.contents
            tags = _tags(voice.languages)
            row = {"id": voice.identifier.decode(), "language": tags[0], "name": voice.name.decode(), "tags": tags}
            found.append(row)
        return sorted(found, key=lambda row: str(row["id"]))

    def variants(self) -> list[str]:
        return sorted(path.name for path in (self.data / "voices" / "!v").iterdir())

    def _fix_noise(self) -> None:
        """Initialising seeds the noise of breathy voices (f2, f3, f5, Alicia ...) from the clock; this undoes it."""
        seeders = [getattr(self.lib, "espeak_ng_SetRandSeed", None), getattr(ctypes.CDLL(None), "srand", None)]
        for seeder in seeders:
            if seeder is not None:
                seeder(1)

    def speak(self, request: dict[str, Any]) -> bytes:
        """int16 samples of one utterance. Runs in a forked child, once."""
        chunks: list[bytes] = []

        def collect(samples: Any, count: int, events: Any) -> int:
            if samples and count > 0:
                chunks.append(ctypes.string_at(samples, 2 * count))
            return 0

        callback = _Callback(collect)
        self.lib.espeak_SetSynthCallback(callback)
        self._fix_noise()
        if self.lib.espeak_SetVoiceByName(str(request["voice"]).encode()) != 0:
            raise LookupError(f"espeak-ng refuses the voice {request['voice']!r}")
        for name, number in _PARAMETERS.items():
            self.lib.espeak_SetParameter(number, int(request.get(name, _DEFAULTS[name])), 0)
        text = str(request["text"]).encode()
        if self.lib.espeak_Synth(text, len(text) + 1, 0, 0, 0, _UTF8, None, None) != 0:
            raise OSError("espeak-ng reports an internal error")
        return b"".join(chunks)

    def phonemes(self, texts: Sequence[str], voice: str) -> bytes:
        """IPA of each text as a JSON list, clauses joined by spaces. Runs in a forked child, once."""
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise LookupError(f"espeak-ng refuses the voice {voice!r}")
        self.lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        return json.dumps([self._phonemes_of(text) for text in texts]).encode()

    def _phonemes_of(self, text: str) -> str:
        buffer = ctypes.create_string_buffer(text.encode())
        place = ctypes.c_void_p(ctypes.addressof(buffer))
        clauses = []
        while place.value:
            clause = self.lib.espeak_TextToPhonemes(ctypes.byref(place), _UTF8, _IPA)
            clauses.append((clause or b"").decode("utf-8", "replace").strip())
        return " ".join(clause for clause in clauses if clause)


def _tags(place: int) -> list[str]:
    """The language tags of a voice record: each a byte of priority and a text, a zero byte after the last."""
    found: list[tuple[int, str]] = []
    while priority := ctypes.string_at(place, 1)[0]:
        tag = ctypes.string_at(place + 1)
        found.append((priority, tag.decode()))
        place += len(tag) + 2
    return [tag for _, tag in found]


def _child(work: Callable[[], bytes], pipe: int) -> None:
    """Does the work, writes what comes of it to `pipe` and leaves without any clean-up of the parent's things."""
    code = 0
    try:
        data = work()
        while data:
            data = data[os.write(pipe, data) :]
    except LookupError:
        code = 3
    except (OSError, KeyError, TypeError, ValueError):
        code = 4
    finally:
        os._exit(code)


def _collect(pipe: int, child: int, timeout_s: float) -> bytes | None:
    """All that the child writes, or None when it did not end in time (then it is killed)."""
    deadline = time.monotonic() + timeout_s
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            return None
        part = os.read(pipe, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def in_child(work: Callable[[], bytes], timeout_s: float) -> tuple[bytes, dict[str, str] | None]:
    """What `work` gives in a fresh child, or an error with a reason and a detail."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(work, writing)
    os.close(writing)
    data = _collect(reading, child, timeout_s)
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if data is None:
        return b"", {"reason": "timeout", "detail": f"no answer within {timeout_s:g} s"}
    if status == 3:
        return b"", {"reason": "unknown-voice", "detail": "espeak-ng has no such voice"}
    if status != 0:
        return b"", {"reason": "voice-failed", "detail": f"the synthesising process ended with {status}"}
    return data, None


def settings_of(request: dict[str, Any]) -> dict[str, Any]:
    """espeak's own numbers for a request; ValueError says which wish lies outside of what it can do."""
    speaker = str(request.get("speaker") or "")
    voice = str(request.get("language") or "") + (f"+{speaker}" if speaker else "")
    semitones, expression = float(request.get("pitch", 0.0)), float(request.get("expression", 1.0))
    settings = {
        "text": request["text"],
        "voice": voice,
        "rate_wpm": round(175 * _words_factor(float(request.get("rate", 1.0)))),
        "pitch": round(50 + _PITCH_GAIN * (semitones - _MIDDLE * (expression - 1))),
        "range": round(50 * expression * 2 ** (semitones / 12)),
        "volume": 100,
        **(request.get("options") or {}),
    }
    for name, (low, high) in _LIMITS.items():
        if not low <= int(settings[name]) <= high:
            raise ValueError(f"{name} would be {settings[name]}; espeak-ng goes from {low} to {high}")
    return settings


def _words_factor(tempo: float) -> float:
    """The factor of words a minute for a factor of tempo, between the measured ones; ValueError beyond them."""
    for (low, first), (high, last) in itertools.pairwise(_TEMPO):
        if low <= tempo <= high:
            return first + (last - first) * (tempo - low) / (high - low)
    raise ValueError(f"the rate would be {tempo:g}; espeak-ng goes from {_TEMPO[0][0]:g} to {_TEMPO[-1][0]:g}")


class Engine:
    """What `serve.py` asks: a hello, `speak`, and two operations more."""

    def __init__(self, library: Library) -> None:
        self._library = library
        rows = library.voices()
        self.operations = {"voices": self._voices, "phonemes": self._phonemes}
        self.hello = {
            "engine": "espeak-ng",
            "revision": f"espeak-ng {library.version}",
            "rate_hz": library.rate_hz,
            "licence": _LICENCE,
            "deterministic": True,
            "languages": sorted({tag for row in rows for tag in (*row["tags"], row["id"])}),
            "speakers": {"*": ["", *library.variants()]},
            "traits": _TRAITS,
        }

    def speak(self, requests: list[dict[str, Any]]) -> Iterator[tuple[int, bytes | dict[str, str]]]:
        """Samples or a refusal for each request, each spoken in a child of its own."""
        for place, request in enumerate(requests):
            yield place, self._outcome(request)

    def _outcome(self, request: dict[str, Any]) -> bytes | dict[str, str]:
        try:
            settings = settings_of(request)
        except (ValueError, TypeError, OverflowError) as error:
            return {"reason": "out-of-range", "detail": str(error)}
        timeout_s = float(request.get("timeout_s", 30.0))
        samples, error_ = in_child(lambda: self._library.speak(settings), timeout_s)
        if error_:
            return error_
        if not samples.strip(b"\0"):
            return {"reason": "no-audio", "detail": f"the voice {settings['voice']!r} gave no sound for this text"}
        return samples

    def _voices(self, message: dict[str, Any]) -> dict[str, Any]:
        return {"id": message.get("id"), "voices": self._library.voices(), "variants": self._library.variants()}

    def _phonemes(self, message: dict[str, Any]) -> dict[str, Any]:
        """IPA of each text; null for one that espeak-ng breaks down at, an error where it has no such voice.

        All are read in one child, since phones have nothing random; each in its own where that child breaks down.
        """
        voice = str(message.get("language", ""))
        texts = [str(text).replace("\0", " ") for text in message.get("texts", [])]
        found, error = self._phonemes_in_child(texts, voice)
        if error and error["reason"] != "unknown-voice":
            found = [alone[0] if alone else None for alone, _ in (self._phonemes_in_child([t], voice) for t in texts)]
            error = None
        if error:
            return {"id": message.get("id"), "error": error}
        return {"id": message.get("id"), "phonemes": found}

    def _phonemes_in_child(self, texts: list[str], voice: str) -> tuple[list[str | None], dict[str, str] | None]:
        data, error = in_child(lambda: self._library.phonemes(texts, voice), 30.0)
        return ([] if error else json.loads(data)), error


def begin(arguments: list[str]) -> Engine:
    """The engine; it takes no arguments. ImportError without the wheel, OSError when the library cannot start."""
    return Engine(Library())
