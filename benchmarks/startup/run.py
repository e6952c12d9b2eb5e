"""How long a person waits for `--help`: Orature against two command lines of the same field, in one run.

Example::

    python benchmarks/startup/run.py --rounds 7

The programs are started in alternation, so that a busy machine slows all of them; what counts is the ratio of the
medians. The peers are the command lines of transformers and accelerate, installed in the same environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = {
    "orature --help": "from orature.cli.main import main; main(['--help'])",
    "accelerate --help": "import sys; sys.argv = ['accelerate', '--help']\n"
    "from accelerate.commands.accelerate_cli import main; main()",
    "transformers --help": "import sys; sys.argv = ['transformers', '--help']\n"
    "from transformers.cli.transformers import main; main()",
    "python -c 'import torch'": "import torch",
    "python -c pass": "pass",
}


def seconds(code: str) -> float | None:
    """Wall time of one start, or None where it does not work here."""
    source = Path(__file__).resolve().parents[2] / "src"
    env = {**os.environ, "PYTHONPATH": str(source)}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=False)
    return time.perf_counter() - began if done.returncode == 0 else None


def measure(rounds: int) -> dict[str, list[float]]:
    """Times of each program, one start each in alternation, after one uncounted start that fills the file cache."""
    working = {name: code for name, code in PROGRAMS.items() if seconds(code) is not None}
    times: dict[str, list[float]] = {name: [] for name in working}
    for _ in range(rounds):
        for name, code in working.items():
            spent = seconds(code)
            if spent is not None:
                times[name].append(spent)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="Start-up time of command lines, side by side.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    times = measure(given.rounds)
    own = statistics.median(times["orature --help"])
    rows = [
        {"program": name, "median_s": round(statistics.median(runs), 3), "best_s": round(min(runs), 3)}
        | {"ratio": round(statistics.median(runs) / own, 1), "starts": len(runs)}
        for name, runs in times.items()
    ]
    if given.json:
        print(json.dumps({"python": platform.python_version(), "rows": rows}, indent=2))
        return
    print(f"{'program':<26} {'median s':>9} {'best s':>9} {'ratio':>7}")
    for row in rows:
        print(f"{row['program']:<26} {row['median_s']:>9.3f} {row['best_s']:>9.3f} {row['ratio']:>6.1f}x")


if __name__ == "__main__":
    main()
