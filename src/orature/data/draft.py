"""What a reader of a corpus format hands over: rows that still need their sound decoded, and rows that it refuses.

A reader is one small file with one class::

    class MyFormat:
        name = "mine"
        def sniff(self, tree: Tree) -> bool: ...                              # is this my format? names only
        def read(self, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:   # each row once, one way or the other
            for where, cells in rows_of(tree, "my.tsv", seen):
                yield Draft(id=..., where=where, text=cells["text"], audio_name=cells["file"])

and one line in pyproject.toml under [project.entry-points."orature.readers"].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from orature.core.types import Origin, Reject, Split

if TYPE_CHECKING:
    from orature.data.tree import Tree


@dataclass(frozen=True, slots=True)
class Draft:
    """One row of a source. `audio` is a file or the bytes of one (None until `attach` found it by `audio_name`).

    `where` is file and line. `split` None: labelled, in no split yet. `start_s` and `duration_s` cut a part out of the
    recording; `expected_s` is the length that the source claims (a shorter recording was cut off).
    """

    id: str
    where: str
    text: str | None
    audio_name: str
    language: str | None = None
    speaker: str | None = None
    split: Split | None = None
    licence: str | None = None
    source: str = ""
    origin: Origin = "real"
    audio: Path | bytes | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None
    expected_s: float | None = None


@dataclass(slots=True)
class Seen:
    """The reader's own count of rows, against which kept and rejected are held (law 1), and things worth saying."""

    rows: int = 0
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, what: str, count: int = 1) -> None:
        if count:
            self.notes[what] = self.notes.get(what, 0) + count


@runtime_checkable
class Reader(Protocol):
    """A corpus format."""

    name: str

    def sniff(self, tree: Tree) -> bool:
        """Whether the names in `tree` look like this format; must not read audio."""
        ...

    def read(self, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:
        """Every row once: as a Draft with its audio attached, or as a Reject; CorpusError for what is no corpus."""
        ...
