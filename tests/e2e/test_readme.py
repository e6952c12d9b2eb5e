"""What README.md, CONTRIBUTING.md and ARCHITECTURE.md tell a person to type exists, and the tree is the real one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

from orature.cli.main import build

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")
_TREE_LINE = re.compile(r"^  (\w+)/ ", re.M)


def blocks(text: str) -> list[str]:
    """The contents of the fenced code blocks."""
    return re.findall(r"^```[a-z]*\n(.*?)^```", text, flags=re.M | re.S)


def typed(text: str) -> Iterator[list[str]]:
    """Command lines in code blocks that begin with orature or make, comments left out, and those in `...`."""
    lines = [line for block in blocks(text) for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:orature|make) [^`]+)`", text)
    for line in lines:
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words and not words[0].endswith("/") and Path(words[0]).name in ("orature", "make"):
            yield [Path(words[0]).name, *words[1:]]


def wrong(words: list[str]) -> str:
    """Why this command line does not parse, "" if it does."""
    if words[0] == "make":
        known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))
        settings = set(re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))
        asked = {word.partition("=")[0] for word in words[1:]}
        return ", ".join(sorted(asked - known - settings))
    command: click.Command = typer.main.get_command(build())
    rest = words[1:]
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        if not rest or rest[0].startswith("-"):
            return ""
        if rest[0] not in command.commands:
            return f"no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    if not rest:
        return ""
    known_options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    options = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    return ", ".join(sorted(options - known_options - {"--help"}))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_exists(page: str) -> None:
    lines = list(typed((ROOT / page).read_text("utf-8")))
    assert lines or page == "ARCHITECTURE.md"
    assert {shlex.join(words): why for words in lines if (why := wrong(words))} == {}


@pytest.mark.parametrize(
    "line", ["orature upp x", "orature up x --tto y", "make demmo", "make demo CORPSE=x", "orature store chek"]
)
def test_a_planted_mistake_is_seen(line: str) -> None:
    (words,) = typed(f"```\n{line}\n```")
    assert wrong(words)


def test_whole_command_lines_of_the_readme_parse() -> None:
    """Types and required arguments too, for the lines in code blocks (inline mentions may be fragments)."""
    text = (ROOT / "README.md").read_text("utf-8")
    count = 0
    for block in blocks(text):
        for words in typed(f"```\n{block}```"):
            if words[0] == "orature":
                typer.main.get_command(build()).commands[words[1]].make_context(words[1], words[2:])  # type: ignore[attr-defined]
                count += 1
    assert count >= 2


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_the_tree_lists_exactly_the_folders(page: str) -> None:
    (tree,) = [block for block in blocks((ROOT / page).read_text("utf-8")) if block.startswith("src/orature/")]
    there = {path.name for path in (ROOT / "src" / "orature").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert set(_TREE_LINE.findall(tree)) == there
    above = {line.split("/")[0] for line in tree.splitlines() if line and not line.startswith((" ", "src"))}
    assert all((ROOT / name).is_dir() for name in above)


def test_the_pages_that_are_linked_exist() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8"))
        assert [link for link in links if not (ROOT / link).exists()] == [], page
