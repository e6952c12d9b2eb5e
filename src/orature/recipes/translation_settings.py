"""Settings of the recipe `speech_translation`: what is given, which arms that allows, and how each training is set.

Example::

    settings = settings_of(Request(("kichwa",), Path("out"), settings={"rich": "es/", "parallel": "es-qu.tsv"}))
    allowed_arms(settings)       # ("scratch", "encoder", "encoder_decoder", ..., "st_good", "joint")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from orature.core.errors import ConfigError
from orature.engines.families import family_of
from orature.engines.hub import model_folder
from orature.engines.search_config import SearchConfig
from orature.engines.shipped import BASE, NOTHING
from orature.engines.translators import parse_translator
from orature.recipes.arms import NEVER
from orature.recipes.registry import Request, tagged
from orature.recipes.settings import nearest, override
from orature.recipes.train_translator import TranslatorOptions, stages_said
from orature.recipes.training import ATTENTION, UpOptions, config_for, named_start
from orature.stages.train_dictionary import DictionaryConfig
from orature.train.config import TrainConfig
from orature.train.text.config import TranslatorConfig

SCRATCH, ENCODER, BODY = "scratch", "encoder", "encoder_decoder"
LONGER, BODY_LONGER = "encoder_longer", "encoder_decoder_longer"
HUMAN, GOOD, LOW, SHARE = "st_human", "st_good", "st_low", "st_pairs_"
TEXT, JOINT = "text_decoder", "joint"
DIRECT = (ENCODER, BODY, LONGER, BODY_LONGER)
Kind = Literal["auto", "transformer", "dictionary"]
_PHASES = ("rich_asr", "st", "joint", "text_pretraining", "target")
_FROZEN, _ST_CTC = 30, 0.0
"""One in so many updates of joint training leaves the encoder as it is, as 1,000 of 30,000 in fairseq's recipe."""


class TranslationConfig(BaseModel, frozen=True, extra="forbid"):
    """What the recipe does; `train` holds fields of every training, the others those of one of its steps."""

    rich: str | None = None
    """A transcribed corpus of a language with more speech (TAG=PATH states its language)."""
    parallel: tuple[str, ...] = ()
    """Sentence pairs of both languages: tables, or two text files; a translator is trained on them."""
    translator: str | None = None
    """A translator that is there already (ENGINE:MODEL or a folder)."""
    human: str | None = None
    """A table of translations of the rich transcripts by persons (`sentence` or `id`, and `translation`)."""
    text: tuple[str, ...] = ()
    """More sentences of the target language, for the decoder that is trained on text alone."""
    language: str = ""
    """Of the target (BCP-47), where its corpus does not say."""
    start: str = BASE
    """Whose encoder the rich recogniser and `scratch` begin with: base, a folder of a Conformer of ours, or none."""
    arms: tuple[str, ...] = ()
    """(): all that the material allows."""
    pairs: tuple[float, ...] = (0.25, 1.0)
    """Shares of the training pairs that translators are trained on; the smallest makes the arm st_low."""
    kind: Kind = "auto"
    """Of the translators that are trained; auto: a Transformer and a dictionary of the same pairs, dev chooses."""
    translator_train: dict[str, Any] = Field(default_factory=dict)
    """Fields of `TranslatorConfig` and `DictionaryConfig`, each taken by the kind of translator that knows it."""
    translating: dict[str, Any] = Field(default_factory=dict)
    """Of the search and of the checks of translations (`Searching`, `TranslationBounds`)."""
    train: dict[str, Any] = Field(default_factory=dict)
    rich_asr: dict[str, Any] = Field(default_factory=dict)
    st: dict[str, Any] = Field(default_factory=dict)
    """Of the training of speech translation, and of the joint one under `joint`."""
    joint: dict[str, Any] = Field(default_factory=dict)
    text_pretraining: dict[str, Any] = Field(default_factory=dict)
    target: dict[str, Any] = Field(default_factory=dict)
    """Of the training on the target, the same in every arm."""
    joint_rich: bool = False
    """Whether the joint training also transcribes the rich language, as a language of its own."""
    search: SearchConfig = SearchConfig(beams=5)
    """How every arm is decoded."""
    split: Literal["test", "dev"] = "test"
    """What is scored at the end; dev while settings are chosen."""
    splitting: dict[str, Any] = Field(default_factory=dict)
    """Fields of `MakeSplits`, for both corpora where they have none."""

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        """`--set parallel=FILE` and `--set pairs=1` name one thing each."""
        if isinstance(values, dict):
            for name in ("parallel", "text", "arms", "pairs"):
                if isinstance(values.get(name), str | int | float | Path):
                    values = {**values, name: (values[name],)}
        return values

    @model_validator(mode="after")
    def _shares_of_all(self) -> Self:
        if not self.pairs or any(not 0 < share <= 1 for share in self.pairs):
            raise ValueError("pairs are shares above 0 and up to 1")
        return self

    def shares(self) -> tuple[float, ...]:
        """The shares of the pairs, from few to many; none without pairs."""
        return tuple(sorted(set(self.pairs))) if self.parallel else ()

    @property
    def translates(self) -> bool:
        """Whether there is anything to translate with."""
        return bool(self.parallel or self.translator or self.human)


