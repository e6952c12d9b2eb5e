"""`orature up`, `train`, `evaluate` and `transcribe`: the main road from a corpus to a used recogniser.

Example::

    orature up my_corpus/ --to my_model/ --scale dev
    orature transcribe my_model/model talk.wav --as srt
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import (
    BackendOption,
    BesideOption,
    DryRunOption,
    FastOption,
    JsonOption,
    StoreOption,
    command_line,
    emit,
    example,
    run_command,
)
from orature.cli.search_options import BeamsOption, CtcWeightOption, LengthPenaltyOption, search_of
from orature.cli.up_options import ParallelOption, RichOption, TextOption, VoiceOption, WithOption

if TYPE_CHECKING:
    from orature.flow import Resources
    from orature.recipes.training import UpOptions

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any training option, e.g. updates=500 or augment.warp=0.1."),
]
ScaleOption = Annotated[str | None, typer.Option(help="smoke, dev or full: how much work.", show_default="dev")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of everything that is drawn.", show_default="1")]
LangOption = Annotated[str | None, typer.Option("--lang", help="Language (BCP-47) of rows that state none.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="CPU threads (default: one a core).")]

ProcessesOption = Annotated[
    str, typer.Option(metavar="N|auto", help="Processes that share the training out; auto: one a GPU.")
]
ShardingOption = Annotated[
    str, typer.Option(help="none or fsdp: with several processes, each holds a share of the weights (large models).")
]

StartOption = Annotated[
    str | None,
    typer.Option(
        help="Model folder (or allowed hub id) to start from; base: Orature's own.", show_default="from nothing"
    ),
]
UpStartOption = Annotated[
    str | None,
    typer.Option(help="Model folder (or allowed hub id) to start from; none: random weights.", show_default="base"),
]
RehearseOption = Annotated[
    list[Path] | None,
    typer.Option(help="Corpus folder of an old language to keep; may be repeated.", show_default=False),
]

GuardOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--guard",
        help="Corpus folder of an old language, only scored before and after; may be repeated.",
        show_default=False,
    ),
]

_UP_NAMES = "source to lang format scale seed device threads store train split start rehearse guard text rich parallel"
UP_OPTIONS = (*_UP_NAMES.split(), "processes", "sharding", "with", "voice", "back_translation", "speech_translation")


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    up_lines = (
        "orature up my_corpus/ --to my_model/ --scale dev",
        "orature up kichwa.tar.gz --to kichwa --text news.txt",
        "orature up kichwa/ --to kichwa-st --rich spanish/ --parallel es-qu.tsv",
    )
    app.command(epilog=example(*up_lines))(up)
    app.command(epilog=example("orature train corpus --to model --start xls-r-300m/ --scale dev"))(train)
    app.command(epilog=example("orature evaluate model corpus --split test --to results"))(evaluate)


def resources_of(
    device: str, threads: int | None, as_json: bool, *, processes: str | int = 1, sharding: str = "none"
) -> Resources:
    """What a command computes with; ConfigError for what this machine lacks."""
    from orature.flow import Resources
    from orature.train.devices import checked_sharding, prepare_device, process_count
    from orature.train.launch import Spread

    found = prepare_device(device, threads)
    count, share = process_count(processes, found), checked_sharding(sharding)
    Spread(found, threads, count, share).check()
    return Resources(device=device, threads=threads, progress=not as_json, processes=count, sharding=share)


@run_command
def up(
    source: Annotated[
        Path | None, typer.Argument(help="An archive or a folder of recordings.", show_default=False)
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for the model and the report.", show_default=False)] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the same options.")] = None,
    lang: LangOption = None,
    format: Annotated[str | None, typer.Option(help="Format of the source.", show_default="auto")] = None,
    scale: ScaleOption = None,
    seed: SeedOption = None,
    start: UpStartOption = None,
    rehearse: RehearseOption = None,
    guard: GuardOption = None,
    text: TextOption = None,
    extras: WithOption = None,
    voice: VoiceOption = None,
    rich: RichOption = None,
    parallel: ParallelOption = None,
    assign: SetOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    threads: ThreadsOption = None,
    processes: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Processes that share the training out.", show_default="1")
    ] = None,
    sharding: Annotated[
        str | None, typer.Option(help="none or fsdp: each process holds a share of the weights.", show_default="none")
    ] = None,
    store: BesideOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Make a measured recogniser from a corpus: read, check, split, train, score once on test, report."""
    from orature.recipes.settings import parse_assignments, read_settings
    from orature.recipes.up import plan, run_up

    typed: dict[str, Any] = {
        "source": source,
        "to": to,
        "lang": lang,
        "format": format,
        "scale": scale,
        "seed": seed,
        "store": store,
    }
    typed |= {"device": device, "threads": threads, "start": start, "processes": processes, "sharding": sharding}
    typed["rehearse"] = [str(folder) for folder in rehearse] if rehearse else None
    typed["text"] = [str(file) for file in text] if text else None
    typed["guard"] = [str(folder) for folder in guard] if guard else None
    typed["parallel"] = [str(file) for file in parallel] if parallel else None
    typed |= {"with": extras, "voice": voice, "rich": rich}
    given = _given(read_settings(config, UP_OPTIONS) if config else {}, typed, parse_assignments(assign or []))
    source, to = Path(str(given["source"])), Path(str(given["to"]))
    home = Path(str(given["store"])) if given.get("store") else None
    options, on = _up_options(given), _up_resources(given, as_json)
    if dry_run:
        emit(plan(source, to, options, home, on), as_json)
        return
    result = run_up(source, to, options, resources=on, store=home, command=command_line())
    facts = {"model": result.model, "report": result.report, "fresh": result.fresh, "score": result.score}
    emit(facts, as_json, lambda: _story(facts))


