"""`orature train-voice`: a voice from a corpus, from nothing or from an MMS-TTS or VITS checkpoint.

Example::

    orature train-voice corpus --to voice --start mms-tts-yor/ --scale full
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command
from orature.cli.train import DeviceOption, SeedOption, ThreadsOption, resources_of


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    lines = (
        "orature train-voice corpus --to voice --scale smoke",
        "orature train-voice corpus --to voice --start mms-tts-yor/ --judge asr-model/ --scale full",
    )
    app.command("train-voice", epilog=example(*lines))(train_voice)


StartOption = Annotated[
    str | None,
    typer.Option(
        help="Folder (or allowed hub id) of an MMS-TTS or VITS checkpoint to fine-tune.", show_default="from nothing"
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
    """Train a voice (VITS) on the train split; its checkpoint is chosen on dev, report.html has samples to hear."""
    from orature.data.corpus import Corpus
    from orature.flow import Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.recipes.settings import parse_assignments
    from orature.recipes.train_voice import VoiceOptions, mean_length_s, voice_cost, voice_stage
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
    stage = voice_stage(ref, options, name=corpus.absolute().name, mean_s=mean_length_s(Corpus.open(corpus)))
    on = resources_of(device, threads, as_json)
    home = open_store(store)
    run = Run(home, recipe="train-voice", command=command_line())
    if dry_run:
        cost = voice_cost(stage, corpus, on)
        planned = {"train_voice": run.planned(stage), "cost": cost.to_json()}
        config = stage.config.model_dump(mode="json")
        return emit({**planned, "config": config}, as_json, lambda: f"{cost.sentence()}\n{_listed(config)}")
    refuse_foreign(to)
    voice = run.do(stage, on=on)
    home.publish(voice, to)
    notes = home.info(voice.key).notes
    text = f"voice:  {to} (dev mel error {notes['dev_mel']:.3f}, update {notes['chosen']})"
    emit({"voice": to, **notes}, as_json, lambda: f"{text}\nlisten: {to / 'report.html'}\nuse it: vits:{to}")


def _listed(config: dict[str, object]) -> str:
    return "\n".join(f"  {name}: {value}" for name, value in config.items())
