"""`orature compare` and `orature report`: two scored folders side by side, and one as a page.

Example::

    orature compare results/baseline results/new
    orature report results/new --to new.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orature.cli.common import JsonOption, emit, example, run_command


def register(app: typer.Typer) -> None:
    """Adds `compare` and `report` to the command line."""

    @app.command(
        epilog=example("orature compare results/baseline results/new", "orature compare base-1 new-1 base-2 new-2")
    )
    @run_command
    def compare(
        a: Annotated[Path, typer.Argument(metavar="REPORT", help="Scored folder A.", show_default=False)],
        b: Annotated[Path, typer.Argument(metavar="REPORT", help="Scored folder B.", show_default=False)],
        more: Annotated[
            list[Path] | None,
            typer.Argument(
                metavar="REPORT...", help="A and B again, trained with other seeds, pair by pair.", show_default=False
            ),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Say whether B is better than A: paired bootstrap on the same test set; unlike test sets are refused.

        With more pairs, whether it is so whatever the seed: the interval then is over utterances and trainings.
        """
        from orature.evaluate.compare import as_text
        from orature.evaluate.folder import open_scored
        from orature.evaluate.over_seeds import compare_in_turn, seeds_as_text

        outcome = compare_in_turn([open_scored(folder) for folder in (a, b, *(more or []))])
        emit(outcome, as_json, lambda: seeds_as_text(outcome) if more else as_text(outcome))

    @app.command(epilog=example("orature report results/test", "orature report results/test --to for_the_team.html"))
    @run_command
    def report(
        folder: Annotated[
            Path,
            typer.Argument(metavar="FOLDER", help="Folder with score.json and hypotheses.jsonl.", show_default=False),
        ],
        to: Annotated[
            Path | None, typer.Option("--to", help="File to write (default: FOLDER/report.html).", show_default=False)
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Write the scores of a folder as one self-contained HTML page."""
        from orature.core.files import refuse_unwritable
        from orature.stages.evaluate import report_from_folder

        if to is not None:
            refuse_unwritable(to.parent)
        path = report_from_folder(folder, to)
        emit({"report": path}, as_json, f"report: {path}")
