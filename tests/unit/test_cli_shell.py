"""The shell of the command line: exit codes, errors as sentences, JSON, signals, closed pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orature import __version__
from orature.cli.common import emit, example, run_command
from orature.cli.main import build, main
from orature.core.errors import AudioError, Interrupted, MissingExtra, OratureError, StoreError

ROOT = Path(__file__).resolve().parents[2]
_ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@pytest.mark.parametrize(
    ("load", "given", "policy"),
    [
        ("64.00 9.00 9.00 99/300 7", "", "PASSIVE"),
        ("64.00 9.00 9.00 99/300 7", "ACTIVE", "ACTIVE"),
        ("0.10 9.00 9.00 99/300 7", "", None),
        ("64.00 9.00 9.00 1/300 7", "", None),
        ("nothing of the kind", "", None),
    ],
)
def test_threads_wait_asleep_where_other_programs_take_the_cores(
    load: str, given: str, policy: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loadavg").write_text(load, encoding="ascii")
    monkeypatch.setattr("orature.cli.common._LOAD", tmp_path / "loadavg")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("OMP_WAIT_POLICY", given)
    if not given:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ.get("OMP_WAIT_POLICY") == policy


def orature(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orature", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=_ENV, check=False)


def failing(error: BaseException) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @run_command
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AudioError("it is silent", where="a.wav", next_step="record it again"), 2),
        (StoreError("damaged"), 1),
        (MissingExtra("no voices", next_step="pip install 'orature[voices]'"), 2),
        (Interrupted("stopped"), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(error: BaseException, code: int) -> None:
    done = CliRunner().invoke(failing(error), [])
    assert done.exit_code == code
    said = str(error) if isinstance(error, OratureError) else "run the same command again to go on"
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_version_and_help() -> None:
    assert orature("--version").stdout == f"orature {__version__}\n"
    bare, asked = orature(), orature("--help")
    assert bare.returncode == asked.returncode == 0
    assert bare.stdout == asked.stdout
    assert "Example:\n    orature up my_corpus/" in asked.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("storre",), "'store'"),
        (("doctor", "--jsn"), "--json"),
        (("doctor", "surplus"), "surplus"),
        (("--vers",), "--version"),
    ],
)
def test_wrong_usage_is_2_and_names_the_nearest(arguments: tuple[str, ...], hint: str) -> None:
    done = orature(*arguments)
    assert done.returncode == 2
    assert hint in done.stderr and not done.stdout and "Traceback" not in done.stderr


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"path": Path("a/b"), "text": "ñandú", "none": None}, True)
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"path": "a/b", "text": "ñandú", "none": None}
    assert "ñandú" in printed


def test_plain_lines_without_a_text_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"kept": 3, "reasons": {"audio-silent": 1}, "names": ["a", "b"], "ok": True, "why": None}, False)
    assert capsys.readouterr().out == (
        "kept: 3\nreasons:\n  audio-silent: 1\nnames:\n  - a\n  - b\nok: yes\nwhy: none\n"
    )


def test_an_example_keeps_its_lines() -> None:
    app = typer.Typer(rich_markup_mode=None)
    app.command(epilog=example("orature a --to b", "orature c"))(lambda: None)
    assert "Example:\n    orature a --to b\n    orature c" in CliRunner().invoke(app, ["--help"]).output


def _defect(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import orature.cli.doctor as d\n"
        "def broken(): raise RuntimeError('the moon is full')\n"
        "d.machine = broken\n"
        "from orature.cli.main import main; main(['doctor'])\n"
    )
    env = {**_ENV, "TMPDIR": str(tmp_path), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)


def test_a_defect_is_short_on_screen_and_whole_in_a_file(tmp_path: Path) -> None:
    done = _defect(tmp_path)
    assert done.returncode == 1
    assert "RuntimeError: the moon is full" in done.stderr and "Traceback" not in done.stderr
    (saved,) = tmp_path.glob("orature-trace-*.txt")
    assert str(saved) in done.stderr
    assert "Traceback" in saved.read_text("utf-8") and "the moon is full" in saved.read_text("utf-8")
    assert "Traceback" in _defect(tmp_path, ORATURE_DEBUG="1").stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_130_and_says_how_to_go_on(number: signal.Signals) -> None:
    code = (
        "import sys, time, orature.cli.doctor as d\n"
        "def slow(): print('here', file=sys.stderr, flush=True); time.sleep(30); return iter(())\n"
        "d.machine = slow\n"
        "from orature.cli.main import main; main(['doctor'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=_ENV)
    assert process.stderr is not None and process.stderr.readline() == "here\n"
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130 and time.monotonic() - began < 5
    assert said == "orature: interrupted; run the same command again to go on\n"


def test_a_closed_pipe_is_quiet() -> None:
    code = (
        "import sys, orature.cli.doctor as d\n"
        "d.emit = lambda *a: [print('x' * 1000) for _ in range(10_000)]\n"
        "d.machine = d.packages = d.voices = d.licences = lambda: iter(())\n"
        "from orature.cli.main import main; main(['doctor'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENV)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=10) == 1


def test_every_command_is_listed_once_in_the_order_of_the_main_path() -> None:
    printed = CliRunner().invoke(build(), ["--help"]).output.partition("Commands:")[2]
    names = [line.split()[0] for line in printed.splitlines() if line.startswith("  ") and line[2].isalpha()]
    assert names.index("demo") < names.index("why") < names.index("doctor")
