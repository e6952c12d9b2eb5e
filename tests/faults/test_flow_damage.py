"""Damaged artefacts: a flipped bit, a missing or cut file, a changed description; found, told, mended by a rerun."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orature.core.errors import StoreError
from orature.flow import Ref, Resources, Run, Store
from orature.testing.toy_stages import Numbers

QUIET = Resources(progress=False)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, Ref]:
    store = Store(tmp_path / "s")
    return store, Run(store, "toy", "toy").do(Numbers(), on=QUIET)


def _flip(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def _relabel(path: Path) -> None:
    info = path.with_name("artefact.json")
    info.chmod(0o644)
    info.write_text(json.dumps(json.loads(info.read_text()) | {"digest": "0" * 64}))


def test_a_flipped_bit_is_found_by_verify_and_check(made: tuple[Store, Ref]) -> None:
    store, ref = made
    assert store.verify(ref.key) == [] and store.check() == {}
    _flip(store.folder(ref.key) / "odd" / "odd.txt")
    expected = ["odd/odd.txt: the content has changed (SHA-256 differs)"]
    assert store.verify(ref.key) == expected
    assert store.check() == {ref.key: expected}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (Path.unlink, "even.txt: missing"),
        (_cut, "even.txt: 12 bytes instead of 13"),
        (lambda path: path.with_name("artefact.json").unlink(), "without artefact.json"),
        (lambda path: _flip(path.with_name("artefact.json")), "artefact.json is damaged"),
        (lambda path: _cut(path.with_name("artefact.json")), ""),
        (_relabel, "artefact.json is damaged"),
    ],
)
def test_damage_is_noticed_when_it_would_be_used(
    made: tuple[Store, Ref], damage: Callable[[Path], None], sentence: str
) -> None:
    store, ref = made
    damage(store.folder(ref.key) / "even.txt")
    if not sentence:  # only the newline at the end was lost: nothing that counts
        assert Run(store, "toy", "toy").do(Numbers(), on=QUIET) == ref
        return
    with pytest.raises(StoreError, match=sentence) as error:
        Run(store, "toy", "toy").do(Numbers(), on=QUIET)
    assert "orature store check --drop-damaged" in str(error.value)
    assert list(store.check()) == [ref.key]


def test_dropping_what_is_damaged_mends_the_store(made: tuple[Store, Ref]) -> None:
    store, ref = made
    _flip(store.folder(ref.key) / "even.txt")
    assert list(store.check(drop=True)) == [ref.key]
    assert store.keys() == [] and not any(store.trash.iterdir())
    assert Run(store, "toy", "toy").do(Numbers(), on=QUIET) == ref
    assert store.check() == {}


def test_a_file_too_many_is_found(made: tuple[Store, Ref]) -> None:
    store, ref = made
    (store.folder(ref.key) / "notes.txt").write_text("mine")
    assert store.verify(ref.key) == ["notes.txt: does not belong here"]


def test_an_artefact_under_another_key_is_found(made: tuple[Store, Ref]) -> None:
    store, ref = made
    store.folder(ref.key).rename(store.artefacts / ("0" * 64))
    assert store.verify("0" * 64) == ["an artefact lies under a key that is not its own"]
