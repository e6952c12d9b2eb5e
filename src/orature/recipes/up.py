"""The one command as one page: from a corpus in any known format to a measured recogniser and its report.

Ingest, split (with the embargo), train, decode test once, score, report. Every step is a stage of the store in
`to/.orature`: run again after a crash it goes on, run again after success it does nothing.

Example::

    result = up(Path("my_corpus"), Path("my_model"), scale="dev")
    print(result.score["wer"]["value"], result.report)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.core.files import refuse_unwritable, write_json
from orature.core.progress import clock, say
from orature.data.corpus import Corpus
from orature.flow import Ref, Resources, Run, Stage, Store, open_store
from orature.recipes.settings import override
from orature.stages.evaluate import Circumstances, Evaluate, Extras, lineage_rows, publish_results
from orature.stages.ingest import ingest_stage
from orature.stages.split import MakeSplits, describe, read_splits
from orature.stages.train import Train
from orature.stages.transcribe import Transcribe
from orature.train.config import Scale, TrainConfig
from orature.train.devices import prepare_device, usable_cores
from orature.train.probe import training_speed

STORE = ".orature"
REPORT = "report.json"
UNKNOWN_SPEAKERS = 100
"""Taken for their number where a corpus does not name its speakers."""
SCALES = ("smoke", "dev", "full")
_ANY = Ref(key="external", stage="corpus", digest="0" * 64)
"""Stands for a corpus while options are looked at."""


@dataclass(frozen=True, slots=True)
class UpResult:
    """Where the results lie, and the whole score file."""

    report: Path
    model: Path
    score: dict[str, Any]
    fresh: bool
    """False when everything had been done before."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `up` computes, apart from the source; `split` holds fields of `MakeSplits`, `train` of `TrainConfig`."""

    format: str = "auto"
    language: str | None = None
    scale: Scale = "dev"
    seed: int = 1
    split: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Wrong options are refused before a corpus is read, which can take long."""
        if self.scale not in SCALES:
            raise ConfigError(f"there is no scale {self.scale!r}", next_step="choose smoke, dev or full")
        override(MakeSplits(corpus=_ANY), self.split, "split.")
        override(TrainConfig(), self.train, "train.")


def up(
    source: Path,
    to: Path,
    *,
    scale: Scale = "dev",
    seed: int = 1,
    language: str | None = None,
    format: str = "auto",
    split: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    resources: Resources | None = None,
    store: Path | None = None,
    command: str = "",
) -> UpResult:
    """The Python form of `orature up`; `split` and `train` override fields of `MakeSplits` and `TrainConfig`."""
    options = UpOptions(format, language, scale, seed, split or {}, train or {})
    return run_up(source, to, options, resources=resources, store=store, command=command)


def run_up(
    source: Path,
    to: Path,
    options: UpOptions,
    *,
    resources: Resources | None = None,
    store: Path | None = None,
    command: str = "",
) -> UpResult:
    """Runs the whole way; raises the errors of its stages, each of which says what to do next."""
    refuse_unwritable(to)
    home = open_store(store or to / STORE)
    run = Run(home, recipe="up", command=command or f"orature up {source} --to {to} --scale {options.scale}")
    on = resources or Resources()
    corpus_name = source.name
    several = on.model_copy(update={"workers": on.threads or usable_cores()})
    corpus = run.do(ingest_stage(source, format=options.format, language=options.language), on=several)
    splits = run.do(split_stage(corpus, options), on=on)
    for line in describe(read_splits(run.path_of(splits))):
        say(f"split: {line}")
    stage = train_stage(run, splits, options, name=corpus_name)
    if run.planned(stage) == "todo":
        say(cost(stage.config, on))
        say("zero-shot: no starting model was given, so there is nothing to score before training")
    model = run.do(stage, on=on)
    heard = run.do(Transcribe(model=model, corpus=splits, split="test"), on=on)
    scored = run.do(
        Evaluate(hypotheses=heard, corpus=splits, split="test", model=stage.model_name, corpus_name=corpus_name)
    )
    keys = {"model": model.key, "scored": scored.key}
    fresh = _published(to) != keys
    if fresh:
        _publish(to, run, model=model, heard=heard, scored=scored, command=run.record.command)
    else:
        say(f"everything was done before; the report is {to / 'report.html'}")
    score = json.loads((to / REPORT).read_text(encoding="utf-8"))
    return UpResult(report=to / "report.html", model=to / "model", score=score, fresh=fresh)


def split_stage(corpus: Ref, options: UpOptions) -> MakeSplits:
    """The stage that assigns splits; `options.split` may name any of its fields."""
    return override(MakeSplits(corpus=corpus, seed=options.seed), options.split, "split.")


def train_stage(run: Run, splits: Ref, options: UpOptions, *, name: str) -> Train:
    """The training stage with its defaults chosen by scale and by hours of speech, then overridden."""
    summary = Corpus.open(run.path_of(splits)).summary()["splits"].get("train", {"hours": 0.0, "utterances": 0})
    hours, count = float(summary["hours"]), int(summary["utterances"])
    speakers = int(summary.get("speakers", 0)) or UNKNOWN_SPEAKERS
    config = TrainConfig.for_scale(options.scale, hours=hours, mean_s=3600 * hours / max(1, count), speakers=speakers)
    config = override(config.model_copy(update={"seed": options.seed}), options.train, "train.")
    return Train(corpus=splits, config=config, model_name=f"{name}-{config.size}")


def cost(config: TrainConfig, on: Resources | None = None) -> str:
    """What a training run will cost on this machine, from a few updates on noise."""
    on = on or Resources()
    audio_s = config.updates * config.batch_seconds * config.accumulate
    speed = training_speed(config, prepare_device(on.device, on.threads))
    return (
        f"train: will pass {audio_s / 3600:.1f} h of audio, about {clock(audio_s / speed)} at {speed:.0f} audio-s/s on "
        "this machine (early stop may come before)"
    )


def plan(
    source: Path, to: Path, options: UpOptions, store: Path | None = None, on: Resources | None = None
) -> dict[str, Any]:
    """What `up` would do, as far as it can be known without doing it (`--dry-run`)."""
    home = open_store(store or to / STORE)
    run = Run(home, recipe="up", command="")
    steps: list[dict[str, Any]] = []
    ingest = ingest_stage(source, format=options.format, language=options.language)
    corpus = _planned(run, home, ingest, steps)
    if corpus is None:
        return {"steps": _unknown(steps), "train": None, "cost": "known once the corpus has been read"}
    splits = _planned(run, home, split_stage(corpus, options), steps)
    if splits is None:
        return {"steps": _unknown(steps), "train": None, "cost": "known once the corpus has been split"}
    train = train_stage(run, splits, options, name=source.name)
    _planned(run, home, train, steps)
    return {"steps": _unknown(steps), "train": train.config.model_dump(mode="json"), "cost": cost(train.config, on)}


def _planned(run: Run, home: Store, stage: Stage, steps: list[dict[str, Any]]) -> Ref | None:
    steps.append({"stage": stage.name, "state": run.planned(stage), "key": stage.key()[:12]})
    return home.get(stage.key())


def _unknown(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {step["stage"] for step in steps}
    rest = ("split", "train", "transcribe", "evaluate")
    return steps + [{"stage": name, "state": "todo", "key": ""} for name in rest if name not in known]


def _publish(to: Path, run: Run, *, model: Ref, heard: Ref, scored: Ref, command: str) -> None:
    """Model, score, report and last report.json, each written beside and renamed."""
    home = run.store
    home.publish(model, to / "model")
    log = (run.path_of(model) / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    rtf = home.info(heard.key).notes.get("rtf")
    circumstances = Circumstances(
        command=command, run=run.id, rtf=rtf if isinstance(rtf, float) else None, model_path=str(to / "model")
    )
    extras = Extras(train_log=[json.loads(line) for line in log], lineage=lineage_rows(home, scored))
    whole = publish_results(to, scored=run.path_of(scored), circumstances=circumstances, extras=extras)
    write_json(to / REPORT, whole | {"artefacts": {"model": model.key, "scored": scored.key}})


def _published(to: Path) -> dict[str, str]:
    """Keys of what lies in `to`; report.json is written last, so that without it nothing counts as published."""
    try:
        report = json.loads((to / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = (to / "report.html").is_file() and (to / "model" / "model.safetensors").is_file()
    return dict(report.get("artefacts", {})) if whole else {}
