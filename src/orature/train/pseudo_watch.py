"""The watch over pseudo-labels: what a collapse looks like, and the way back.

Known triggers are audio much longer than what the model was trained on, labels that change at every step, a learning
rate too high for them, and masks that come too early; what they lead to is labels of blanks alone, or of far too many
characters, while the loss on labelled speech rises (Likhomanenko et al. 2020, arXiv 2010.11524; Lugosch et al. 2022,
arXiv 2111.00161).

Example::

    because = collapsed(row, warm, progressed, WatchConfig(), "cer", report)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein
from safetensors.torch import load_file
from torch import Tensor

from orature.core.errors import TrainingFailed
from orature.core.progress import say
from orature.train import checkpoint
from orature.train.checkpoint import Progressed
from orature.train.dev import DevReport
from orature.train.hearing import Heard
from orature.train.pseudo_cache import PseudoState
from orature.train.pseudo_config import WatchConfig

_LEAST_WORSE = 0.05
MOSTLY = 0.5
"""Labels of which more are empty say nothing that later ones could be held against."""
_REMEDIES = (
    "train longer before (--set tune.updates=..., or --set pseudo.warmup_updates=... without tune), lower the learning "
    "rate (--set slim.peak_lr=...), cut up long recordings for labelling (--set pseudo.crop_updates=...), or take "
    "another teacher (--set pseudo.teacher=ema)"
)


def distance(before: Sequence[str], heard: Sequence[Heard]) -> float:
    """Character edits from earlier labels to these, of the characters of the longer ones (0 to 1)."""
    edits = sum(Levenshtein.distance(one, two.text) for one, two in zip(before, heard, strict=True))
    longest = sum(max(len(one), len(two.text)) for one, two in zip(before, heard, strict=True))
    return edits / longest if longest else 0.0


def collapsed(
    row: Mapping[str, Any],
    warm: Mapping[str, float],
    progressed: Progressed,
    watch: WatchConfig,
    select: str,
    report: DevReport,
) -> str | None:
    """Why the labels have collapsed, in a few words; None: they have not. `row` are the figures of an evaluation."""
    if not warm:
        return None
    found: list[str] = []
    empty = row.get("label_empty_share", 0.0) - warm["empty_share"]
    if watch.empty_share is not None and empty > watch.empty_share:
        found.append(f"{100 * row['label_empty_share']:.0f} % of the labels are empty")
    rate, usual = row.get("label_characters_per_s"), warm["characters_per_s"]
    if watch.length_ratio is not None and rate is not None and usual > 0:
        low, high = watch.length_ratio
        if not low <= rate / usual <= high:
            found.append(f"labels have {rate:.1f} characters a second, {usual:.1f} after the warm-up")
    apart = row.get("probe_distance", 0.0) if warm["empty_share"] <= MOSTLY else 0.0
    if watch.probe_distance is not None and apart > watch.probe_distance:
        found.append(f"{100 * apart:.0f} % of the characters of fixed utterances are others than after the warm-up")
    loss, before = row.get("labelled_loss"), warm["labelled_loss"]
    if watch.labelled_loss is not None and loss is not None and before > 0 and loss > watch.labelled_loss * before:
        found.append(f"the loss on labelled speech is {loss:.2f}, {before:.2f} after the warm-up")
    best = min((one.figure for one in progressed.best), default=0.0)
    figure = report.selection(select)
    if watch.dev_loss is not None and figure > max(watch.dev_loss * best, best + _LEAST_WORSE):
        found.append(f"dev is at {100 * figure:.1f} %, it was at {100 * best:.1f} %")
    return "; ".join(found) or None


def roll_back(
    state: Path, progressed: Progressed, pseudo: PseudoState, watch: WatchConfig, because: str
) -> dict[str, Tensor]:
    """The weights of the best checkpoint that did not collapse, and the run made gentler.

    Dev alone does not say which: labels collapse on untranscribed speech first. Where no other checkpoint is held, the
    best one is taken all the same. TrainingFailed after too many collapses.
    """
    pseudo.rollbacks += 1
    pseudo.rolled_back_at.append(progressed.update)
    if pseudo.rollbacks > watch.rollbacks:
        raise TrainingFailed(
            f"pseudo-labels collapsed {pseudo.rollbacks} times, now at update {progressed.update}: {because}",
            next_step=_REMEDIES,
        )
    pseudo.rate *= watch.slower
    pseudo.crop = True
    held = [one.update for one in progressed.best]
    best = next((update for update in held if update not in pseudo.rolled_back_at), held[0])
    say(
        f"train: pseudo-labels collapsed at update {progressed.update} ({because}); back to the weights of update "
        f"{best}, with an empty cache, {pseudo.rate:g} times the learning rate, and recordings cut up for labelling"
    )
    weights: dict[str, Tensor] = load_file(checkpoint.candidate_path(state, best))
    return weights
