"""How much of its window Whisper computes for a recording: all of it, as published, or little more than the recording.

Whisper pads what it hears to 30 s, so that a clip of three seconds costs as much as ten of them (Jeffries et al. 2024,
Moonshine, section 3, say what that costs). A model fine-tuned with `short_windows` hears whole seconds of which the
last half second at least is silence. A window depends on its recording alone, and recordings of unlike windows are
computed apart, since Whisper masks no padding: so a batch gives what each recording gives alone.

Example::

    windows = Windows(seconds=30.0, short=True)
    windows.of(3 * RATE_HZ) == 4 * RATE_HZ
    for window, rows in windows.grouped([48_000, 16_000]).items(): ...
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orature.core.types import RATE_HZ

Out = TypeVar("Out")
GRID_S = 1
MARGIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of at most `seconds`; all of that length unless `short`."""

    seconds: float
    short: bool = False

    @property
    def whole(self) -> int:
        """Samples of the whole window."""
        return round(self.seconds * RATE_HZ)

    def of(self, samples: int) -> int:
        """The window of a recording of `samples` samples, in samples."""
        if not self.short:
            return self.whole
        grid = GRID_S * RATE_HZ
        return min(self.whole, -(-(samples + int(MARGIN_S * RATE_HZ)) // grid) * grid)

    def grouped(self, lengths: Sequence[int]) -> dict[int, list[int]]:
        """Places in `lengths` (in samples) by their window, shortest first."""
        found: dict[int, list[int]] = defaultdict(list)
        for place, length in enumerate(lengths):
            found[self.of(int(length))].append(place)
        return dict(sorted(found.items()))

    def apart(self, lengths: Sequence[int], work: Callable[[int, list[int]], Sequence[Out]]) -> list[Out]:
        """What `work(window, places)` gives for each place, in the order of `lengths`: one call a window."""
        results: dict[int, Out] = {}
        for window, places in self.grouped(lengths).items():
            results.update(zip(places, work(window, places), strict=True))
        return [results[place] for place in range(len(lengths))]
