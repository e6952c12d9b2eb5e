"""Progress with an ETA: a live line on a terminal, plain lines every few seconds elsewhere, nothing when quiet.

Example::

    with Progress("ingest", total=2000, unit="clips") as bar:
        bar.advance(16, note="3 rejected")
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TextIO

_LIVE_EVERY_S = 0.2
_PLAIN_EVERY_S = 10.0


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    whole = int(max(0.0, seconds) + 0.5)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def say(line: str) -> None:
    """One plain line to standard error, unless ORATURE_QUIET is set."""
    if os.environ.get("ORATURE_QUIET", "") in ("", "0"):
        print(line, file=sys.stderr, flush=True)


class Progress:
    """Counts `total` units (None: unknown) of work called `what`; writes to standard error only."""

    def __init__(self, what: str, *, total: float | None = None, unit: str = "", stream: TextIO | None = None) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0.0
        self._note = ""
        self._stream = stream if stream is not None else sys.stderr
        self._live = bool(getattr(self._stream, "isatty", lambda: False)())
        self._quiet = os.environ.get("ORATURE_QUIET", "") not in ("", "0")
        self._began = time.monotonic()
        self._began_at = 0.0
        self._last = self._began if not self._live else 0.0
        self._wrote = False

    def resume_at(self, done: float) -> None:
        """Work that an earlier run finished: counted as done, left out of the speed."""
        self.done = self._began_at = done

    def advance(self, by: float, *, note: str | None = None) -> None:
        """`by` more units are done; `note` replaces the text at the end of the line."""
        self.done += by
        if note is not None:
            self._note = note
        now = time.monotonic()
        if now - self._last >= (_LIVE_EVERY_S if self._live else _PLAIN_EVERY_S):
            self._last = now
            self._write(now)

    def _line(self, now: float) -> str:
        spent = now - self._began
        fresh = self.done - self._began_at
        amount = f"{self.done:.0f}" + (f"/{self.total:.0f}" if self.total is not None else "")
        parts = [f"{self.what}: {amount} {self.unit}".rstrip()]
        if self.total and fresh > 0 and spent > 0:
            left = (self.total - self.done) * spent / fresh
            parts.append(f"{100 * self.done / self.total:.0f} %, ETA {clock(left)}")
        if self._note:
            parts.append(self._note)
        return " · ".join(parts)

    def _write(self, now: float) -> None:
        if self._quiet:
            return
        line = self._line(now)
        if self._live:
            self._stream.write("\r\x1b[2K" + line[:180])
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        self._wrote = True

    def close(self) -> None:
        if self._live and self._wrote and not self._quiet:
            self._write(time.monotonic())
            self._stream.write("\n")
            self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