def _up_options(given: dict[str, Any]) -> UpOptions:
    from orature.recipes.training import UpOptions, start_of_up

    train = _table(given, "train")
    return UpOptions(
        format=str(given.get("format", "auto")),
        language=None if given.get("lang") is None else str(given["lang"]),
        scale=given.get("scale", "dev"),
        seed=_whole(given, "seed") or 0 if "seed" in given else 1,
        split=_table(given, "split"),
        train=train,
        start=start_of_up(None if given.get("start") is None else str(given["start"]), train),
        rehearse=tuple(str(folder) for folder in given.get("rehearse") or ()),
        guards=tuple(str(folder) for folder in given.get("guard") or ()),
        texts=tuple(str(file) for file in given.get("text") or ()),
        extras=_listed(given.get("with")),
        voice=str(given.get("voice") or "espeak"),
        translation=_table(given, "back_translation"),
        rich=None if given.get("rich") is None else str(given["rich"]),
        parallel=tuple(str(file) for file in given.get("parallel") or ()),
        speech_translation=_table(given, "speech_translation"),
    )


def _listed(value: Any) -> tuple[str, ...] | None:
    """The names of `--with` ("lm,back_translation") or of a list in a file; "none" for nothing."""
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else value
    return tuple(name for name in (str(one).strip() for one in names) if name not in ("", "none"))


def _up_resources(given: dict[str, Any], as_json: bool) -> Resources:
    return resources_of(
        str(given.get("device", "auto")),
        _whole(given, "threads"),
        as_json,
        processes=str(given.get("processes", 1)),
        sharding=str(given.get("sharding", "none")),
    )


def _given(file: dict[str, Any], typed: dict[str, Any], assigned: dict[str, Any]) -> dict[str, Any]:
    """The options of the file, under those typed, under those of `--set` (which are training options)."""
    from orature.core.errors import ConfigError

    given = file | {name: value for name, value in typed.items() if value is not None}
    if "source" not in given:
        raise ConfigError("which corpus?", next_step="orature up SOURCE --to DIR (or source: in the --config file)")
    given.setdefault("to", f"{Path(str(given['source'])).name.split('.')[0]}-orature")
    given["train"] = _merged(_table(given, "train"), assigned)
    return given


def _table(given: dict[str, Any], name: str) -> dict[str, Any]:
    from orature.core.errors import ConfigError

    value = given.get(name) or {}
    if not isinstance(value, dict):
        example = {"train": "{updates: 500}", "split": "{strategy: random}"}.get(name, "{ratios: [1, 5]}")
        raise ConfigError(f"{name!r} must hold options of its own", next_step=f"write it as in `{name}: {example}`")
    return value


