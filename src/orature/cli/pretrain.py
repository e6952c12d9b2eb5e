"""`orature pretrain`: a model of ours goes on learning from speech without transcripts.

Example::

    orature pretrain radio/ kichwa/ --start base/model --to adapted --set updates=4000
    orature train kichwa/ --start adapted --to recogniser
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command
from orature.cli.train import DeviceOption, ProcessesOption, ScaleOption, SeedOption, ThreadsOption, resources_of

_LINES = (
    "orature pretrain radio/ kichwa/ --start base/model --to adapted --set updates=4000",
    "orature pretrain radio/ --start base/model --to adapted --set keep_weight=0 --dry-run",
)


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=example(*_LINES))(pretrain)


StartOption = Annotated[
    str | None, typer.Option(help="Folder of a Conformer made by Orature, to go on from.", show_default="required")
]
EmbargoOption = Annotated[
    list[Path] | None,
    typer.Option(help="Corpus whose dev and test recordings may not be heard; may be repeated.", show_default=False),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any option, e.g. updates=500, keep_weight=0 or codes=2048."),
]


@run_command
def pretrain(
    corpora: Annotated[list[Path], typer.Argument(metavar="CORPUS...", help="Corpus folders (`orature ingest`).")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the model.")],
    start: StartOption = None,
    embargo: EmbargoOption = None,
    scale: ScaleOption = None,
    seed: SeedOption = None,
    assign: SetOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    processes: ProcessesOption = "1",
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a base model further on speech without transcripts (BEST-RQ), as a better start for `train`.

    Train and unlabelled rows are heard, dev is only measured, test is never opened; transcripts are not read.
    """
    from orature.data.corpus import Corpus
    from orature.flow import Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.recipes.pretrain import PretrainOptions, pretrain_cost, pretrain_stage
    from orature.recipes.settings import parse_assignments
    from orature.stages.inputs import corpus_ref
    from orature.stages.pretrain_material import gather

    options = PretrainOptions(
        start=start,
        scale=scale or "dev",  # type: ignore[arg-type]
        seed=1 if seed is None else seed,
        settings=parse_assignments(assign or []),
        embargo=tuple(str(folder) for folder in embargo or ()),
    )
    stage = pretrain_stage([corpus_ref(corpus) for corpus in corpora], options)
    on = resources_of(device, threads, as_json, processes=processes)
    refuse_foreign(to)
    home = open_store(store)
    run = Run(home, recipe="pretrain", command=command_line())
    if dry_run:
        embargoed = [Corpus.open(folder) for folder in embargo or ()]
        opened = [Corpus.open(corpus) for corpus in corpora]
        heard = gather(opened, embargoed, stage.masked, stage.config.seed, stage.reject_limit)
        plan: dict[str, object] = {
            "pretrain": run.planned(stage),
            "hours": round(heard.hours, 3),
            "rows_heard": heard.rows,
        }
        plan |= {"rows_not_heard": heard.reasons, "cost": pretrain_cost(stage, on, heard.hours)}
        configs = {"config": stage.config.model_dump(mode="json"), "masked": stage.masked.model_dump(mode="json")}
        return emit(plan | configs, as_json)
    ref = run.do(stage, on=on)
    home.publish(ref, to)
    notes = home.info(ref.key).notes
    text = (
        f"model: {to} (dev: {100 * notes['dev_masked_accuracy']:.1f} % of masked steps right, the most frequent code "
        f"is {100 * notes['dev_chance']:.1f} %; {100 * notes['dev_phones_kept']:.1f} % of the start's phones kept)"
    )
    emit({"model": to, **notes}, as_json, f"{text}\nuse it: orature train CORPUS --start {to} --to RECOGNISER")
