"""The plain corpus folder: `manifest.tsv` (or csv, jsonl) with a path and a sentence a row, and the audio beside it.

Also understood: NeMo (`audio_filepath`, `text`, `duration`, `offset`), Hugging Face AudioFolder (`metadata.csv` or
`.jsonl` with `file_name`, split folders) and tables named after their split (`train.tsv` ...).

Example::

    path	sentence	speaker	lang	split	seconds
    audio/a.flac	shuk	s1	que-EC	train	1.2
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from orature.core.errors import CorpusError
from orature.core.types import ORIGINS, Origin, Reject, Split
from orature.data.draft import Draft, Seen
from orature.data.tables import Row, open_rows, seconds_of, split_of
from orature.data.tree import Tree, attach, referred

_COLUMNS = {
    "audio": (
        *("path", "audio_filepath", "audio_path", "file_name", "filename", "audio_file", "audio", "file", "wav"),
        *("wav_filename", "clip"),
    ),
    "text": ("sentence", "text", "transcription", "transcript", "normalized_text", "raw_text"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "language": ("lang", "language", "locale"),
    "split": ("split", "subset", "set"),
    "seconds": ("seconds", "duration", "duration_s"),
    "licence": ("licence", "license"),
    "offset": ("offset", "start", "start_s"),
    "id": ("id", "utt_id", "utterance_id"),
    "origin": ("origin",),
    "source": ("source",),
}
_NEXT = "give the manifest a header line with at least the columns path and sentence"
_NAME = re.compile(
    r"(?:(?P<first>manifest|metadata)|(?P<split>train|training|dev|valid|validation|val|test|eval)(?:[_-]manifest)?)"
    r"\.(?P<kind>tsv|csv|jsonl|json)",
    re.IGNORECASE,
)
_RANK = {"manifest": 0, "metadata": 1}
_KIND_RANK = {"tsv": 0, "csv": 1, "jsonl": 2, "json": 3}


class PlainFolder:
    """Reader of manifests (module docstring)."""

    name = "plain"

    def sniff(self, tree: Tree) -> bool:
        return bool(_manifests(tree))

    def read(self, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:
        manifests = _manifests(tree)
        if not manifests:
            raise CorpusError("there is no manifest in it (manifest.tsv, metadata.csv ...)", where=str(tree.path))
        rows = (draft for name in manifests for draft in _drafts(tree, name, seen))
        return attach(tree, rows, seen, strays=False)


def _manifests(tree: Tree) -> list[str]:
    """The manifests nearest to the root; in one folder `manifest` before `metadata` before tables a split."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    names = tree.names()
    if len(names) == 1 and names[0].lower().endswith((".tsv", ".csv", ".jsonl", ".json")):
        return names
    for name in names:
        folder, _, base = name.rpartition("/")
        match = _NAME.fullmatch(base)
        if match and not name.startswith("__MACOSX/"):
            rank = _RANK.get((match["first"] or "").lower(), 2)
            found.setdefault(folder, []).append((rank, _KIND_RANK[match["kind"].lower()], name))
    if not found:
        return []
    depth = min(_depth(folder) for folder in found)
    chosen: list[str] = []
    for folder, ranked in found.items():
        if _depth(folder) == depth:
            best = min(ranked)[:2]
            chosen += [name for *rank, name in ranked if tuple(rank) == best]
    return sorted(chosen)


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0


def _drafts(tree: Tree, name: str, seen: Seen) -> Iterator[Draft | Reject]:
    table = open_rows(tree, name, seen)
    columns = table.columns
    if columns and not set(_COLUMNS["audio"]) & set(columns):
        raise CorpusError(f"{name} has no column that names the audio", where=_said(tree, columns), next_step=_NEXT)
    if columns and not set(_COLUMNS["text"]) & set(columns) and not set(_COLUMNS["split"]) & set(columns):
        raise CorpusError(f"{name} has no column with the sentence", where=_said(tree, columns), next_step=_NEXT)
    folder = name.rpartition("/")[0]
    default = _split_of_name(name)
    wanted = {
        field: tuple(name for name in names if name in columns or not columns) for field, names in _COLUMNS.items()
    }
    for row in table.rows:
        yield row if isinstance(row, Reject) else _draft(tree, row, wanted, folder, default)


def _said(tree: Tree, columns: tuple[str, ...]) -> str:
    return f"{tree.path} (columns: {', '.join(columns)})"


def _split_of_name(name: str) -> Split | None:
    """train.tsv, test_manifest.json, validation/metadata.csv."""
    folder, _, base = name.rpartition("/")
    match = _NAME.fullmatch(base)
    if match and match["split"]:
        return split_of(match["split"])
    return split_of(folder.rpartition("/")[2])


def _draft(
    tree: Tree, row: Row, wanted: dict[str, tuple[str, ...]], folder: str, default: Split | None
) -> Draft | Reject:
    cells = dict.fromkeys(wanted, "")
    for field, names in wanted.items():
        for name in names:
            if cell := row.cells.get(name):
                cells[field] = cell
                break
    given = cells["audio"]
    if not given:
        return Reject("", "row-malformed", "the row names no audio", row.where)
    if "\\" in given and "/" not in given:
        given = given.replace("\\", "/")
    audio_name = referred(folder, given)
    if audio_name is None:
        if tree.archived or "\0" in given:
            return Reject(given, "archive-escape", "the path leads out of the archive", row.where)
        audio_name = str(tree.path / folder / given)
    ident = cells["id"] or _stem(tree, audio_name, folder)
    split = split_of(cells["split"]) if cells["split"] else default
    if cells["split"] and split is None:
        detail = f"the split {cells['split']!r} is none of train, dev, test, unlabelled"
        return Reject(ident, "split-unknown", detail, row.where)
    if cells["origin"] and cells["origin"] not in ORIGINS:
        return Reject(ident, "row-malformed", f"the origin {cells['origin']!r} is not known", row.where)
    draft = Draft(
        id=ident,
        where=row.where,
        text=cells["text"] or (None if split == "unlabelled" else ""),
        audio_name=audio_name,
        language=cells["language"] or None,
        speaker=cells["speaker"] or None,
        split=split,
        licence=cells["licence"] or None,
        source=cells["source"] or tree.label,
        origin=cast(Origin, cells["origin"] or "real"),
    )
    return _timed(draft, cells, named=bool(cells["id"]))


def _stem(tree: Tree, audio_name: str, folder: str) -> str:
    """The path below the manifest's folder without its ending."""
    if audio_name.startswith(f"{tree.path}/"):
        audio_name = audio_name.removeprefix(f"{tree.path}/")
    stem = audio_name.removeprefix(folder + "/").lstrip("/")
    head, _, base = stem.rpartition("/")
    base = base.rsplit(".", 1)[0] or base
    return f"{head}/{base}" if head else base


def _timed(draft: Draft, cells: dict[str, str], *, named: bool) -> Draft | Reject:
    """With an offset the row is a part of the recording; without, its seconds are a claim to check."""
    seconds = seconds_of(cells["seconds"])
    if not cells["offset"]:
        return replace(draft, expected_s=seconds)
    try:
        start_s = float(cells["offset"])
    except ValueError:
        start_s = math.nan
    if not (math.isfinite(start_s) and start_s >= 0) or seconds is None:
        detail = f"offset {cells['offset']!r} and duration {cells['seconds']!r} do not cut out a part"
        return Reject(draft.id, "row-malformed", detail, draft.where)
    ident = draft.id if named else f"{draft.id}@{start_s:.3f}"
    return replace(draft, id=ident, start_s=start_s, duration_s=seconds)
