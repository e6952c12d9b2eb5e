"""Runs the toy stages in a process of its own, for tests that kill, interrupt or race it.

python flow_driver.py STORE [--workers N] [--pause S] [--count N]: prints the key and digest of the last artefact.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orature.core.errors import OratureError
from orature.flow import Resources, Run, open_store
from orature.testing.toy_stages import Numbers, Squares


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    run = Run(open_store(options.store), "toy", "flow_driver")
    try:
        rows = run.do(Numbers(count=options.count))
        stage = Squares(rows=rows, pause_s=options.pause)
        ref = run.do(stage, on=Resources(workers=options.workers, progress=False))
    except OratureError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(ref.key, ref.digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
