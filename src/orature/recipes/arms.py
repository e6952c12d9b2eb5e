"""Arms of an experiment at equal compute: real speech only, and real with synthetic speech in several ratios.

Every arm gets the same updates of the same seconds in epochs of the same length, the same schedule and the same seed,
and no early stop. Its updates fall into two phases: the first on the arm's own mixture, the last on real speech only,
begun from the checkpoint of the first (of the real-only arm both are on real speech). The learning rate goes down to
where the last phase begins, so that both together are one schedule.

Example::

    budget = equal_budget(base.config, real_s=600.0)
    real = train_arm(run, base, budget, name="real", on=on)
    mixed = train_arm(run, base, budget, name="real + 2 x synthetic", pool=pool, ratio=2.0, on=on)
    best = min((real, mixed), key=lambda arm: rate(run, arm.dev, "cer"))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orature.core.errors import ConfigError, TrainingFailed
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.flow import Ref, Resources, Run
from orature.recipes.scoring import decode_and_score, score_of
from orature.stages.train import Train
from orature.train.config import PriorConfig, TrainConfig
from orature.train.mixing import MixConfig, origin_weights_for_ratio, shares_of_origins

Metric = Literal["cer", "wer"]
NEVER = 1_000_000
"""Evaluations without gain before an early stop: arms of equal compute have none."""
BATCHES_AN_EPOCH = 20
"""At least, so that the last, shorter batch of an epoch weighs little: arms then see the same seconds."""
LAST_PEAK, LAST_WARMUP = 0.3, 0.05
"""Of the peak learning rate: where the last phase begins; of its updates: its warm-up (the optimiser starts anew)."""
ALLOWED = 0.05
"""By how much the audio that two arms passed may differ: batches are filled unevenly."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The training of every arm: its first phase, and the last one on real speech (None: there is only one)."""

    first: TrainConfig
    last: TrainConfig | None

    @property
    def updates(self) -> int:
        return self.first.updates + (0 if self.last is None else self.last.updates)

    @property
    def hours(self) -> float:
        """Of audio at most: updates times their seconds."""
        return self.updates * self.first.batch_seconds * self.first.accumulate / 3600


@dataclass(frozen=True, slots=True)
class Arm:
    """A trained system with its score on dev; `ratio` is synthetic to real speech in the first phase."""

    name: str
    about: str
    model: Ref
    dev: Ref
    ratio: float = 0.0
    role: Literal["real", "synthetic", "merged", "loop"] = "synthetic"
    facts: Mapping[str, Any] | None = None
    """Updates, hours of audio and hours of each origin that were passed (None: not trained but merged)."""


