"""What `orature train-translator` does: pairs fit to train on, settings by their number, training, test, a report.

Of the kind "auto" both a Transformer and a dictionary are made of the same pairs, and dev chooses.

Example::

    options = TranslatorOptions(source="es", target="qu", scale="dev", pieces="1000")
    made = train_translator(run, [Path("pairs.tsv")], options, on=resources, name="kichwa")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from orature.core.errors import ConfigError, CorpusError, OratureError, RejectLimitExceeded, TrainingFailed
from orature.core.progress import say
from orature.data.draft import Seen
from orature.evaluate.translation import require_metrics
from orature.evaluate.translator_choice import SAID
from orature.flow import Ref, Resources, Run
from orature.recipes.settings import nearest, override
from orature.recipes.training import SCALES
from orature.stages.choose_translator import Candidate, ChooseTranslator
from orature.stages.evaluate_translation import EvaluateTranslator
from orature.stages.inputs import translator_ref
from orature.stages.parallel_text import LEAST_PAIRS, ParallelText, parallel_stage, parted, rows_of
from orature.stages.train_dictionary import DictionaryConfig, TrainDictionary
from orature.stages.train_translator import TrainTranslator
from orature.stages.translate import Searching
from orature.text.pair_checks import PairRules, check_pairs
from orature.text.parallel import PARTS, Pair, ParallelCorpus
from orature.train.config import Scale
from orature.train.devices import prepare_device
from orature.train.text.config import CHARACTERS, SIZES, TranslatorConfig, TranslatorPreset, preset_for
from orature.train.text.cost import TranslatorCost, measure_translator
from orature.train.text.data import example_of
from orature.train.text.vocabulary import TranslatorText

AUTO = "auto"
KINDS = (AUTO, "transformer", "dictionary")
DICTIONARY_COST = "a dictionary of aligned words, in seconds to minutes"
_GROUPS = ("train", "pairs", "dictionary")
_PAIRS = ("max_characters", "max_ratio", "min_script_share", "held_out", "source_column", "target_column")
_LOOKED_AT = 20_000
"""Pairs that a cost is measured on."""


@dataclass(frozen=True, slots=True)
class TranslatorOptions:
    """What is wanted; `settings` holds fields of `TranslatorConfig` under "train".

    Under "pairs" are fields of `ParallelText`, under "dictionary" those of `DictionaryConfig`.
    """

    source: str
    target: str
    kind: str = AUTO
    scale: str = "dev"
    size: str | None = None
    pieces: str | None = None
    embargo: tuple[Path, ...] = ()
    licence: str = ""
    seed: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Wrong options are refused before pairs are read."""
        choices: list[tuple[str, str, Sequence[str]]] = [("kind", self.kind, KINDS), ("scale", self.scale, SCALES)]
        choices += [("size", self.size, SIZES)] if self.size is not None else []
        for what, value, known in choices:
            if value not in known:
                raise ConfigError(f"there is no {what} {value!r} of a translator", next_step=nearest(value, known))
        for name, values in self.settings.items():
            if name not in _GROUPS or not isinstance(values, Mapping):
                raise ConfigError(
                    f"--set {name} is no option of the training, of the pairs or of a dictionary",
                    next_step="write --set train.NAME=VALUE (or pairs., dictionary.), as in --set train.updates=500",
                )
        for name in self.settings.get("pairs", {}):
            if name not in _PAIRS:
                raise ConfigError(f"there is no option 'pairs.{name}'", next_step=nearest(name, _PAIRS))
        config_for(self, LEAST_PAIRS)
        dictionary_config(self)
        if self.kind == "dictionary" and (self.size, self.pieces) != (None, None):
            raise ConfigError(
                "a dictionary has neither a size nor pieces", next_step="leave --size and --pieces out, or --kind"
            )


def config_for(options: TranslatorOptions, pairs: int) -> TranslatorConfig:
    """The settings for so many training pairs by scale, then overridden; ConfigError as needed."""
    values = preset_for(pairs).overrides(cast(Scale, options.scale)) | {"seed": options.seed}
    if options.size is not None:
        values["size"] = options.size
    if options.pieces is not None:
        values["pieces"] = _pieces(options.pieces)
    return override(TranslatorConfig(**values), options.settings.get("train", {}), "train.")


