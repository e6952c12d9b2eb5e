"""What `up`, `train` and other recipes share: options, the splitting and training stages, training settings.

Example::

    options = UpOptions(scale="dev", start="xls-r-300m")
    stage = train_stage(run, splits, options, name="kichwa")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.data.corpus import Corpus
from orature.engines.families import family_of, read_config
from orature.engines.hub import model_folder
from orature.engines.phone_tokens import writes_phones
from orature.engines.shipped import BASE, NOTHING
from orature.flow import Ref, Resources, Run
from orature.recipes.settings import nearest, override
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.language_model import text_ref
from orature.stages.letter_prior import settled
from orature.stages.pool import Pool
from orature.stages.split import MakeSplits
from orature.stages.train import Train
from orature.text.letter_table import read_table
from orature.train.config import PriorConfig, Scale, TrainConfig
from orature.train.presets import preset_for

UNKNOWN_SPEAKERS = 100
"""Taken for their number where a corpus does not name its speakers."""
SCALES = ("smoke", "dev", "full")
EXTRAS = ("lm", "back_translation", "speech_translation")
"""What `up` can do with more than a training on transcribed speech; lm also without text, of the transcripts."""
ATTENTION, SMOOTHING = "encoder-decoder", 0.1
"""Orature's own network with a decoder, and the label smoothing of fairseq's S2T recipes, which it is trained with."""
_TABLE = "table:"
_ANY = Ref(key="external", stage="corpus", digest="0" * 64)
"""Stands for a corpus while options are looked at."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `up` computes, apart from the source; `split` holds fields of `MakeSplits`, `train` of `TrainConfig`."""

    format: str = "auto"
    language: str | None = None
    scale: Scale = "dev"
    seed: int = 1
    split: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    """A model folder, an allowed hub id or "base"; None: random weights."""
    rehearse: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    """Corpora of old languages that are only scored, before and after."""
    texts: tuple[str, ...] = ()
    """Text files for a language model and for back-translation."""
    extras: tuple[str, ...] | None = None
    """What is done with text and with other languages, of `EXTRAS`; None: all that can be (see `recipes/up.py`)."""
    voice: str = "espeak"
    """What reads the text for back-translation."""
    translation: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `BackTranslateConfig`."""
    rich: str | None = None
    """A transcribed corpus of a richer language, for speech translation."""
    parallel: tuple[str, ...] = ()
    """Sentence pairs of both languages."""
    speech_translation: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `TranslationConfig`."""

    def __post_init__(self) -> None:
        """Wrong options are refused before a corpus is read, which can take long."""
        if self.scale not in SCALES:
            raise ConfigError(f"there is no scale {self.scale!r}", next_step="choose smoke, dev or full")
        override(MakeSplits(corpus=_ANY), self.split, "split.")
        override(TrainConfig(), with_table(self.train), "train.")
        if self.start is not None:
            family_of(model_folder(self.start, language=self.language))
        for folder in (*self.rehearse, *self.guards):
            Corpus.open(Path(folder))
        self._check_extras()
        for text in self.texts if self.extras is None or "lm" in self.extras else ():
            text_ref(Path(text))

    def _check_extras(self) -> None:
        for name in self.extras or ():
            if name == "pseudo_label":
                raise ConfigError(
                    "pseudo-labels are a recipe of their own", next_step="orature run pseudo_label CORPUS --to DIR"
                )
            if name not in EXTRAS:
                raise ConfigError(f"there is nothing called {name!r} to train with", next_step=nearest(name, EXTRAS))
        if "back_translation" in (self.extras or ()) and not self.texts:
            raise ConfigError("back_translation needs text", next_step="name a file of sentences with --text")
        if {"back_translation", "speech_translation"} <= set(self.extras or ()):
            raise ConfigError(
                "back_translation and speech_translation each choose the model", next_step="ask for one of the two"
            )
        asked = self.extras is not None and "speech_translation" in self.extras
        if (asked or self.parallel or self.speech_translation) and self.rich is None:
            raise ConfigError(
                "speech translation needs a transcribed corpus of a richer language", next_step="name it with --rich"
            )


FROM_NOTHING = ("network", "size", "subsampling", "normalisation", "overfit_clips")
"""Fields of `TrainConfig` that only a training from random weights obeys."""


def start_of_up(start: str | None, train: Mapping[str, Any]) -> str | None:
    """What `up` starts from: where nothing is asked for, the model that comes with the package.

    "none" asks for random weights (None), and so does any of the settings of `FROM_NOTHING` in `train`.
    """
    if start is None and not any(name in train for name in FROM_NOTHING):
        return BASE
    return named_start(start)


def named_start(start: str | None) -> str | None:
    """The start that was asked for; None for none."""
    return None if start == NOTHING else start


def split_stage(corpus: Ref, options: UpOptions) -> MakeSplits:
    """The stage that assigns splits; `options.split` may name any of its fields."""
    return override(MakeSplits(corpus=corpus, seed=options.seed), options.split, "split.")


