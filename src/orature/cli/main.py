"""The `orature` command.

Example::

    orature up my_corpus/ --to my_model/

Only the shell is here: each command group registers itself, and imports what is heavy inside its functions.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orature import __version__
from orature.cli import (
    average,
    check,
    demo,
    doctor,
    evaluate,
    export,
    ingest,
    judge,
    label,
    lm,
    pretrain,
    run,
    spine,
    synthesise,
    text,
    train,
    train_translator,
    train_voice,
    transcribe,
    translate,
    voices,
)
from orature.cli.common import example, report_defect, stop_on_sigterm, wait_asleep_where_busy

_MAKE = (
    "up demo ingest check split train pretrain average train-voice train-translator voices text synthesise judge label "
    "translate run lm tune"
)
_USE = "evaluate compare transcribe export report runs why store doctor"
MAIN_PATH = f"{_MAKE} {_USE}"


class InOrder(TyperGroup):
    """Lists the commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        rank = {name: place for place, name in enumerate(MAIN_PATH.split())}
        return sorted(self.commands, key=lambda name: (rank.get(name, len(rank)), name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """What each command does in its whole first sentence (the inherited method cuts it off)."""
        rows = [(name, self.commands[name].get_short_help_str(limit=500)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _version(value: bool) -> None:
    if value:
        print(f"orature {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """The whole command line as a typer application."""
    app = typer.Typer(
        cls=InOrder,
        name="orature",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        no_args_is_help=True,
    )

    @app.callback(epilog=example("orature up my_corpus/ --to my_model/", "orature transcribe my_model/model talk.wav"))
    def orature(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """From minutes to hours of transcribed speech to a measured, usable speech recogniser."""

    for group in (
        train,
        demo,
        ingest,
        check,
        evaluate,
        lm,
        transcribe,
        spine,
        doctor,
        average,
        export,
        judge,
        label,
        pretrain,
        run,
        train_voice,
        train_translator,
        synthesise,
        text,
        translate,
        voices,
    ):
        group.register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exits 0 done, 1 the work failed, 2 wrong usage or bad input, 130 interrupted (resumable)."""
    stop_on_sigterm()
    wait_asleep_where_busy()
    sys.excepthook = report_defect
    command = typer.main.get_command(build())
    given = sys.argv[1:] if arguments is None else arguments
    command(given or ["--help"], prog_name="orature")


if __name__ == "__main__":
    main()
