"""Is what a voice made the sentence that it was given? Length for the text, cut-off ends, silence, clipping.

Example::

    fault = fault_of(samples, 22_050, "habari za asubuhi", DurationBounds(), rate=1.1)
    print(fault.reason if fault else "fine")
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from unicodedata import category

import numpy as np
import numpy.typing as npt

from orature.core.types import Refusal, Utterance
from orature.text.language import is_spaceless

FAULTS = ("not-finite", "silent", "truncated", "clipped", "too-fast", "too-slow", "cut-off")
"""No numbers, no sound, as long as the voice can be, at full scale, too few or too many seconds for the letters, loud
at the very end."""
_FRAME_S = 0.02
_SILENCE_DBFS = -50.0
_CLIPPED_SHARE = 0.002
_ENDING_S, _ABRUPT_DB = 0.008, 9.0
"""Speech dies away: last milliseconds less than this below the loud frames were cut."""
_LEAST_ROWS, _TAILS, _MARGIN = 50, 0.005, 1.5
_MIN_LETTERS = 8


@dataclass(frozen=True, slots=True)
class DurationBounds:
    """Letters a second that speech may have, and seconds of pause that come on top.

    By default what people do across languages: 5 to 8 syllables a second (Pellegrino, Coupé, Marsico 2011, "A
    cross-language perspective on speech information rate", table 1) of one to five letters each, halved and doubled;
    in scripts without spaces a letter is about a syllable.
    """

    slowest: float = 2.5
    fastest: float = 40.0
    slowest_spaceless: float = 1.2
    fastest_spaceless: float = 16.0
    pause_s: float = 1.5
    source: str = "published"

    def seconds(self, text: str) -> tuple[float, float]:
        """The least and the most that `text` may take."""
        count = letters(text)
        unspaced = 2 * sum(map(is_spaceless, text)) > count
        slowest, fastest = self.slowest, self.fastest
        if unspaced and self.source == "published":
            slowest, fastest = self.slowest_spaceless, self.fastest_spaceless
        return count / fastest, count / slowest + self.pause_s


def letters(text: str) -> int:
    """Letters and digits in `text`; marks are part of their letters."""
    return sum(category(character)[0] in "LN" for character in text)


def bounds_of(rows: Iterable[Utterance]) -> DurationBounds:
    """Bounds from transcribed speech: its outermost half percents, widened by half; published ones below 50 rows."""
    rates = sorted(count / row.audio.duration_s for row in rows if (count := letters(row.text or "")) >= _MIN_LETTERS)
    if len(rates) < _LEAST_ROWS:
        return DurationBounds()
    low, high = (float(np.quantile(rates, share)) for share in (_TAILS, 1 - _TAILS))
    slowest, fastest = round(low / _MARGIN, 2), round(high * _MARGIN, 2)
    return DurationBounds(slowest=slowest, fastest=fastest, source=f"{len(rates)} train transcripts")


def fault_of(
    samples: npt.NDArray[np.float32],
    rate_hz: int,
    text: str,
    bounds: DurationBounds,
    *,
    rate: float = 1.0,
    most_s: float = math.inf,
    unchecked: Collection[str] = (),
) -> Refusal | None:
    """What is wrong with `samples`, shape (samples,), as a reading of `text` at `rate` times the usual tempo.

    The first of `FAULTS` that is found and not among `unchecked` (silent and not-finite are always looked for); None
    where nothing is. `most_s` is the length at which the voice cuts off.
    """
    if not len(samples) or not np.isfinite(samples).all():
        return Refusal("not-finite" if len(samples) else "silent", "the voice gave no usable samples")
    level_db = float(np.quantile(frame_levels_db(samples, rate_hz), 0.9))
    if level_db < _SILENCE_DBFS:
        return Refusal("silent", f"nothing is louder than {level_db:.0f} dBFS")
    found = _faults(samples, rate_hz, text, bounds, rate, most_s, level_db)
    return next((fault for fault in found if fault.reason not in unchecked), None)


def _faults(
    samples: npt.NDArray[np.float32],
    rate_hz: int,
    text: str,
    bounds: DurationBounds,
    rate: float,
    most_s: float,
    loud_db: float,
) -> Iterator[Refusal]:
    seconds = len(samples) / rate_hz
    if seconds >= 0.995 * most_s:
        yield Refusal("truncated", f"{seconds:.1f} s is all that the voice can say at a time")
    clipped = float(np.mean(np.abs(samples) >= 0.999))
    if clipped > _CLIPPED_SHARE:
        yield Refusal("clipped", f"{100 * clipped:.1f} % of the samples are at full scale")
    least_s, most_text_s = bounds.seconds(text)
    if seconds * rate < least_s:
        yield Refusal("too-fast", f"{seconds:.2f} s for {letters(text)} letters")
    if seconds * rate > most_text_s:
        yield Refusal("too-slow", f"{seconds:.2f} s for {letters(text)} letters")
    ending = samples[-max(1, round(_ENDING_S * rate_hz)) :]
    if 10 * np.log10(max(float(np.mean(np.square(ending))), 1e-12)) > loud_db - _ABRUPT_DB:
        yield Refusal("cut-off", f"the last {1000 * _ENDING_S:.0f} ms are as loud as the speech")


def frame_levels_db(samples: npt.NDArray[np.float32], rate_hz: int) -> npt.NDArray[np.float64]:
    """Level of each whole 20 ms counted from the end, in dBFS, shape (frames,); one frame for less."""
    size = max(1, round(_FRAME_S * rate_hz))
    whole = len(samples) // size * size
    framed = samples[len(samples) - whole :].reshape(-1, size) if whole else samples[None, :]
    power = np.mean(np.square(framed, dtype=np.float64), axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)))