def equal_budget(config: TrainConfig, *, real_s: float, last_share: float = 0.2) -> Budget:
    """Both phases of `config` for a corpus with `real_s` seconds of real speech; `last_share` of the updates come last.

    ConfigError where the updates are too few for two phases, or the mixing is already settled otherwise.
    """
    mix = config.mix
    if mix.origin_weights or mix.corpus_exponent != 1 or mix.language_exponent != 1:
        raise ConfigError(
            "the ratio of synthetic to real speech settles the mixing, and mix.* settles it too",
            next_step="leave mix.origin_weights, mix.corpus_exponent and mix.language_exponent out",
        )
    update_s = config.batch_seconds * config.accumulate
    mix = mix.model_copy(update={"epoch_s": mix.epoch_s or max(real_s, BATCHES_AN_EPOCH * update_s)})
    config = config.model_copy(update={"mix": mix, "patience": NEVER})
    if last_share == 0:
        return Budget(config, None)
    last = max(1, round(last_share * config.updates))
    first = config.updates - last
    if first < 1:
        raise ConfigError(
            f"{config.updates} updates are too few for two phases", next_step="give more updates, or last_share=0"
        )
    augment = config.augment
    begun = config.model_copy(
        update={
            "updates": first,
            "evaluate_every": min(config.evaluate_every, first),
            "final_lr_share": max(LAST_PEAK, config.final_lr_share),
            "freeze_encoder_updates": round(config.freeze_encoder_updates * first / config.updates),
            "augment": augment.model_copy(
                update={"masks_from_update": round(augment.masks_from_update * first / config.updates)}
            ),
        }
    )
    ended = config.model_copy(
        update={
            "updates": last,
            "evaluate_every": min(config.evaluate_every, max(1, -(-last // 5))),
            "peak_lr": config.peak_lr * LAST_PEAK,
            "final_lr_share": min(1.0, config.final_lr_share / LAST_PEAK),
            "warmup_share": LAST_WARMUP,
            "hold_share": 0.0,
            "head": "keep",
            "prior": PriorConfig(source="none"),
            "freeze_encoder_updates": 0,
            "overfit_clips": 0,
            "augment": augment.model_copy(update={"masks_from_update": 0}),
        }
    )
    return Budget(begun, ended)


def train_arm(
    run: Run,
    base: Train,
    budget: Budget,
    *,
    name: str,
    on: Resources,
    corpus_name: str = "",
    about: str = "",
    pool: Ref | None = None,
    ratio: float = 0.0,
) -> Arm:
    """Trains one arm and scores it on dev: real speech only (`base.corpus`), or `pool` with synthetic speech.

    Both corpora hold the same dev; test is not opened. Raises TrainingFailed and the other errors of its stages.
    """
    stages = arm_stages(run, base, budget, name=name, pool=pool, ratio=ratio)
    model = run.do(stages[0], on=on)
    made = [(stages[0], model)]
    if budget.last is not None:
        stage = last_stage(base, budget, model, name)
        model = run.do(stage, on=on)
        made.append((stage, model))
    dev = scored_on(run, base, model, split="dev", name=name, corpus_name=corpus_name, on=on)
    return Arm(name, about or name, model, dev, ratio, "real" if pool is None else "synthetic", passed(run, made))


def arm_stages(
    run: Run, base: Train, budget: Budget, *, name: str, pool: Ref | None = None, ratio: float = 0.0
) -> list[Train]:
    """The stage of the first phase (that of the last one needs its result, see `last_stage`)."""
    config, corpus = budget.first, base.corpus
    if pool is not None:
        seconds = seconds_by_origin(run, pool)
        synthetic_s = seconds.get("synthetic", 0.0)
        weights = origin_weights_for_ratio(sum(seconds.values()) - synthetic_s, synthetic_s, ratio)
        mix = config.mix.model_copy(update={"origin_weights": weights})
        config, corpus = config.model_copy(update={"mix": mix, "overfit_clips": 0}), pool
    return [base.model_copy(update={"corpus": corpus, "config": config, "model_name": f"{name} (first phase)"})]


def last_stage(base: Train, budget: Budget, model: Ref, name: str) -> Train:
    """The last phase, on real speech only, begun from `model`."""
    return base.model_copy(update={"config": budget.last, "start": model, "model_name": name})


def scored_on(
    run: Run, base: Train, model: Ref, *, split: str, name: str, corpus_name: str, on: Resources, language: str = ""
) -> Ref:
    """`model` decoded by best path (or greedily) and scored on one split of the real corpus."""
    _, scored = decode_and_score(
        run,
        model=model,
        corpus=base.corpus,
        split=split,
        name=name,
        corpus_name=corpus_name,
        language=language or base.language,
        on=on,
    )
    return scored


def sweep(
    run: Run,
    base: Train,
    budget: Budget,
    pool: Ref,
    ratios: Sequence[float],
    *,
    on: Resources,
    corpus_name: str = "",
    label: str = "",
) -> tuple[list[Arm], dict[str, str]]:
    """An arm a ratio, and why those that could not be trained failed; only dev is looked at."""
    arms: list[Arm] = []
    failed: dict[str, str] = {}
    for ratio in ratios:
        name = f"real + {ratio:g} x synthetic{label}"
        try:
            arm = train_arm(run, base, budget, name=name, on=on, corpus_name=corpus_name, pool=pool, ratio=ratio)
        except TrainingFailed as error:
            failed[f"{ratio:g}"] = error.what
            say(f"{name}: {error.what}; this ratio is left out")
            continue
        say(f"{name}: {told(run, arm.dev)} on dev")
        arms.append(arm)
    return arms, failed


def best_on_dev(run: Run, arms: Sequence[Arm], metric: Metric) -> Arm:
    """The arm with the lowest error on dev; of equal ones that with less synthetic speech."""
    other: Metric = "wer" if metric == "cer" else "cer"
    return min(arms, key=lambda arm: (rate(run, arm.dev, metric), rate(run, arm.dev, other), arm.ratio))


def rate(run: Run, scored: Ref, metric: str) -> float:
    """The error rate of a scored split."""
    return float(score_of(run, scored)[metric]["value"])


def told(run: Run, scored: Ref) -> str:
    """ "CER 12.3 %, WER 45.6 %" """
    return f"CER {100 * rate(run, scored, 'cer'):.1f} %, WER {100 * rate(run, scored, 'wer'):.1f} %"


def seconds_by_origin(run: Run, corpus: Ref) -> dict[str, float]:
    """Seconds of the train split by origin."""
    seconds: dict[str, float] = {}
    for row in Corpus.open(run.path_of(corpus)).split("train"):
        seconds[row.origin] = seconds.get(row.origin, 0.0) + row.audio.duration_s
    return seconds


def passed(run: Run, made: Sequence[tuple[Train, Ref]]) -> dict[str, Any]:
    """What the phases of an arm went through: updates, hours of audio, and of it the hours of each origin.

    The hours of origins follow from the shares with which they are drawn, give or take an utterance an epoch.
    """
    hours: dict[str, float] = {}
    updates, audio_h = 0, 0.0
    for stage, ref in made:
        facts = json.loads((run.path_of(ref) / "training.json").read_text(encoding="utf-8"))
        updates += int(facts["updates"])
        audio_h += float(facts["audio_hours_seen"])
        shares = shares_of_origins(facts["train_hours_by_origin"], MixConfig.model_validate(stage.config.mix))
        for origin, share in shares.items():
            hours[origin] = hours.get(origin, 0.0) + share * float(facts["audio_hours_seen"])
    seen = {origin: round(value, 4) for origin, value in sorted(hours.items()) if value > 0}
    return {"updates": updates, "audio_hours": round(audio_h, 4), "hours_seen": seen}


def unequal(arms: Sequence[Arm]) -> list[str]:
    """Sentences on arms that did not get the compute of the first one; [] where all are equal."""
    first, *others = [arm for arm in arms if arm.facts is not None]
    found = []
    for arm in others:
        mine, theirs = arm.facts or {}, first.facts or {}
        if mine["updates"] != theirs["updates"]:
            found.append(f"{arm.name} took {mine['updates']} updates, {first.name} {theirs['updates']}")
        if abs(mine["audio_hours"] - theirs["audio_hours"]) > ALLOWED * theirs["audio_hours"]:
            found.append(
                f"{arm.name} passed {mine['audio_hours']:.3f} h of audio, {first.name} {theirs['audio_hours']:.3f} h"
            )
    return found
