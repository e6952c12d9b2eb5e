"""What must never depend on what: the import contracts of pyproject.toml hold, and each can be broken."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LINT = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"

PLANTED = {
    "core/types.py": "import numpy",
    "engines/protocol.py": "import orature.flow.ref",
    "engines/whisper.py": "import orature.engines.espeak",
    "flow/ref.py": "import orature.data.audio",
    "evaluate/score.py": "import orature.engines.protocol",
    "data/corpus.py": "import orature.stages.ingest",
    "train/loop.py": "import orature.cli.main",
    "recipes/planted.py": "import torch\nimport jiwer\nimport sacrebleu",
    "serve/__init__.py": "",
    "serve/app.py": "import orature.flow.ref",
    "testing/sample_corpus.py": "import soundfile",
}


def lint(folder: Path) -> tuple[int, dict[str, bool]]:
    """Exit status, and whether each contract is kept."""
    env = {**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "400"}
    command = [sys.executable, "-c", _LINT, "--no-cache"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    lines = re.sub(r"\s*\n(?=\S.* (?:KEPT|BROKEN))", "\n", done.stdout)
    return done.returncode, {m[1]: m[2] == "KEPT" for m in re.finditer(r"^(.+?) (KEPT|BROKEN)\b", lines, flags=re.M)}


def test_contracts_hold() -> None:
    status, kept = lint(ROOT)
    assert status == 0 and kept and all(kept.values()), [name for name, good in kept.items() if not good]


def test_each_contract_can_be_broken(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in PLANTED.items():
        path = tmp_path / "src" / "orature" / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"\n{line}\n")
    status, kept = lint(tmp_path)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    assert status != 0
    assert len(kept) == len(contracts)
    assert not any(kept.values()), [name for name, good in kept.items() if good]
