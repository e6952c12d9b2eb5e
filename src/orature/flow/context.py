"""What a running stage is given: where its inputs lie, how it may write, how it accounts for its rows.

Example::

    def run(self, ctx: StageContext) -> None:
        results = ctx.map_shards(batches, convert, folder="audio", unit="clips")
        ctx.conserve(total=100, kept=98, rejected={"audio-silent": 2})
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from orature.core.errors import RejectLimitExceeded, RowsVanished, StoreError
from orature.core.files import PART, clear_parts, remove, write_beside
from orature.core.identity import canonical_json
from orature.core.progress import Progress
from orature.flow.artefact import INFO_NAME, Rows, walk_files
from orature.flow.ref import Ref, Resources
from orature.flow.shards import SHARD_NAME, ShardMap
from orature.flow.stage import Stage

T = TypeVar("T")
MARKS = ".shards"


class StageContext:
    """Handed to `Stage.run`; everything of one artefact in the making lies in `work`.

    `out` becomes the artefact (write only through `writing` and `map_shards`); `state` survives a crash and is resumed
    from; `logs` survives as well and never counts.
    """

    def __init__(
        self, stage: Stage, *, work: Path, logs: Path, resources: Resources, locate: Callable[[Ref], Path]
    ) -> None:
        self.resources = resources
        self.out, self.state, self.logs = work / "out", work / "state", logs
        self.rows: Rows | None = None
        self.digest: str | None = None
        self.notes: dict[str, Any] = {}
        self._stage, self._inputs, self._locate = stage.name, frozenset(stage.refs()), locate
        self._written: set[str] = set()
        self._left = self._sweep()

    def _sweep(self) -> frozenset[str]:
        """Make the folders; of an earlier try's output only whole shards stay."""
        for folder in (self.out, self.state, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        clear_parts(self.out)
        clear_parts(self.state)
        kept = {str(PurePosixPath(name).parent) for name in walk_files(self.out) if Path(name).name == SHARD_NAME}
        for name in list(walk_files(self.out)):
            if not _below(name, kept):
                remove(self.out / name)
        return frozenset(kept)

    @property
    def resuming(self) -> bool:
        """True when an earlier try left whole shards or state to go on from."""
        return bool(self._left) or any(self.state.iterdir())

    def path_of(self, ref: Ref) -> Path:
        """Folder of an input artefact, or the path of an external input. It must be one of the stage's own fields."""
        if ref not in self._inputs:
            raise StoreError(
                f"stage {self._stage} reads an input that is not among its fields, so its key would forget it",
                where=f"{ref.stage} {ref.digest[:12]}",
            )
        return self._locate(ref)

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Yield a path beside `out/name` for a file or a folder; on clean exit it is flushed and renamed to it."""
        self._claim(name)
        return write_beside(self.out / name)

    def map_shards(
        self,
        batches: Iterable[Sequence[T]],
        work: Callable[[Sequence[T], Path], dict[str, Any]],
        *,
        folder: str = "shards",
        total: int | None = None,
        unit: str = "rows",
        aside: bool = False,
        needs: Sequence[Path] | None = None,
    ) -> list[dict[str, Any]]:
        """Batch i becomes the folder `out/<folder>/<i>`; what `work(batch, folder)` returns lies in its shard.json.

        `work` is a top-level function (or a partial of one) and runs in `resources.workers` processes. Shards that an
        earlier try finished from the same rows are not redone. Batches must not depend on the resources.

        With `aside` the shards lie in `state/<folder>` and are no part of the artefact. `needs` names all files that
        `work` reads: with it, and only then, the shards may be made by the executor of the resources (Ray).
        """
        if not aside:
            self._claim(folder)
        with self.progress(self._stage, total, unit) as bar:

            def on_done(rows: int, kept: bool) -> None:
                if kept:
                    bar.resume_at(bar.done + rows)
                else:
                    bar.advance(rows)

            marks = self.state / MARKS / folder
            place = (self.state if aside else self.out) / folder
            shards = ShardMap(place, marks, work, self.resources.workers, on_done)
            if needs is not None:
                shards.executor, shards.address, shards.needs = self.resources.executor, self.resources.address, needs
                shards.gpus = 1 if self.resources.device.startswith("cuda") else 0
            results = shards.run(batches)
        if shards.remade:
            self.notes["shards_remade"] = shards.remade
        if shards.lost:
            self.notes["shards_lost_with_a_worker"] = sum(shards.lost.values())
        return results

    def conserve(self, *, total: int, kept: int, rejected: Mapping[str, int], reject_limit: float = 1.0) -> None:
        """Account for every row (law 1); once per stage. `reject_limit` is the largest share that may be rejected.

        RowsVanished when total != kept + rejected; RejectLimitExceeded above the limit.
        """
        if self.rows is not None:
            raise ValueError("conserve() is called once per stage")
        lost = sum(rejected.values())
        if kept + lost != total or min([kept, total, *rejected.values()]) < 0:
            raise RowsVanished(
                f"{self._stage}: {total} rows came in, {kept} were kept and {lost} rejected: "
                f"{total - kept - lost} are unaccounted for",
                next_step="this is a defect of the stage, not of your data; please report it",
            )
        if total and lost / total > reject_limit:
            reasons = ", ".join(f"{n} {why}" for why, n in sorted(rejected.items(), key=lambda item: -item[1])[:5])
            raise RejectLimitExceeded(
                f"{self._stage}: {lost} of {total} rows were rejected ({100 * lost / total:.1f} %, "
                f"allowed are {100 * reject_limit:.1f} %): {reasons}",
                next_step="mend the input, or allow more with a higher reject limit",
            )
        self.rows = Rows(total=total, kept=kept, rejected=dict(sorted(rejected.items())))

    def declare_digest(self, digest: str) -> None:
        """Content digest of the artefact, instead of the one over its files."""
        self.digest = digest

    def note(self, **facts: Any) -> None:
        """Facts to show in `orature why` and `orature runs`; JSON-able, not part of the identity, may hold times."""
        canonical_json(facts)
        self.notes.update(facts)

    def progress(self, what: str, total: float | None = None, unit: str = "") -> Progress:
        """A progress line, silent when the resources say so."""
        return Progress(what, total=total, unit=unit, stream=None if self.resources.progress else io.StringIO())

    def settle(self) -> None:
        """After the run: drop what only an earlier try wrote; StoreError for a file written past `writing`."""
        for name in list(walk_files(self.out)):
            if _below(name, self._written):
                continue
            if not _below(name, self._left):
                raise StoreError(
                    f"stage {self._stage} wrote {name} past ctx.writing(): a crash could leave half of it",
                    next_step="this is a defect of the stage; please report it",
                )
            remove(self.out / name)

    def _claim(self, name: str) -> None:
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts or path.parts[0] == INFO_NAME:
            raise ValueError(f"{name!r} cannot be the name of an artefact's file")
        if any(part.startswith(PART) for part in path.parts):
            raise ValueError(f"{name!r}: names that begin with {PART} mark unfinished files")
        self._written.add(str(path))


def _below(name: str, tops: Iterable[str]) -> bool:
    """Is `name` one of `tops` or below one of them?"""
    path = PurePosixPath(name)
    return any(str(place) in tops for place in (path, *path.parents))
