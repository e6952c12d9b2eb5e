"""Digests: what makes two things the same.

Example::

    digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1})
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20
_MODULUS = 1 << 256


def canonical_json(value: Any) -> str:
    """One spelling for equal values: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_bytes(data: bytes) -> str:
    """SHA-256 in hex (64 characters)."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return digest_bytes(canonical_json(value).encode("utf-8"))


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


class SetDigest:
    """Digest of a multiset of rows, in constant memory and independent of their order.

    The SHA-256 values of the rows are added modulo 2**256 together with their number. It guards against
    accidents, not against somebody who crafts rows to collide (additive hashes fall to generalised-birthday attacks).
    """

    def __init__(self) -> None:
        self._sum = 0
        self._count = 0

    def add(self, row: bytes) -> None:
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(row).digest(), "big")) % _MODULUS
        self._count += 1

    def hexdigest(self) -> str:
        return digest_bytes(f"{self._count}:{self._sum:064x}".encode())


def digest_rows(rows: Iterable[bytes]) -> str:
    """`SetDigest` of all `rows`."""
    total = SetDigest()
    for row in rows:
        total.add(row)
    return total.hexdigest()
