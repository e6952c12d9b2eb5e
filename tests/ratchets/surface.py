"""The public surface as sorted lines: names of the public modules, and every command with its options.

`make snapshot` (this file as a script) writes the two lists that `test_surface.py` compares with.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
NAMES, OPTIONS = HERE / "public_names.txt", HERE / "command_options.txt"

PUBLIC = (
    "orature",
    "orature.core.types",
    "orature.core.errors",
    "orature.text.normalise",
    "orature.text.leaks",
    "orature.data.audio",
    "orature.data.corpus",
    "orature.data.draft",
    "orature.data.transcripts",
    "orature.data.readers.*",
    "orature.engines.protocol",
    "orature.engines.espeak",
    "orature.evaluate.score",
    "orature.evaluate.compare",
    "orature.evaluate.report",
    "orature.flow.ref",
    "orature.flow.run",
    "orature.flow.stage",
    "orature.flow.context",
    "orature.flow.store",
    "orature.recipes.*",
    "orature.stages.*",
    "orature.testing.*",
)
"""Modules (patterns) whose names somebody outside may import; everything else may change without notice."""


def public_names() -> list[str]:
    """`module:name` and `module:Class.method`, read from the source without importing it."""
    lines: set[str] = set()
    source = ROOT / "src"
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if any(fnmatch.fnmatchcase(module, pattern) for pattern in PUBLIC):
            lines.update(f"{module}:{name}" for name in _names(ast.parse(path.read_text("utf-8"))))
    return sorted(lines)


def _names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            yield from (f"__all__.{name}" for name in ast.literal_eval(node.value))
        for name in _defined(node):
            if name.startswith("_"):
                continue
            yield name
            if isinstance(node, ast.ClassDef):
                members = (member for part in node.body for member in _defined(part))
                yield from (f"{name}.{member}" for member in members if not member.startswith("_"))


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def commands() -> Iterator[tuple[str, Any]]:
    """Name as typed, and the command, of every command that does something (groups are walked into)."""
    import typer.main

    from orature.cli.main import build

    yield from _walk("orature", typer.main.get_command(build()))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for short, part in sorted(command.commands.items()):
        yield from _walk(f"{name} {short}", part)


def command_options() -> list[str]:
    """`orature ingest --to` and `orature ingest SOURCE`, one line each."""
    lines = []
    for name, command in commands():
        lines.append(name)
        for param in command.params:
            if param.param_type_name == "argument":
                lines.append(f"{name} {(param.metavar or param.name).upper()}")
            else:
                lines += [f"{name} {option}" for option in (*param.opts, *param.secondary_opts)]
    return sorted(lines)


if __name__ == "__main__":
    for file, content in ((NAMES, public_names()), (OPTIONS, command_options())):
        file.write_text("\n".join(content) + "\n", "utf-8")
        print(f"{file.relative_to(ROOT)}: {len(content)} lines")
