"""How well a judge understands synthetic speech against real speech of the same language: Norm_I and all its parts.

Norm_I = exp((E_real - E_syn) / E_real), E being the judge's error rate (words or characters) on real and on synthetic
speech (speech back-translation, arXiv 2505.16972): 1 is as intelligible as real speech, above 1 easier than it, near 0
hardly understood. A judge that errs on less than 1 % of real speech is taken to err on 1 % where it divides.

Where both sides read the same sentences the comparison is over those alone and the intervals are drawn over pairs:
by speaker where each sentence was read by one of at least five people, else by sentence. Otherwise each side is drawn
on its own, by speaker or utterance, as in `evaluate.statistics`.

Example::

    found = judge_rows(rows_of_people, rows_of_a_voice, normaliser="orature-basic@1")
    found["norm_i"], found["wer_real"]["value"], found["wer_syn"]["value"], found["probe"]["paired"]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from orature.core.errors import BadInput, ConfigError
from orature.core.identity import digest_json
from orature.evaluate.rows import Row
from orature.evaluate.score import Drawing, Scored, align_rows, rates
from orature.evaluate.statistics import (
    MIN_SPEAKERS,
    MIN_UNITS,
    By,
    Floats,
    drawn_rates,
    expanded_interval,
    resampling_unit,
)

Metric = Literal["wer", "cer"]
METRICS: tuple[Metric, ...] = ("wer", "cer")
FLOOR = 0.01
"""The smallest error rate on real speech that is divided by."""
SHARED = 0.8
"""Sides are paired when they share this part of the sentences of the one that has fewer."""
MIN_PAIRED = 20
"""With fewer sentences in common the sides are not paired (ten digits are no sample of sentences)."""
LONG_WORDS = 15.0
"""Characters a word from which on a text is taken to be written without spaces."""
HIGH_ERROR = 0.5
"""With more errors than this on real speech the judge says little by words."""
MOST_GROUPS = 60


def norm_i(real: float, synthetic: float, floor: float = FLOOR) -> float:
    """exp((real - synthetic) / max(real, floor)) of two error rates (fractions). ValueError below zero."""
    if real < 0 or synthetic < 0 or floor <= 0:
        raise ValueError("error rates are not negative, and the floor is above 0")
    return math.exp((real - synthetic) / max(real, floor))


@dataclass(frozen=True, slots=True)
class Probe:
    """The rows that are compared, by id, whether they are paired, and how many had no counterpart.

    `texts` are the normalised sentences of both sides; where paired, those in common.
    """

    real: list[Scored]
    synthetic: list[Scored]
    paired: bool
    texts: tuple[frozenset[str], frozenset[str]]
    left_out: tuple[int, int] = (0, 0)

    def facts(self) -> dict[str, Any]:
        """What the judgement says of its probe; the fingerprint is over the sentences alone."""
        real, synthetic = (sorted(texts) for texts in self.texts)
        return {
            "paired": self.paired,
            "sentences_real": len(real),
            "sentences_syn": len(synthetic),
            "shared": len(self.texts[0] & self.texts[1]),
            "fingerprint": digest_json([real, synthetic]),
            "left_out_real": self.left_out[0],
            "left_out_syn": self.left_out[1],
        }


def probe_of(real: Sequence[Scored], synthetic: Sequence[Scored]) -> Probe:
    """Pairs both sides by their sentences where they share enough of them, else keeps all rows of both."""
    said_real = {item.row.id: text for text, item in _keyed(real)}
    said_synthetic = {item.row.id: text for text, item in _keyed(synthetic)}
    texts = frozenset(said_real.values()), frozenset(said_synthetic.values())
    shared = texts[0] & texts[1]
    if len(shared) < max(MIN_PAIRED, SHARED * min(map(len, texts))):
        return Probe(list(real), list(synthetic), False, texts)
    kept_real = [item for item in real if said_real[item.row.id] in shared]
    kept_synthetic = [item for item in synthetic if said_synthetic[item.row.id] in shared]
    left_out = len(real) - len(kept_real), len(synthetic) - len(kept_synthetic)
    return Probe(kept_real, kept_synthetic, True, (shared, shared), left_out)


def judge_rows(
    real: Sequence[Row],
    synthetic: Sequence[Row],
    *,
    normaliser: str,
    metric: str = "auto",
    floor: float = FLOOR,
    drawing: Drawing | None = None,
) -> dict[str, Any]:
    """Norm_I with its interval, by words and by characters, and every part of it; BadInput where a side is empty.

    `metric` "auto" takes words, but characters where the text is written without spaces or where the judge gets more
    than half of the words of real speech wrong. Refused recordings count as missed altogether.
    """
    if metric not in (*METRICS, "auto"):
        raise ConfigError(f"there is no metric {metric!r}", next_step="choose wer, cer or auto")
    sides = (_aligned(rows, normaliser, name) for name, rows in (("real", real), ("synthetic", synthetic)))
    return _judged(probe_of(*sides), metric, floor, drawing or Drawing()) | {"normaliser": normaliser}


def _judged(probe: Probe, metric: str, floor: float, drawing: Drawing) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, scored in (("real", probe.real), ("syn", probe.synthetic)):
        both = rates(scored, drawing)
        found |= {f"wer_{name}": both["wer"], f"cer_{name}": both["cer"], f"size_{name}": _size(scored)}
    chosen, why = _metric(metric, found)
    by_metric = {unit: norm_i_interval(probe, unit, drawing, floor) for unit in METRICS}
    return {
        "norm_i": by_metric[chosen],
        "norm_i_by_metric": by_metric,
        "metric": chosen,
        "metric_because": why,
        "floor": {"value": floor, "used": found[f"{chosen}_real"]["value"] < floor},
        **found,
        "probe": probe.facts(),
        "intervals": {"resamples": drawing.resamples, "seed": drawing.seed},
    }


def judge_groups(
    real: Sequence[Row],
    synthetic: Sequence[Row],
    group_of: Mapping[str, str],
    *,
    normaliser: str,
    metric: Metric,
    floor: float = FLOOR,
    drawing: Drawing | None = None,
) -> list[dict[str, Any]]:
    """Norm_I of each voice or speaker of the synthetic side against the same real side, the largest groups first.

    `group_of` names the group of a synthetic row by its id; at most `MOST_GROUPS` are judged.
    """
    aligned = _aligned(real, normaliser, "real")
    members: dict[str, list[Scored]] = {}
    for item in _aligned(synthetic, normaliser, "synthetic"):
        members.setdefault(group_of.get(item.row.id, ""), []).append(item)
    ordered = sorted(members.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    found = []
    for name, rows in ordered[:MOST_GROUPS]:
        one = _judged(probe_of(aligned, rows), metric, floor, drawing or Drawing())
        size, wer, cer = one["size_syn"], one["wer_syn"], one["cer_syn"]
        paired = one["probe"]["paired"]
        found.append(
            {"name": name, "norm_i": one["norm_i"], "wer_syn": wer, "cer_syn": cer, "size_syn": size, "paired": paired}
        )
    return found


def norm_i_interval(probe: Probe, metric: Metric, drawing: Drawing, floor: float = FLOOR) -> dict[str, Any]:
    """Value, 95 % interval (None where there is too little to draw from) and what was drawn, for one metric."""
    real, synthetic = ([_counts(item, metric) for item in side] for side in (probe.real, probe.synthetic))
    rate_real, rate_synthetic = (sum(e for e, _ in side) / sum(n for _, n in side) for side in (real, synthetic))
    value = norm_i(rate_real, rate_synthetic, floor)
    drawn, units, by = norm_i_draws(probe, metric, drawing, floor)
    if units < MIN_UNITS:
        return {"value": round(value, 6), "low": None, "high": None, "by": by}
    low, high = expanded_interval(drawn, units)
    return {"value": round(value, 6), "low": round(min(low, value), 6), "high": round(max(high, value), 6), "by": by}


def norm_i_draws(probe: Probe, metric: Metric, drawing: Drawing, floor: float = FLOOR) -> tuple[Floats, int, str]:
    """Norm_I of each resample, shape (resamples,), the number of units drawn from (of the poorer side), and of what."""
    if probe.paired:
        sums = _by_sentence(probe, metric)
        speakers, unit = _pair_units(probe, drawing.by)
        owners = [speakers.get(text) for text in sums]
        by: By = "speaker" if unit == "speaker" else "utterance"
        real, units = _drawn([(one[0], one[1]) for one in sums.values()], owners, by, drawing, 0)
        made, _ = _drawn([(one[2], one[3]) for one in sums.values()], owners, by, drawing, 0)
        return _draws(real, made, floor), units, unit
    found, counts, kinds = [], [], []
    for number, side in enumerate((probe.real, probe.synthetic)):
        owners = [item.row.speaker for item in side]
        by = resampling_unit(owners, drawing.by)
        own, units = _drawn([_counts(item, metric) for item in side], owners, by, drawing, number)
        found.append(own)
        counts.append(units)
        kinds.append(by)
    kind = kinds[0] if kinds[0] == kinds[1] else f"{kinds[0]} (real), {kinds[1]} (synthetic)"
    return _draws(found[0], found[1], floor), min(counts), kind


def _drawn(
    counts: Sequence[tuple[int, int]], owners: Sequence[str | None], by: By, drawing: Drawing, offset: int
) -> tuple[Floats, int]:
    """Error rates of the resamples of one side; equal offsets draw the same units."""
    errors, lengths = [error for error, _ in counts], [length for _, length in counts]
    seed = drawing.seed + offset
    return drawn_rates(errors, lengths, owners, by=by, resamples=drawing.resamples, seed=seed)


def _draws(real: Floats, synthetic: Floats, floor: float) -> Floats:
    drawn: Floats = np.exp((real - synthetic) / np.maximum(real, floor))
    return drawn


def _pair_units(probe: Probe, by: str) -> tuple[dict[str, str | None], str]:
    """Who read each sentence on the real side, and whether pairs are drawn by speaker or by sentence."""
    readers: dict[str, set[str | None]] = {}
    for text, item in _keyed(probe.real):
        readers.setdefault(text, set()).add(item.row.speaker)
    owners = {text: next(iter(own)) if len(own) == 1 else None for text, own in readers.items()}
    whole = all(owners.values()) and len(set(owners.values())) >= MIN_SPEAKERS
    if by not in ("auto", "speaker", "utterance"):
        raise ConfigError(f"intervals cannot be drawn by {by!r}", next_step="choose auto, speaker or utterance")
    return owners, "speaker" if whole and by != "utterance" else "sentence"


def _by_sentence(probe: Probe, metric: Metric) -> dict[str, list[int]]:
    """Errors and length of both sides for each sentence, in order of the sentences."""
    sums: dict[str, list[int]] = {text: [0, 0, 0, 0] for text, _ in sorted(_keyed(probe.real), key=lambda one: one[0])}
    for place, side in ((0, probe.real), (2, probe.synthetic)):
        for text, item in _keyed(side):
            errors, length = _counts(item, metric)
            sums[text][place] += errors
            sums[text][place + 1] += length
    return sums


def _keyed(side: Sequence[Scored]) -> list[tuple[str, Scored]]:
    """Rows with their sentence as it was scored."""
    return [(" ".join(edit.said for edit in item.words.edits if edit.kind != "insert"), item) for item in side]


def _counts(item: Scored, metric: Metric) -> tuple[int, int]:
    counts = item.words.counts if metric == "wer" else item.characters.counts
    return counts.errors, counts.reference


def _aligned(rows: Sequence[Row], normaliser: str, side: str) -> list[Scored]:
    scored, refused = align_rows(sorted(rows, key=lambda row: row.id), normaliser)
    if not scored:
        why = ", ".join(f"{times} {reason}" for reason, times in sorted(refused.items())) or "there are no rows"
        raise BadInput(
            f"the {side} side has no utterance with a transcript that can be scored ({why})",
            next_step="choose a split with transcripts on both sides",
        )
    return scored


def _size(scored: Sequence[Scored]) -> dict[str, int]:
    return {
        "utterances": len(scored),
        "words": sum(item.words.counts.reference for item in scored),
        "characters": sum(item.characters.counts.reference for item in scored),
        "speakers": len({item.row.speaker for item in scored if item.row.speaker}),
        "refused": sum(item.row.refusal is not None for item in scored),
    }


def _metric(wanted: str, found: Mapping[str, Any]) -> tuple[Metric, str]:
    """The metric that decides, and why."""
    if wanted != "auto":
        return ("cer" if wanted == "cer" else "wer"), "it was asked for"
    size = found["size_real"]
    if size["characters"] > LONG_WORDS * size["words"]:
        return "cer", "this text is written with few spaces"
    if found["wer_real"]["value"] > HIGH_ERROR:
        return "cer", f"the judge gets {100 * found['wer_real']['value']:.0f} % of the words of real speech wrong"
    return "wer", "words are what the measure was defined with"


def lowest_possible(real: float, floor: float = FLOOR) -> float:
    """Norm_I of speech of which every word (or character) is missed: what a judge with this error can still show."""
    return norm_i(real, max(1.0, real), floor)
