"""What the recordings of a corpus are like: level, clipping, silence, bandwidth, length and speaking rate.

Example::

    report = read_quality(Corpus.open(Path("corpus")), sample=100)
    report["bandwidth"]["narrow_share"]      # share of clips with nothing above about 4 kHz (telephone speech)
    report["sentences"]                      # the findings, for a person

Level and clipping of every clip were noted when the corpus was made; silence and bandwidth are measured on `sample`
clips spread evenly over the corpus; lengths and speaking rates are those of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from unicodedata import category

import numpy as np
import numpy.typing as npt

from orature.core.errors import AudioError
from orature.core.types import RATE_HZ, Utterance
from orature.data.audio import load
from orature.data.corpus import Corpus
from orature.data.rows import utterance_of

SAMPLE = 100
_FRAME, _HOP = 512, 256
_ABSENT_DB = 60.0
"""A band is empty when its mean power lies this far below that of the strongest band."""
_SILENT_DB = 40.0
_NARROW_HZ = 4800.0
"""Resampled 8 kHz speech ends between 4.1 and 4.7 kHz (measured on digits_fsdd), 16 kHz speech above 6.5 kHz."""
_SHORT_S, _LONG_S = 0.5, 30.0
_CLIPPED = 0.001
_QUIET_DBFS = -45.0
_RATE_FACTOR = 4.0
_MIN_LETTERS = 8
_EXAMPLES = 5


@dataclass(slots=True)
class _Found:
    """Row ids by finding: how many there are, and the first few."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, row_id: str) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(row_id)

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "examples": self.examples}


def silence_share(samples: npt.NDArray[np.float32]) -> float:
    """Share of 32 ms frames more than 40 dB below the loudest one, in [0, 1]."""
    power = _frame_power(samples)
    return float(np.mean(power < power.max() * 10 ** (-_SILENT_DB / 10))) if power.size and power.max() > 0 else 1.0


def bandwidth_hz(samples: npt.NDArray[np.float32]) -> float:
    """Highest frequency at which the mean spectrum is above the strongest band less 60 dB; 0 for silence.

    `samples`: float32 mono at 16 kHz, shape (samples,). Speech that was once at 8 kHz gives 4100 to 4700.
    """
    if len(samples) < _FRAME:
        samples = np.pad(samples, (0, _FRAME - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP]
    spectrum = np.mean(np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)) ** 2, axis=0)
    bands = np.convolve(spectrum, np.ones(7) / 7, mode="same")
    if bands.max() <= 0:
        return 0.0
    present = np.nonzero(bands > bands.max() * 10 ** (-_ABSENT_DB / 10))[0]
    return float(present[-1]) * RATE_HZ / _FRAME


def _frame_power(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    whole = len(samples) // _FRAME * _FRAME
    if not whole:
        return np.array([np.mean(np.square(samples, dtype=np.float64))]) if len(samples) else np.zeros(0)
    framed = samples[:whole].reshape(-1, _FRAME)
    return np.asarray(np.mean(np.square(framed, dtype=np.float64), axis=1))


def read_quality(corpus: Corpus, sample: int = SAMPLE) -> dict[str, Any]:
    """Findings over a whole corpus, as JSON-able values; clips that cannot be read are counted, not fatal."""
    clipped, quiet, short, long = _Found(), _Found(), _Found(), _Found()
    rates: list[tuple[float, str]] = []
    chosen: list[Utterance] = []
    step = max(1, len(corpus) // max(1, sample))
    for number, cut in enumerate(corpus.cuts()):
        utterance = utterance_of(cut, str(corpus.root))
        noted = cut["custom"].get("quality", {})
        seconds = utterance.audio.duration_s
        for found, is_so in (
            (clipped, noted.get("clipped_share", 0.0) > _CLIPPED),
            (quiet, noted.get("rms_dbfs", 0.0) < _QUIET_DBFS),
            (short, seconds < _SHORT_S),
            (long, seconds > _LONG_S),
        ):
            if is_so:
                found.add(utterance.id)
        letters = sum(category(c)[0] in "LN" for c in utterance.text or "")
        if letters >= _MIN_LETTERS:
            rates.append((letters / seconds, utterance.id))
        if number % step == 0 and len(chosen) < sample:
            chosen.append(utterance)
    report: dict[str, Any] = {
        "clips": len(corpus),
        "clipped": clipped.to_json(),
        "quiet": quiet.to_json(),
        "shorter_than_half_a_second": short.to_json(),
        "longer_than_30_seconds": long.to_json(),
        "letters_per_second": _rates(rates),
        **_measured(chosen),
    }
    report["sentences"] = _sentences(report)
    return report


def _rates(rates: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Median speaking rate, and rows four times faster or slower: text and audio may not belong together."""
    if not rates:
        return {"median": None, "fast": _Found().to_json(), "slow": _Found().to_json()}
    middle = median(rate for rate, _ in rates)
    fast, slow = _Found(), _Found()
    for rate, row_id in sorted(rates, reverse=True):
        if rate > _RATE_FACTOR * middle:
            fast.add(row_id)
    for rate, row_id in sorted(rates):
        if rate < middle / _RATE_FACTOR:
            slow.add(row_id)
    return {"median": round(middle, 2), "fast": fast.to_json(), "slow": slow.to_json()}


def _measured(chosen: Sequence[Utterance]) -> dict[str, Any]:
    silence: list[float] = []
    edges: list[float] = []
    unreadable = _Found()
    for utterance in chosen:
        try:
            samples = load(utterance.audio.path, utterance.audio.start_s, utterance.audio.duration_s)
        except AudioError:
            unreadable.add(utterance.id)
            continue
        silence.append(silence_share(samples))
        edges.append(bandwidth_hz(samples))
    narrow = sum(edge < _NARROW_HZ for edge in edges)
    return {
        "measured": len(edges),
        "unreadable": unreadable.to_json(),
        "silence_share": round(median(silence), 3) if silence else None,
        "bandwidth": {
            "median_hz": round(median(edges)) if edges else None,
            "narrow_share": round(narrow / len(edges), 3) if edges else None,
        },
    }


def _sentences(report: dict[str, Any]) -> list[str]:
    said = []
    rates, band = report["letters_per_second"], report["bandwidth"]
    for name, words in (
        ("unreadable", "cannot be read any more"),
        ("clipped", "are clipped"),
        ("quiet", f"are quieter than {_QUIET_DBFS:.0f} dBFS"),
        ("shorter_than_half_a_second", "are shorter than 0.5 s"),
        ("longer_than_30_seconds", "are longer than 30 s"),
    ):
        said.append((report[name], f"clips {words}"))
    said.append(
        (rates["fast"], f"clips hold over {_RATE_FACTOR:.0f} times as many letters a second as usual: wrong text?")
    )
    said.append((rates["slow"], f"clips hold under 1/{_RATE_FACTOR:.0f} of the usual letters a second: text missing?"))
    lines = [f"{found['count']} {words} ({', '.join(found['examples'])})" for found, words in said if found["count"]]
    if band["narrow_share"]:
        lines.append(
            f"{100 * band['narrow_share']:.0f} % of {report['measured']} measured clips hold nothing above 4 kHz "
            "(telephone or 8 kHz speech): a recogniser made of them expects such sound"
        )
    if report["silence_share"] is not None and report["silence_share"] > 0.5:
        lines.append(f"half of the clips are silent for more than {100 * report['silence_share']:.0f} % of their time")
    return lines
