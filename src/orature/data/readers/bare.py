"""A folder (or archive, or one file) of recordings and nothing else: untranscribed speech.

Example::

    for draft in BareAudio().read(open_tree(Path("radio")), Seen()):
        print(draft.id, draft.split)          # 2024/morning unlabelled
"""

from __future__ import annotations

from collections.abc import Iterator

from orature.core.types import Reject
from orature.data.draft import Draft, Seen
from orature.data.tree import Tree, attach, is_audio, is_table


class BareAudio:
    """Each recording is one unlabelled row; its id is its path without the ending."""

    name = "bare"

    def sniff(self, tree: Tree) -> bool:
        return any(is_audio(name) for name in tree.names())

    def read(self, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:
        for name in tree.names():
            if is_table(name) and not name.lower().endswith(".txt"):
                seen.note(f"tables that are not understood ({name})")
        return attach(tree, self._drafts(tree, seen), seen, strays=False)

    def _drafts(self, tree: Tree, seen: Seen) -> Iterator[Draft | Reject]:
        top = f"{tree.label}/" if tree.archived else ""  # the folder that was packed is no part of an id
        for name in tree.names():
            if is_audio(name):
                seen.rows += 1
                ident = name.removeprefix(top).rsplit(".", 1)[0]
                yield Draft(ident, name, None, name, split="unlabelled", source=tree.label)