def dictionary_config(options: TranslatorOptions) -> DictionaryConfig:
    """The settings of a dictionary; ConfigError as needed."""
    return override(DictionaryConfig(), options.settings.get("dictionary", {}), "dictionary.")


def _pieces(asked: str) -> int | str:
    if asked == CHARACTERS:
        return asked
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    raise ConfigError(
        f"{asked!r} is no number of pieces", next_step=f"give --pieces a number such as 2000, or {CHARACTERS}"
    )


def pairs_stage(paths: Sequence[Path], options: TranslatorOptions) -> ParallelText:
    """The stage that reads and checks the pairs; BadInput, ConfigError as they come."""
    stage = parallel_stage(
        paths,
        source=options.source,
        target=options.target,
        embargo=options.embargo,
        licence=options.licence,
        seed=options.seed,
    )
    return override(stage, options.settings.get("pairs", {}), "pairs.")


def train_translator(run: Run, paths: Sequence[Path], options: TranslatorOptions, *, on: Resources, name: str) -> Ref:
    """The translator's folder as an artefact."""
    require_metrics()
    pairs = run.do(pairs_stage(paths, options), on=on)
    summary = ParallelCorpus.open(run.path_of(pairs)).summary()
    say(f"pairs: {counts_said(summary)}")
    if options.kind != "dictionary":
        say(f"train-translator: {preset_for(int(summary['splits']['train']['pairs'])).about()}")
    return made_translator(run, pairs, options, on=on, name=name)


def made_translator(
    run: Run, pairs: Ref, options: TranslatorOptions, *, on: Resources, name: str, searching: Searching | None = None
) -> Ref:
    """The translator of these pairs, of the kind that is asked for; of the kind "auto" the better one on dev.

    `searching`: how it will be used (None: as each translates test). TrainingFailed where none can be made.
    """
    count = int(ParallelCorpus.open(run.path_of(pairs)).summary()["splits"]["train"]["pairs"])
    dictionary = TrainDictionary(pairs=pairs, config=dictionary_config(options), model_name=name)
    transformer = TrainTranslator(pairs=pairs, config=config_for(options, count), model_name=name)
    if options.kind != AUTO:
        return run.do(dictionary if options.kind == "dictionary" else transformer, on=on)
    config = transformer.config
    beams = Searching(beams=config.beams, length_penalty=config.length_penalty)
    made: dict[str, Candidate] = {}
    failed: dict[str, OratureError] = {}
    for stage, search in ((dictionary, Searching(beams=1)), (transformer, beams)):
        kind: Literal["dictionary", "transformer"] = "dictionary" if stage is dictionary else "transformer"
        try:
            model = run.do(stage, on=on)
        except (TrainingFailed, RejectLimitExceeded) as error:
            say(f"train-translator: {SAID[kind]} cannot be made: {error.what}; next: {error.next_step}")
            failed[kind] = error
            continue
        dev = EvaluateTranslator(
            translator=translator_ref(str(run.path_of(model))),
            pairs=pairs,
            searching=searching or search,
            split="dev",
            most=config.dev_rows,
            model=f"{name}: {kind}",
        )
        made[kind] = Candidate(kind=kind, model=model, dev=run.do(dev, on=on))
    return _chosen(run, made, failed, on)


def _chosen(run: Run, made: Mapping[str, Candidate], failed: Mapping[str, OratureError], on: Resources) -> Ref:
    """The better one of what could be made, the Transformer where they are equal."""
    if not made:
        raise TrainingFailed(
            "neither translator can be made of these pairs: "
            + "; ".join(f"{SAID[kind]}: {error.what}" for kind, error in failed.items()),
            next_step="; ".join(error.next_step for error in failed.values()),
        )
    stage = ChooseTranslator(
        candidates=tuple(made[kind] for kind in KINDS if kind in made),
        failed={kind: error.what for kind, error in failed.items()},
    )
    return run.do(stage, on=on)


def stages_said(kind: str) -> list[str]:
    """Names of the stages that make a translator of such a kind of pairs that are read."""
    one = {"dictionary": ["train_dictionary"], "transformer": ["train_translator"]}
    if kind != AUTO:
        return one[kind]
    judged = ["evaluate-translator"]
    return [*one["dictionary"], *judged, *one["transformer"], *judged, "choose-translator"]


