"""What a starting model brings: from it and from nothing at equal compute, with several amounts of speech.

For every corpus and amount two models of one shape are trained with the same updates of the same seconds of audio; both
are scored once on test, and the difference is measured over the same utterances. Every step is a stage of the store in
`to/.orature`: run again after a crash it goes on, run again after success it does nothing.

Example::

    outcome = run(Request(sources=("kichwa", "yoruba"), to=Path("transfer"), settings={"minutes": [5, 30, 0]}))

    orature run transfer kichwa/ yoruba/ --to transfer --set start=base --set minutes=[5,30,0]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, Field

from orature.core.errors import ConfigError
from orature.core.files import refuse_unwritable, write_beside, write_json
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.families import read_config
from orature.engines.hub import model_folder
from orature.engines.shipped import BASE
from orature.evaluate.compare import compare
from orature.evaluate.folder import open_scored
from orature.evaluate.html.transfer_page import relative, transfer_page
from orature.flow import Ref, Resources, Run, open_store
from orature.recipes.arms import NEVER
from orature.recipes.published import train_log
from orature.recipes.registry import Outcome, Request
from orature.recipes.said import points_said, rate_said
from orature.recipes.scoring import decode_and_score, score_of
from orature.recipes.settings import override
from orature.recipes.training import UpOptions, split_stage, train_config, train_stage
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.portion import Portion
from orature.stages.train import Train
from orature.train.prior_config import PriorConfig

ABOUT = "what a start brings: from it and from nothing at equal compute, with several amounts of speech"
FACTS, PAGE = "transfer.json", "report.html"
ARMS = ("nothing", "start")
_FEATURES = ("subsampling", "normalisation")


class TransferSettings(BaseModel, frozen=True, extra="forbid"):
    """What is compared; `train` holds fields of both arms, `nothing` and `from_start` those of one."""

    start: str = BASE
    minutes: tuple[float, ...] = (5.0, 30.0, 0.0)
    """Of transcribed training speech; 0: all there is. An amount that the corpus lacks is left out, said aloud."""
    updates: tuple[int, ...] = ()
    """Of each amount, in the same order; (): those of the start's recipe for so much speech."""
    arms: tuple[str, ...] = ARMS
    train: dict[str, Any] = Field(default_factory=dict)
    nothing: dict[str, Any] = Field(default_factory=dict)
    from_start: dict[str, Any] = Field(default_factory=dict)
    split: str = "test"
    """What is scored: test, or dev while settings are chosen."""
    language: str = ""


def run(request: Request) -> Outcome:
    """Trains and scores every arm; the errors of the stages say what to do next."""
    settings = read_settings_of(request)
    refuse_unwritable(request.to)
    job = Run(
        open_store(request.store, beside=request.to),
        recipe="transfer",
        command=request.command or f"orature run transfer --to {request.to}",
    )
    found: list[dict[str, Any]] = []
    digest = model_ref(settings.start).digest
    for source in request.sources:
        splits = job.do(split_stage(corpus_ref(Path(source)), UpOptions(seed=request.seed)), on=request.resources)
        for minutes, updates in _amounts(settings):
            portion = _portion(job, splits, minutes, request)
            if portion is not None:
                found.append(_compared(job, portion, Path(source).name, minutes, updates, settings, request))
                _write(request, job, _facts(settings, digest, found, request))
    if not found:
        raise ConfigError("no corpus has as much speech", next_step="ask for fewer minutes: --set minutes=[0]")
    lines = [line for row in found for line in lines_of(row)]
    return Outcome(_facts(settings, digest, found, request), [*lines, f"report: {request.to / PAGE}"])


