"""Rows on disk: the same order as in memory, read again and again, nothing left behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from orature.core.spool import Spool, in_order


@pytest.mark.parametrize("at_once", [1, 7, 100, 101, 4000])
def test_sorted_on_disk_is_sorted_in_memory(tmp_path: Path, at_once: int) -> None:
    draw = random.Random(at_once)
    rows = [(f"{draw.randrange(40):03}", number) for number in range(100)]
    how = {"pack": list, "unpack": tuple, "within": tmp_path, "at_once": at_once}
    found = list(in_order(iter(rows), key=lambda row: row[0], **how))  # type: ignore[arg-type]
    assert found == sorted(rows, key=lambda row: row[0]), "rows with equal keys keep their order"
    assert list(tmp_path.iterdir()) == []
    assert list(in_order([], key=str, **how)) == []  # type: ignore[arg-type]


def test_no_more_rows_than_asked_for_are_in_memory(tmp_path: Path) -> None:
    alive: set[int] = set()
    most = 0

    class Row:
        def __init__(self, number: int) -> None:
            nonlocal most
            self.number = number
            alive.add(id(self))
            most = max(most, len(alive))

        def __del__(self) -> None:
            alive.discard(id(self))

    rows = (Row(number * 37 % 200) for number in range(200))
    order = in_order(
        rows,
        key=lambda row: f"{row.number:03}",
        pack=lambda row: row.number,
        unpack=Row,
        within=tmp_path,
        at_once=20,
    )
    assert [row.number for row in order] == list(range(200))
    assert most <= 22


def test_a_spool_is_read_again_and_goes_on_after_half_a_reading(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for value in ("ñ\ud800", ["a", None], 3):
            spool.add(value)
        assert list(spool) == list(spool) == ["ñ\ud800", ["a", None], 3]
        half = iter(spool)
        next(half)
        half.close()
        spool.add("behind")
        assert list(spool)[-2:] == [3, "behind"] and len(spool) == 4
        left = iter(spool)
        next(left)
    left.close()
    assert list(tmp_path.iterdir()) == []
