"""The command `orature label`: untranscribed speech gets labels of a recogniser, those worth training on are kept.

Example::

    orature label corpus --model model --to labelled
    orature label corpus --model model --second whisper-small --set most_disagreement=0.1 --to labelled
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import (
    BackendOption,
    DryRunOption,
    FastOption,
    JsonOption,
    StoreOption,
    command_line,
    emit,
    example,
    resources_for,
    run_command,
)
from orature.cli.train import DeviceOption, ThreadsOption

if TYPE_CHECKING:
    from orature.flow import Resources

_LINES = (
    "orature label corpus --model model --to labelled",
    "orature label corpus --model model --second whisper-small --set most_disagreement=0.1 --to labelled",
    "orature label corpus --model model --executor ray --address auto --workers 64 --to labelled",
)
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any filter, none to switch it off, e.g. min_confidence=0.7, speaker_hours=2, phrases=[thank you].",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=example(*_LINES))(label)


@run_command
def label(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder with untranscribed speech.")],
    model: Annotated[str, typer.Option(help="Model folder (or allowed hub id) that labels.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the labelled corpus.")],
    second: Annotated[
        str | None,
        typer.Option(help="Another model, best of another family: labels must agree.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="unlabelled, or train (its own transcripts go).")] = "unlabelled",
    lang: Annotated[str, typer.Option("--lang", "--language", help="Language, where a model asks for one.")] = "",
    decoder: Annotated[
        Path | None,
        typer.Option(help="Folder made by `orature tune`, for --model: beam search.", show_default=False),
    ] = None,
    assign: SetOption = None,
    backend: BackendOption = "auto",
    fast: FastOption = False,
    executor: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster that is up (auto: this machine's).", show_default="one of its own")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode (with Ray: tasks at a time).")] = 1,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Label untranscribed speech with a recogniser: labels worth training on are kept, the others have a reason.

    The result is a corpus to train on: its own train, dev and test rows with the new ones (origin pseudo) in train.
    """
    from orature.flow import Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.recipes.judging import Listening
    from orature.recipes.labelling import label_lines, label_plan, labelled, read_account
    from orature.recipes.settings import parse_assignments
    from orature.stages.inputs import corpus_ref, decoder_ref, model_ref

    refuse_foreign(to)
    home = open_store(store)
    run = Run(home, recipe="label", command=command_line())
    on = _resources(executor, address, workers, device, threads, as_json)
    beam = None if decoder is None else decoder_ref(decoder)
    how: dict[str, Any] = {
        "second": None if second is None else model_ref(second),
        "split": _split(split),
        "listening": Listening(language=lang, decoder=beam, backend=backend, fast=fast),
        "filters": parse_assignments(assign or []),
        "on": on,
    }
    inputs = (corpus_ref(corpus), model_ref(model))
    if dry_run:
        plan = label_plan(run, *inputs, **how) | {"to": str(to)}
        return emit(plan, as_json, lambda: _cost_lines(plan))
    ref = labelled(run, *inputs, **how)
    home.publish(ref, to)
    account = read_account(to)
    report = {"corpus": str(to), "rejects": str(to / "rejects.jsonl"), "labels": account}
    emit(report, as_json, lambda: "\n".join([*label_lines(account), f"corpus: {to}", f"rejects: {report['rejects']}"]))


def _split(name: str) -> str:
    from orature.core.errors import ConfigError

    if name not in ("unlabelled", "train"):
        raise ConfigError(
            f"labels are for speech to train on, not for {name!r}", next_step="choose unlabelled or train"
        )
    return name


def _resources(
    executor: str, address: str | None, workers: int, device: str, threads: int | None, as_json: bool
) -> Resources:
    from orature.train.devices import prepare_device

    on = resources_for(executor, address, workers, device, as_json)
    if executor == "local":
        prepare_device(device, threads)
    return on.model_copy(update={"threads": threads})


def _cost_lines(plan: dict[str, Any]) -> str:
    from orature.core.progress import clock

    decodings = [f"  {one['decode']}: decode with {one['model']}" for one in plan["decodings"]]
    return "\n".join(
        [
            f"label: {plan['utterances']:,} utterances of split {plan['split']}, {plan['hours']:.2f} h",
            *decodings,
            f"  time: about {clock(plan['seconds'])} with {plan['workers']} workers (measured on a few of them)",
            f"  disk: about {plan['disk_bytes'] / 1e9:.2f} GB",
        ]
    )
