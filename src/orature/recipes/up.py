"""The one command as one page: from a corpus in any known format to a measured recogniser and its report.

Ingest, split (with the embargo), train, decode test once, score, report. Every step is a stage of the store in
`to/.orature`: run again after a crash it goes on, run again after success it does nothing.

Example::

    result = up(Path("my_corpus"), Path("my_model"), scale="dev")
    print(result.score["wer"]["value"], result.report)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.files import refuse_unwritable, write_json
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.flow import Ref, Resources, Run, Stage, Store, open_store
from orature.recipes.estimate import cost
from orature.recipes.fusion import fuse, gain
from orature.recipes.scoring import decode_and_score, forgetting, score_of, zero_shot
from orature.recipes.training import UpOptions, describe_recipe, split_stage, train_stage
from orature.stages.evaluate import Circumstances, Extras, lineage_rows, publish_results
from orature.stages.ingest import ingest_stage
from orature.stages.split import describe, read_splits
from orature.train.config import Scale
from orature.train.devices import usable_cores

STORE = ".orature"
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class UpResult:
    """Where the results lie, and the whole score file."""

    report: Path
    model: Path
    score: dict[str, Any]
    fresh: bool
    """False when everything had been done before."""


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
    start: str | Path | None = None,
    rehearse: Sequence[str | Path] = (),
    guards: Sequence[str | Path] = (),
    texts: Sequence[str | Path] = (),
    resources: Resources | None = None,
    store: Path | None = None,
    command: str = "",
) -> UpResult:
    """The Python form of `orature up`; `split` and `train` override fields of `MakeSplits` and `TrainConfig`."""
    old, watched = tuple(map(str, rehearse)), tuple(map(str, guards))
    first = None if start is None else str(start)
    options = UpOptions(
        format=format,
        language=language,
        scale=scale,
        seed=seed,
        split=split or {},
        train=train or {},
        start=first,
        rehearse=old,
        guards=watched,
        texts=tuple(map(str, texts)),
    )
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
        say(describe_recipe(Corpus.open(run.path_of(splits)), options))
        say(cost(stage, on))
    before = zero_shot(run, stage, splits, corpus_name, on)
    model = run.do(stage, on=on)
    common: dict[str, Any] = {"model": model, "corpus": splits, "split": "test", "language": stage.language, "on": on}
    heard, scored = decode_and_score(run, **common, name=stage.model_name, corpus_name=corpus_name)
    done = _Done(model, heard, scored, zero_shot=before)
    if options.texts:
        done.decoder = fuse(run, model, splits, [Path(text) for text in options.texts], language=stage.language, on=on)
    if done.decoder is not None:
        name = f"{stage.model_name} + language model"
        done.heard, done.scored = decode_and_score(
            run, **common, name=name, corpus_name=corpus_name, decoder=done.decoder
        )
        done.facts["language_model"] = gain(run, before=scored, after=done.scored)
    guarded = [Path(folder) for folder in (*options.rehearse, *options.guards)]
    if guarded:
        done.facts["guards"] = forgetting(run, stage, model, guarded, on)
    fresh = _published(to) != done.keys
    if fresh:
        _publish(to, run, done)
    else:
        say(f"everything was done before; the report is {to / 'report.html'}")
    score = json.loads((to / REPORT).read_text(encoding="utf-8"))
    return UpResult(report=to / "report.html", model=to / "model", score=score, fresh=fresh)


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
    recipe = describe_recipe(Corpus.open(home.path_of(splits)), options)
    return {
        "steps": _unknown(steps),
        "recipe": recipe,
        "train": train.config.model_dump(mode="json"),
        "cost": cost(train, on),
    }


def _planned(run: Run, home: Store, stage: Stage, steps: list[dict[str, Any]]) -> Ref | None:
    steps.append({"stage": stage.name, "state": run.planned(stage), "key": stage.key()[:12]})
    return home.get(stage.key())


def _unknown(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {step["stage"] for step in steps}
    rest = ("split", "train", "transcribe", "evaluate")
    return steps + [{"stage": name, "state": "todo", "key": ""} for name in rest if name not in known]


@dataclass(slots=True)
class _Done:
    """The artefacts of a run that are published, and what report.json says beside the score."""

    model: Ref
    heard: Ref
    scored: Ref
    zero_shot: Ref | None = None
    decoder: Ref | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, str]:
        refs = {"model": self.model, "scored": self.scored, "zero_shot": self.zero_shot, "decoder": self.decoder}
        return {name: ref.key for name, ref in refs.items() if ref is not None}


def _publish(to: Path, run: Run, done: _Done) -> None:
    """Model, decoder, score, report and last report.json, each written beside and renamed."""
    home = run.store
    home.publish(done.model, to / "model")
    if done.decoder is not None:
        home.publish(done.decoder, to / "decoder")
    log = (run.path_of(done.model) / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    rtf = home.info(done.heard.key).notes.get("rtf")
    circumstances = Circumstances(
        command=run.record.command,
        run=run.id,
        rtf=rtf if isinstance(rtf, float) else None,
        model_path=str(to / "model"),
    )
    if done.zero_shot is not None:
        found = score_of(run, done.zero_shot)
        done.facts["zero_shot"] = {name: found[name] for name in ("model", "wer", "cer", "utterances", "words")}
    extras = Extras(
        train_log=[json.loads(line) for line in log], lineage=lineage_rows(home, done.scored), facts=done.facts
    )
    whole = publish_results(to, scored=run.path_of(done.scored), circumstances=circumstances, extras=extras)
    write_json(to / REPORT, whole | {"artefacts": done.keys})


def _published(to: Path) -> dict[str, str]:
    """Keys of what lies in `to`; report.json is written last, so that without it nothing counts as published."""
    try:
        report = json.loads((to / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = (to / "report.html").is_file() and (to / "model" / "model.safetensors").is_file()
    return dict(report.get("artefacts", {})) if whole else {}
