"""A process that speaks with espeak-ng, reached only through two pipes.

espeak-ng is GPL-3.0-or-later, not thread-safe, and gives other samples when one process repeats a text. So it lives
in a process of its own that imports nothing else of Orature (it may run in an environment of its own), initialises
the library once, never synthesises itself, and forks a child for each utterance, with the noise seeded anew: the same
text, voice and settings then give the same samples, whatever came before and however many workers there are.

Protocol (version 1), one request at a time:

- on start the worker writes one JSON line: ``{"protocol": 1, "engine": "espeak-ng 1.52.0", "rate_hz": 22050}``
  (or ``{"error": {"reason", "detail"}}`` and ends);
- request, one JSON line on standard input: ``{"op": "speak", "text", "voice", "rate_wpm", "pitch", "range",
  "volume", "timeout_s"}`` or ``{"op": "voices"}``;
- reply on standard output: a JSON line ``{"samples": n}`` followed by n little-endian int16 samples, or
  ``{"samples": 0, "error": {"reason", "detail"}}``, or ``{"voices": [...], "variants": [...]}``;
- end of input ends the worker.

Example::

    echo '{"op": "speak", "text": "habari", "voice": "bnt/sw"}' | python -m orature.engines.espeak_worker
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

PROTOCOL = 1
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_PARAMETERS = {"rate_wpm": 1, "volume": 2, "pitch": 3, "range": 4}
_DEFAULTS = {"rate_wpm": 175, "volume": 100, "pitch": 50, "range": 50}


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

    def voices(self) -> list[dict[str, str]]:
        """Identifier, language tag and name of each voice."""
        found = []
        records = self.lib.espeak_ListVoices(None)
        for record in records:
            if not record:
                break
            voice = record.contents
            tag = ctypes.string_at(voice.languages + 1).decode()  # a priority byte stands before the tag
            found.append({"id": voice.identifier.decode(), "language": tag, "name": voice.name.decode()})
        return sorted(found, key=lambda row: row["id"])

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


def _child(library: Library, request: dict[str, Any], pipe: int) -> None:
    """Synthesises, writes the samples to `pipe` and leaves without any clean-up of the parent's things."""
    code = 0
    try:
        data = library.speak(request)
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


def speak_once(library: Library, request: dict[str, Any]) -> tuple[bytes, dict[str, str] | None]:
    """Samples of one request from a fresh child, or an error with a reason and a detail."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(library, request, writing)
    os.close(writing)
    timeout_s = float(request.get("timeout_s", 30.0))
    data = _collect(reading, child, timeout_s)
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if data is None:
        return b"", {"reason": "timeout", "detail": f"no answer within {timeout_s:g} s"}
    if status == 3:
        return b"", {"reason": "unknown-voice", "detail": f"espeak-ng has no voice {request.get('voice')!r}"}
    if status != 0:
        return b"", {"reason": "voice-failed", "detail": f"the synthesising process ended with {status}"}
    if not data.strip(b"\0"):
        return b"", {"reason": "no-audio", "detail": f"the voice {request.get('voice')!r} gave no sound for this text"}
    return data, None


def answer(library: Library, line: bytes, out: BinaryIO) -> None:
    """Handles one request line."""
    try:
        request = json.loads(line)
        op = request["op"]
    except (ValueError, KeyError, TypeError):
        op, request = "", {}
    samples = b""
    header: dict[str, Any]
    if op == "speak" and isinstance(request.get("text"), str) and isinstance(request.get("voice"), str):
        samples, error = speak_once(library, request)
        header = {"samples": len(samples) // 2} | ({"error": error} if error else {})
    elif op == "voices":
        header = {"voices": library.voices(), "variants": library.variants()}
    else:
        header = {"samples": 0, "error": {"reason": "bad-request", "detail": "not a request of this protocol"}}
    out.write(json.dumps(header).encode() + b"\n" + samples)
    out.flush()


def main() -> None:
    """Serves requests from standard input until it ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the library prints must not get between the replies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the client's business; it closes our input
    try:
        library = Library()
    except (ImportError, OSError) as error:
        reason = "not-installed" if isinstance(error, ImportError) else "cannot-start"
        out.write(json.dumps({"error": {"reason": reason, "detail": str(error)}}).encode() + b"\n")
        out.flush()
        return
    hello = {"protocol": PROTOCOL, "engine": f"espeak-ng {library.version}", "rate_hz": library.rate_hz}
    out.write(json.dumps(hello).encode() + b"\n")
    out.flush()
    while line := sys.stdin.buffer.readline():
        answer(library, line, out)


if __name__ == "__main__":
    main()
