"""Environments of their own for voices that cannot share ours: what they need, where they lie, and how they are made.

`orature voices add NAME` makes one: a virtual environment in the user's data folder (or `--env DIR`), with pinned
packages, from nothing but pip. It can be run again at any time: finished steps are not repeated.

Example::

    recipe = recipe_of("xtts")
    environment = Environment(recipe, environment_folder("xtts"))
    for step in environment.missing():
        environment.do(step, say=print)
    python = environment_python("xtts")             # None where it was not made
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from orature.core.errors import ConfigError, MissingExtra, WorkFailed

DATA = "ORATURE_DATA"
"""Environment variable: the data folder of the user (default: $XDG_DATA_HOME/orature or ~/.local/share/orature)."""
_STATE, _TABLE = "orature-environment.json", "voice_environments.json"
_LAST_LINES = 12
_FROZEN_WITH = (3, 11)
Kind = Literal["venv", "pip", "delete", "check"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an engine needs: `packages` are installed, `constraints` pin what they bring with them.

    `delete` are files (patterns below site-packages) that break the rest where they stay; `check` is a line of Python
    that must run in the finished environment.
    """

    name: str
    about: str
    packages: tuple[str, ...]
    constraints: tuple[str, ...]
    delete: tuple[str, ...]
    check: str
    size_mb: int
    licence: str
    commercial: bool | None
    must_accept: bool
    python: tuple[str, str]

    @property
    def digest(self) -> str:
        """Changes with everything that is installed."""
        whole = json.dumps([self.packages, self.constraints, self.delete, self.check])
        return sha256(whole.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: its kind, a sentence, and the command (or the patterns of what is deleted)."""

    kind: Kind
    about: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        """As it is shown to a person: a command to copy."""
        words = ["rm", *self.command] if self.kind == "delete" else list(self.command)
        return " ".join(words) if self.kind == "delete" else shlex.join(words)


@cache
def recipes() -> dict[str, Recipe]:
    """All recipes by name of the engine, from the table beside this file."""
    table: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name(_TABLE).read_text(encoding="utf-8"))
    return {
        name: Recipe(
            name=name,
            about=row["about"],
            packages=tuple(row["packages"]),
            constraints=tuple(row["constraints"]),
            delete=tuple(row["delete"]),
            check=row["check"],
            size_mb=row["size_mb"],
            licence=row["licence"],
            commercial=row["commercial"],
            must_accept=row["must_accept"],
            python=(row["python"][0], row["python"][1]),
        )
        for name, row in sorted(table.items())
    }


def recipe_of(name: str) -> Recipe:
    """The recipe of an engine; ConfigError names those that have one."""
    if name not in recipes():
        raise ConfigError(
            f"there is no environment to make for {name!r}", next_step=f"choose one of {', '.join(recipes())}"
        )
    return recipes()[name]


def data_folder() -> Path:
    """Where Orature keeps what belongs to the user and to no project."""
    if own := os.environ.get(DATA):
        return Path(own)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "orature"


def environment_folder(name: str) -> Path:
    """Where the environment of an engine is looked for: where it was made with `--env`, else in the data folder."""
    try:
        return Path(_pointer(name).read_text(encoding="utf-8").strip())
    except OSError:
        return data_folder() / "voices" / name


def remember_folder(name: str, folder: Path) -> None:
    """Notes that the environment of an engine lies in `folder`."""
    pointer = _pointer(name)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    if folder.absolute() == data_folder() / "voices" / name:
        pointer.unlink(missing_ok=True)
    else:
        pointer.write_text(f"{folder.absolute()}\n", encoding="utf-8")


def _pointer(name: str) -> Path:
    return data_folder() / "voices" / f"{name}.folder"


def python_variable(name: str) -> str:
    """The environment variable that names the Python of an environment made by other means."""
    return f"ORATURE_{name.upper()}_PYTHON"


def environment_python(name: str) -> Path | None:
    """The Python to run an engine's worker with, None where its environment was not made.

    ConfigError where the variable ORATURE_<NAME>_PYTHON names no program.
    """
    variable = python_variable(name)
    if given := os.environ.get(variable):
        if shutil.which(given) is None:
            raise ConfigError(f"{variable} names no program: {given}", next_step="name the python of an environment")
        return Path(given)
    environment = Environment(recipe_of(name), environment_folder(name))
    return environment.python if environment.finished else None


def needed_python(name: str) -> Path:
    """As `environment_python`; MissingExtra with the command that makes the environment where there is none."""
    python = environment_python(name)
    if python is None:
        recipe = recipe_of(name)
        accept = " --accept-licence" if recipe.must_accept else ""
        raise MissingExtra(
            f"the environment of the voice {name} was not made yet",
            where=str(environment_folder(name)),
            next_step=f"orature voices add {name}{accept} (about {recipe.size_mb} MB), or set {python_variable(name)}",
        )
    return python


class Environment:
    """The virtual environment of a recipe in `folder`; `base` is the Python that it is made with."""

    def __init__(self, recipe: Recipe, folder: Path, *, base: str = sys.executable) -> None:
        self.recipe, self.folder, self.base = recipe, folder, base

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @property
    def finished(self) -> bool:
        """True when every step of this very recipe was done and its Python is there."""
        state = self._state()
        return self.python.exists() and state.get("recipe") == self.recipe.digest and state.get("done") == self._kinds()

    def steps(self) -> list[Step]:
        """All steps in order."""
        recipe, python = self.recipe, str(self.python)
        install = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
        install += ["-c", str(self.folder / "constraints.txt"), *recipe.packages]
        found = [
            Step("venv", "make the virtual environment", (self.base, "-m", "venv", str(self.folder))),
            Step("pip", f"install {', '.join(recipe.packages)} and what they need", tuple(install)),
        ]
        if recipe.delete:
            places = tuple(f"{self.folder}/lib/python*/site-packages/{pattern}" for pattern in recipe.delete)
            found.append(Step("delete", "delete files that break the other packages", places))
        found.append(Step("check", "see that it works", (python, "-c", recipe.check)))
        return found

    def missing(self) -> list[Step]:
        """The steps that are still to be done."""
        state = self._state()
        steps = self.steps()
        if state.get("recipe") != self.recipe.digest or not self.python.exists():
            return steps
        done = state.get("done", [])
        return [step for step in steps if step.kind not in done]

    def do(self, step: Step, *, say: Callable[[str], None]) -> None:
        """Does one step and notes it; WorkFailed with the last lines of what was said where it fails."""
        say(f"{self.recipe.name}: {step.about}")
        if step.kind == "delete":
            for path in self._to_delete():
                path.unlink()
        else:
            if step.kind == "venv":
                self._refuse_foreign()
                self._note([])
            if step.kind == "pip":
                text = "".join(f"{line}\n" for line in self._constraints())
                (self.folder / "constraints.txt").write_text(text, encoding="utf-8")
            self._run(step)
        self._note([*self._state().get("done", []), step.kind])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps two commands from making the same environment at once."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.with_name(self.folder.name + ".lock"))
        try:
            with lock.acquire(timeout=1.0):
                yield
        except Timeout as error:
            raise WorkFailed(
                "another command makes this environment now", where=str(self.folder), next_step="wait until it is done"
            ) from error

    def refuse_wrong(self) -> None:
        """ConfigError where the Python is too old or too new, or the disk too small, before anything is done."""
        low, high = self.recipe.python
        found = _version_of(self.base)
        if not _number(low) <= found < _number(high):
            raise ConfigError(
                f"{self.recipe.name} needs Python from {low} to before {high}, this is {'.'.join(map(str, found))}",
                where=self.base,
                next_step="name another one with --python",
            )
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free_mb = shutil.disk_usage(place).free // 1_000_000
        if not self.python.exists() and free_mb < 1.5 * self.recipe.size_mb:
            raise ConfigError(
                f"{free_mb} MB are free, {self.recipe.name} needs {self.recipe.size_mb} MB and half of it again",
                where=str(place),
                next_step="make room, or name a folder on another disk with --env",
            )

    def _refuse_foreign(self) -> None:
        """A folder that holds something else is not written into."""
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _STATE).is_file():
            raise ConfigError(
                "the folder holds something else", where=str(self.folder), next_step="name an empty folder with --env"
            )

    def _constraints(self) -> tuple[str, ...]:
        """All pins for the Python that they were made with; for others those alone that decide what is computed."""
        if _version_of(self.base) == _FROZEN_WITH:
            return self.recipe.constraints
        core = {"transformers", *(package.partition("==")[0] for package in self.recipe.packages)}
        return tuple(line for line in self.recipe.constraints if line.partition("==")[0] in core)

    def _kinds(self) -> list[str]:
        return [step.kind for step in self.steps()]

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _note(self, done: list[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (_STATE + ".part")
        part.write_text(json.dumps({"name": self.recipe.name, "recipe": self.recipe.digest, "done": done}) + "\n")
        part.replace(self.folder / _STATE)

    def _to_delete(self) -> list[Path]:
        packages = [f"lib/python*/site-packages/{pattern}" for pattern in self.recipe.delete]
        return [path for pattern in packages for path in sorted(self.folder.glob(pattern))]

    def _run(self, step: Step) -> None:
        try:
            done = subprocess.run(step.command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise WorkFailed(
                f"{step.command[0]} cannot be started: {error.strerror}", next_step="name another one with --python"
            ) from error
        if done.returncode != 0:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LAST_LINES:]
            raise WorkFailed(
                f"could not {step.about}:\n" + "\n".join(f"    {line[:300]}" for line in lines),
                where=" ".join(step.command)[:300],
                next_step="mend what it says and run the same command again: it goes on where it stopped",
            )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _version_of(python: str) -> tuple[int, ...]:
    if python == sys.executable:
        return sys.version_info[:2]
    code = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
        return tuple(int(part) for part in said.split())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{python} is no Python that runs here", next_step="name one with --python") from error
