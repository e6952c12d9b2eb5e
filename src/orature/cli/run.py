"""`orature run RECIPE`: whole experiments by name.

Example::

    orature run multilingual kichwa.tar.gz yo=yoruba/ --to pooled --scale dev --set with_lid=both
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orature.cli.common import BesideOption, DryRunOption, JsonOption, command_line, emit, example, run_command
from orature.cli.train import DeviceOption, ScaleOption, SeedOption, SetOption, ThreadsOption, resources_of

_LINES = (
    "orature run multilingual kichwa.tar.gz yo=yoruba/ --to pooled --scale dev",
    "orature run multilingual a/ b/ --to pooled --set with_lid=both --set network=conformer --dry-run",
    "orature run speech_translation kichwa/ --to out --set rich=spanish/ --set parallel=es-qu.tsv --dry-run",
    "orature run back_translate kichwa/ --to out --set text=news.txt --set voice=espeak --set ratios=[1,5]",
)


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=example(*_LINES))(run)


@run_command
def run(
    recipe: Annotated[str, typer.Argument(help="Its name, such as multilingual (a wrong name lists them all).")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Corpora: folders or archives; TAG=PATH states the language.", show_default=False),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for models and report.", show_default=False)] = None,
    scale: ScaleOption = None,
    seed: SeedOption = None,
    assign: SetOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: BesideOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Run a whole experiment by name, such as multilingual: corpora in, models and a comparison out."""
    from orature.core.errors import ConfigError
    from orature.recipes.registry import Request, recipe_of
    from orature.recipes.settings import parse_assignments

    found = recipe_of(recipe)
    if to is None:
        raise ConfigError("where to?", next_step=f"orature run {recipe} SOURCE ... --to DIR")
    request = Request(
        sources=tuple(sources or ()),
        to=to,
        scale=scale or "dev",  # type: ignore[arg-type]
        seed=1 if seed is None else seed,
        settings=parse_assignments(assign or []),
        resources=resources_of(device, threads, as_json),
        store=store,
        command=command_line(),
    )
    module = found.module()
    if dry_run:
        emit(module.plan(request), as_json)
        return
    outcome = module.run(request)
    emit(outcome.facts, as_json, lambda: "\n".join(outcome.lines))
