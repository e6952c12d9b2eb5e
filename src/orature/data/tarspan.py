"""A recording inside an uncompressed tar, named by the tar and its place there: `recording.000000.tar::1536+40213`.

Example::

    span = tar_span("shar/recording.000000.tar::1536+40213")
    data = span.read() if span is not None else b""
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from orature.core.errors import AudioError

_SPAN = re.compile(r"(.+\.tar)::(\d+)\+(\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TarSpan:
    """`size` bytes of the file `tar` from `offset` on."""

    tar: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.tar}::{self.offset}+{self.size}"

    def read(self) -> bytes:
        """The bytes; AudioError (audio-missing, audio-truncated) where they are not there."""
        again = "is the corpus whole? `orature check CORPUS`"
        try:
            with Path(self.tar).open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read(self.size)
        except OSError as error:
            what = f"its archive cannot be read ({error.strerror})"
            raise AudioError(what, where=self.tar, next_step=again, reason="audio-missing") from error
        if len(data) < self.size:
            what = f"its archive ends before byte {self.offset + self.size}"
            raise AudioError(what, where=self.tar, next_step=again, reason="audio-truncated")
        return data


def tar_span(path: str | Path) -> TarSpan | None:
    """What `path` names inside a tar, None for any other path."""
    found = _SPAN.fullmatch(str(path))
    return None if found is None else TarSpan(found[1], int(found[2]), int(found[3]))