def pooled(run: Run, corpora: Sequence[Ref], folders: Sequence[Path], on: Resources) -> Ref:
    """One corpus as it is, several as one, under one embargo."""
    if len(corpora) == 1:
        return corpora[0]
    return run.do(Pool(corpora=tuple(corpora), names=tuple(folder.name for folder in folders)), on=on)


def train_stage(run: Run, splits: Ref, options: UpOptions, *, name: str) -> Train:
    """The training stage with its defaults chosen by family, scale and hours of speech, then overridden."""
    corpus = Corpus.open(run.path_of(splits))
    config = train_config(corpus, options)
    start = None if options.start is None else model_ref(options.start)
    folder = None if start is None else Path(start.path)
    languages = [str(tag) for tag in corpus.summary()["languages"]]
    prior = PriorConfig(source="none")  # a decoder with attention learns its letters from nothing
    if config.network != ATTENTION:
        prior = settled(config.prior, folder, languages, head=config.head)
    config = config.model_copy(update={"prior": prior})
    rehearse = tuple(corpus_ref(Path(folder)) for folder in options.rehearse)
    label = config.size if start is None else family_of(Path(start.path)).name
    return Train(
        corpus=splits,
        config=config,
        start=start,
        rehearse=rehearse,
        guards=tuple(corpus_ref(Path(folder)) for folder in options.guards),
        language=options.language or ("" if start is None else only_language(corpus)),
        model_name=f"{name}-{label}",
    )


def only_language(corpus: Corpus) -> str:
    """The language of a corpus that has one (BCP-47), else ""."""
    languages = [tag for tag in corpus.summary()["languages"] if tag != "und"]
    return str(languages[0]) if len(languages) == 1 else ""


def train_config(corpus: Corpus, options: UpOptions) -> TrainConfig:
    """The training config for a corpus: from nothing by `TrainConfig.for_scale`, from a checkpoint by its preset."""
    summary = corpus.summary()["splits"].get("train", {"hours": 0.0, "utterances": 0})
    hours, count = float(summary["hours"]), int(summary["utterances"])
    speakers = int(summary.get("speakers", 0)) or UNKNOWN_SPEAKERS
    return config_for(options, hours=hours, mean_s=3600 * hours / max(1, count), speakers=speakers)


def config_for(
    options: UpOptions, *, hours: float, mean_s: float = 5.0, speakers: int = UNKNOWN_SPEAKERS
) -> TrainConfig:
    """The training config for so many hours, in utterances of `mean_s` seconds on average by so many people."""
    if options.start is None:
        config = TrainConfig.for_scale(options.scale, hours=hours, mean_s=mean_s, speakers=speakers)
    else:
        preset = preset_for(recipe_family(model_folder(options.start)), hours)
        config = override(TrainConfig(), preset.overrides(options.scale, hours=hours), "preset.")
        config = config.model_copy(update=_text_policy(model_folder(options.start)))
    if options.train.get("network") == ATTENTION:
        config = config.model_copy(update={"label_smoothing": SMOOTHING})
    return override(config.model_copy(update={"seed": options.seed}), with_table(options.train), "train.")


def with_table(train: Mapping[str, Any]) -> Mapping[str, Any]:
    """Overrides of `TrainConfig` with the rows of the file of `prior=table:FILE` (or `prior.source`) in its place.

    So that the key of a run holds what the table says, and not where it lies. ConfigError for a table with a fault.
    """
    prior = train.get("prior")
    fields = dict(prior) if isinstance(prior, Mapping) else {"source": prior}
    source = fields.get("source")
    if not isinstance(source, str) or not source.startswith(_TABLE):
        return train
    rows = read_table(Path(source.removeprefix(_TABLE)))
    return {**train, "prior": {**fields, "source": "table", "rows": rows}}


def _text_policy(folder: Path) -> dict[str, str]:
    """Case and punctuation as a model of ours was trained with; {} for others, and for phones."""
    if writes_phones(folder):
        return {}
    try:
        policy = json.loads((folder / "training.json").read_text(encoding="utf-8"))["text_policy"]
        return {name: policy[name] for name in ("case", "punctuation")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def recipe_family(folder: Path) -> str:
    """The family by which recipes go: MMS, whose adapters are trained, is one of its own, and so are phone models."""
    if writes_phones(folder):
        return "phones"
    family = family_of(folder).name
    adapted = family == "wav2vec2" and read_config(folder).get("adapter_attn_dim") is not None
    return "mms" if adapted else family


def describe_recipe(corpus: Corpus, options: UpOptions) -> str:
    """A sentence on where the training settings come from."""
    return "settings: " + recipe_of(options, float(corpus.summary()["splits"].get("train", {"hours": 0.0})["hours"]))


def recipe_of(options: UpOptions, hours: float) -> str:
    """Where the training settings for so many hours come from."""
    if options.start is None:
        return f"Orature's own defaults for scale {options.scale}"
    preset = preset_for(recipe_family(model_folder(options.start)), hours)
    return f"scale {options.scale} of {preset.about()}"
