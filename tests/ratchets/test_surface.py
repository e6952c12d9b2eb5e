"""What people rely on changes only on purpose: public names, commands, options, examples, start-up."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from surface import NAMES, OPTIONS, ROOT, command_options, commands, public_names

_CHANGED = "if that is meant: `make snapshot`, check the difference in, and say so in CHANGELOG.md"
_NO_VERBS = frozenset(
    "a an and as at by for from how if in is it of on or the this to what when where which with".split()
)
_HEAVY = ("torch", "numpy", "lhotse", "transformers", "accelerate", "pydantic", "soundfile", "rich", "yaml", "jiwer")


@pytest.mark.parametrize(("file", "now"), [(NAMES, public_names), (OPTIONS, command_options)])
def test_snapshot(file: Path, now: object) -> None:
    before = set(file.read_text("utf-8").split("\n")) - {""}
    after = set(now())  # type: ignore[operator]
    gone, new = sorted(before - after), sorted(after - before)
    assert not gone and not new, f"{file.name}: gone {gone}, new {new}; {_CHANGED}"


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_has_help_json_and_an_example_that_fits(name: str, command: object) -> None:
    assert (command.help or "").strip(), "one sentence of what it does"  # type: ignore[attr-defined]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}  # type: ignore[attr-defined]
    assert "--json" in known
    examples = re.findall(r"^  (orature .*)$", command.epilog or "", flags=re.M)  # type: ignore[attr-defined]
    assert examples, "an example to copy (cli.common.example)"
    for line in examples:
        assert line.startswith(f"{name} ") or line == name, line
        used = {word.partition("=")[0] for word in shlex.split(line) if re.match(r"--?[a-z]", word)}
        assert used <= known, f"{line}: {sorted(used - known)} unknown"


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})), file=sys.stderr))\n"
        "from orature.cli.main import main\n"
        "main(['--help'])\n"
    )
    done = _run(code)
    assert done.returncode == 0 and "Usage: orature" in done.stdout
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & set(_HEAVY), f"loaded for --help: {sorted(loaded & set(_HEAVY))}"


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    best_s = float("inf")
    for _ in range(9):
        began = time.perf_counter()
        assert _run("from orature.cli.main import main; main(['--help'])").returncode == 0
        best_s = min(best_s, time.perf_counter() - began)
        if best_s < 0.3:
            break
    assert best_s < 0.3, f"best of nine starts took {best_s:.2f} s"


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_help_speaks_in_the_imperative(name: str, command: object) -> None:
    assert in_imperative(command.help or ""), f"{name}: begin as in 'Read a corpus', 'Train a recogniser'"  # type: ignore[attr-defined]


def in_imperative(sentence: str) -> bool:
    """A bare verb first: not "Reads", not "From ...", not "The ..."."""
    first = sentence.split()[0].rstrip(",:")
    return first.isalpha() and first[0].isupper() and first.lower() not in _NO_VERBS and not re.search("[^s]s$", first)


def test_a_planted_mood_is_seen() -> None:
    assert not in_imperative("Reads a corpus") and not in_imperative("From a corpus to a model")
    assert in_imperative("Read a corpus") and in_imperative("Process rows")
