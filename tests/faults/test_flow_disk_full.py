"""A full disk: one sentence with a next step, nothing half-done in sight, and the same digest once there is space."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orature.core.errors import StoreError
from orature.flow import Ref, Resources, Run, StageContext, Store
from orature.testing.faults import every_fault, fault, in_child, points_passed
from orature.testing.toy_stages import Numbers, Squares

QUIET = Resources(progress=False)

ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=256k tmpfs "$1"
status=0
"$2" "$3" "$1/store" --count 20000 || status=$?
echo "status $status"
mount -o remount,size=64m "$1"
"$2" "$3" "$1/store" --count 20000
find "$1/store/work" -type f
"""


def make(root: Path) -> Ref:
    run = Run(Store(root), "toy", "test")
    return run.do(Squares(rows=run.do(Numbers(), on=QUIET)), on=QUIET)


@pytest.mark.usefixtures("no_fsync")
def test_full_at_every_write_point(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole, unrecorded = make(tmp_path / "whole"), []
    for number, spec in enumerate(every_fault(points_passed(lambda: make(tmp_path / "c")), "enospc")):
        root = tmp_path / str(number)
        capfd.readouterr()
        status = in_child(lambda root=root: make(root), fault=spec)
        told = capfd.readouterr().err
        if status == 0:  # only the closing line of a step's record was lost: the work itself is whole
            unrecorded.append(spec)
            assert make(root) == whole
            continue
        assert status == 1, spec
        assert "the disk is full" in told and "orature store gc" in told and "Traceback" not in told, spec
        assert Store(root).check() == {}, spec
        assert make(root) == whole, spec
    assert len(unrecorded) == 2 * 4, unrecorded


def test_other_troubles_of_the_disk_are_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("orature.core.files.fsync_tree", refuse)
    with pytest.raises(PermissionError):
        make(tmp_path / "s")


class _Writer(Numbers):
    def run(self, ctx: StageContext) -> None:
        raise _ForeignError("Error while serializing: I/O error: No space left on device (os error 28)")


class _ForeignError(Exception):
    """As the Rust and C++ writers of model weights raise."""


def test_a_full_disk_is_known_behind_foreign_errors(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full"):
        Run(Store(tmp_path), "toy", "test").do(_Writer(), on=QUIET)


def test_a_full_disk_leaves_a_failed_step_on_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = Run(store, "toy", "test")
    with fault("stage-ran:1:enospc"), pytest.raises(StoreError, match="the disk is full"):
        run.do(Numbers(), on=QUIET)
    assert [step.state for step in run.record.steps] == ["failed"]
    assert store.get(Numbers().key()) is None


def test_on_a_really_full_disk(tmp_path: Path) -> None:
    probe = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no user namespaces here: a small disk of one's own cannot be mounted without rights")
    disk = tmp_path / "disk"
    disk.mkdir()
    driver = Path(__file__).with_name("flow_driver.py")
    command = [*probe[:-1], "sh", "-c", ON_A_SMALL_DISK, "sh", str(disk), sys.executable, str(driver)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "mount:" in done.stderr:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "status 1" and len(lines) == 2, done.stdout
