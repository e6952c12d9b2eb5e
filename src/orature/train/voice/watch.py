"""What a person sees of a voice while it learns: the live line with the time left, and TensorBoard.

Example::

    watcher = VoiceWatcher(logs=Path("logs"))
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orature.core.progress import Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class VoiceWatcher:
    """Shows the mel error of training and dev; silent without a progress bar."""

    def __init__(self, *, progress: Progress | None = None, logs: Path | None = None) -> None:
        self._progress, self._logs = progress, logs
        self._board: SummaryWriter | None = None
        self._dev = ""
        self._seconds = 0.0
        self._began = time.monotonic()

    def begin(self, update: int, updates: int) -> None:
        """Called once, with where the run stands and where it ends."""
        self._began = time.monotonic()
        if self._progress is not None:
            self._progress.total = updates
            self._progress.resume_at(update)
        if self._logs is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._logs), purge_step=update)

    @property
    def audio_s_per_s(self) -> float:
        """Seconds of training audio a second of wall time since the start, evaluations included."""
        return self._seconds / max(1e-9, time.monotonic() - self._began)

    def step(self, mel: float, *, seconds: float) -> None:
        """After each update, with the mean mel error since the last evaluation."""
        self._seconds += seconds
        if self._progress is not None:
            self._progress.advance(1, note=f"mel {mel:.3f}{self._dev} · {self.audio_s_per_s:.1f} audio-s/s")

    def evaluated(self, row: Mapping[str, object]) -> None:
        """After each evaluation on dev, with its row of the log."""
        mel = row.get("dev_mel")
        self._dev = f" · dev mel {mel:.3f}" if isinstance(mel, float) else ""
        update = row.get("update")
        if self._board is None or not isinstance(update, int):
            return
        for name, value in row.items():
            if name != "update" and isinstance(value, int | float):
                self._board.add_scalar(name, float(value), update)
        self._board.flush()
