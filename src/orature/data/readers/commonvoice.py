"""Common Voice scripted speech, releases 6.1 to 25: an archive as published, or a folder of it, one or more languages.

Columns differ by release (`accent` or `accents`; `sentence_id`, `sentence_domain`, `variant`, `segment` come and go),
so only those that every release has are asked for. These tables know no quoting: a sentence may hold a lone quote.
train, dev and test keep their split; other validated clips are in none yet; `other.tsv` is untranscribed speech (its
prompts are not checked); invalidated clips are counted rejects. Delta archives have no splits. The layout is described
in the datasheets of https://github.com/common-voice/cv-dataset.

Example::

    tree = open_tree(Path("cv-corpus-25.0-2026-03-01-que.tar.gz"))
    drafts = list(CommonVoice().read(tree, Seen()))
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from orature.core.errors import CorpusError
from orature.core.types import Reject, Split
from orature.data.draft import Draft, Seen
from orature.data.tables import Row, open_rows
from orature.data.tree import Tree, attach

_TABLES = ("test", "dev", "train", "validated", "invalidated", "other")
"""In this order a clip is given to a split; validated.tsv repeats the rows of the three splits, which is no double."""
_OFFICIAL: dict[str, Split] = {"test": "test", "dev": "dev", "train": "train", "other": "unlabelled"}
_LICENCE = "CC0-1.0"
_RELEASE = re.compile(r"cv-corpus-[^/]+(?:/[^/]+)?$")
_CLIP = re.compile(r"common_voice_(.+)_\d+$")
_TSV = re.compile(r"(?:^|/)(?:test|dev|train|validated|invalidated|other)\.tsv$")


class CommonVoice:
    """Reader of Common Voice scripted releases (module docstring)."""

    name = "commonvoice"

    def sniff(self, tree: Tree) -> bool:
        return bool(_bases(tree))

    def read(self, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:
        bases = _bases(tree)
        if not bases:
            raise CorpusError(
                "there is no folder with clips/ and validated.tsv in it",
                where=str(tree.path),
                next_step="give the release as it was downloaded, or leave --format out",
            )
        refused: set[str] = set()
        rows = (draft for base in bases for draft in _Language(tree, base, seen, refused).drafts())
        return attach(tree, rows, seen, strays=True, refused=refused)


def _bases(tree: Tree) -> list[str]:
    """Folders that hold a table of Common Voice and a folder `clips` (as "" or "a/b/")."""
    names = tree.names()
    clips = {name.rpartition("clips/")[0] for name in names if name.startswith("clips/") or "/clips/" in name}
    tables = {name[: match.start()] + ("/" if match.start() else "") for name in names if (match := _TSV.search(name))}
    return sorted(clips & tables)


class _Language:
    """One language of one release: its tables merged into one row a clip."""

    def __init__(self, tree: Tree, base: str, seen: Seen, refused: set[str]) -> None:
        self._tree, self._base, self._seen, self._refused = tree, base, seen, refused
        self._names = set(tree.names())
        above = tree.path.absolute()
        path = "/".join([above.parent.name, above.name] if not tree.archived else [])
        release = _RELEASE.search(f"{path}/{base}".strip("/"))
        self._source = release[0] if release else tree.label
        self._locale = base.rstrip("/").rpartition("/")[2] or (tree.label if not tree.archived else "")
        self._milliseconds = self._durations()
        self._first: dict[str, str] = {}

    def drafts(self) -> Iterator[Draft | Reject]:
        for table in _TABLES:
            name = f"{self._base}{table}.tsv"
            if name not in self._names:
                continue
            yield from self._table(table, name)

    def _table(self, table: str, name: str) -> Iterator[Draft | Reject]:
        opened = open_rows(self._tree, name, self._seen)
        lacking = [column for column in ("client_id", "path", "sentence") if column not in opened.columns]
        if lacking:
            what = f"{name} has no column {', '.join(lacking)}"
            raise CorpusError(what, where=str(self._tree.path), next_step="is this a Common Voice scripted release?")
        for row in opened.rows:
            if isinstance(row, Reject):
                yield row
            elif not row.cells["path"]:
                yield Reject("", "row-malformed", "the row names no clip", row.where)
            else:
                yield from self._clip(table, row)

    def _clip(self, table: str, row: Row) -> Iterator[Draft | Reject]:
        clip = row.cells["path"]
        if "." not in clip:
            clip += ".mp3"
        ident = clip.rsplit(".", 1)[0]
        earlier = self._first.setdefault(clip, table)
        if earlier != table and table == "validated" and earlier in ("test", "dev", "train"):
            self._seen.rows -= 1  # the same row again, as the release means it
            return
        draft = Draft(
            id=ident,
            where=row.where,
            text=None if table == "other" else row.cells["sentence"],
            audio_name=f"{self._base}clips/{clip}",
            language=row.cells.get("locale") or self._language(ident),
            speaker=row.cells["client_id"] or None,
            split=_OFFICIAL.get(table),
            licence=_LICENCE,
            source=self._source,
            expected_s=self._milliseconds.get(clip, 0) / 1000 or None,
        )
        if earlier != table:
            yield Reject(ident, "duplicate-id", f"the clip is in {earlier}.tsv as well, which counts", row.where)
        elif table == "invalidated":
            self._refused.add(draft.audio_name)
            yield Reject(ident, "cv-invalidated", "listeners voted the clip down", row.where)
        else:
            yield draft

    def _language(self, ident: str) -> str | None:
        match = _CLIP.match(ident)
        return match[1] if match else self._locale or None

    def _durations(self) -> dict[str, int]:
        """Milliseconds by clip: clip_durations.tsv since 16.1, times.txt before (both: clip, tab, milliseconds)."""
        found: dict[str, int] = {}
        for name in (f"{self._base}clip_durations.tsv", f"{self._base}times.txt"):
            if name not in self._names:
                continue
            with self._tree.open_table(name) as stream:
                for line in stream:
                    clip, _, length = line.decode("utf-8", "replace").strip().partition("\t")
                    if length.isdigit():
                        found[clip.rpartition("/")[2]] = int(length)
            break
        return found
