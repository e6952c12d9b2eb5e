"""Where nothing can be written is said before any work, for root too."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from orature.core.errors import ConfigError
from orature.core.files import refuse_unwritable
from orature.flow import open_store
from orature.flow.store import refuse_foreign


@pytest.mark.parametrize("asked", [refuse_unwritable, refuse_foreign, open_store])
def test_a_place_where_not_even_root_can_make_anything_is_refused(asked: object) -> None:
    """Permissions of /proc say yes to root, and making a folder fails."""
    assert callable(asked)
    with pytest.raises(ConfigError, match="/proc may not be written") as error:
        asked(Path("/proc/nope/x/y"))
    assert "another folder" in error.value.next_step


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError, match="notes is a file"):
        refuse_unwritable(tmp_path / "notes" / "out")


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(ConfigError, match="the disk is full"):
        refuse_unwritable(tmp_path / "out")


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "new" / "out")
    open_store(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
