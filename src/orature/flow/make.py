"""Make one artefact under its lock: work, account, describe, one rename.

Example::

    info = make_artefact(store, stage, resources, command="orature up x", run_id="20260101-120000-1a2b")
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from orature.core.faults import write_point
from orature.core.files import fsync_path, remove, write_json
from orature.core.progress import say
from orature.core.provenance import now, versions
from orature.flow.artefact import INFO_NAME, ArtefactInfo, Made, describe_files, digest_files
from orature.flow.context import StageContext
from orature.flow.ref import Resources
from orature.flow.stage import Stage
from orature.flow.store import Store


def make_artefact(store: Store, stage: Stage, resources: Resources, *, command: str, run_id: str) -> ArtefactInfo:
    """Run `stage` in work/<key>, going on from what an earlier try left there, and make its result visible.

    The caller holds the lock of the key. A crash at any instant leaves the artefact absent or complete.
    """
    key, began = stage.key(), time.monotonic()
    work = store.work(key)
    ctx = StageContext(stage, work=work, logs=store.logs(key), resources=resources, locate=store.path_of)
    write_point("work-ready")
    if ctx.resuming:
        say(f"{stage.name}: going on where it stopped (key {key[:12]})")
    stage.run(ctx)
    write_point("stage-ran")
    ctx.settle()
    files = describe_files(ctx.out)
    info = ArtefactInfo(
        key=key,
        stage=stage.name,
        version=stage.version,
        identity=stage.identity(),
        inputs=stage.refs(),
        digest=ctx.digest or digest_files(files),
        files=files,
        rows=ctx.rows,
        notes=ctx.notes,
        made=Made(
            at=now(),
            wall_s=round(time.monotonic() - began, 3),
            command=command,
            run=run_id,
            versions=versions(),
        ),
    )
    _commit(store, info, ctx.out)
    remove(work)
    write_point("swept")
    return info


def _commit(store: Store, info: ArtefactInfo, out: Path) -> None:
    write_json(out / INFO_NAME, info.sealed())
    write_point("artefact-described")
    for place, _, names in os.walk(out):
        for name in names:
            with suppress(PermissionError):  # some file systems know no modes
                Path(place, name).chmod(0o444)
        fsync_path(Path(place))
    write_point("artefact-synced")
    store.artefacts.mkdir(parents=True, exist_ok=True)
    out.rename(store.folder(info.key))
    fsync_path(store.artefacts)
    write_point("committed")
