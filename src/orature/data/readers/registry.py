"""Which reader for which source: by name, or by looking at the names in the tree.

Readers come from the entry-point group `orature.readers`, so that a package of one's own can add a format; those of
Orature itself are known without being installed.

Example::

    reader = choose(open_tree(Path("kichwa")), "auto")
    print(reader.name)                       # plain
"""

from __future__ import annotations

import difflib
from collections import Counter
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from orature.core.errors import ConfigError, CorpusError
from orature.data.draft import Reader
from orature.data.tree import Tree

GROUP = "orature.readers"
BUILT_IN = {
    "commonvoice": "orature.data.readers.commonvoice:CommonVoice",
    "lhotse": "orature.data.readers.lhotse:LhotseManifests",
    "plain": "orature.data.readers.plain:PlainFolder",
    "bare": "orature.data.readers.bare:BareAudio",
}
"""In the order of sniffing; a folder of anything with sound in it is `bare`, so this one comes last."""


def reader_names() -> list[str]:
    """All known formats in the order in which they are tried: added ones after ours, but before `bare`."""
    added = sorted({point.name for point in entry_points(group=GROUP)} - BUILT_IN.keys())
    ours = list(BUILT_IN)
    return [*ours[:-1], *added, ours[-1]]


def make_reader(name: str) -> Reader:
    """The reader called `name`; CorpusError with the nearest known name where there is none."""
    known = reader_names()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), [*known, "auto"], n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise CorpusError(f"there is no corpus format {name!r}", next_step=f"{hint}known: auto, {', '.join(known)}")
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        made = getattr(import_module(module), attribute)()
    else:
        made = _load(next(point for point in entry_points(group=GROUP) if point.name == name))()
    if not isinstance(made, Reader):
        raise ConfigError(f"the reader {name!r} has no name, sniff or read", where=type(made).__module__)
    return made


def _load(point: EntryPoint) -> type:
    try:
        loaded: type = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the reader {point.name!r} cannot be loaded ({error})", where=point.value) from error
    return loaded


def choose(tree: Tree, name: str = "auto") -> Reader:
    """The reader for `tree`; CorpusError where nothing in it is understood."""
    if name != "auto":
        return make_reader(name)
    for known in reader_names():
        reader = make_reader(known)
        if reader.sniff(tree):
            return reader
    names = tree.names()
    if not names:
        what = "there is nothing in it"
    else:
        endings = Counter("." + name.rsplit(".", 1)[-1] if "." in name else "no ending" for name in names)
        what = "nothing in it is understood: " + ", ".join(f"{n} x {end}" for end, n in endings.most_common(4))
    raise CorpusError(
        what,
        where=str(tree.path),
        next_step="put a manifest.tsv (columns path, sentence) beside the audio, or give a Common Voice release, "
        "Lhotse manifests or a folder of recordings",
    )
