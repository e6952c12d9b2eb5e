"""`orature train-translator`: a translator from sentence pairs, a small Transformer or a dictionary, as dev says.

Example::

    orature train-translator pairs.tsv --from es --to-lang qu --to es-qu --scale full
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command
from orature.cli.train import DeviceOption, SeedOption, ThreadsOption, resources_of

if TYPE_CHECKING:
    from orature.flow import Resources
    from orature.recipes.train_translator import TranslatorOptions


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    lines = (
        "orature train-translator pairs.tsv --from es --to-lang qu --to es-qu",
        "orature train-translator train.es.txt train.qu.txt --from es --to-lang qu --to es-qu --pieces characters",
        "orature train-translator pairs/ --from fr --to-lang bm --to fr-bm --embargo corpus --set train.updates=5000",
        "orature train-translator words.tsv --from es --to-lang qu --to es-qu --kind dictionary",
    )
    app.command("train-translator", epilog=example(*lines))(train_translator)


PairsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="PAIRS...",
        help="Tables (.tsv, .csv, .jsonl) with a column a language, folders of them, or text files two by two.",
    ),
]
EmbargoOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--embargo", help="Corpus whose dev and test sentences are kept out; may be repeated.", show_default=False
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any option of the training, the pairs or the dictionary: train.updates=500, pairs.max_ratio=3.",
    ),
]
HeldOutOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Pairs drawn out of train for each of dev and test, where there are none.",
        show_default="a twentieth",
    ),
]
KindOption = Annotated[
    str, typer.Option(help="transformer, dictionary (of aligned words), or auto: both, and dev chooses by chrF.")
]
SizeOption = Annotated[str | None, typer.Option(help="tiny, small or base.", show_default="by number of pairs")]
PiecesOption = Annotated[
    str | None, typer.Option(help="Word pieces of each language, or: characters.", show_default="by number of pairs")
]
SourceColumn = Annotated[str, typer.Option(help="Column of the source.", show_default="by its name")]
TargetColumn = Annotated[str, typer.Option(help="Column of the translation.", show_default="by its name")]


@run_command
def train_translator(
    pairs: PairsArgument,
    source: Annotated[str, typer.Option("--from", help="Language (BCP-47) of the source.")],
    target: Annotated[str, typer.Option("--to-lang", help="Language (BCP-47) of the translation.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the translator.")],
    kind: KindOption = "auto",
    scale: Annotated[str, typer.Option(help="smoke, dev or full: how much work.")] = "dev",
    size: SizeOption = None,
    pieces: PiecesOption = None,
    held_out: HeldOutOption = None,
    embargo: EmbargoOption = None,
    source_column: SourceColumn = "",
    target_column: TargetColumn = "",
    licence: Annotated[str, typer.Option(help="Licence of pairs that state none.", show_default="not stated")] = "",
    seed: SeedOption = None,
    assign: SetOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train a translator on sentence pairs; dev chooses, test is translated once by each that is made (BLEU, chrF).

    A MarianMT Transformer whose size, word pieces and dropout follow the number of pairs, and a dictionary of aligned
    words, which is better where pairs are few: the one with the higher chrF on dev is taken (--kind makes one alone),
    and what both reached is in the report. --size, --pieces and --set train.NAME are for the Transformer. Splits are
    those of the pairs, or drawn; their dev and test, and those of --embargo, are kept out of training. report.html has
    the figures with intervals and examples.
    """
    from orature.recipes.settings import parse_assignments
    from orature.recipes.train_translator import TranslatorOptions

    settings = parse_assignments(assign or [])
    named = {"held_out": held_out, "source_column": source_column, "target_column": target_column}
    if asked := {name: value for name, value in named.items() if value}:
        settings["pairs"] = asked | settings.get("pairs", {})
    options = TranslatorOptions(
        source=source,
        target=target,
        kind=kind,
        scale=scale,
        size=size,
        pieces=pieces,
        embargo=tuple(embargo or ()),
        licence=licence,
        seed=1 if seed is None else seed,
        settings=settings,
    )
    _made(pairs, options, to, resources_of(device, threads, as_json), store, as_json=as_json, dry_run=dry_run)


def _made(
    pairs: list[Path],
    options: TranslatorOptions,
    to: Path,
    on: Resources,
    store: Path | None,
    *,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Shows the plan, or makes the translator and puts it where it is wanted."""
    from orature.flow import Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.recipes.train_translator import train_translator, translator_plan

    if dry_run:
        plan = translator_plan(pairs, options, on)
        return emit(plan.to_json(), as_json, plan.lines)
    refuse_foreign(to)
    home = open_store(store)
    run = Run(home, recipe="train-translator", command=command_line())
    home.publish(train_translator(run, pairs, options, on=on, name=to.absolute().name), to)
    _finish(to, as_json)


def _finish(to: Path, as_json: bool) -> None:
    """The figures of test, and where things lie."""
    from orature.stages.model_folder import training_of
    from orature.stages.translation_score import score_in

    score, facts = score_in(to), training_of(to)
    choice = facts.get("choice")
    lines = [
        f"translator: {to}",
        f"kind: {facts['kind_said']}",
        *([] if choice is None else [f"choice: {choice['sentence']}"]),
        *(f"test {name}: {_points(score[key])}" for key, name in (("chrf", "chrF"), ("bleu", "BLEU"))),
        f"test chrF of the source left as it is: {score['copy']['chrf']:.1f}",
        f"report: {to / 'report.html'}",
    ]
    emit({"translator": to, "kind": facts["kind"], "choice": choice, "score": score}, as_json, lambda: "\n".join(lines))


def _points(figure: dict[str, float | None]) -> str:
    reach = " (too few for an interval)" if figure["low"] is None else f" ({figure['low']:.1f} to {figure['high']:.1f})"
    return f"{figure['value']:.1f}{reach}"
