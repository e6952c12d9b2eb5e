"""What a person sees of a voice while it learns: the live line with the time left, and TensorBoard.

Example::

    watcher = VoiceWatcher(logs=Path("logs"))
"""

from __future__ import annotations

from collections.abc import Mapping

from orature.train.watch import LiveLine


class VoiceWatcher(LiveLine):
    """Shows the mel error of training and dev."""

    def step(self, mel: float, *, seconds: float) -> None:
        """After each update, with the mean mel error since the last evaluation."""
        self._seconds += seconds
        if self._progress is not None:
            self._progress.advance(1, note=f"mel {mel:.3f}{self._dev} · {self.audio_s_per_s:.1f} audio-s/s")

    def evaluated(self, row: Mapping[str, object]) -> None:
        """After each evaluation on dev, with its row of the log."""
        mel = row.get("dev_mel")
        self._dev = f" · dev mel {mel:.3f}" if isinstance(mel, float) else ""
        self._draw(row)
