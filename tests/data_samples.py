"""Small sounds and corpora for the tests of the data side (tests/ is on the path because conftest.py lies in it)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from orature.data.audio import Samples


def tone(seconds: float = 1.0, rate_hz: int = 16_000, hertz: float = 440.0) -> Samples:
    """Half-scale sine, shape (samples,)."""
    wave: Samples = (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)
    return wave


def encoded(wave: Samples, rate_hz: int = 16_000, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """The bytes of a sound file."""
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate_hz, format=format, subtype=subtype)
    return stream.getvalue()


def plain_writing(folder: Path) -> Callable[[str], contextlib.AbstractContextManager[Path]]:
    """Stands in for a stage's `ctx.writing`."""
    folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def writing(name: str) -> Iterator[Path]:
        yield folder / name

    return writing
