"""The benchmark of a million rows still runs (here with a thousand)."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "manifest_scale" / "run.py"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("manifest_scale", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_task_reads_every_row(run: ModuleType, tmp_path: Path) -> None:
    digest = run.write(tmp_path, 1000)
    assert run.check(tmp_path, 1000) == digest and run.iterate(tmp_path, 1000) == "1000"
    assert len(run.plain(tmp_path, 1000)) == 64
    for task in (run.check, run.plain):
        with pytest.raises(SystemExit):
            task(tmp_path, 999)


def test_exponent_is_the_slope(run: ModuleType) -> None:
    assert run.exponent([(n, 3.0 * n) for n in (1, 10, 100)]) == pytest.approx(1.0)
    assert run.exponent([(n, math.sqrt(n)) for n in (4, 16, 400)]) == pytest.approx(0.5)
