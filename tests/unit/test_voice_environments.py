"""`orature voices`: what is listed, environments that are made once and go on where they stopped, a listening test."""

from __future__ import annotations

import json
import stat
import wave
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orature.cli.main import build
from orature.core.errors import ConfigError, MissingExtra, WorkFailed
from orature.engines.voice_catalogue import allows_commercial, catalogue, entry_of
from orature.engines.worker_environments import (
    Environment,
    environment_folder,
    environment_python,
    needed_python,
    recipe_of,
    recipes,
)
from orature.testing.checkpoints_voices import vits_folder

PYTHON = """#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
"-m venv")
    mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/torchaudio/lib"
    touch "$3/lib/python3.11/site-packages/torchaudio/lib/_torchaudio.abi3.so"
    cp "$0" "$3/bin/python" ;;
"-m pip")
    echo "$@" >> "{log}"
    if [ -e "{broken}" ]; then echo "ERROR: no space left on device" >&2; exit 1; fi ;;
*)
    case "$2" in *version_info*) echo 3 {minor} ;; *) echo "check $2" >> "{log}" ;; esac ;;
esac
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that behaves as Python, venv and pip do, and notes what it was asked."""
    monkeypatch.setenv("ORATURE_DATA", str(tmp_path / "data"))
    for name in recipes():
        monkeypatch.delenv(f"ORATURE_{name.upper()}_PYTHON", raising=False)
    return _python(tmp_path, 11)


def _python(folder: Path, minor: int) -> Path:
    path = folder / f"python3.{minor}"
    path.write_text(PYTHON.format(log=folder / "log", broken=folder / "broken", minor=minor))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(build(), ["voices", *arguments])


def test_an_environment_is_made_once_and_goes_on_where_it_stopped(base: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    command = ["add", "xtts", "--accept-licence", "--python", str(base)]
    failed = _run(*command)
    assert failed.exit_code == 1 and "no space left on device" in failed.stderr and "goes on where" in failed.stderr
    assert environment_python("xtts") is None
    (tmp_path / "broken").unlink()
    made = _run(*command)
    assert made.exit_code == 0 and "CPML" in made.stdout, made.output
    folder = environment_folder("xtts")
    assert environment_python("xtts") == folder / "bin" / "python" == needed_python("xtts")
    assert not list(folder.rglob("*.so"))
    pins = (folder / "constraints.txt").read_text()
    assert "torch==2.13.0\n" in pins and "numpy==" in pins
    log = (tmp_path / "log").read_text().splitlines()
    assert sum("pip install" in line for line in log) == 2 and log[-1].startswith("check import TTS")
    again = _run(*command, "--json")
    assert json.loads(again.stdout)["made"] and (tmp_path / "log").read_text().splitlines() == log


def test_a_changed_recipe_is_made_anew(base: Path, tmp_path: Path) -> None:
    _run("add", "xtts", "--accept-licence", "--python", str(base))
    state = environment_folder("xtts") / "orature-environment.json"
    state.write_text(state.read_text().replace(recipe_of("xtts").digest, "0" * 16))
    assert environment_python("xtts") is None
    with pytest.raises(MissingExtra, match="not made yet"):
        needed_python("xtts")
    assert len(Environment(recipe_of("xtts"), environment_folder("xtts")).missing()) == 4


def test_another_folder_is_remembered_and_another_python_gets_looser_pins(base: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "env"
    done = _run("add", "xtts", "--accept-licence", "--python", str(_python(tmp_path, 12)), "--env", str(other))
    assert done.exit_code == 0, done.output
    assert environment_python("xtts") == other / "bin" / "python"
    pins = (other / "constraints.txt").read_text()
    assert "torch==2.13.0\n" in pins and "numpy==" not in pins


def test_what_is_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = _run("add", "xtts", "--python", str(base))
    assert refused.exit_code == 2 and "non-commercial" in refused.stderr and not (tmp_path / "data").exists()
    old = _run("add", "xtts", "--accept-licence", "--python", str(_python(tmp_path, 9)))
    assert old.exit_code == 2 and "needs Python from 3.11" in old.stderr
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").touch()
    foreign = _run("add", "xtts", "--accept-licence", "--python", str(base), "--env", str(full))
    assert foreign.exit_code == 2 and "holds something else" in foreign.stderr
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**9})())
    small = _run("add", "xtts", "--accept-licence", "--python", str(base))
    assert small.exit_code == 2 and "1000 MB are free" in small.stderr
    monkeypatch.setenv("ORATURE_XTTS_PYTHON", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="names no program"):
        environment_python("xtts")
    environment = Environment(recipe_of("xtts"), tmp_path / "locked")
    with environment.alone(), pytest.raises(WorkFailed, match="another command"), environment.alone():
        pass


