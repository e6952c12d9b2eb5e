"""`orature train-voice`: a voice from a corpus, from nothing or from a checkpoint of MMS-TTS, VITS or XTTS-v2.

Example::

    orature train-voice corpus --to voice --start mms-tts-yor/ --scale full
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command
from orature.cli.train import DeviceOption, SeedOption, ThreadsOption, resources_of

if TYPE_CHECKING:
    from orature.flow import Resources, Run
    from orature.recipes.tune_xtts import XttsCost
    from orature.stages.train_voice import TrainVoice
    from orature.stages.tune_xtts import TuneXtts
    from orature.train.voice.cost import VoiceCost


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    lines = (
        "orature train-voice corpus --to voice --scale smoke",
        "orature train-voice corpus --to voice --start mms-tts-yor/ --judge asr-model/ --scale full",
        "orature train-voice corpus --to voice --start XTTS-v2/ --lang sw --set epochs=5",
    )
    app.command("train-voice", epilog=example(*lines))(train_voice)


StartOption = Annotated[
    str | None,
    typer.Option(
        help="Folder (or allowed hub id) of an MMS-TTS or VITS checkpoint to fine-tune, or a folder of XTTS-v2.",
        show_default="from nothing",
    ),
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        help="Recogniser whose CER on dev sentences read aloud chooses the checkpoint.", show_default="mel error"
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any option of the training, e.g. updates=500, freeze=[flow]."),
]
LanguageOption = Annotated[str, typer.Option("--lang", help="Language (BCP-47) of the voice.", show_default="train's")]


@run_command
def train_voice(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder with splits.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the voice.")],
    start: StartOption = None,
    judge: JudgeOption = None,
    lang: LanguageOption = "",
    scale: Annotated[str, typer.Option(help="smoke, dev or full: how much work.")] = "dev",
    size: Annotated[str, typer.Option(help="tiny, small or base, from nothing; base is that of MMS-TTS.")] = "tiny",
    seed: SeedOption = None,
    assign: SetOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a voice on the train split; its checkpoint is chosen on dev, report.html has samples to hear.

    VITS from nothing or from a checkpoint; or the transformer of XTTS-v2 (non-commercial), in the environment that
    `orature voices add xtts` makes, with its vocabulary extended for the language.
    """
    from orature.data.corpus import Corpus
    from orature.flow import Run, open_store
    from orature.recipes.settings import parse_assignments
    from orature.recipes.train_voice import VoiceOptions, mean_length_s, voice_cost, voice_stage
    from orature.recipes.tune_xtts import is_xtts, xtts_cost, xtts_stage
    from orature.stages.inputs import corpus_ref

    options = VoiceOptions(
        scale=scale,
        size=size,
        start=start,
        judge=judge,
        language=lang,
        seed=1 if seed is None else seed,
        settings=parse_assignments(assign or []),
    )
    ref = corpus_ref(corpus)
    on = resources_of(device, threads, as_json)
    home = open_store(store)
    run = Run(home, recipe="train-voice", command=command_line())
    if is_xtts(start):
        tuned = xtts_stage(ref, options, name=corpus.absolute().name)
        priced = xtts_cost(tuned, corpus, on) if dry_run else None
        return _finish(run, tuned, priced, on=on, to=to, as_json=as_json)
    stage = voice_stage(ref, options, name=corpus.absolute().name, mean_s=mean_length_s(Corpus.open(corpus)))
    cost = voice_cost(stage, corpus, on) if dry_run else None
    _finish(run, stage, cost, on=on, to=to, as_json=as_json)


def _finish(
    run: Run, stage: TrainVoice | TuneXtts, cost: VoiceCost | XttsCost | None, *, on: Resources, to: Path, as_json: bool
) -> None:
    """Shows the plan where there is a `cost`, else trains, and puts the voice where it is wanted."""
    from orature.flow.store import refuse_foreign

    if cost is not None:
        planned = {"train_voice": run.planned(stage), "cost": cost.to_json()}
        config = stage.config.model_dump(mode="json")
        return emit({**planned, "config": config}, as_json, lambda: f"{cost.sentence()}\n{_listed(config)}")
    refuse_foreign(to)
    voice = run.do(stage, on=on)
    home = run.store
    home.publish(voice, to)
    notes = home.info(voice.key).notes
    if stage.name == "tune_xtts":
        text, engine = f"dev loss {notes['dev_loss']:.3f} nats a code", "xtts"
    else:
        text, engine = f"dev mel error {notes['dev_mel']:.3f}", "vits"
    text = f"voice:  {to} ({text}, update {notes['chosen']})"
    emit({"voice": to, **notes}, as_json, lambda: f"{text}\nlisten: {to / 'report.html'}\nuse it: {engine}:{to}")


def _listed(config: dict[str, object]) -> str:
    return "\n".join(f"  {name}: {value}" for name, value in config.items())
