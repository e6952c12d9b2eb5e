"""The command `orature ingest`: a source of any known format becomes a corpus folder.

Example::

    orature ingest cv-corpus-25.0-2026-03-01-que.tar.gz --to corpus
    orature ingest ../shared/corpora/digits_fsdd --to digits --json
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command

if TYPE_CHECKING:
    from orature.flow.artefact import Rows


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    lines = ("orature ingest my_corpus/ --to corpus", "orature ingest cv-corpus-25.0-2026-03-01-que.tar.gz --to corpus")
    app.command(epilog=example(*lines))(ingest)


@run_command
def ingest(
    source: Annotated[Path, typer.Argument(help="An archive, a folder, a manifest or a recording.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to make the corpus in.")],
    format: Annotated[
        str, typer.Option("--format", help="plain, commonvoice, lhotse, bare, or auto to look for oneself.")
    ] = "auto",
    lang: Annotated[str | None, typer.Option("--lang", help="Language (BCP-47) of rows that state none.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of rows that state none.")] = None,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Longest labelled recording.")] = 120.0,
    reject_limit: Annotated[float, typer.Option("--reject-limit", help="Share of bad rows at which to stop.")] = 0.5,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that decode.")] = 1,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Read a corpus: every row is kept, or rejected with a reason in CORPUS/rejects.jsonl."""
    from orature.core.errors import ConfigError
    from orature.flow.ref import Resources
    from orature.flow.run import Run
    from orature.flow.store import open_store, refuse_foreign
    from orature.stages.ingest import ingest_stage

    if max_seconds <= 0 or not 0 <= reject_limit <= 1:
        raise ConfigError(
            "--max-seconds must be above 0 and --reject-limit between 0 and 1",
            next_step="leave them out for the defaults, 120 and 0.5",
        )
    if licence is not None and not (licence.strip() and licence.isprintable()):
        raise ConfigError("--licence must be one line of text", next_step="name it as in --licence 'CC BY 4.0'")
    limits = {"max_seconds": max_seconds, "reject_limit": reject_limit}
    stage = ingest_stage(source, format=format, language=lang, licence=licence, **limits)
    home = open_store(store)
    run = Run(home, recipe="ingest", command=command_line())
    if dry_run:
        data = {"source": str(source), "format": stage.format, "to": str(to), "ingest": run.planned(stage)}
        emit(data, as_json, f"{source} is read as {stage.format}; ingest: {data['ingest']}")
        return
    refuse_foreign(to)
    ref = run.do(stage, on=Resources(workers=workers))
    home.publish(ref, to)
    info = home.info(ref.key)
    report = _report(to, stage.format, info.rows, info.notes)
    emit(report, as_json, lambda: _lines(report))


def _report(to: Path, format: str, rows: Rows | None, notes: dict[str, Any]) -> dict[str, Any]:
    from orature.data.corpus import REJECTS, Corpus

    summary = Corpus.open(to).summary()
    said = {name: value for name, value in notes.items() if name not in ("format", "hours")}
    counts = {"total": 0, "kept": 0, "rejected": {}} if rows is None else rows.model_dump()
    facts = {name: summary[name] for name in ("digest", "utterances", "hours", "splits", "languages", "licences")}
    return {"corpus": str(to), "format": format, "rows": counts, "rejects": str(to / REJECTS), "notes": said, **facts}


def _lines(report: dict[str, Any]) -> str:
    rows = report["rows"]
    lost = sum(rows["rejected"].values())
    lines = [
        f"{report['corpus']}: {rows['kept']} of {rows['total']} rows kept, {report['hours']:.2f} h "
        f"({report['format']}, {', '.join(report['languages'])}, digest {report['digest'][:12]})"
    ]
    for name, part in report["splits"].items():
        lines.append(
            f"  {name:<12} {part['utterances']:>8} utterances  {part['hours']:8.2f} h  {part['speakers']:>5} speakers"
        )
    if lost:
        lines.append(f"  rejected     {lost:>8} (each with its reason in {report['rejects']})")
        lines += [f"    {n:>8} {reason}" for reason, n in sorted(rows["rejected"].items(), key=lambda item: -item[1])]
    lines += [f"  note: {n} {what}" for what, n in report["notes"].items()]
    return "\n".join(lines)