def label_arms(settings: TranslationConfig) -> dict[str, float | str]:
    """The arms with translated speech and where their labels come from: human, translator, or a share of the pairs."""
    if settings.rich is None:
        return {}
    found: dict[str, float | str] = {}
    if settings.human:
        found[HUMAN] = "human"
    shares = list(settings.shares())
    if settings.translator:
        found[GOOD] = "translator"
    elif shares:
        found[GOOD] = shares.pop()
    if shares:
        found[LOW] = shares.pop(0)
    found |= {f"{SHARE}{100 * share:g}": share for share in shares}
    return found


def allowed_arms(settings: TranslationConfig) -> tuple[str, ...]:
    """What the material allows, in the order of the table."""
    labels = label_arms(settings)
    direct = (ENCODER, BODY, *((LONGER, BODY_LONGER) if labels else ())) if settings.rich else ()
    return (SCRATCH, *direct, *labels, *((JOINT,) if labels else ()), TEXT)


def default_arms(settings: TranslationConfig) -> tuple[str, ...]:
    """All that are allowed; text alone is the way out where nothing translates."""
    return tuple(arm for arm in allowed_arms(settings) if arm != TEXT or not label_arms(settings) or settings.text)


def outline(settings: TranslationConfig) -> list[str]:
    """Names of all stages of the arms, for a plan before they can be known."""
    arms, labels = settings.arms or default_arms(settings), label_arms(settings)
    used = [labels[arm] for arm in arms if arm in labels]
    joint = [next(iter(labels.values()))] if JOINT in arms else []
    plain = settings.rich is not None and bool(set(arms) & {ENCODER, BODY, JOINT, TEXT, *labels})
    names = ["split"] * (1 if settings.rich is None else 2)
    names += ["train"] * (plain + bool(set(arms) & {LONGER, BODY_LONGER}))
    shares = shares_used(settings)
    judged = "translator" in (*used, *joint) and bool(settings.parallel)
    names += ["parallel_text"] * bool(shares or judged) + ["evaluate-translator"] * judged
    names += ["pair-portion"] * sum(share < 1 for share in shares)
    names += stages_said(settings.kind) * len(shares)
    for label in (*used, *joint):
        names += ["filter-translations"] if label == "human" else ["translate", "filter-translations"]
    names += ["train", "transcribe", "evaluate-translation"] * len(used)
    names += ["pool", "train"] * (JOINT in arms) + ["pretrain-decoder"] * (TEXT in arms)
    return names + ["train", "transcribe", "evaluate", "transcribe", "evaluate"] * len(arms)


def shares_used(settings: TranslationConfig) -> set[float]:
    """The shares of the pairs that the arms need a translator of."""
    arms, labels = settings.arms or default_arms(settings), label_arms(settings)
    used = [labels[arm] for arm in arms if arm in labels] + (list(labels.values())[:1] if JOINT in arms else [])
    return {label for label in used if not isinstance(label, str)}


def missing(settings: TranslationConfig) -> list[str]:
    """What is lacking for translation-enhanced transfer, in sentences that say what to give."""
    lacks = []
    if settings.rich is None:
        lacks.append("there is no transcribed corpus of a richer language: --set rich=CORPUS")
    if not settings.translates:
        lacks.append(
            "there is nothing to translate with: --set parallel=FILE (sentence pairs, from which a translator is "
            "trained), --set translator=ENGINE:MODEL, or --set human=FILE (translations of the rich transcripts)"
        )
    return lacks