def _whole(given: dict[str, Any], name: str) -> int | None:
    from orature.core.errors import ConfigError

    value = given.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ConfigError(
            f"option {name!r} must be a whole number (given: {value!r})", next_step=f"write it as `{name}: 1`"
        )
    return value


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    done = dict(below)
    for name, value in above.items():
        old = done.get(name)
        done[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return done


def _story(facts: dict[str, Any]) -> str:
    score = facts["score"]
    return "\n".join(
        [
            "",
            f"test: {score['utterances']} utterances, {score['words']} words, {score['hours']:.2f} h",
            *rate_lines(score),
            *((score.get("arms") or {}).get("verdict", {}).get("sentences", [])),
            *(f"  note: {warning}" for warning in score.get("warnings", [])),
            f"model:  {facts['model']}",
            f"use it: orature transcribe {facts['model']} RECORDING.wav",
            f"report: {facts['report']}",
        ]
    )


def rate_lines(score: dict[str, Any]) -> list[str]:
    """WER and CER with their intervals, one line each."""
    lines = []
    for name in ("wer", "cer"):
        rate = score[name]
        low, high = rate.get("low"), rate.get("high")
        span = "no interval" if low is None else f"95 % interval {100 * low:.1f} to {100 * high:.1f}, by {rate['by']}"
        lines.append(f"  {name.upper()} {100 * rate['value']:.1f} %  ({span})")
    return lines


@run_command
def train(
    corpora: Annotated[
        list[Path], typer.Argument(metavar="CORPUS...", help="Corpus folders made by `orature ingest` or `split`.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder for the model.")],
    start: StartOption = None,
    lang: Annotated[str | None, typer.Option("--lang", help="Target language, where the model asks for one.")] = None,
    rehearse: RehearseOption = None,
    guard: GuardOption = None,
    scale: ScaleOption = None,
    seed: SeedOption = None,
    assign: SetOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    processes: ProcessesOption = "1",
    sharding: ShardingOption = "none",
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a recogniser on the train split, from nothing or from a model; its checkpoint is chosen on dev."""
    from orature.data.corpus import Corpus
    from orature.flow import Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.recipes.estimate import cost
    from orature.recipes.settings import parse_assignments
    from orature.recipes.training import UpOptions, describe_recipe, named_start, pooled, split_stage, train_stage
    from orature.stages.inputs import corpus_ref

    options = UpOptions(
        language=lang,
        scale=scale or "dev",  # type: ignore[arg-type]
        seed=1 if seed is None else seed,
        train=parse_assignments(assign or []),
        start=named_start(start),
        rehearse=tuple(str(folder) for folder in rehearse or ()),
        guards=tuple(str(folder) for folder in guard or ()),
    )
    home = open_store(store)
    run = Run(home, recipe="train", command=command_line())
    on = resources_of(device, threads, as_json, processes=processes, sharding=sharding)
    split = split_stage(pooled(run, [corpus_ref(corpus) for corpus in corpora], corpora, on), options)
    if dry_run and run.planned(split) == "todo":
        return emit({"split": "todo", "train": "todo", "cost": "known once the corpus has been split"}, as_json)
    refuse_foreign(to)
    ready = run.do(split, on=on)
    stage = train_stage(run, ready, options, name="-".join(corpus.name for corpus in corpora))
    if dry_run:
        recipe = describe_recipe(Corpus.open(run.path_of(ready)), options)
        planned = {"train": run.planned(stage), "recipe": recipe, "cost": cost(stage, on)}
        return emit({**planned, "config": stage.config.model_dump(mode="json")}, as_json)
    ref = run.do(stage, on=on)
    home.publish(ref, to)
    notes = home.info(ref.key).notes
    emit({"model": to, **notes}, as_json, lambda: f"model: {to} (dev CER {100 * notes['dev_cer']:.1f} %)")


@run_command
def evaluate(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    corpus: Annotated[Path, typer.Argument(help="A corpus folder.")],
    split: Annotated[str, typer.Option(help="Which split to score.")] = "test",
    to: Annotated[Path | None, typer.Option("--to", help="Folder for score.json and report.html.")] = None,
    normaliser: Annotated[str | None, typer.Option(help="Scoring normaliser.", show_default="orature-basic@1")] = None,
    lang: Annotated[str | None, typer.Option("--lang", help="Language, where the model asks for one.")] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(help="Folder made by `orature tune`: beam search with a language model.", show_default=False),
    ] = None,
    beams: BeamsOption = None,
    length_penalty: LengthPenaltyOption = None,
    ctc_weight: CtcWeightOption = None,
    backend: BackendOption = "auto",
    fast: FastOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decode a split and score it: WER and CER with intervals, slices, worst utterances, report.html."""
    from orature.recipes.score import score_model

    to = to or Path(f"{model.name}-{split}-scores")
    whole = score_model(
        model,
        corpus,
        to,
        split=split,
        normaliser=normaliser,
        language=lang or "",
        decoder=decoder,
        backend=backend,
        fast=fast,
        search=search_of(beams, length_penalty, ctc_weight),
        resources=resources_of(device, threads, as_json),
        store=store,
        command=command_line(),
    )
    emit(whole, as_json, lambda: "\n".join([*rate_lines(whole), f"report: {to / 'report.html'}"]))
