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
    from orature.flow.store import Store
    from orature.train.watch_rows import Watched


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Check the folder of finished work, or free space in it.", no_args_is_help=True)
    app.command(epilog=example("orature why 1a2b3c", "orature why my_model/model --json"))(why)
    app.command(epilog=example("orature runs", "orature runs last", "orature runs 20260301 --json"))(runs)
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
def runs(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="The beginning of a run's name, or last: its pseudo-labels too.", show_default=False
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs, oldest first, with the state and key of each step.

    Of a run that was named, also what its pseudo-labels were like, while they are still being made too: how many
    batches the cache holds, which share of the letters changed when an utterance was labelled again (churn), blanks,
    lengths.
    """
    from orature.flow.run import read_runs
    from orature.flow.store import open_store

    home = open_store(store, must_exist=True)
    records = read_runs(home)
    if name is None:
        data = {"runs": [record.model_dump(mode="json") | {"state": record.state()} for record in records]}
        return emit(data, as_json, lambda: "\n".join(map(_summary, records)) or "no runs yet")
    record = _named(records, name)
    watched = _watched(home, record)
    shown = [{"key": key, **_as_json(one)} for key, one in watched.items()]
    one_run = record.model_dump(mode="json") | {"state": record.state(), "pseudo_labels": shown}
    emit(one_run, as_json, lambda: "\n".join([_summary(record), *_label_lines(watched)]))


def _named(records: list[RunRecord], name: str) -> RunRecord:
    """The run whose name begins with `name`, or the last one; BadInput when there is none or more than one."""
    from orature.core.errors import BadInput

    found = records[-1:] if name == "last" else [record for record in records if record.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} runs begin with {name}: {', '.join(record.id for record in found[-5:])}"
    raise BadInput(many if found else f"no run begins with {name!r}", next_step="`orature runs` lists the runs")


def _watched(home: Store, record: RunRecord) -> dict[str, Watched]:
    """What labels were like in each training of a run that made some, by its key."""
    from orature.train.watch_rows import watched_in

    found: dict[str, Watched] = {}
    for step in record.steps:
        if step.stage == "train-pseudo" and step.key not in found:
            notes = home.info(step.key).notes if home.get(step.key) else None
            watched = watched_in(home.folder(step.key), home.work(step.key) / "state", notes)
            if watched is not None:
                found[step.key] = watched
    return found


def _as_json(watched: Watched) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(watched)


_COLUMNS = {
    "update": ("update", "d"),
    "cache": ("cache", "d"),
    "churn": ("churn", "%"),
    "empty_share": ("empty", "%"),
    "blank_share": ("blanks", "%"),
    "length_ratio": ("length", "x"),
    "probe_distance": ("probe", "%"),
    "labelled_loss": ("loss", "f"),
    "pseudo_loss": ("pseudo", "f"),
    "dev_cer": ("dev", "%"),
}


def _label_lines(watched: dict[str, Watched]) -> list[str]:
    """A table for each training: churn is of letters of labels that were made again, length against the warm-up."""
    lines: list[str] = []
    for key, one in watched.items():
        state = "finished" if one.finished else "not finished"
        lines += [
            "",
            f"pseudo-labels of {key[:12]}, {state} at update {one.update:,}, {one.labels:,} utterances labelled",
        ]
        if not one.rows and one.now is None:
            lines.append("  the warm-up on labelled speech is not over: no labels yet")
            continue
        lines.append("  " + " ".join(f"{title:>8}" for title, _ in _COLUMNS.values()))
        for row in one.rows:
            lines.append("  " + _cells(row))
            if "collapse" in row:
                lines.append(f"           collapsed: {row['collapse']}; back to the best checkpoint")
        if one.now is not None:
            lines.append("  " + _cells(one.now) + "  since then")
    return lines


def _cells(row: dict[str, Any]) -> str:
    cells = []
    for name, (_, kind) in _COLUMNS.items():
        value = row.get(name)
        if value is None:
            cells.append(f"{'-':>8}")
        elif kind == "%":
            cells.append(f"{100 * value:7.1f}%")
        else:
            cells.append(f"{value:8d}" if kind == "d" else f"{value:7.2f}x" if kind == "x" else f"{value:8.3f}")
    return " ".join(cells)


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