def settings_of(request: Request) -> TranslationConfig:
    """The settings checked before anything is read: ConfigError for unknown names, wrong values, missing files."""
    settings = override(TranslationConfig(), request.settings)
    if len(request.sources) != 1:
        raise ConfigError(
            f"speech_translation has one target corpus ({len(request.sources)} were named)",
            next_step="orature run speech_translation CORPUS --to DIR --set rich=CORPUS --set parallel=FILE",
        )
    for name in ("parallel", "human", "text"):
        given = getattr(settings, name)
        for path in (given,) if isinstance(given, str) else given or ():
            if not Path(path).exists():
                raise ConfigError(f"there is no such file: {path}", where=name, next_step="check the path")
    if settings.rich is not None and not tagged(settings.rich)[0].exists():
        raise ConfigError("there is no such corpus", where=f"rich={settings.rich}", next_step="check the path")
    if settings.translator is not None:
        parse_translator(settings.translator)
    allowed = allowed_arms(settings)
    for arm in settings.arms:
        if arm not in allowed:
            known = {*allowed, *DIRECT, HUMAN, GOOD, LOW, JOINT, TEXT}
            why = "; ".join(missing(settings)) or nearest(arm, known)
            raise ConfigError(f"the arm {arm!r} cannot be trained with what was given", next_step=why)
    _check_start(settings)
    translator_options(settings, request, "", "")
    for phase in _PHASES:
        config_of(settings, request, phase, hours=1.0)
    return settings


def _check_start(settings: TranslationConfig) -> None:
    start = named_start(settings.start)
    if start is not None and family_of(model_folder(start)).name not in ("conformer", ATTENTION):
        raise ConfigError(
            "this recipe trains encoder-decoders of Orature's own, whose encoder is a Conformer",
            where=f"start={settings.start}",
            next_step=f"choose {BASE}, {NOTHING}, or a folder with a Conformer that Orature trained",
        )


def config_of(
    settings: TranslationConfig, request: Request, phase: str, *, hours: float, mean_s: float = 5.0
) -> TrainConfig:
    """The training settings of one of the steps `rich_asr`, `st`, `joint`, `text_pretraining` and `target`.

    Orature's own defaults for an encoder-decoder from nothing, `train`, and the fields of the step; no early stop.
    """
    own = {**settings.st, **settings.joint} if phase == "joint" else getattr(settings, phase)
    given: dict[str, Any] = {"patience": NEVER, "stop_on_blanks": False, **settings.train, **own}
    options = UpOptions(scale=request.scale, seed=request.seed, train={"network": ATTENTION, **given})
    config = config_for(options, hours=hours, mean_s=mean_s)
    more: dict[str, Any] = {}
    if "evaluate_every" not in given:
        more["evaluate_every"] = max(1, config.updates // 20)
    if phase in ("st", "joint"):
        more |= _of_translation(config, given, frozen=config.updates if phase == "st" else config.updates // _FROZEN)
    if config.network != ATTENTION:
        raise ConfigError(
            f"this recipe trains a network with a decoder, not a {config.network}",
            next_step="leave network out of the settings",
        )
    return config.model_copy(update=more)


def _of_translation(config: TrainConfig, given: Mapping[str, Any], frozen: int) -> dict[str, Any]:
    """Without CTC, which cannot change the order; the encoder waits; the loss chooses, as CER says little here.

    In speech translation it waits to the end: with an hour of speech, an encoder that learns to translate forgets what
    it has learned of sounds (RESULTS.md: 5 points of CER on the target).
    """
    own = {
        "ctc_weight": _ST_CTC,
        "freeze_encoder_updates": frozen,
        "select": "loss",
    }
    return {name: value for name, value in own.items() if name not in given}


def translator_options(settings: TranslationConfig, request: Request, source: str, target: str) -> TranslatorOptions:
    """How translators are trained; ConfigError for a setting that no translator of the kind asked for knows."""
    known = {"train": set(TranslatorConfig.model_fields), "dictionary": set(DictionaryConfig.model_fields)}
    if settings.kind != "auto":
        del known["train" if settings.kind == "dictionary" else "dictionary"]
    parts: dict[str, dict[str, Any]] = {group: {} for group in known}
    for name, value in settings.translator_train.items():
        group = next((group for group, fields in known.items() if name in fields), None)
        if group is None:
            raise ConfigError(
                f"there is no option 'translator_train.{name}'", next_step=nearest(name, set().union(*known.values()))
            )
        parts[group][name] = value
    return TranslatorOptions(
        source=source, target=target, kind=settings.kind, scale=request.scale, seed=request.seed, settings=parts
    )