def _write(request: Request, job: Run, facts: dict[str, Any]) -> None:
    """The figures so far, and a page of them."""
    write_json(request.to / FACTS, facts)
    with write_beside(request.to / PAGE) as part:
        part.write_text(transfer_page(facts, command=job.record.command), encoding="utf-8", newline="\n")


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do."""
    settings = read_settings_of(request)
    return {
        "settings": settings.model_dump(mode="json"),
        "trainings": len(request.sources) * len(settings.minutes) * len(settings.arms),
        "cost": "each training tells its own before it begins",
    }


def read_settings_of(request: Request) -> TransferSettings:
    """The settings checked before anything is read: ConfigError for unknown names and values out of range."""
    settings = override(TransferSettings(), request.settings)
    if not request.sources:
        raise ConfigError("which corpora?", next_step="orature run transfer CORPUS ... --to DIR")
    if settings.updates and len(settings.updates) != len(settings.minutes):
        raise ConfigError("minutes and updates are not equally many", next_step="give one number of updates an amount")
    if unknown := set(settings.arms) - set(ARMS):
        raise ConfigError(f"there is no arm {sorted(unknown)[0]!r}", next_step=f"choose of {', '.join(ARMS)}")
    for source in request.sources:
        Corpus.open(Path(source))
    for arm in settings.arms:
        _options(settings, arm, request, None)
    return settings


def _amounts(settings: TransferSettings) -> list[tuple[float, int | None]]:
    updates: list[int | None] = list(settings.updates) or [None] * len(settings.minutes)
    return list(zip(settings.minutes, updates, strict=True))


def _portion(job: Run, splits: Ref, minutes: float, request: Request) -> Ref | None:
    if not minutes:
        return splits
    hours = float(Corpus.open(job.path_of(splits)).summary()["splits"].get("train", {"hours": 0.0})["hours"])
    if hours * 60 < minutes:
        say(f"{minutes:g} minutes: left out, there are only {hours * 60:.1f} to train on")
        return None
    return job.do(Portion(corpus=splits, minutes=minutes, seed=request.seed), on=request.resources)


def _options(settings: TransferSettings, arm: str, request: Request, updates: int | None) -> UpOptions:
    """What an arm trains with: the recipe of the start for both, and of the shape of the start."""
    given: dict[str, Any] = {"patience": NEVER, "stop_on_blanks": False, **settings.train}
    if updates is not None:
        given |= {"updates": updates, "evaluate_every": max(1, updates // 20)}
    own: Mapping[str, Any] = settings.from_start if arm == "start" else settings.nothing
    return UpOptions(
        scale=request.scale,
        seed=request.seed,
        start=settings.start,
        language=settings.language or None,
        train={**given, **own},
    )


def _stage(
    job: Run, corpus: Ref, arm: str, name: str, updates: int | None, settings: TransferSettings, request: Request
) -> Train:
    """The training of an arm: from nothing it is the same stage without its start, with the shape of the start."""
    stage = train_stage(job, corpus, _options(settings, arm, request, updates), name=name)
    if arm == "start":
        return stage.model_copy(update={"model_name": f"{name} from {Path(settings.start).name}"})
    given = {**settings.train, **settings.nothing}
    own = {"overfit_clips": 0, "head": "auto", "model_overrides": {}, "peak_lr": _peak_lr(job, corpus, request)}
    shape = {key: value for key, value in {**own, **shape_of(settings.start)}.items() if key not in given}
    config = override(stage.config.model_copy(update={"prior": PriorConfig()}), shape, "nothing.")
    return stage.model_copy(update={"start": None, "config": config, "model_name": f"{name} from nothing"})


def _peak_lr(job: Run, corpus: Ref, request: Request) -> float:
    """The learning rate that Orature takes for a training from nothing on such a corpus."""
    return train_config(Corpus.open(job.path_of(corpus)), UpOptions(scale=request.scale)).peak_lr


def shape_of(start: str) -> dict[str, Any]:
    """Size, subsampling and normalisation of a Conformer of ours; ConfigError for others, which have no twin here."""
    from orature.engines.conformer import ConformerConfig

    found = read_config(model_folder(start))
    for size in ConformerConfig.sizes():
        own = ConformerConfig.of_size(cast(Any, size), vocabulary=2)
        if all(found.get(name) == getattr(own, name) for name in ("width", "layers", "heads")):
            rest = {name: found[name] for name in _FEATURES if name in found}
            return {"size": size, **rest}
    raise ConfigError(
        "a start of this family has no twin that is trained from nothing",
        where=start,
        next_step="name a Conformer of Orature's own, or --set arms=[start]",
    )


def _compared(
    job: Run,
    corpus: Ref,
    name: str,
    minutes: float,
    updates: int | None,
    settings: TransferSettings,
    request: Request,
) -> dict[str, Any]:
    on: Resources = request.resources
    summary = Corpus.open(job.path_of(corpus)).summary()["splits"]["train"]
    row: dict[str, Any] = {"corpus": name, "minutes": minutes, "train_minutes": round(60 * summary["hours"], 2)}
    scored: dict[str, Ref] = {}
    for arm in settings.arms:
        stage = _stage(job, corpus, arm, name, updates, settings, request)
        model = job.do(stage, on=on)
        _, scored[arm] = decode_and_score(
            job,
            model=model,
            corpus=corpus,
            split=settings.split,
            name=stage.model_name,
            corpus_name=name,
            language=stage.language,
            on=on,
        )
        row[arm] = _arm_facts(job, model, score_of(job, scored[arm]))
    if len(scored) == len(ARMS):
        first, second = (open_scored(job.path_of(scored[arm])) for arm in ARMS)
        found = compare(first, second)
        row["difference"] = {unit: found[unit] for unit in ("cer", "wer")}
    for line in lines_of(row):
        say(line)
    return row


def _arm_facts(job: Run, model: Ref, score: Mapping[str, Any]) -> dict[str, Any]:
    facts = json.loads((job.path_of(model) / "training.json").read_text(encoding="utf-8"))
    return {
        **{unit: score[unit] for unit in ("cer", "wer")},
        **{key: facts[key] for key in ("updates", "parameters", "audio_hours_seen", "dev")},
        "peak_lr": facts["config"]["peak_lr"],
        "curve": [[entry["update"], entry["dev_cer"]] for entry in train_log(job, model) if "dev_cer" in entry],
    }


def _facts(settings: TransferSettings, digest: str, found: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    return {
        "format": 1,
        "start": {"name": Path(settings.start).name, "digest": digest},
        "seed": request.seed,
        "split": settings.split,
        "rows": found,
    }


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """What one row says to a person."""
    head = f"{row['corpus']}, {row['train_minutes']:.1f} min: "
    parts = [
        f"from {arm} CER {rate_said(row[arm]['cer'])}, WER {rate_said(row[arm]['wer'])}" for arm in ARMS if arm in row
    ]
    lines = [head + "; ".join(parts)]
    if "difference" in row:
        share, found = relative(row), row["difference"]["cer"]
        gain = "" if share is None else f" ({100 * share:+.0f} % of it)"
        lines.append(f"  CER {points_said(found)}{gain}; WER {points_said(row['difference']['wer'])}")
    return lines
