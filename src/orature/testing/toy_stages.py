"""Two small stages for tests of the spine, and as a pattern for one's own: a source of rows, and work over them.

Example::

    rows = run.do(Numbers(count=20))
    run.do(Squares(rows=rows), on=Resources(workers=2))
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from orature.core.errors import StoreError
from orature.core.files import write_json
from orature.flow.context import StageContext
from orature.flow.ref import Ref
from orature.flow.stage import Stage

TALLY = "ORATURE_TOY_TALLY"
"""Environment variable: a folder in which each piece of work leaves one file, so that a test can count them."""


class Numbers(Stage):
    """The numbers 0 ... count-1, one a line, written in two files."""

    name = "numbers"
    count: int = 12

    def run(self, ctx: StageContext) -> None:
        tally("numbers")
        for name, parity in (("even.txt", 0), ("odd/odd.txt", 1)):
            with ctx.writing(name) as part:
                part.write_text("".join(f"{n}\n" for n in range(parity, self.count, 2)))
        ctx.conserve(total=self.count, kept=self.count, rejected={})


class Squares(Stage):
    """The square of each number, in shards; multiples of `refuse` are rejected; `pause_s` slows each shard down."""

    name = "squares"
    rows: Ref
    shard_rows: int = 5
    refuse: int = 7
    pause_s: float = 0.0
    reject_limit: float = 0.5

    def run(self, ctx: StageContext) -> None:
        folder = ctx.path_of(self.rows)
        numbers = sorted(int(line) for name in ("even.txt", "odd/odd.txt") for line in (folder / name).open())
        work = partial(square, refuse=self.refuse, pause_s=self.pause_s)
        results = ctx.map_shards(self.batches(numbers), work, total=len(numbers))
        kept = [square for result in results for square in result["kept"]]
        total = self.resumed_sum(ctx, kept)
        with ctx.writing("squares.json") as part:
            part.write_text(json.dumps({"squares": kept, "sum": total}))
        ctx.note(finished=time.time())
        rejected = {"refused": sum(result["refused"] for result in results)}
        ctx.conserve(total=len(numbers), kept=len(kept), rejected=rejected, reject_limit=self.reject_limit)

    def batches(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        """Rows of one shard after the other."""
        for start in range(0, len(numbers), self.shard_rows):
            yield numbers[start : start + self.shard_rows]

    def resumed_sum(self, ctx: StageContext, squares: Sequence[int]) -> int:
        """The sum in several steps with a checkpoint after each, as a training would go."""
        checkpoint = ctx.state / "checkpoint.json"
        done = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"next": 0, "sum": 0}
        for index in range(done["next"], len(squares), 4):
            tally("step")
            done = {"next": index + 4, "sum": done["sum"] + sum(squares[index : index + 4])}
            write_json(checkpoint, done)
        return int(done["sum"])


def square(batch: Sequence[int], folder: Path, *, refuse: int, pause_s: float) -> dict[str, Any]:
    """One shard: its squares in squares.txt."""
    tally("shard")
    time.sleep(pause_s)
    if min(batch) < 0:
        raise StoreError(f"{min(batch)} has no place here")
    kept = [n * n for n in batch if n % refuse or n == 0]
    (folder / "squares.txt").write_text("".join(f"{n}\n" for n in kept))
    return {"kept": kept, "refused": len(batch) - len(kept)}


def count_squares(artefact: Path) -> int:
    """Rows that are really in an artefact of `Squares`."""
    return len(json.loads((artefact / "squares.json").read_text())["squares"])


def tally(what: str) -> None:
    """Leave one file for one piece of work, if a test asked for it."""
    folder = os.environ.get(TALLY)
    if folder:
        Path(folder, f"{what}-{os.getpid()}-{time.monotonic_ns()}").touch()
