"""The commands about finished work: `why`, `runs`, `store check`, `store gc`.

Example::

    orature why 1a2b3c
    orature store gc --keep-days 30 --dry-run
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, emit, example, run_command

if TYPE_CHECKING:
    from orature.flow.artefact import ArtefactInfo
    from orature.flow.run import RunRecord


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Check the folder of finished work, or free space in it.", no_args_is_help=True)
    app.command(epilog=example("orature why 1a2b3c", "orature why my_model/model --json"))(why)
    app.command(epilog=example("orature runs", "orature runs --json"))(runs)
    group.command("check", epilog=example("orature store check"))(check)
    group.command("gc", epilog=example("orature store gc --keep-days 30 --dry-run"))(gc)
    app.add_typer(group, name="store")


@run_command
def why(
    ref: Annotated[str, typer.Argument(help="First 6 or more digits of a key or digest, or a published folder.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a result was made from: every step, its settings, its rows, its inputs."""
    from orature.flow.store import open_store

    home = open_store(store, must_exist=True)
    chain = home.lineage(home.find(ref))[::-1]
    data = {"lineage": [info.model_dump(mode="json", exclude={"files"}) for info in chain]}
    emit(data, as_json, lambda: "\n\n".join(_explain(info) for info in chain))


def _explain(info: ArtefactInfo) -> str:
    size = sum(file.size for file in info.files.values())
    lines = [
        f"{info.stage} (version {info.version})  key {info.key[:12]}  digest {info.digest[:12]}",
        f"  made      {info.made.at} in {info.made.wall_s:.1f} s by: {info.made.command} (run {info.made.run})",
        f"  holds     {len(info.files)} files, {size / 1e6:.1f} MB",
    ]
    if info.rows is not None:
        reasons = ", ".join(f"{count} {why}" for why, count in info.rows.rejected.items() if count)
        lost = info.rows.total - info.rows.kept
        lines.append(f"  rows      {info.rows.total} in = {info.rows.kept} kept + {lost} rejected")
        lines += [f"            rejected: {reasons}"] if reasons else []
    lines += [f"  from      {ref.stage}  {ref.path or 'key ' + ref.key[:12]}" for ref in info.inputs]
    fields = info.identity.get("fields", {})
    lines += [f"  set       {name} = {value}" for name, value in fields.items() if not _is_ref(value)]
    lines += [f"  noted     {name} = {value}" for name, value in info.notes.items()]
    return "\n".join(lines)


def _is_ref(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"ref"}


@run_command
def runs(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the runs, oldest first, with the state and key of each step."""
    from orature.flow.run import read_runs
    from orature.flow.store import open_store

    records = read_runs(open_store(store, must_exist=True))
    data = {"runs": [record.model_dump(mode="json") | {"state": record.state()} for record in records]}
    emit(data, as_json, lambda: "\n".join(map(_summary, records)) or "no runs yet")


def _summary(run: RunRecord) -> str:
    lines = [f"{run.id}  {run.state()}  {run.recipe}: {run.command}"]
    return "\n".join(lines + [f"  {s.key[:12]}  {s.state:<11} {s.seconds:9.1f} s  {s.stage}" for s in run.steps])


@run_command
def check(
    store: StoreOption = None,
    drop_damaged: Annotated[
        bool, typer.Option("--drop-damaged", help="Remove what is damaged, so that the next run makes it anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read every byte of every result again; exit 1 when anything is missing or has changed."""
    from orature.flow.store import open_store

    home = open_store(store, must_exist=True)
    keys = home.keys()
    problems = home.check(drop=drop_damaged)
    data = {"checked": len(keys), "dropped": drop_damaged and bool(problems), "problems": problems}

    def text() -> str:
        lines = [f"{key[:12]}  {problem}" for key, found in problems.items() for problem in found]
        verdict = f"{len(keys)} results checked, {len(problems)} damaged"
        if not problems:
            return verdict
        advice = "dropped; run your command again" if drop_damaged else "drop them with --drop-damaged, and run again"
        return "\n".join([*lines, f"{verdict}: {advice}"])

    emit(data, as_json, text)
    if problems and not drop_damaged:
        raise typer.Exit(1)


@run_command
def gc(
    store: StoreOption = None,
    keep_days: Annotated[float, typer.Option(min=0, help="Keep what a run of the last so many days used.")] = 30,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Free space: remove results that no recent run used, and work that was never finished."""
    from orature.flow.store import open_store

    removed = open_store(store, must_exist=True).gc(keep_days=keep_days, dry_run=dry_run)
    freed = sum(item.bytes for item in removed)
    rows = [{"what": r.what, "key": r.key, "stage": r.stage, "bytes": r.bytes} for r in removed]

    def text() -> str:
        lines = [f"{r.key[:12]}  {r.bytes / 1e6:9.1f} MB  {r.what} {r.stage}".rstrip() for r in removed]
        verb = "would be removed" if dry_run else "removed"
        return "\n".join([*lines, f"{len(removed)} things {verb}, {freed / 1e6:.1f} MB"])

    emit({"dry_run": dry_run, "bytes": freed, "removed": rows}, as_json, text)