def counts_said(summary: Mapping[str, Any]) -> str:
    """Pairs by split and rows left out by reason, of a parallel.json."""
    kept = ", ".join(f"{summary['splits'][name]['pairs']:,} {name}" for name in PARTS)
    rejected = summary.get("rows", {}).get("rejected", {})
    lost = ", ".join(f"{count:,} {reason}" for reason, count in sorted(rejected.items()) if count)
    return f"{kept}; rows left out: {lost or 'none'}"


@dataclass(frozen=True, slots=True)
class TranslatorPlan:
    """What would be done: pairs by split as they are before the embargo, settings, and the cost of training."""

    kind: str
    rows: int
    train_pairs: int
    preset: TranslatorPreset | None
    config: TranslatorConfig | DictionaryConfig
    cost: TranslatorCost | None
    """None, as the preset is, for a dictionary, which takes seconds."""
    dictionary: DictionaryConfig | None = None
    """The settings of the dictionary that is made beside a Transformer."""

    @property
    def stages(self) -> list[str]:
        """Names of all stages."""
        return ["parallel_text", *stages_said(self.kind)]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "stages": self.stages,
            "rows": self.rows,
            "train_pairs": self.train_pairs,
            "preset": None if self.preset is None else self.preset.about(),
            "cost": None if self.cost is None else self.cost.to_json(),
            "costs": self.costs(),
            "config": self.config.model_dump(mode="json"),
            "dictionary": None if self.dictionary is None else self.dictionary.model_dump(mode="json"),
        }

    def costs(self) -> list[str]:
        """What each translator takes, in sentences."""
        measured = [] if self.cost is None else [self.cost.sentence()]
        return measured if self.kind == "transformer" else [*measured, DICTIONARY_COST]

    def lines(self) -> str:
        """For a person."""
        about = [] if self.preset is None else [f"settings: {self.preset.about()}"]
        if self.kind == AUTO:
            about.append("both are made of the same pairs; the one with the higher chrF on dev is taken")
        config = self.config.model_dump(mode="json")
        listed = [f"  {name}: {value}" for name, value in config.items()]
        if self.dictionary is not None:
            listed += [f"  dictionary.{name}: {value}" for name, value in self.dictionary.model_dump().items()]
        head = f"pairs: {self.rows} rows, about {self.train_pairs} to train on"
        return "\n".join([head, f"stages: {', '.join(self.stages)}", *about, *self.costs(), *listed])


def translator_plan(paths: Sequence[Path], options: TranslatorOptions, on: Resources) -> TranslatorPlan:
    """Reads and checks the pairs without keeping anything, and times a few updates; the errors of the real run."""
    stage, seen = pairs_stage(paths, options), Seen()
    found, _ = parted(rows_of(stage, lambda ref: Path(ref.path), seen))
    rules = PairRules(stage.max_characters, stage.max_ratio, stage.min_script_share)
    kept = [pair for pair in check_pairs(found, rules)[0] if pair.split == "train"]
    if len(kept) < LEAST_PAIRS:
        raise CorpusError(
            f"{len(kept)} pairs to train on are left of {seen.rows} rows, which is too little",
            where=", ".join(str(path) for path in paths),
            next_step="give more pairs, or see with --set pairs.max_ratio=0 whether the checks are too strict",
        )
    words = dictionary_config(options)
    if options.kind == "dictionary":
        return TranslatorPlan(options.kind, seen.rows, len(kept), None, words, None)
    config = config_for(options, len(kept))
    cost = _cost(kept, config, prepare_device(on.device, on.threads))
    beside = words if options.kind == AUTO else None
    return TranslatorPlan(options.kind, seen.rows, len(kept), preset_for(len(kept)), config, cost, beside)


def _cost(pairs: Sequence[Pair], config: TranslatorConfig, device: str) -> TranslatorCost:
    some = pairs[:: max(1, -(-len(pairs) // _LOOKED_AT))]
    text = TranslatorText.of([pair.source for pair in some], [pair.target for pair in some], config)
    examples = [example_of(pair.id, pair.source, pair.target, text) for pair in some]
    short = [example for example in examples if example.tokens <= config.longest] or examples
    return measure_translator(config, short, text, device=device)
