"""Lhotse manifests: `cuts.jsonl[.gz]`, or `recordings` with `supervisions`, as Lhotse's recipes and tools write them.

Our own corpus folder is one of them: origin, source, licence and split come back from `custom`. Lhotse itself is not
needed. A file name such as `mls_cuts_train.jsonl.gz` gives the split of rows that state none; a cut in which
nobody said anything is untranscribed speech.

Example::

    drafts = list(LhotseManifests().read(open_tree(Path("corpus")), Seen()))
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from orature.core.errors import CorpusError
from orature.core.types import ORIGINS, Origin, Reject, Split
from orature.data.draft import Draft, Seen
from orature.data.tables import json_objects, split_of
from orature.data.tree import Tree, attach, referred

_NAME = re.compile(
    r"(?:(?P<prefix>.*)[._-])?(?P<kind>cuts|recordings|supervisions)(?P<rest>[._-].*)?\.jsonl(?:\.gz)?", re.IGNORECASE
)
_WORDS = re.compile(r"[._-]+")
_CUT_KINDS = ("MonoCut", "DataCut", "Cut", "")


@dataclass(frozen=True, slots=True)
class _Manifest:
    """One file, and for supervisions the file of recordings that goes with it."""

    name: str
    kind: str
    split: Split | None
    recordings: str = ""


class _Malformed(Exception):
    """A row that cannot be used: reason and detail."""


class LhotseManifests:
    """Reader of Lhotse's JSON lines (module docstring)."""

    name = "lhotse"

    def sniff(self, tree: Tree) -> bool:
        return bool(_manifests(tree))

    def read(self, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:
        manifests = _manifests(tree)
        if not manifests:
            next_step = "give cuts.jsonl.gz, or recordings.jsonl.gz together with supervisions.jsonl.gz"
            raise CorpusError("there are no Lhotse manifests in it", where=str(tree.path), next_step=next_step)
        rows = (row for manifest in manifests for row in _rows(tree, manifest, seen))
        return attach(tree, rows, seen, strays=False)


def _manifests(tree: Tree) -> list[_Manifest]:
    """The cuts nearest to the root; where there are none, the pairs of recordings and supervisions nearest to it."""
    cuts: dict[int, list[_Manifest]] = {}
    pairs: dict[int, list[_Manifest]] = {}
    names = set(tree.names())
    for name in sorted(names):
        folder, _, base = name.rpartition("/")
        match = _NAME.fullmatch(base)
        if match is None or name.startswith("__MACOSX/"):
            continue
        depth = name.count("/")
        kind = match["kind"].lower()
        split = next((found for word in _WORDS.split(base) if (found := split_of(word))), None)
        if kind == "cuts":
            cuts.setdefault(depth, []).append(_Manifest(name, "cuts", split))
        elif kind == "supervisions":
            start, end = match.span("kind")
            partner = f"{folder}/" * bool(folder) + base[:start] + "recordings" + base[end:]
            others = (partner, partner.removesuffix(".gz"), partner + ".gz")
            there = next((other for other in others if other in names), "")
            if there:
                pairs.setdefault(depth, []).append(_Manifest(name, "supervisions", split, there))
    for group in (cuts, pairs):
        if group:
            return group[min(group)]
    return []


def _rows(tree: Tree, manifest: _Manifest, seen: Seen) -> Iterator[Draft | Reject]:
    folder = manifest.name.rpartition("/")[0]
    recordings = _recordings(tree, manifest) if manifest.recordings else {}
    for where, value in json_objects(tree, manifest.name, seen):
        if isinstance(value, Reject):
            yield value
            continue
        ident = value.get("id") if isinstance(value.get("id"), str) else ""
        try:
            if manifest.kind == "cuts":
                drafts = _from_cut(tree, folder, value, where, manifest.split)
            else:
                drafts = [_from_supervision(tree, folder, value, where, manifest.split, recordings)]
        except _Malformed as error:
            reason, detail = error.args
            yield Reject(str(ident), reason, detail, where)
            continue
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            detail = f"the row lacks what Lhotse writes ({error.__class__.__name__}: {error})"
            yield Reject(str(ident), "row-malformed", detail, where)
            continue
        seen.rows += len(drafts) - 1  # a cut with several supervisions is several rows
        yield from drafts


def _recordings(tree: Tree, manifest: _Manifest) -> dict[str, dict[str, Any]]:
    """Recordings by id; they are no rows, so that a broken one shows as a supervision without its recording."""
    values = (value for _, value in json_objects(tree, manifest.recordings, Seen()))
    return {str(value.get("id")): value for value in values if not isinstance(value, Reject)}


def _from_cut(tree: Tree, folder: str, cut: dict[str, Any], where: str, default: Split | None) -> list[Draft]:
    if cut.get("type", "") not in _CUT_KINDS:
        raise _Malformed("cut-unsupported", f"a {cut['type']} is put together of several; save it to audio first")
    if cut.get("recording") is None:
        raise _Malformed("audio-missing", "the cut has no recording (features alone are not enough)")
    start_s, duration_s = _seconds(cut["start"]), _seconds(cut["duration"])
    said = cut.get("supervisions") or []
    whole = dict(cut.get("custom") or {})
    if len(said) <= 1:
        one = said[0] if said else {}
        spans = [(str(cut["id"]), start_s, duration_s, one)]
    else:
        spans = [(str(one["id"]), start_s + float(one["start"]), _seconds(one["duration"]), one) for one in said]
    return [
        _draft(tree, folder, cut["recording"], where, ident, (start, length, cut.get("channel")), one, whole, default)
        for ident, start, length, one in spans
    ]


def _from_supervision(
    tree: Tree,
    folder: str,
    said: dict[str, Any],
    where: str,
    default: Split | None,
    recordings: dict[str, dict[str, Any]],
) -> Draft:
    recording = recordings.get(str(said["recording_id"]))
    if recording is None:
        raise _Malformed("audio-missing", f"there is no recording {said['recording_id']!r}")
    span = (_seconds(said["start"]), _seconds(said["duration"]), said.get("channel"))
    return _draft(tree, folder, recording, where, str(said["id"]), span, said, {}, default)


def _seconds(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise _Malformed("row-malformed", f"a time of {value!r} s")
    return number


def _draft(
    tree: Tree,
    folder: str,
    recording: dict[str, Any],
    where: str,
    ident: str,
    span: tuple[float, float, Any],
    said: dict[str, Any],
    whole: dict[str, Any],
    default: Split | None,
) -> Draft:
    custom = {**whole, **(said.get("custom") or {})}
    start_s, duration_s, channel = span
    path = _audio_path(tree, folder, recording)
    text = said.get("text")
    split = _split(custom.get("split"), "unlabelled" if text is None else default)
    origin = custom.get("origin", "real")
    if origin not in ORIGINS:
        raise _Malformed("row-malformed", f"the origin {origin!r} is not known")
    covered = start_s == 0 and abs(duration_s - float(recording["duration"])) < 1e-3
    return Draft(
        id=ident,
        where=where,
        text=text if text is None or isinstance(text, str) else str(text),
        audio_name=path,
        language=said.get("language") or None,
        speaker=None if said.get("speaker") is None else str(said["speaker"]),
        split=split,
        licence=custom.get("licence") or custom.get("license") or None,
        source=str(custom.get("source") or tree.label),
        origin=cast(Origin, origin),
        start_s=0.0 if covered else start_s,
        duration_s=None if covered else duration_s,
        channel=channel if isinstance(channel, int) else None,
        expected_s=duration_s if covered else None,
    )


def _split(word: Any, default: Split | None) -> Split | None:
    if word in (None, ""):
        return default
    split = split_of(str(word))
    if split is None:
        raise _Malformed("split-unknown", f"the split {word!r} is none of train, dev, test, unlabelled")
    return split


def _audio_path(tree: Tree, folder: str, recording: dict[str, Any]) -> str:
    """The one file behind a recording: beside the manifest, or (as Lhotse means it) relative to where one stands."""
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] != "file" or recording.get("transforms"):
        kinds = ", ".join(str(source["type"]) for source in sources) or "no source"
        changed = " with transforms" if recording.get("transforms") else ""
        raise _Malformed("audio-unsupported", f"only one plain file a recording is read, this is: {kinds}{changed}")
    given = str(sources[0]["source"])
    name = referred(folder, given)
    if name is not None and (tree.archived or (tree.path / name).exists()):
        return name
    if tree.archived or "\0" in given:
        raise _Malformed("archive-escape", f"the path {given!r} leads out of the archive")
    beside = tree.path / folder / given
    return str(beside if beside.exists() or not (tree.path / given).exists() else tree.path / given)
