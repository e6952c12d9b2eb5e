"""What a person sees of a translator while it learns: the live line with the time left, and TensorBoard.

Example::

    watcher = TextWatcher(logs=Path("logs"))
"""

from __future__ import annotations

from collections.abc import Mapping

from orature.train.watch import LiveLine


class TextWatcher(LiveLine):
    """Shows the loss, the chrF of dev and tokens a second."""

    _tokens = 0

    def step(self, loss: float, *, tokens: int) -> None:
        """After each update, with the mean loss since the last evaluation."""
        self._tokens += tokens
        if self._progress is not None:
            speed = self.per_s(self._tokens)
            self._progress.advance(1, note=f"loss {loss:.3f}{self._dev} · {speed:.0f} tokens/s")

    def evaluated(self, row: Mapping[str, object]) -> None:
        """After each evaluation on dev, with its row of the log."""
        self._dev = f" · dev chrF {row['dev_chrf']:.1f}"
        self._draw(row)
