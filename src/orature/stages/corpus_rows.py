"""The rows of a corpus on their way into another one.

Example::

    for where, row, custom in rows_of(corpus, store="/store/artefacts"):
        ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from orature.core.types import Utterance
from orature.data.corpus import CUTS, Corpus
from orature.data.rows import utterance_of
from orature.stages.split import OWN_FIELDS, place_in_store


def rows_of(corpus: Corpus, store: str, name: str = "") -> Iterator[tuple[str, Utterance, dict[str, Any]]]:
    """All rows with their place ("cuts.jsonl.gz:7", after the `name` of a corpus) and the other values of `custom`.

    Audio is named as it is to stand in an artefact of `store` (see `place_in_store`; "" for a corpus outside).
    """
    root, prefix = str(corpus.root), f"{name}: " if name else ""
    for number, cut in enumerate(corpus.cuts(), 1):
        where = f"{prefix}{CUTS}:{number}"
        row = utterance_of(cut, root, where)
        custom = {key: value for key, value in cut["custom"].items() if key not in OWN_FIELDS}
        yield where, replace(row, audio=replace(row.audio, path=place_in_store(row.audio.path, store))), custom


def draw_order(seed: int, name: str) -> bytes:
    """What rows are sorted by to draw some of them: a hash, so that it depends on `seed` and the row's id alone."""
    return blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
