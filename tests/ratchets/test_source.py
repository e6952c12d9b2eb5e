"""Habits of the source that only ever get better: size, forbidden constructs, paths of somebody's machine."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE, MAX_FUNCTION = 400, 60
_CODE = ("src", "tests", "benchmarks", "experiments")
_PICKLERS = {"marshal", "shelve", "dill", "cloudpickle", "joblib"}
_LOADERS = {"torch.load", "eval", "exec", "yaml.load", "pickle.load", "pickle.loads", "pickle.Unpickler"}
_MACHINE = re.compile(r"(?<![\w.~<>}/-])/(?:work|farm|root|opt/wheels|opt/pypi)\b")
_REGISTRY = re.compile(
    r"(?:--(?:extra-)?index-" r"url|--find-" r"links|https?://[^\s'\"]*/simp" r"le\b|python" r"hosted\.org)"
)


def _sources(*folders: str, ends: tuple[str, ...] = (".py",)) -> Iterator[Path]:
    for folder in folders:
        yield from (p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in ends and "__pycache__" not in p.parts)


def long_files(folders: tuple[str, ...] = _CODE) -> list[str]:
    found = []
    for path in _sources(*folders, ends=(".py", ".js", ".css", ".html")):
        lines = path.read_text("utf-8").count("\n")
        golden = "golden" in path.parts and path.suffix != ".py"
        if lines > MAX_FILE and not golden:
            found.append(f"{path.relative_to(ROOT)}: {lines} lines")
    return found


def long_functions(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                found.append(f"line {node.lineno}: {node.name} has {length} lines")
    return found


def forbidden(tree: ast.AST) -> list[str]:
    """What source code may not hold, as `line n: why`."""
    return [f"line {node.lineno}: {why}" for node, why in _breaches(tree)]  # type: ignore[attr-defined]


def _breaches(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node, "assert (vanishes under python -O): raise a typed error"
        elif isinstance(node, ast.ExceptHandler) and _too_broad(node):
            yield node, "bare or broad except: name the errors"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if _PICKLERS & {name.partition(".")[0] for name in names} or "from pickle import" in ast.unparse(node):
                yield node, "a pickle runs code of whoever wrote it"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _LOADERS:
            yield node, f"{ast.unparse(node.func)} runs what it reads"
        elif isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield node, "NotImplementedError: write it, or leave it out"


def _too_broad(handler: ast.ExceptHandler) -> bool:
    """True for everything-catchers, unless they clean up and raise again."""
    if handler.type is None:
        return not _raises_again(handler)
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = {"Exception", "BaseException"} & {ast.unparse(kind) for kind in kinds}
    return bool(broad) and not _raises_again(handler)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split("\0") if done.returncode == 0 else []
    return [ROOT / name for name in names if name] or list(_sources(*_CODE, "."))


def test_files_are_short() -> None:
    assert not long_files()


@pytest.mark.parametrize("path", list(_sources(*_CODE)), ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short(path: Path) -> None:
    assert not long_functions(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", list(_sources("src")), ids=lambda path: str(path.relative_to(ROOT)))
def test_source_holds_nothing_forbidden(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not forbidden(ast.parse(text))
    assert not re.findall(r"#.*\b(?:TODO|FIXME|XXX|HACK)\b", text)


@pytest.mark.parametrize(
    "code",
    [
        "assert x",
        "try:\n  f()\nexcept:\n  pass",
        "try:\n  f()\nexcept Exception as e:\n  log(e)",
        "try:\n  f()\nexcept (ValueError, BaseException):\n  log()",
        "from pickle import loads",
        "import pickle\npickle.loads(data)",
        "from dill import loads",
        "torch.load(path)",
        "raise NotImplementedError",
    ],
)
def test_a_planted_construct_is_seen(code: str) -> None:
    assert len(forbidden(ast.parse(code))) == 1
    assert not forbidden(ast.parse("try:\n  f()\nexcept BaseException:\n  clean()\n  raise"))


def test_a_planted_long_function_is_seen() -> None:
    assert long_functions(ast.parse("def f():\n" + "  x = 1\n" * 60))
    assert not long_functions(ast.parse("def f():\n" + "  x = 1\n" * 59))


def breach_of_privacy(text: str) -> str | None:
    found = _MACHINE.search(text) or _REGISTRY.search(text)
    return found[0] if found else None


def test_no_path_of_a_machine_and_no_registry_host_is_tracked() -> None:
    found = {}
    for path in tracked():
        if path.is_file() and path.suffix not in (".flac", ".wav", ".ogg", ".opus", ".mp3", ".gz", ".tar", ".png"):
            hit = breach_of_privacy(path.read_text("utf-8", errors="replace"))
            if hit:
                found[str(path.relative_to(ROOT))] = hit
    assert not found


@pytest.mark.parametrize(
    "parts", [("cd ", "work", "x"), ("'", "root", ".cache"), ("", "farm"), ("https:", "", "a.b", "simple", "")]
)
def test_a_planted_path_is_seen(parts: tuple[str, ...]) -> None:
    assert breach_of_privacy("/".join(parts))
    assert not breach_of_privacy("/".join(("root", "work", "<key> and store", "work", "")))
