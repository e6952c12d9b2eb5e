"""Arms of an experiment side by side, and in plain words whether synthetic speech helped and, if not, why it may be.

Example::

    row = against(open_scored(real), open_scored(mixed))       # paired difference, mixed minus real
    said = verdict(row, metric="cer", evidence=Evidence(norm_i=0.02, threshold=0.1))
    print(said.helped, " ".join(said.sentences))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orature.evaluate.compare import compare
from orature.evaluate.folder import ScoredFolder
from orature.evaluate.score import Drawing

BETTER, WORSE, ALIKE, UNKNOWN = "better", "worse", "not distinguishable", "too few to say"
_SAID = {"B is better": BETTER, "A is better": WORSE}
_HARD, _EASY = 0.37, 1.05
"""Norm_I where the judge errs twice as much on the voice as on people; and where it errs clearly less."""
_MANY_REJECTED, _FEW_SENTENCES = 0.2, 200


def against(baseline: ScoredFolder, arm: ScoredFolder) -> dict[str, Any]:
    """For WER and CER: the arm's rate minus the baseline's on the same utterances, with interval, p and verdict.

    `relative` is the difference as a share of the baseline's rate (None where that is 0). BadInput for unlike sets.
    """
    intervals = baseline.score.get("intervals") or {}
    drawing = Drawing(resamples=intervals["resamples"], seed=intervals["seed"]) if intervals else Drawing()
    found = compare(baseline, arm, drawing)
    rows: dict[str, Any] = {}
    for unit in ("wer", "cer"):
        difference, before = found[unit], found["a"][unit]
        verdict = UNKNOWN if difference["low"] is None else _SAID.get(difference["verdict"], ALIKE)
        relative = round(difference["delta"] / before, 4) if before > 0 else None
        kept = {name: difference[name] for name in ("delta", "low", "high", "p", "by") if name in difference}
        rows[unit] = kept | {"verdict": verdict, "relative": relative}
    return rows


@dataclass(frozen=True, slots=True)
class Evidence:
    """What may explain why synthetic speech helps or not; None where it is not known."""

    norm_i: float | None = None
    threshold: float | None = None
    metric: str = "wer"
    real_rate: float | None = None
    synthetic_rate: float | None = None
    fallback: str = ""
    """The language that the voice reads with, where it lacks the one of the corpus."""
    narrow: Sequence[str] = ()
    """What varies less than half as much in the voice as in people, in words (`diversity.narrower`)."""
    reject_share: float = 0.0
    sentences: int | None = None
    ratio: float | None = None
    """The best of the ratios on dev."""
    ratios: Sequence[float] = ()
    base_rate: float | None = None
    """Error of the real-only arm on dev."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the arm helped (None: cannot be told), in sentences."""

    helped: bool | None
    sentences: tuple[str, ...]


def verdict(difference: Mapping[str, Any] | None, *, metric: str, evidence: Evidence, why_none: str = "") -> Verdict:
    """`difference`: what `against` found for the arm with synthetic speech (None: not trained, for `why_none`)."""
    if difference is None:
        lead = f"No arm with synthetic speech was trained: {why_none or 'there was none to train on'}."
        return Verdict(None, (lead, *reasons(evidence)))
    one = difference[metric]
    reach = "" if one["low"] is None else f" (95 % interval {100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
    change = f"{metric.upper()} on test changes by {100 * one['delta']:+.1f} points{reach}"
    if one["relative"] is not None:
        change += f", {100 * one['relative']:+.0f} % relative to real speech alone"
    if one["verdict"] == BETTER:
        return Verdict(True, (f"Synthetic speech helped: {change}.",))
    why = reasons(evidence) or (
        "Nothing that was measured explains it: try another voice, or text nearer to the test.",
    )
    if one["verdict"] == WORSE:
        return Verdict(False, (f"Synthetic speech did harm: {change}.", *why))
    if one["verdict"] == UNKNOWN:
        return Verdict(None, (f"The test is too small to tell whether synthetic speech helped: {change}.", *why))
    return Verdict(False, (f"Synthetic speech made no difference that can be told from chance: {change}.", *why))


def reasons(evidence: Evidence) -> tuple[str, ...]:
    """Sentences on what may stand in the way, the likeliest first."""
    return tuple([*_intelligibility(evidence), *_ratio(evidence), *_mismatch(evidence)])


def _intelligibility(evidence: Evidence) -> list[str]:
    found: list[str] = []
    norm_i = evidence.norm_i
    if norm_i is None:
        return found
    errs = ""
    if evidence.real_rate is not None and evidence.synthetic_rate is not None:
        errs = (
            f" (the judge's {evidence.metric.upper()} is {100 * evidence.synthetic_rate:.1f} % on the voice, "
            f"{100 * evidence.real_rate:.1f} % on people reading the same)"
        )
    if evidence.threshold is not None and norm_i < evidence.threshold:
        found.append(
            f"Norm_I is {norm_i:.2f}, below the {evidence.threshold:.2f} from which synthetic speech was measured to "
            f"help here{errs}: the voice may not be intelligible enough."
        )
    elif evidence.threshold is None and norm_i < _HARD:
        found.append(f"Norm_I is only {norm_i:.2f}{errs}: the voice may be too hard to understand.")
    elif norm_i > _EASY:
        found.append(
            f"Norm_I is {norm_i:.2f}, above 1{errs}: the voice is easier than people, so there may be little to learn "
            "from it."
        )
    return found


def _ratio(evidence: Evidence) -> list[str]:
    if evidence.ratio is None or len(evidence.ratios) < 2:
        return []
    if evidence.ratio == min(evidence.ratios):
        return [
            f"Of the ratios the smallest ({evidence.ratio:g}) was best on dev: more synthetic speech did harm, so "
            "it may differ too much from the real recordings; an even smaller ratio may do better."
        ]
    if evidence.ratio == max(evidence.ratios):
        return [f"Of the ratios the largest ({evidence.ratio:g}) was best on dev: more may do better still."]
    return []


def _mismatch(evidence: Evidence) -> list[str]:
    found = []
    if evidence.fallback:
        found.append(
            f"The voice does not know the language and reads it with {evidence.fallback!r}: its sounds may be wrong."
        )
    if evidence.narrow:
        found.append(f"The voice varies less than half as much as people: {'; '.join(evidence.narrow)}.")
    if evidence.reject_share > _MANY_REJECTED:
        found.append(
            f"{100 * evidence.reject_share:.0f} % of the synthetic utterances were rejected, and with them their words."
        )
    if evidence.sentences is not None and evidence.sentences < _FEW_SENTENCES:
        found.append(f"The text has only {evidence.sentences} sentences.")
    return found
