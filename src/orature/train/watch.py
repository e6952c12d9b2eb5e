"""What a person sees of a run while it lasts: the live line, TensorBoard, and the watch for blank collapse.

Example::

    watcher = Watcher(logs=Path("logs"))
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orature.core.errors import TrainingFailed
from orature.core.progress import Progress
from orature.train.checkpoint import Progressed
from orature.train.config import TrainConfig
from orature.train.dev import DevReport

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COLLAPSED = 0.98
PATIENCE_UPDATES = 300
"""No verdict before so many updates: CTC begins with blanks everywhere."""
_REMEDIES = (
    "check that transcripts belong to their recordings (`orature doctor`), lower the learning rate "
    "(--set peak_lr=...), mask less (--set augment.time_masks=0), or give it more updates (--set updates=...)"
)


class LiveLine:
    """The live line of any training and its TensorBoard; silent without a progress bar."""

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
        return self.per_s(self._seconds)

    def per_s(self, amount: float) -> float:
        """An amount since the start by seconds of wall time, evaluations included."""
        return amount / max(1e-9, time.monotonic() - self._began)

    def _draw(self, row: Mapping[str, object]) -> None:
        """The figures of a row of the log as curves; a row without its update is left out."""
        update = row.get("update")
        if self._board is None or not isinstance(update, int):
            return
        for name, value in row.items():
            if name != "update" and isinstance(value, int | float):
                self._board.add_scalar(name, float(value), update)
        self._board.flush()


class Watcher(LiveLine):
    """Shows loss, the figure of dev, audio seconds a second and the time left."""

    _loss = 0.0

    def step(self, progressed: Progressed, *, seconds: float) -> None:
        """After each update."""
        self._seconds += seconds
        figures = progressed.figures
        self._loss = figures.get("loss", 0.0) / max(figures.get("weight", 0.0), 1e-9)
        if self._progress is not None:
            note = f"loss {self._loss:.3f}{self._dev} · {self.audio_s_per_s:.0f} audio-s/s"
            self._progress.advance(1, note=note)

    def evaluated(self, row: dict[str, object], report: DevReport) -> None:
        """After each evaluation on dev, with its row of the log."""
        self._dev = f" · {report.said()}"
        self._draw(row)


def check_collapse(report: DevReport, progressed: Progressed, config: TrainConfig) -> None:
    """Stops a run whose dev hypotheses are (nearly) all empty in its second half: blanks won, and they stay.

    Early on, blanks everywhere are how CTC begins; that is no reason to stop.
    """
    if not config.stop_on_blanks or report.empty_share < COLLAPSED:
        return
    if progressed.update < max(PATIENCE_UPDATES, config.updates // 2):
        return
    raise TrainingFailed(
        f"the model writes nothing but blanks: {100 * report.empty_share:.0f} % of dev hypotheses are empty at "
        f"update {progressed.update} of {config.updates} (blank collapse)",
        next_step=_REMEDIES,
    )