def test_a_dry_run_shows_the_commands_and_does_nothing(base: Path, tmp_path: Path) -> None:
    shown = json.loads(_run("add", "xtts", "--dry-run", "--json", "--python", str(base)).stdout)
    assert len(shown["commands"]) == 4 and "coqui-tts==0.28.0" in shown["commands"][1]
    assert shown["commands"][2].startswith("rm ") and shown["commands"][2].endswith("torchaudio/lib/*.so")
    assert not (tmp_path / "data").exists() and not (tmp_path / "log").exists()


def test_every_recipe_pins_what_it_installs() -> None:
    for recipe in recipes().values():
        assert recipe.packages and all("==" in package for package in recipe.packages), recipe.name
        assert all("==" in line and "+" not in line for line in recipe.constraints), recipe.name
        assert set(recipe.packages) <= set(recipe.constraints) | set(recipe.packages)


def test_the_list_of_voices(base: Path) -> None:
    entries = {entry.engine: entry for entry in catalogue("cs")}
    assert entries["xtts"].state == "missing" and entries["xtts"].commercial is False and entries["xtts"].reads
    assert entries["xtts"].next_step == "orature voices add xtts --accept-licence"
    assert "mms-tts-ces" in entries["vits"].next_step and "fake" not in entries
    shown = _run("--json")
    assert {row["engine"] for row in json.loads(shown.stdout)["voices"]} == set(entries)
    assert "[NON-COMMERCIAL use only]" in _run().stdout


def test_one_voice_is_told_in_full(base: Path, tmp_path: Path) -> None:
    folder = vits_folder(tmp_path / "voice", speakers=["f01", "m02"])
    entry = entry_of(f"vits:{folder}", "sw")
    assert entry.reads and entry.speakers == ("f01", "m02") and entry.commercial is False
    other = entry_of(f"vits:{folder}", "yo")
    assert other.reads is False and "take a checkpoint of yo" in other.next_step
    assert "reads yo: no" in _run("--voice", f"vits:{folder}", "--lang", "yo").stdout


@pytest.mark.parametrize(
    ("licence", "allows"),
    [
        ("cc-by-nc-4.0", False),
        ("CC BY-NC-SA 4.0", False),
        ("CPML 1.0", False),
        ("cc-by-4.0", True),
        ("CC BY 4.0", True),
        ("Apache-2.0", True),
        ("not stated", None),
    ],
)
def test_what_a_licence_allows(licence: str, allows: bool | None) -> None:
    assert allows_commercial(licence) is allows


def test_a_listening_test(tmp_path: Path) -> None:
    to = tmp_path / "new" / "listen.wav"
    done = _run("say", "fake", "abc", "--to", str(to), "--speakers", "2", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [row["speaker"] for row in rows] == ["low", "middle"] and rows[1]["start_s"] > rows[0]["end_s"]
    with wave.open(str(to)) as sound:
        assert sound.getframerate() == 16_000 and sound.getnframes() == round((rows[1]["end_s"] + 0.5) * 16_000)
    refused = _run("say", "fake", "refuse", "--to", str(to))
    assert refused.exit_code == 1 and "asked to refuse" in refused.stderr
