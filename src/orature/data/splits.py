"""Which row goes into which split: pure planning over light rows, from a seed, without reading audio.

Example::

    plan = make_plan(rows, Options(strategy="auto"))
    plan.splits[0]        # "train", "dev", "test", "unlabelled", or None: in no split
    plan.drops            # {row number: reason} for rows that no split may hold
    plan.warnings         # what must be said aloud

A group (a speaker, or a sentence where speakers cannot be held apart) is never divided between train, dev and test.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from orature.core.errors import ConfigError, CorpusError

Strategy = Literal["auto", "given", "rebuild", "random"]
UNKNOWN_SPEAKER = ""
AS_GIVEN = "as given"
WASTE_BELOW = 0.5
"""Official splits waste data when their train holds less than this share of the labelled clips that it could hold."""
_FEW_SPEAKERS = 3
_LOSS = 0.5
_KEPT_PROMPTS = 0.2
SPEAKER_REASON = "speaker-in-dev-or-test"
PROMPT_REASON = "prompt-of-train-by-held-out-speaker"


@dataclass(frozen=True, slots=True)
class LightRow:
    """What planning needs of a row: `prompt` is the sentence key, "" for one-word sentences, which may recur."""

    id: str
    split: str | None
    speaker: str
    prompt: str
    seconds: float

    @property
    def labelled(self) -> bool:
        return self.split != "unlabelled"


@dataclass(frozen=True, slots=True)
class Options:
    """How splits are made; `folds` above 0 asks for fold number `fold` of a cross-validation."""

    strategy: Strategy = "auto"
    dev_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0
    folds: int = 0
    fold: int = 0


@dataclass(slots=True)
class Plan:
    """Splits by row number, dropped rows with their reason, which splits were made here, and what to say aloud."""

    strategy: str
    splits: list[str | None]
    unit: str = AS_GIVEN
    drops: dict[int, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    official: int = 0
    usable: int = 0

    def rows_of(self, split: str | None) -> list[int]:
        """Numbers of the rows in `split`, without dropped ones."""
        return [number for number, own in enumerate(self.splits) if own == split and number not in self.drops]


def make_plan(rows: Sequence[LightRow], options: Options) -> Plan:
    """Assigns every row; CorpusError where there is nothing to split, ConfigError for options that do not fit."""
    labelled = [number for number, row in enumerate(rows) if row.labelled]
    if not labelled:
        raise CorpusError(
            "no row has a transcript, so there is nothing to split", next_step="transcribe some clips first"
        )
    plan = Plan(options.strategy, [row.split for row in rows])
    plan.official = sum(row.split == "train" for row in rows)
    plan.usable = len(_usable(rows))
    if options.folds:
        _make_fold(plan, rows, labelled, options)
    else:
        plan.strategy = _choose(plan, rows, options)
        if plan.strategy == "random":
            _pool(plan, rows, labelled)
            _carve(plan, rows, "test", options.test_share, options.seed)
        elif plan.strategy == "rebuild":
            _rebuild(plan, rows)
        for missing, share in (("test", options.test_share), ("dev", options.dev_share)):
            if not plan.rows_of(missing):
                _carve(plan, rows, missing, share, options.seed)
        _thin_prompts(plan, rows, options.seed)
    _warn(plan, rows)
    return plan


def _choose(plan: Plan, rows: Sequence[LightRow], options: Options) -> str:
    given = {row.split for row in rows}
    if options.strategy == "auto":
        if not given & {"dev", "test"}:
            return "random"
        return "rebuild" if plan.official < WASTE_BELOW * plan.usable else "given"
    if options.strategy in ("given", "rebuild") and not given & {"dev", "test"}:
        raise ConfigError(
            f"strategy {options.strategy} keeps dev and test as they are, and the corpus has neither",
            next_step="use --strategy random",
        )
    return options.strategy


def _held_out(rows: Sequence[LightRow]) -> tuple[set[str], set[str]]:
    """Speakers and prompts of the given dev and test."""
    held = [row for row in rows if row.split in ("dev", "test")]
    return {row.speaker for row in held} - {UNKNOWN_SPEAKER}, {row.prompt for row in held} - {""}


def _usable(rows: Sequence[LightRow]) -> list[int]:
    """Rows that train could hold: labelled, not in dev or test, no speaker or sentence of theirs."""
    speakers, prompts = _held_out(rows)
    return [
        number
        for number, row in enumerate(rows)
        if row.split in (None, "train") and row.speaker not in speakers and row.prompt not in prompts
    ]


def _rebuild(plan: Plan, rows: Sequence[LightRow]) -> None:
    """Official dev and test stay; every other labelled clip without their speakers becomes train."""
    speakers, _ = _held_out(rows)
    for number, row in enumerate(rows):
        if row.split not in (None, "train"):
            continue
        plan.splits[number] = "train"
        if row.speaker in speakers:
            plan.drops[number] = SPEAKER_REASON
    plan.made.add("train")


def _pool(plan: Plan, rows: Sequence[LightRow], labelled: Iterable[int]) -> None:
    for number in labelled:
        plan.splits[number] = "train"
    plan.made |= {"train", "dev", "test"}


def _order(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _groups(plan: Plan, rows: Sequence[LightRow], numbers: Sequence[int], least: int) -> dict[str, list[int]]:
    """Rows that must stay together: by speaker with at least `least` of them, else by sentence, else by recording."""
    speakers = {rows[number].speaker for number in numbers} - {UNKNOWN_SPEAKER}
    by_speaker = len(speakers) >= least
    unit = "speaker" if by_speaker else "sentence" if any(rows[number].prompt for number in numbers) else "recording"
    plan.unit = unit if plan.unit in (AS_GIVEN, unit) else f"{plan.unit} and {unit}"
    if not by_speaker:
        known = f"{len(speakers)} known speaker{'s' if len(speakers) != 1 else ''}" if speakers else "no known speaker"
        _say(
            plan,
            f"too few speakers to hold any out ({known}): the made splits are disjoint by {unit} only, "
            "so scores tell nothing about speakers who were not heard in training",
        )
    groups: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        groups[_group(rows[number], by_speaker)].append(number)
    return groups


def _group(row: LightRow, by_speaker: bool) -> str:
    if by_speaker and row.speaker:
        return f"speaker {row.speaker}"
    return f"prompt {row.prompt}" if row.prompt else f"row {row.id}"


def _say(plan: Plan, sentence: str) -> None:
    if sentence not in plan.warnings:
        plan.warnings.append(sentence)


def _carve(plan: Plan, rows: Sequence[LightRow], split: str, share: float, seed: int) -> None:
    """Moves whole groups of train rows to `split` until it holds about `share` of all labelled seconds."""
    numbers = plan.rows_of("train")
    if not numbers or share == 0:
        return
    other = "dev" if split == "test" else "test"
    settled = bool(plan.rows_of(other)) and (other not in plan.made or plan.unit == "speaker")
    groups = _groups(plan, rows, numbers, _FEW_SPEAKERS - settled)
    if len(groups) < 2:
        _say(plan, f"there is too little to make a {split} split of")
        return
    total = sum(rows[n].seconds for n, own in enumerate(plan.splits) if own in ("train", "dev", "test"))
    seconds = {name: sum(rows[number].seconds for number in own) for name, own in groups.items()}
    chosen = _pick(seconds, share * total, lambda name: _order(seed, f"{split} {name}"))
    for name in chosen:
        for number in groups[name]:
            plan.splits[number] = split
    plan.made.add(split)


def _pick(seconds: dict[str, float], target_s: float, order: Callable[[str], bytes]) -> list[str]:
    """Groups in shuffled order that fit into `target_s` (a tenth over is allowed); the smallest if none fits."""
    chosen: list[str] = []
    filled = 0.0
    for name in sorted(seconds, key=order):
        if len(chosen) == len(seconds) - 1:
            break
        if filled + seconds[name] <= 1.1 * target_s:
            chosen.append(name)
            filled += seconds[name]
    return chosen or [min(seconds, key=lambda name: (seconds[name], order(name)))]


def _make_fold(plan: Plan, rows: Sequence[LightRow], labelled: Sequence[int], options: Options) -> None:
    """Fold k of K: part k is test, the next part dev, the others train; all labelled rows take part."""
    if options.folds < 3 or not 0 <= options.fold < options.folds:
        raise ConfigError(
            f"fold {options.fold} of {options.folds} cannot be made",
            next_step="take 3 folds or more (train, dev, test), and number them from 0",
        )
    _pool(plan, rows, labelled)
    plan.strategy = f"fold {options.fold} of {options.folds}"
    groups = _groups(plan, rows, labelled, options.folds)
    if len(groups) < options.folds:
        raise CorpusError(
            f"{len(groups)} groups cannot be dealt into {options.folds} folds", next_step="ask for fewer folds"
        )
    seconds = {name: sum(rows[number].seconds for number in own) for name, own in groups.items()}
    filled = [0.0] * options.folds
    for name in sorted(groups, key=lambda name: (-seconds[name], _order(options.seed, name))):
        part = filled.index(min(filled))
        filled[part] += seconds[name]
        role = {options.fold: "test", (options.fold + 1) % options.folds: "dev"}.get(part, "train")
        for number in groups[name]:
            plan.splits[number] = role


def _thin_prompts(plan: Plan, rows: Sequence[LightRow], seed: int) -> None:
    """Where all speakers read one list, dev and test keep a fifth of its sentences, so that train keeps the others."""
    fresh = [s for s in ("dev", "test") if s in plan.made]
    train = plan.rows_of("train")
    held = {rows[n].prompt for s in ("dev", "test") for n in plan.rows_of(s)} - {""}
    lost = sum(rows[number].prompt in held for number in train)
    if not fresh or lost <= _LOSS * len(train):
        return
    shared = held & {rows[number].prompt for number in train}
    kept = set(
        sorted(shared, key=lambda prompt: _order(seed, f"prompt {prompt}"))[: max(1, int(_KEPT_PROMPTS * len(shared)))]
    )
    dropped = 0
    for split in fresh:
        for number in plan.rows_of(split):
            if rows[number].prompt in shared - kept:
                plan.drops[number] = PROMPT_REASON
                dropped += 1
    _say(
        plan,
        f"all speakers read the same sentences: {' and '.join(fresh)} keep {len(kept)} of {len(shared)} shared ones "
        f"and give up {dropped} clips, so that train keeps the other sentences",
    )


def _warn(plan: Plan, rows: Sequence[LightRow]) -> None:
    labelled = [number for number, row in enumerate(rows) if row.labelled and number not in plan.drops]
    unknown = sum(rows[number].speaker == UNKNOWN_SPEAKER for number in labelled)
    if unknown:
        _say(
            plan,
            f"the speaker of {unknown} of {len(labelled)} labelled rows is unknown: "
            "that no speaker is in two splits cannot be verified",
        )
    voices = {s: {rows[n].speaker for n in plan.rows_of(s)} - {UNKNOWN_SPEAKER} for s in ("train", "dev", "test")}
    everyone = set().union(*voices.values())
    for one, other in (("train", "test"), ("train", "dev"), ("dev", "test")):
        both = sorted(voices[one] & voices[other])
        if len(everyone) == 1 and both:
            _say(plan, f"there is one speaker only ({both[0]}): scores tell nothing about other speakers")
        elif both and plan.unit in (AS_GIVEN, "speaker"):
            names = ", ".join(both[:5]) + (" ..." if len(both) > 5 else "")
            _say(plan, f"{len(both)} speaker{'s are' if len(both) > 1 else ' is'} in both {one} and {other}: {names}")
    for split in ("dev", "test"):
        if len(voices[split]) == 1 and len(everyone) > 1:
            _say(plan, f"{split} has one speaker only ({next(iter(voices[split]))}): its scores vary with the voice")
    for split in ("train", "dev", "test"):
        if not plan.rows_of(split):
            _say(plan, f"the {split} split is empty")
