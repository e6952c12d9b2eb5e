"""What the training of a voice works on: rows of train and dev under the embargo, and who speaks in them.

Example::

    material = gather_voice(corpus, [], config)
    train, dev, rejects = prepared_rows(material, made, config)
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orature.core.errors import ConfigError, CorpusError
from orature.core.progress import Progress
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus
from orature.text.leaks import EmbargoIndex, refuse_breach
from orature.train.voice.architecture import MadeVoice
from orature.train.voice.config import VoiceConfig
from orature.train.voice.data import OTHER_SPEAKER, VoiceExample, prepare, texts_of

HELD_OUT = "held-out"
_MOST_HELD_OUT = 0.1
_SPARE = 3
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VoiceMaterial:
    """Rows of train and dev; `speakers` in the order of their numbers, ("",) for one voice without a name."""

    train: list[Utterance]
    dev: list[Utterance]
    texts: list[str]
    speakers: tuple[str, ...]
    languages: list[str]
    licences: list[str]


@dataclass(frozen=True, slots=True)
class VoiceRows:
    """Examples of train and dev, why rows of train are left out, and where the dev rows come from."""

    train: list[VoiceExample]
    dev: list[VoiceExample]
    rejects: list[Reject]
    dev_from: str


def unasked(rejected: Mapping[str, int], config: VoiceConfig) -> int:
    """How many of the rows that are left out were left out on purpose: held out for dev, or of speakers not wanted."""
    return rejected.get(HELD_OUT, 0) + (rejected.get(OTHER_SPEAKER, 0) if config.only_speaker else 0)


def screened(corpus: Corpus, embargo: Sequence[Corpus]) -> tuple[list[Utterance], list[Utterance]]:
    """Rows of train and of dev; CorpusError without a train split, LeakFound where it breaches the embargo (law 5)."""
    train, dev = list(corpus.split("train")), list(corpus.split("dev"))
    if not train:
        raise CorpusError(
            "the corpus has no train utterances",
            where=str(corpus.root),
            next_step="make splits with `orature split CORPUS --to NEW`",
        )
    held = [row for one in (corpus, *embargo) for row in one.split("dev")]
    tests = [row for one in (corpus, *embargo) for row in one.split("test")]
    refuse_breach(train, EmbargoIndex.of(held, tests), where=str(corpus.root))
    return train, dev


def gather_voice(corpus: Corpus, embargo: Sequence[Corpus], config: VoiceConfig) -> VoiceMaterial:
    """The rows; CorpusError without a train split, LeakFound where it breaches the embargo of dev and test (law 5)."""
    train, dev = screened(corpus, embargo)
    speakers = _speakers(train, config)
    spoken = [row for row in train if not config.only_speaker or row.speaker == config.only_speaker]
    return VoiceMaterial(
        train=train,
        dev=dev,
        texts=texts_of(spoken, config),
        speakers=speakers,
        languages=sorted({row.language for row in spoken}),
        licences=sorted({row.licence for row in spoken if row.licence}),
    )


def _speakers(train: Sequence[Utterance], config: VoiceConfig) -> tuple[str, ...]:
    names = sorted({row.speaker for row in train if row.speaker})
    if config.only_speaker:
        if config.only_speaker not in names:
            near = difflib.get_close_matches(config.only_speaker, names, n=1, cutoff=0.0)
            raise ConfigError(
                f"nobody in train is called {config.only_speaker!r}",
                next_step=f"did you mean {near[0]!r}?" if near else "leave only_speaker out: no speaker is named there",
            )
        return (config.only_speaker,)
    if config.speakers == "one":
        return ("",)
    if config.speakers == "several" and len(names) < 2:
        raise ConfigError(
            f"speakers=several, but train names {len(names)} speakers", next_step="leave it out, or name the speakers"
        )
    nameless = any(not row.speaker for row in train)
    return tuple(names) if names and not (nameless and len(names) == 1) else ("",)


def prepared_rows(
    material: VoiceMaterial, made: MadeVoice, config: VoiceConfig, progress: Progress | None = None
) -> VoiceRows:
    """Examples: dev rows of speakers that the voice has; where there are none, rows held out of train.

    The rows that are held out are counted among the rejects of train as `held-out`.
    """
    allowed = material.speakers
    train = prepare(material.train, made.text, made.speakers, made.shape, config, progress, allowed)
    candidates = dev_candidates(material, config)
    dev = prepare(candidates, made.text, made.speakers, made.shape, config, progress, allowed)
    if dev.examples:
        return VoiceRows(train.examples, spread(dev.examples, config.dev_rows), train.rejects, "the dev split")
    count = min(config.dev_rows, max(1, int(_MOST_HELD_OUT * len(train.examples))))
    chosen = spread(train.examples, count) if len(train.examples) > 1 else []
    out = {example.id for example in chosen}
    why = "no recording of dev is by a speaker of this voice, so this one chooses the checkpoint instead of training"
    rejects = [*train.rejects, *(Reject(name, HELD_OUT, why) for name in sorted(out))]
    kept = [example for example in train.examples if example.id not in out]
    return VoiceRows(kept, chosen, rejects, "rows held out of train, since dev has none of these speakers")


def dev_candidates(material: VoiceMaterial, config: VoiceConfig) -> list[Utterance]:
    """Rows of dev by speakers of the voice, spread evenly: some more than are needed, since some may be unfit."""
    anybody = material.speakers == ("",)
    fit = [row for row in material.dev if anybody or row.speaker in material.speakers]
    return spread(sorted(fit, key=lambda row: row.id), _SPARE * config.dev_rows)


def spread(examples: Sequence[T], count: int) -> list[T]:
    """At most `count` of a list, spread evenly over it."""
    if len(examples) <= count:
        return list(examples)
    return [examples[number * len(examples) // count] for number in range(count)]
