"""`orature average`: one model from several that were fine-tuned from the same start.

Example::

    orature average tuned/model start/ --weights 0.7,0.3 --to between/
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orature.cli.common import JsonOption, emit, example, run_command


def register(app: typer.Typer) -> None:
    """Adds `average` to the command line."""

    @app.command(
        epilog=example(
            "orature average seed1/model seed2/model seed3/model --to soup/",
            "orature average tuned/model start/ --weights 0.7,0.3 --to between/",
        )
    )
    @run_command
    def average(
        models: Annotated[
            list[str],
            typer.Argument(
                metavar="MODEL", help="Model folders with one start and one vocabulary.", show_default=False
            ),
        ],
        to: Annotated[Path, typer.Option("--to", help="New model folder.", show_default=False)],
        weights: Annotated[
            str, typer.Option("--weights", help="One for each model, adding up to 1.", show_default="all the same")
        ] = "",
        name: Annotated[str, typer.Option("--name", help="Name on the card.", show_default="made from theirs")] = "",
        as_json: JsonOption = False,
    ) -> None:
        """Average the weights of models with the same start: often better than each, or between new and old."""
        from orature.core.errors import ConfigError
        from orature.engines.hub import model_folder
        from orature.train.model_average import average_models

        try:
            shares = [float(part) for part in weights.split(",")] if weights else None
        except ValueError as error:
            raise ConfigError(
                f"--weights {weights}: not numbers with commas between", next_step="for example --weights 0.7,0.3"
            ) from error
        done = average_models([model_folder(model) for model in models], to, shares, name)
        how = " + ".join(f"{part['weight']:.4g} x {part['model']}" for part in done["averaged"])
        text = f"model: {done['model']}\naverage of: {how}\nhow alike they are: {done['similarity']:.2f} (1: equal)"
        emit(done, as_json, f"{text}\nnext: orature evaluate, on dev, against each of them")
