"""artefact.json: what an artefact is, what it was made of, and what its files must be.

Example::

    info = read_info(store.path_of(ref))
    info.stage, info.rows, find_problems(folder, info, full=True)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from orature.core.errors import StoreError
from orature.core.identity import digest_file, digest_json
from orature.flow.ref import Ref

INFO_NAME = "artefact.json"
MEND = "run `orature store check --drop-damaged` and then the same command again: it is made anew"


class FileInfo(BaseModel, frozen=True):
    """Size in bytes and SHA-256 (hex) of one file."""

    size: int
    sha256: str


class Rows(BaseModel, frozen=True):
    """Law 1: total = kept + the sum of `rejected`, which counts by reason."""

    total: int
    kept: int
    rejected: dict[str, int]


class Made(BaseModel, frozen=True):
    """When, how long, by which command and run, with which versions."""

    at: str
    wall_s: float
    command: str
    run: str
    versions: dict[str, str]


class ArtefactInfo(BaseModel, frozen=True):
    """The content of artefact.json; `seal` is the digest of everything else in it."""

    format: int = 1
    key: str
    stage: str
    version: int
    identity: dict[str, Any]
    inputs: tuple[Ref, ...]
    digest: str
    files: dict[str, FileInfo]
    rows: Rows | None
    notes: dict[str, Any]
    made: Made

    def ref(self) -> Ref:
        """The name under which a stage reads this artefact."""
        return Ref(key=self.key, stage=self.stage, digest=self.digest)

    def sealed(self) -> dict[str, Any]:
        """Plain data for artefact.json, with the seal."""
        data = self.model_dump(mode="json")
        return data | {"seal": digest_json(data)}


def walk_files(folder: Path) -> Iterator[str]:
    """Names of all files below `folder` relative to it, with "/" between, sorted within each folder."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(place, name).relative_to(folder).as_posix()


def describe_files(folder: Path) -> dict[str, FileInfo]:
    """Size and hash of every file of an artefact. StoreError on a symbolic link."""
    found = {}
    for name in walk_files(folder):
        path = folder / name
        if path.is_symlink():
            raise StoreError(f"{name} is a symbolic link; an artefact holds plain files only", where=str(path))
        if name != INFO_NAME:
            found[name] = FileInfo(size=path.stat().st_size, sha256=digest_file(path))
    return found


def digest_files(files: dict[str, FileInfo]) -> str:
    """The content digest of an artefact that declares none: over sorted (name, SHA-256, size)."""
    return digest_json(sorted([name, file.sha256, file.size] for name, file in files.items()))


def read_info(folder: Path) -> ArtefactInfo:
    """Read and check artefact.json of `folder`; StoreError when it is missing, damaged or does not fit its key."""
    path = folder / INFO_NAME
    try:
        data = json.loads(path.read_bytes())
        seal = data.pop("seal", "")
        if seal != digest_json(data) or digest_json(data["identity"]) != data["key"]:
            raise ValueError("its content does not fit its seal")
        return ArtefactInfo.model_validate(data)
    except FileNotFoundError as error:
        raise StoreError("an artefact without artefact.json", where=str(folder), next_step=MEND) from error
    except (ValidationError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError("artefact.json is damaged", where=str(path), next_step=MEND) from error


def find_problems(folder: Path, info: ArtefactInfo, *, full: bool) -> list[str]:
    """Missing files and wrong sizes; with `full` also flipped bits and files that do not belong there."""
    problems = []
    for name, file in info.files.items():
        try:
            size = (folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            problems.append(f"{name}: missing")
            continue
        if size != file.size:
            problems.append(f"{name}: {size} bytes instead of {file.size}")
        elif full and digest_file(folder / name) != file.sha256:
            problems.append(f"{name}: the content has changed (SHA-256 differs)")
    if full:
        problems += [f"{name}: does not belong here" for name in walk_files(folder) if name not in info.files | _OWN]
    return problems


_OWN = {INFO_NAME: FileInfo(size=0, sha256="")}
