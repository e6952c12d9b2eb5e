"""`orature doctor` tells what is wrong and what to type next."""

from __future__ import annotations

import json
from importlib import metadata

import pytest
from typer.testing import CliRunner

from orature.cli import doctor
from orature.cli.main import build


def _findings(*arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = CliRunner().invoke(build(), ["doctor", "--json", *arguments])
    return done.exit_code, {row["what"]: row for row in json.loads(done.stdout)["findings"]}


def test_this_machine_is_well() -> None:
    code, found = _findings()
    assert code == 0, [row for row in found.values() if row["level"] == "problem"]
    assert found["python"]["level"] == "ok"
    assert found["voices"]["says"].startswith("espeak-ng")
    assert "GPL" in found["licence of espeakng-loader"]["says"] and "LGPL" in found["licence of soxr"]["says"]


def test_plain_text_ends_with_a_verdict() -> None:
    done = CliRunner().invoke(build(), ["doctor"])
    assert done.stdout.splitlines()[-1].startswith(("All is well.", "No problems; "))


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What each package seems to have as version."""
    changed: dict[str, str | None] = {}
    needs = ["numpy>=2", "jiwer<5,>=4", "flashlight-text>=0.0.7; extra == 'lm'", "ruff>=0.17; extra == 'dev'"]
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: changed.get(name, real(name)))
    return changed


@pytest.mark.parametrize(
    ("package", "version", "next_step"),
    [
        ("jiwer", "3.1.0", "pip install 'jiwer<5,>=4'"),
        ("jiwer", None, "make install, or pip install -c constraints.txt -e ."),
        ("torchaudio", "2.11.0", "pip uninstall torchaudio (Orature does not use it)"),
    ],
)
def test_a_package_that_does_not_fit_is_a_problem(
    versions: dict[str, str | None], package: str, version: str | None, next_step: str
) -> None:
    versions[package] = version
    code, found = _findings()
    assert code == 1
    assert (found[package]["level"], found[package]["next_step"]) == ("problem", next_step)


def test_a_missing_extra_is_only_a_note(versions: dict[str, str | None]) -> None:
    versions["flashlight-text"] = None
    code, found = _findings()
    assert code == 0
    assert found["extra lm"]["level"] == "note" and "orature[lm]" in found["extra lm"]["next_step"]
    assert "ruff" not in found
